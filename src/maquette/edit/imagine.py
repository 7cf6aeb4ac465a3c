"""Pictures of a thing as they would look under other words: noised to a time and denoised together.

The reconstruction form of guidance (IM-3D, arXiv 2402.08682, section 3.3; Instruct-NeRF2NeRF, arXiv 2303.12789). This
module does not know what made the pictures, nor who learns from them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, dpm_solver_pp_states, times
from maquette.priors import Condition, MultiviewPrior, with_coverage

SOLVER_STEPS, RESCALE = 6, 0.5


@torch.no_grad()
def reimagined(
    prior: MultiviewPrior,
    words: Condition,
    rgba: Float[Tensor, "views size size 4"],
    orbit: Camera,
    time: float,
    guidance: float,
    noise: torch.Generator,
) -> Float[Tensor, "views size size 4"]:
    """Views on white, with coverage, noised to `time` in (0, 1] and denoised in six steps under `words`.

    To the prior they are views of a whole object from the `orbit`. `guidance` is the classifier-free scale.
    """
    latents = prior.encode(rgba)
    draw = torch.randn(latents.shape, generator=noise).to(latents)
    noisy = add_noise(latents, draw, alpha_bar_at(prior.alphas_cumprod, time))

    def denoise(z: Tensor, t: float) -> Tensor:
        return prior.denoise(z, t, words, orbit, guidance=guidance, rescale=RESCALE)

    *_, latents = dpm_solver_pp_states(denoise, noisy, times(SOLVER_STEPS, start=time), prior.alphas_cumprod)
    return with_coverage(prior.decode(latents)).to(rgba)

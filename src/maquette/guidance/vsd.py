"""Variational score distillation (ProlificDreamer, arXiv 2305.16213): a student knows what renderings look like now.

The student is any prior that is trained along with the renderings (a copy of the prior with low-rank adapters, in the
paper); the caller owns its parameters and its optimiser. Particles are several things optimised under one student.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, Weighting, pull, weight_of
from maquette.guidance.wording import Wording, Wordings, conditional_eps, each_view, guided_eps
from maquette.priors import MultiviewPrior


def vsd(
    latents: Latents,
    prior: MultiviewPrior,
    student: MultiviewPrior,
    wordings: Wordings,
    student_wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    scale: float = 7.5,
    weighting: Weighting = "variance",
    sds_share: float = 0.0,
) -> Distillation:
    """G = w(t) (eps_hat(z_t, y_view) - eps_student(z_t, y, camera)); no classifier-free guidance on the student.

    The paper says the view to the prior only; the student has its cameras and the plain prompt. Where the student knows
    that there is one rendering and nothing else, its eps is `noise`, and this is `sds`. Nothing flows to the student.
    With an `sds_share` of s, (1 - s) eps_student + s noise stands in its place: a small student lags, and then only the
    noise knows where the rendering is.
    """
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    with torch.no_grad():
        z = add_noise(latents, noise, alpha_bar)
        eps = guided_eps(prior, z, t, wordings, camera, scale)
        own = conditional_eps(student, z, t, student_wordings, camera)
        gradient = weight_of(weighting, alpha_bar) * (eps - torch.lerp(own, noise, sds_share))
        clean = x0_from_eps(z, eps, alpha_bar)
    return pull(latents, gradient, clean=clean, t=t)


def student_loss(
    latents: Latents,
    student: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    predicts: Literal["eps", "v"] = "eps",
) -> Float[Tensor, ""]:
    """The mean squared error of the student's noise, or velocity, at a level and a noise of its own (algorithm 1).

    Differentiable in whatever the student's `denoise` is differentiable in; the latents are constants. The paper draws
    t from U(0, 1), and not with the t of `vsd`; the published code trains the velocity.
    """
    alpha_bar = alpha_bar_at(student.alphas_cumprod, t)
    x0 = latents.detach()
    z = add_noise(x0, noise, alpha_bar)

    def denoise(z: Latents, words: Wording, camera: Camera) -> Latents:
        return student.denoise(z, t, words.positive, camera, guidance=1.0, rescale=0.0)

    error = each_view(denoise, z, wordings, camera) - x0
    # eps = (z - a x0) / s and v = (a z - x0) / s, so errors of x0 count a / s and 1 / s
    return (alpha_bar if predicts == "eps" else 1.0) / (1 - alpha_bar) * error.square().mean()

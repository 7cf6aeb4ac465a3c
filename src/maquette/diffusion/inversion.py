"""From a sample back to its noise, and embeddings that make the way forth end where it began.

`transfer` and `trace` step by predicted noise, for guidance that compares noises. The named inversions of the editing
literature take `denoise(z, t, embedding) -> x0`, differentiable in the embedding; what an embedding is, only the caller
knows.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.diffusion.classifier_free import guide
from maquette.diffusion.predict import signal_and_noise
from maquette.diffusion.trajectory import Denoise, alpha_bar_at, ddim

DenoiseWith = Callable[[Tensor, float, Tensor], Tensor]  # (z, t, embedding) -> x0


def transfer(
    z: Float[Tensor, "*b"], eps: Float[Tensor, "*b"], alpha_bar: float, alpha_bar_next: float
) -> Float[Tensor, "*b"]:
    """One DDIM step with known noise between any two levels, either way (GE3D, arXiv 2412.05929, eq. 2).

    In coordinates z / sqrt(alpha_bar) it adds eps times the difference of noise-to-signal ratios.
    """
    a, s = signal_and_noise(alpha_bar)
    a_next, s_next = signal_and_noise(alpha_bar_next)
    return a_next / a * z + (s_next - a_next / a * s) * eps


def trace(
    predict_eps: Callable[[Tensor, float], Tensor], z: Tensor, times: Sequence[float], alphas_cumprod: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """The states at all `times`, rising or falling, and the noise predicted at each but the last.

    The state is kept in float32 at least, since it is a sum of small differences.
    """
    states, noises = [z.to(torch.promote_types(z.dtype, torch.float32))], []
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        noises.append(predict_eps(states[-1], t))
        levels = alpha_bar_at(alphas_cumprod, t), alpha_bar_at(alphas_cumprod, t_next)
        states.append(transfer(states[-1], noises[-1], *levels))
    return states, noises


def ddim_states(denoise: Denoise, z: Tensor, times: Sequence[float], alphas_cumprod: Tensor) -> list[Tensor]:
    """The states of `ddim` at all `times`, the first included: rising times are the DDIM inversion."""
    states = [z]
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        states.append(ddim(denoise, states[-1], [t, t_next], alphas_cumprod))
    return states


def null_text_inversion(
    denoise: DenoiseWith,
    states: Sequence[Tensor],
    times: Sequence[float],
    alphas_cumprod: Tensor,
    *,
    conditional: Tensor,
    blank: Tensor,
    scale: float = 7.5,
    inner_steps: int = 10,
    rate: float = 1e-2,
) -> list[Tensor]:
    """One blank embedding for each interval, so that guided denoising returns along `states` (arXiv 2211.09794).

    `states` is the inversion of the source under its own text with scale 1, at the rising `times`. The result is in the
    order of denoising, from the farthest interval to the first. Adam, `inner_steps` for each interval.
    """

    def guided(z: Tensor, t: float, embedding: Tensor) -> Tensor:
        with torch.no_grad():
            said = denoise(z, t, conditional)
        return guide(said, denoise(z, t, embedding), scale)

    return _tuned(guided, states, times, alphas_cumprod, blank, inner_steps, rate)


def prompt_tuning_inversion(
    denoise: DenoiseWith,
    states: Sequence[Tensor],
    times: Sequence[float],
    alphas_cumprod: Tensor,
    *,
    conditional: Tensor,
    inner_steps: int = 10,
    rate: float = 1e-2,
) -> list[Tensor]:
    """One conditional embedding for each interval, so that denoising with scale 1 returns along `states` (PTI).

    Starts from `conditional`, the text of the source. Orders are those of `null_text_inversion`.
    """
    return _tuned(denoise, states, times, alphas_cumprod, conditional, inner_steps, rate)


def negative_prompt_inversion(source: Tensor, intervals: int) -> list[Tensor]:
    """Null-text inversion without optimising: the text of the source replaces the blank (arXiv 2305.16807)."""
    return [source] * intervals


def denoise_guided(
    denoise: DenoiseWith,
    z: Tensor,
    times: Sequence[float],
    alphas_cumprod: Tensor,
    *,
    conditional: Sequence[Tensor],
    blank: Sequence[Tensor],
    scale: float,
) -> list[Tensor]:
    """The states of guided denoising at the falling `times`, with embeddings of their own for each interval."""
    states = [z]
    for i, (t, t_next) in enumerate(zip(times[:-1], times[1:], strict=True)):

        def guided(z: Tensor, t: float, said: Tensor = conditional[i], unsaid: Tensor = blank[i]) -> Tensor:
            return guide(denoise(z, t, said), denoise(z, t, unsaid), scale)

        states.append(ddim(guided, states[-1], [t, t_next], alphas_cumprod))
    return states


def _tuned(
    denoise: DenoiseWith,
    states: Sequence[Tensor],
    times: Sequence[float],
    alphas_cumprod: Tensor,
    start: Tensor,
    inner_steps: int,
    rate: float,
) -> list[Tensor]:
    """Embeddings, farthest interval first, each starting from the last; the state moves on with what was reached."""
    z, embedding, found = states[-1].detach(), start, []
    for i in range(len(times) - 2, -1, -1):
        interval, target = [times[i + 1], times[i]], states[i].detach()
        embedding = embedding.detach().clone().requires_grad_()
        adam = torch.optim.Adam([embedding], rate)
        for _ in range(inner_steps):
            reached = ddim(lambda z, t, e=embedding: denoise(z, t, e), z, interval, alphas_cumprod)
            (embedding.grad,) = torch.autograd.grad((reached - target).square().mean(), embedding)
            adam.step()
        embedding = embedding.detach()
        with torch.no_grad():
            z = ddim(lambda z, t, e=embedding: denoise(z, t, e), z, interval, alphas_cumprod)
        found.append(embedding)
    return found

"""Flow matching on the variance-preserving circle (GVP), and solvers of its differential equation.

    z_t = cos(pi t / 2) x0 + sin(pi t / 2) eps,    dz/dt = (pi / 2) (cos(pi t / 2) eps - sin(pi t / 2) x0)

(SiT, Ma et al., arXiv 2401.08740, with time turned around: 0 is clean and 1 is noise here as everywhere else, so the
velocity has the other sign.) It is pi / 2 times the v of Salimans and Ho. No networks, no guidance.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import NonFinite
from maquette.diffusion.predict import x0_from_v

Velocity = Callable[[Tensor, float], Tensor]
"""`velocity(z, t)` -> dz/dt."""


def gvp(
    x0: Float[Tensor, "*b"], noise: Float[Tensor, "*b"], t: float | Float[Tensor, "..."]
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """The point of the path at time `t` (one, or a tensor that broadcasts), and its velocity there."""
    angle = torch.as_tensor(t, dtype=x0.dtype, device=x0.device) * (math.pi / 2)
    a, s = angle.cos(), angle.sin()
    return a * x0 + s * noise, math.pi / 2 * (a * noise - s * x0)


def x0_from_velocity(z: Float[Tensor, "*b"], velocity: Float[Tensor, "*b"], t: float) -> Float[Tensor, "*b"]:
    """The clean sample that a velocity at time `t` points back to."""
    return x0_from_v(z, velocity * (2 / math.pi), math.cos(math.pi * t / 2) ** 2)


def euler(velocity: Velocity, z: Tensor, times: list[float]) -> Tensor:
    """Follow the flow through `times`, one evaluation for each interval; falling times sample, rising times invert."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        z = z + (t_next - t) * velocity(z, t)
    return z


def heun(velocity: Velocity, z: Tensor, times: list[float]) -> Tensor:
    """The same with the mean of the velocities at both ends: order 2, two evaluations for each interval."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        first = velocity(z, t)
        second = velocity(z + (t_next - t) * first, t_next)
        z = z + (t_next - t) / 2 * (first + second)
    return z


# Dormand and Prince 1980: nodes, stages, and what the embedded order 4 says less than order 5.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
SHORTEST = 1e-6
"""Of the whole way: a step below this means that the velocity is not smooth, or not a number."""


def dormand_prince(
    velocity: Velocity,
    z: Tensor,
    *,
    start: float = 1.0,
    stop: float = 0.0,
    rtol: float = 1e-3,
    atol: float = 1e-6,
    first_step: float = 0.05,
) -> Tensor:
    """Follow the flow from `start` to `stop` with steps as long as the error allows (order 5 with 4 embedded).

    The error of a step is its root mean square over all of `z`, in units of atol + rtol |z|: a sample depends a little
    on those that are sampled with it. Six evaluations a step and one more. `first_step` is a share of the way.
    Raises NonFinite when steps become vanishingly short.
    """
    t, step = start, first_step * (stop - start)
    slopes = [velocity(z, t)]
    while abs(stop - t) > 1e-12:
        step = math.copysign(min(abs(step), abs(stop - t)), stop - start)
        if abs(step) < SHORTEST * abs(stop - start) and abs(stop - t) > 2 * abs(step):
            raise NonFinite(f"the step at time {t:.4f} fell to {step:.1e}", "look for NaN in the network's velocity")
        for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
            ahead = z + step * sum(w * slope for w, slope in zip(weights, slopes, strict=False) if w)
            slopes.append(velocity(ahead, t + node * step))
        off = step * sum(w * slope for w, slope in zip(_ERROR, slopes, strict=True) if w)
        error = (off / (atol + rtol * torch.maximum(z.abs(), ahead.abs()))).square().mean().sqrt().item()
        if error <= 1:  # `ahead` is the last stage: the step itself
            t, z, slopes = t + step, ahead, slopes[-1:]
        else:
            slopes = slopes[:1]
        # An error that is not a number compares as false throughout, and shortens the step until that is refused.
        step *= min(5.0, max(0.2, 0.9 * error**-0.2)) if 0 < error < math.inf else (5.0 if error == 0 else 0.2)
    return z

"""Gaussians that are nearly right learn the rest from pictures: the way back from a field to a cloud.

This module knows neither fields nor prompts; where rows come from is told, so that parts can follow them.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core import Camera, Constant, Event, Exponential, NonFinite, Progress, Streams
from maquette.core.errors import BadInput
from maquette.render import render_gaussians
from maquette.representations.gaussians import GaussianCloud
from maquette.training import density, optim

TOLERANCE = 0.25 / 255


@dataclass(frozen=True)
class Refit:
    """How a cloud learns from pictures."""

    steps: int = 200
    batch: int = 2
    """Pictures compared at each step."""
    alpha_weight: float = 0.5
    """Weight of the coverage term."""
    rates: optim.Rates = field(
        default_factory=lambda: optim.Rates(
            means=Exponential(1e-3, 1e-4, 200), log_scales=Constant(5e-3), quats=Constant(5e-3),
            logit_opacities=Constant(2e-2), sh=Constant(1e-2),
        )
    )  # fmt: skip
    control: density.AdaptiveDensity = field(
        default_factory=lambda: density.AdaptiveDensity(
            every=40, begin=20, end=161, quantile=0.9, prune_opacity=0.02, prune_scale=None, reset_every=None
        )
    )
    """Rows are added where the pictures ask for more, and given up where they have become faint."""
    growth: float = 2.0
    """The largest factor on the number of rows."""


def refit(
    cloud: GaussianCloud,
    camera: Camera,
    color: Float[Tensor, "views height width 3"],
    alpha: Float[Tensor, "views height width"],
    config: Refit,
    draw: Streams,
    *,
    stage: str = "bake",
) -> Generator[Event, None, tuple[GaussianCloud, density.Rows]]:
    """L1 to pictures (`color` premultiplied) over random backgrounds, and to their coverage.

    Returns the cloud, and for each row the first row that it continues or descends from, and whether it is new. Pixels
    that are right to a quarter of a level of 8 bits leave no gradient, so a cloud that shows all the pictures already
    stays what it was. Raises BadInput if no row is left, NonFinite if the fit diverges.
    """
    if not 1 <= config.batch <= len(camera):
        raise BadInput(f"{config.batch} of {len(camera)} pictures a step; expected 1 to all", "change batch")
    control = replace(config.control, most=int(config.growth * len(cloud)))
    size = (camera.height, camera.width)
    first = torch.arange(len(cloud))
    origin = density.Rows(first, torch.zeros_like(first, dtype=torch.bool))
    cloud, adam, noticed = optim.leaves(cloud), optim.start(cloud), density.start(cloud)
    for step in range(config.steps):
        chosen, behind = _chosen(config, len(camera), step, draw), draw.generator(f"{stage}/{step}")
        background = torch.rand(3, generator=behind).to(color)
        with torch.enable_grad():
            seen = render_gaussians(cloud, camera[chosen], background=background, probe=True)
            wanted = color[chosen] + (1 - alpha[chosen])[..., None] * background
            loss = _visible(seen.color - wanted) + config.alpha_weight * _visible(seen.alpha - alpha[chosen])
            loss.backward()
        if not math.isfinite(loss.item()):
            raise NonFinite(f"the loss is {loss.item()} at step {step} of the {stage}", "lower the learning rates")
        noticed = density.observe(noticed, seen.screen_probe.grad, seen.radii_px, size)
        adam = optim.descend(config.rates, cloud, adam)
        if control.is_due(step + 1) and bool(noticed.gradient_sum.any()):
            changed, noticed, rows = density.refine(control, cloud.detach(), noticed, behind)
            if len(changed) == 0:
                raise BadInput(f"all Gaussians are too faint at step {step} of the {stage}", "ask for something denser")
            cloud, adam = optim.leaves(changed), optim.remap(adam, rows)
            origin = traced(origin, rows)
        yield Progress(stage, step + 1, config.steps)
    return cloud.detach(), origin


def traced(origin: density.Rows, rows: density.Rows) -> density.Rows:
    """Where rows come from after one more refinement, from where those before it came from."""
    return density.Rows(origin.parent[rows.parent], origin.is_fresh[rows.parent] | rows.is_fresh)


def _visible(difference: Tensor) -> Tensor:
    """Mean absolute difference beyond what one could see: rounding errors would otherwise steer Adam."""
    return (difference.abs() - TOLERANCE).clamp(min=0).mean()


def _chosen(config: Refit, views: int, step: int, draw: Streams) -> Int[Tensor, " chosen"]:
    """All views in a random order before any comes again."""
    wanted = range(step * config.batch, (step + 1) * config.batch)
    orders = {i // views: torch.randperm(views, generator=draw.generator(f"order/{i // views}")) for i in wanted}
    return torch.stack([orders[i // views][i % views] for i in wanted])

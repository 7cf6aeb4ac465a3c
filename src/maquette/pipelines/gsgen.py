"""GSGEN: many steps from opaque Gaussians, first at all noise levels and then below half (arXiv 2309.16585).

Its guidance by a diffusion prior over points and its filling of gaps between neighbours are not here; a cloud of points
from elsewhere may be given.
"""

from collections.abc import Iterator
from pathlib import Path

from maquette.core import Event
from maquette.core.schedule import Constant, Exponential, Steps
from maquette.diffusion import TimeRange
from maquette.priors import MultiviewPrior
from maquette.representations.gaussians import GaussianCloud
from maquette.training import density, optim, short_loops
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Loop
from maquette.training.orbits import Around
from maquette.training.sds_recipe import Config, run_sds

UNIT = 0.67
"""Their world unit in ours: at their middle focal length, things fill as much of the frame as ours do."""

PAPER = Config(
    iterations=15_000,
    resolution=512,
    cameras=Anywhere(
        views=4, elevation_deg=(-20.0, 90.0), radius=(2.5 * UNIT, 2.5 * UNIT), fov_deg=(40.6, 67.4), eye_jitter=0.0,
        target_jitter=0.05 * UNIT,
    ),
    times=TimeRange(Constant(0.02), Steps((0.98, 0.5), (2000,))),
    init_points=4096,
    init_opacity=0.8,
    loop=Loop(
        rates=optim.Rates(
            means=Exponential(5e-3 * UNIT, 3e-5 * UNIT, 15_000), log_scales=Exponential(3e-3, 1e-3, 15_000),
            quats=Constant(3e-3), logit_opacities=Constant(3e-3), sh=Constant(1e-2),
        ),
        control=density.AdaptiveDensity(
            every=1000, begin=1999, end=10_000, gradient=0.02, split_scale=0.02 * UNIT, prune_opacity=0.0,
            prune_scale=None, reset_every=None, revise_opacity=False,
        ),
        preview_every=500,
        checkpoint_every=500,
    ),
)  # fmt: skip
"""The published numbers, for image priors of 512 px; their cloud is `initial`, else a ball stands in for it."""
DEFAULT = Config(
    iterations=300,
    resolution=128,
    cameras=Around(),
    view_words=False,
    times=TimeRange(Constant(0.02), Steps((0.98, 0.5), (40,))),
    guidance=5.0,
    init_points=4000,
    init_radius=0.4,
    init_opacity=0.5,
    loop=Loop(
        rates=optim.Rates(
            means=Exponential(5e-3, 3e-4, 300), log_scales=Exponential(1e-2, 1e-3, 300), quats=Constant(1e-2),
            logit_opacities=Constant(3e-2), sh=Exponential(2e-2, 2e-3, 300),
        ),
        control=density.AdaptiveDensity(
            every=40, begin=39, end=201, quantile=0.95, prune_opacity=0.05, prune_scale=0.1, reset_every=None,
            most=10_000,
        ),
    ),
)  # fmt: skip
"""Sized to the pocket prior: the same shares of the run, a low scale, rates for fewer steps, and pruning."""
TINY = Config(
    iterations=4, resolution=32, cameras=Around(views=2), view_words=False, guidance=7.5, init_points=64,
    init_opacity=0.5, times=TimeRange(Constant(0.02), Steps((0.98, 0.5), (2,))),
    loop=short_loops.TINY,
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config, prior: MultiviewPrior, *, prompt: str, initial: GaussianCloud | None = None, seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:  # fmt: skip
    """As `maquette.training.sds_recipe.run_sds`."""
    yield from run_sds("gsgen", config, prior, prompt=prompt, initial=initial, seed=seed, checkpoint=checkpoint)

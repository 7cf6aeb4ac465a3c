"""DreamGaussian's first stage: a short descent of few Gaussians under a falling noise level (arXiv 2309.16653).

The noise level falls from nearly all to nearly none in 500 steps, so the form comes first and details last, and nothing
is drawn twice. The second stage, which repaints the texture of a mesh, is not here.
"""

from collections.abc import Iterator
from pathlib import Path

from maquette.core import Event
from maquette.core.schedule import Linear
from maquette.diffusion import TimeRange
from maquette.priors import MultiviewPrior
from maquette.representations.gaussians import GaussianCloud
from maquette.training import density, optim, short_loops
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Loop
from maquette.training.orbits import Around
from maquette.training.sds_recipe import Config, run_sds
from maquette.training.variation import Variation


def falling(steps: int, start: float = 0.98, end: float = 0.02) -> TimeRange:
    """One noise level for each step, on a straight line."""
    return TimeRange(Linear(start, end, steps), Linear(start, end, steps))


PAPER = Config(
    iterations=500,
    resolution=512,
    doublings=(0.3, 0.6),
    cameras=Anywhere(
        views=1, elevation_deg=(-30.0, 30.0), radius=(2.5, 2.5), fov_deg=(49.1, 49.1), eye_jitter=0.0, target_jitter=0.0
    ),
    times=falling(500),
    loop=Loop(
        rates=optim.DREAMGAUSSIAN,
        control=density.AdaptiveDensity(
            every=50, begin=0, end=501, gradient=0.01, extent=4.0, prune_opacity=0.01, reset_every=700,
            revise_opacity=False,
        ),
        # Half of their backgrounds are black; half of what is not white is black here.
        variation=Variation(background=0.5),
    ),
)  # fmt: skip
"""The published numbers for words alone, for image priors of 512 px."""
DEFAULT = Config(
    iterations=150,
    resolution=128,
    cameras=Around(),
    view_words=False,
    times=falling(150),
    guidance=5.0,
    init_points=4000,
    init_radius=0.4,
    loop=short_loops.POCKET,
)  # fmt: skip
"""Sized to the pocket prior: sets of four views, its own size at once, a low scale, rates for fewer steps."""
TINY = Config(
    iterations=4, resolution=32, doublings=(0.5,), cameras=Around(views=2), view_words=False, times=falling(4),
    guidance=7.5, init_points=64,
    loop=short_loops.TINY,
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config, prior: MultiviewPrior, *, prompt: str, initial: GaussianCloud | None = None, seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:  # fmt: skip
    """As `maquette.training.sds_recipe.run_sds`."""
    yield from run_sds("dreamgaussian", config, prior, prompt=prompt, initial=initial, seed=seed, checkpoint=checkpoint)

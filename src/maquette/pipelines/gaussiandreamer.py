"""GaussianDreamer: a cloud from a 3D generator, grown denser, and a short descent (arXiv 2310.08529).

The generator gives the form, so 1200 steps are enough. The paper takes Shap-E; here it is a cloud that is given, or the
hull of the views that a multi-view prior draws.
"""

from collections.abc import Iterator
from pathlib import Path

from maquette.core import Event
from maquette.core.schedule import Constant, Exponential, Linear, Steps
from maquette.diffusion import TimeRange
from maquette.priors import MultiviewPrior
from maquette.representations.gaussians import GaussianCloud
from maquette.training import density, optim
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Loop
from maquette.training.orbits import Around
from maquette.training.sds_recipe import Config, run_sds
from maquette.training.variation import Regularisers

UNIT = 0.5
"""Their world unit in ours, as of the other recipes of threestudio (`training/anywhere.py`)."""
NEGATIVE = (
    "ugly, bad anatomy, blurry, pixelated obscure, unnatural colors, poor lighting, dull, and unclear, cropped, "
    "lowres, low quality, artifacts, duplicate, morbid, mutilated, poorly drawn face, deformed, dehydrated, "
    "bad proportions, unfocused"
)

PAPER = Config(
    iterations=1200,
    resolution=1024,
    cameras=Anywhere(
        views=4, radius=(1.5 * UNIT, 4.0 * UNIT), fov_deg=(40.0, 70.0), eye_jitter=0.0, target_jitter=0.0
    ),
    negative=NEGATIVE,
    times=TimeRange(Constant(0.02), Steps((0.98, 0.55), (500,))),
    clip=Linear(1.5, 2.0, 1000),
    init_points=4096,
    grown=1_000_000,
    grown_within=0.01 * UNIT,
    loop=Loop(
        rates=optim.Rates(
            means=Exponential(5e-5 * UNIT, 2.5e-5 * UNIT, 1200), log_scales=Constant(5e-3), quats=Constant(1e-3),
            logit_opacities=Constant(1e-2), sh=Constant(1.25e-2),
        ),
        control=density.AdaptiveDensity(
            every=100, begin=299, end=901, gradient=2e-4, prune_opacity=0.05, reset_every=None, revise_opacity=False
        ),
        regularisers=Regularisers(sparsity=1.0),
        preview_every=100,
    ),
)  # fmt: skip
"""The published numbers, for image priors of 512 px; their cloud is `initial`, else a ball stands in for it."""
DEFAULT = Config(
    iterations=100,
    resolution=128,
    cameras=Around(),
    view_words=False,
    times=TimeRange(Constant(0.02), Steps((0.7, 0.4), (40,))),
    guidance=5.0,
    clip=Linear(1.5, 2.0, 80),
    start="hull",
    init_points=3000,
    grown=40_000,
    grown_within=0.02,
    loop=Loop(
        rates=optim.Rates(
            means=Exponential(1e-3, 2e-4, 100), log_scales=Constant(5e-3), quats=Constant(5e-3),
            logit_opacities=Constant(5e-2), sh=Exponential(1.25e-2, 2e-3, 100),
        ),
        control=density.AdaptiveDensity(
            every=25, begin=24, end=76, quantile=0.95, prune_opacity=0.05, prune_scale=0.1, reset_every=None,
            most=10_000,
        ),
        regularisers=Regularisers(sparsity=1.0),
    ),
)  # fmt: skip
"""Sized to the pocket prior, which draws the views of the first cloud itself; less noise, since that cloud is good."""
TINY = Config(
    iterations=4, resolution=32, cameras=Around(views=2), view_words=False, clip=Linear(1.5, 2.0, 4), guidance=7.5,
    start="hull", init_points=64, grown=200, grown_within=0.1,
    loop=Loop(
        control=density.AdaptiveDensity(every=1, begin=0, end=4, quantile=0.9, reset_every=None, most=200),
        regularisers=Regularisers(sparsity=1.0), preview_every=2, checkpoint_every=1,
    ),
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config, prior: MultiviewPrior, *, prompt: str, initial: GaussianCloud | None = None, seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:  # fmt: skip
    """As `maquette.training.sds_recipe.run_sds`."""
    yield from run_sds(
        "gaussiandreamer", config, prior, prompt=prompt, initial=initial, seed=seed, checkpoint=checkpoint
    )

"""Descents of few steps that several methods share."""

from maquette.core.schedule import Constant, Exponential
from maquette.training import density, optim
from maquette.training.descent import Loop

POCKET = Loop(
    rates=optim.Rates(
        means=Exponential(5e-3, 5e-4, 150), log_scales=Exponential(2e-2, 2e-3, 150), quats=Constant(1e-2),
        logit_opacities=Exponential(1e-1, 1e-2, 150), sh=Exponential(4e-2, 4e-3, 150),
    ),
    control=density.AdaptiveDensity(
        every=25, begin=10, end=126, quantile=0.95, prune_opacity=0.05, prune_scale=0.1, reset_every=None, most=10_000,
    ),
)  # fmt: skip
"""150 steps under the pocket prior: rates high enough to get there."""
TINY = Loop(
    control=density.AdaptiveDensity(every=1, begin=0, end=4, quantile=0.9, reset_every=None, most=100),
    preview_every=2,
    checkpoint_every=1,
)
"""Four steps, for tests."""

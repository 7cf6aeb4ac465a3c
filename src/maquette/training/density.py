"""How many Gaussians there are, and where: density control as functions with their state in the open.

Two strategies. `AdaptiveDensity` clones, splits and prunes by the gradients of screen positions (Kerbl et al. 2023,
section 5.2, arXiv 2308.04079). `MarkovDensity` moves dead rows onto living ones (Kheradmand et al. 2024, arXiv
2404.09591). Both answer with new clouds and never touch the given one; an optimiser learns from `Rows` which moments
to carry over. This module does not know what the loss is.

    state = density.start(cloud)
    state = density.observe(state, rendering.screen_probe.grad, rendering.radii_px, (camera.height, camera.width))
    cloud, state, rows = density.refine(config, cloud, state, generator)
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core.rotation import quat_to_matrix
from maquette.representations.gaussians import GaussianCloud

MOST_COPIES = 51
"""Largest number of coincident copies that `coincident` has binomials for, as in the authors' code."""


class Rows(NamedTuple):
    """Where the rows of a changed cloud come from."""

    parent: Int[Tensor, " gaussians"]
    """For every new row the old row it continues or descends from; labels and masks follow it."""
    is_fresh: Bool[Tensor, " gaussians"]
    """Rows that an optimiser treats as new: their moments start at zero."""


@dataclass(frozen=True)
class AdaptiveDensity:
    """Clone, split, prune and reset; the defaults are those of the 3DGS code. Lengths are fractions of `extent`."""

    every: int = 100
    """Steps between two refinements."""
    begin: int = 500
    """No refinement up to this step."""
    end: int = 15_000
    """No refinement from this step on."""
    gradient: float = 2e-4
    """Grow where the mean screen gradient reaches this (image half-sizes as unit, for a loss averaged over views)."""
    quantile: float | None = None
    """Grow where it reaches this quantile over all seen rows instead: independent of the loss (0.95 is the top 5 %)."""
    extent: float = 1.0
    """Size of the scene in world units; 3DGS takes 1.1 times the distance of the cameras from their centre."""
    split_scale: float = 0.01
    """Rows whose longest axis is above this are split, others cloned."""
    prune_opacity: float = 0.005
    """Rows below this opacity are removed."""
    prune_scale: float | None = 0.1
    """Rows whose longest axis is above this are removed; None keeps them."""
    prune_radius: float | None = None
    """Rows that were seen with a larger radius than this fraction of the image are removed (gsplat: 0.15)."""
    revise_opacity: bool = True
    """Copies get o' = 1 - sqrt(1 - o), so that two of them cover as much as one did (Rota Bulo et al. 2024, eq. 9)."""
    reset_every: int | None = 3000
    """Steps between opacity resets; None for short runs, which a reset would ruin."""
    reset_opacity: float = 0.01
    """What a reset cuts opacities down to."""
    most: int | None = None
    """The largest number of rows; beyond it only those with the largest gradients grow."""

    def is_due(self, step: int) -> bool:
        """Whether to `refine` after this step."""
        return self.begin < step < self.end and step % self.every == 0

    def is_reset_due(self, step: int) -> bool:
        """Whether to `reset` after this step."""
        return self.reset_every is not None and 0 < step < self.end and step % self.reset_every == 0


@dataclass(frozen=True)
class DensityState:
    """What was seen since the last refinement."""

    gradient_sum: Float[Tensor, " gaussians"]
    """Sum over the views that saw a row of the norm of its screen gradient, in image half-sizes."""
    seen: Float[Tensor, " gaussians"]
    """How many views saw it."""
    radius_max: Float[Tensor, " gaussians"]
    """The largest radius, as a fraction of the longer side of the image."""
    resets: int = 0
    """Opacity resets so far; large rows are pruned after the first one, or at once in runs without resets."""


def start(cloud: GaussianCloud) -> DensityState:
    """Nothing seen yet."""
    zeros = torch.zeros_like(cloud.logit_opacities, requires_grad=False)
    return DensityState(zeros, zeros, zeros)


def observe(
    state: DensityState,
    screen_gradient: Float[Tensor, "cameras gaussians 2"],
    radii_px: Float[Tensor, "cameras gaussians"],
    size: tuple[int, int],
) -> DensityState:
    """Take note of one step: the gradient of a loss averaged over cameras in pixels, radii, and (height, width).

    Gradients grow with the number of cameras and shrink with resolution in the same way as 3DGS's, which sees one view
    at a time in normalised device coordinates.
    """
    height, width = size
    cameras = len(screen_gradient)
    unit = screen_gradient.new_tensor([width / 2 * cameras, height / 2 * cameras])
    norm = torch.linalg.vector_norm(screen_gradient.detach() * unit, dim=-1)  # zero where a row is not visible
    return replace(
        state,
        gradient_sum=state.gradient_sum + norm.sum(dim=0),
        seen=state.seen + (radii_px > 0).sum(dim=0),
        radius_max=torch.maximum(state.radius_max, radii_px.detach().amax(dim=0) / max(size)),
    )


@torch.no_grad()
def refine(
    config: AdaptiveDensity, cloud: GaussianCloud, state: DensityState, generator: torch.Generator
) -> tuple[GaussianCloud, DensityState, Rows]:
    """Clone small rows and split large ones where the gradient is high, then prune; statistics start afresh.

    New rows come last: clones, then first children of the split rows, then second ones. `generator` is a CPU stream.
    """
    mean = state.gradient_sum / state.seen.clamp(min=1)
    threshold = config.gradient
    if config.quantile is not None and bool((state.seen > 0).any()):
        threshold = float(torch.quantile(mean[state.seen > 0], config.quantile))
    grows = (mean >= threshold) & (mean > 0)
    if config.most is not None:
        grows &= _is_among_largest(torch.where(grows, mean, 0.0), config.most - len(cloud))
    is_large = cloud.scales.amax(dim=-1) > config.split_scale * config.extent
    clones, split = grows & ~is_large, grows & is_large

    if config.revise_opacity:
        revised = torch.where(grows, _shared_logit(cloud.logit_opacities, 2.0), cloud.logit_opacities)
        cloud = replace(cloud, logit_opacities=revised)
    index = torch.arange(len(cloud), device=mean.device)
    parent = torch.cat([index[~split], index[clones], index[split], index[split]])
    old, children = int((~split).sum()), int(split.sum())
    grown = cloud.select(parent)
    if children:
        grown = _scatter_children(grown, 2 * children, generator)

    is_fresh = torch.arange(len(parent), device=mean.device) >= old
    radius = torch.where(is_fresh, 0.0, state.radius_max[parent])
    kept = ~_is_useless(config, grown, radius, state.resets)
    grown = grown.select(kept)
    return grown, replace(start(grown), resets=state.resets), Rows(parent[kept], is_fresh[kept])


@torch.no_grad()
def reset(config: AdaptiveDensity, cloud: GaussianCloud, state: DensityState) -> tuple[GaussianCloud, DensityState]:
    """Cut opacities down to `reset_opacity`, so that rows must earn them again. The optimiser forgets their moments."""
    ceiling = math.log(config.reset_opacity / (1 - config.reset_opacity))
    cut = replace(cloud, logit_opacities=cloud.logit_opacities.clamp(max=ceiling))
    return cut, replace(state, resets=state.resets + 1)


@dataclass(frozen=True)
class MarkovDensity:
    """Gaussians as samples of a Markov chain; the defaults are those of the authors' code."""

    every: int = 100
    """Steps between two relocations."""
    begin: int = 500
    """No relocation up to this step."""
    end: int = 25_000
    """No relocation from this step on."""
    dead_opacity: float = 0.005
    """Rows at or below this opacity are moved onto others; nothing is ever removed."""
    growth: float = 1.05
    """Factor on the number of rows at each relocation."""
    most: int = 100_000
    """The largest number of rows (the paper: 1 M, for whole scenes)."""
    noise: float = 5e5
    """Factor on the noise of `wander`, which also has the learning rate of the means as a factor."""
    opacity_weight: float = 0.01
    """Weight of the mean opacity in `parsimony`."""
    scale_weight: float = 0.01
    """Weight of the mean standard deviation in `parsimony`."""

    def is_due(self, step: int) -> bool:
        """Whether to `relocate` after this step."""
        return self.begin < step < self.end and step % self.every == 0


@torch.no_grad()
def relocate(config: MarkovDensity, cloud: GaussianCloud, generator: torch.Generator) -> tuple[GaussianCloud, Rows]:
    """Move dead rows onto living ones drawn in proportion to opacity, then add rows drawn the same way (section 4.2).

    All rows that share a place get `coincident` opacities and scales, which keeps the picture nearly the same. New rows
    come last. Sources, moved and new rows are all fresh.
    """
    index = torch.arange(len(cloud), device=cloud.means.device)
    rows = Rows(index, torch.zeros_like(index, dtype=torch.bool))
    dead = cloud.opacities <= config.dead_opacity
    if len(cloud) == 0 or bool(dead.all()):
        return cloud, rows
    if bool(dead.any()):
        cloud, rows = _crowd(config, cloud, rows, index[dead], torch.where(dead, 0.0, cloud.opacities), generator)
    count = min(config.most, int(config.growth * len(cloud))) - len(cloud)
    if count > 0:
        index = torch.arange(len(cloud), len(cloud) + count, device=cloud.means.device)
        cloud, rows = _crowd(config, cloud, rows, index, cloud.opacities, generator)
    return cloud, rows


@torch.no_grad()
def wander(
    config: MarkovDensity, cloud: GaussianCloud, means_rate: float, generator: torch.Generator
) -> Float[Tensor, "gaussians 3"]:
    """The step of Langevin noise to add to the means after each step of the optimiser (eq. 9): large for faint rows.

    `means_rate` is the current learning rate of the means.
    """
    rotation, variance = quat_to_matrix(cloud.quats), cloud.scales.square()
    draw = torch.randn(len(cloud), 3, generator=generator).to(cloud.means)
    draw = (rotation * variance[:, None]) @ (rotation.transpose(1, 2) @ draw[..., None])  # Sigma times the draw
    faintness = torch.sigmoid(-100 * (cloud.opacities - 0.005))
    return draw[..., 0] * (faintness * (means_rate * config.noise))[:, None]


def parsimony(config: MarkovDensity, cloud: GaussianCloud) -> Float[Tensor, ""]:
    """The regulariser that lets useless rows die: weighted means of opacities and standard deviations (eq. 11)."""
    return config.opacity_weight * cloud.opacities.mean() + config.scale_weight * cloud.scales.mean()


def coincident(
    opacity: Float[Tensor, " gaussians"], copies: Int[Tensor, " gaussians"]
) -> tuple[Float[Tensor, " gaussians"], Float[Tensor, " gaussians"]]:
    """Opacity, and factor on the scales, that let `copies` rows at one place look like one of `opacity` (eq. 10).

    The paper's double sum over C(i - 1, k), i = 1..N, is C(N, k + 1) by the hockey-stick identity.

    >>> o, factor = coincident(torch.tensor([0.3]), torch.tensor([2]))
    >>> round(o.item(), 5), round(factor.item(), 5)
    (0.16334, 0.97461)
    """
    copies = copies.clamp(max=MOST_COPIES)
    shared = -torch.expm1(torch.log1p(-opacity.double()) / copies)
    terms = torch.tensor(
        [[math.comb(n, k + 1) * (-1) ** k / math.sqrt(k + 1) for k in range(MOST_COPIES)] for n in range(52)],
        dtype=torch.float64,
        device=opacity.device,
    )
    powers = shared[:, None] ** torch.arange(1, MOST_COPIES + 1, device=opacity.device)
    factor = opacity / (terms[copies] * powers).sum(dim=-1)
    return shared.to(opacity), factor.to(opacity)


def _is_among_largest(values: Float[Tensor, " gaussians"], count: int) -> Bool[Tensor, " gaussians"]:
    chosen = torch.zeros_like(values, dtype=torch.bool)
    if count > 0:
        chosen[torch.sort(values, descending=True, stable=True).indices[:count]] = True
    return chosen


def _shared_logit(logit: Tensor, copies: Tensor | float) -> Tensor:
    """logit of 1 - (1 - o)^(1 / copies), exact for opacities near 0 and 1."""
    hidden = torch.nn.functional.softplus(logit) / copies  # -log(1 - o) / copies
    return torch.log(-torch.expm1(-hidden)) + hidden


def _scatter_children(cloud: GaussianCloud, last: int, generator: torch.Generator) -> GaussianCloud:
    """The `last` rows, drawn from the Gaussians that they were, 1.6 times smaller."""
    rows = cloud.select(slice(len(cloud) - last, None))
    draw = torch.randn(last, 3, generator=generator).to(rows.means) * rows.scales
    means, log_scales = cloud.means.clone(), cloud.log_scales.clone()
    means[-last:] += (quat_to_matrix(rows.quats) @ draw[..., None])[..., 0]
    log_scales[-last:] -= math.log(1.6)
    return replace(cloud, means=means, log_scales=log_scales)


def _is_useless(
    config: AdaptiveDensity, cloud: GaussianCloud, radius: Float[Tensor, " gaussians"], resets: int
) -> Bool[Tensor, " gaussians"]:
    useless = cloud.opacities < config.prune_opacity
    if resets == 0 and config.reset_every is not None:
        return useless
    if config.prune_scale is not None:
        useless = useless | (cloud.scales.amax(dim=-1) > config.prune_scale * config.extent)
    if config.prune_radius is not None:
        useless = useless | (radius > config.prune_radius)
    return useless


def _crowd(
    config: MarkovDensity,
    cloud: GaussianCloud,
    rows: Rows,
    targets: Int[Tensor, " targets"],
    weights: Float[Tensor, " gaussians"],
    generator: torch.Generator,
) -> tuple[GaussianCloud, Rows]:
    """Write copies of rows drawn by `weights` to the rows `targets`, which may lie beyond the end."""
    picks = torch.multinomial(weights.cpu(), len(targets), replacement=True, generator=generator).to(targets)
    copies = torch.bincount(picks, minlength=len(cloud)) + 1
    opacity, factor = coincident(cloud.opacities, copies)
    opacity = opacity.clamp(config.dead_opacity, 1 - 1e-6)
    is_source = copies > 1
    cloud = replace(
        cloud,
        logit_opacities=torch.where(is_source, torch.logit(opacity), cloud.logit_opacities),
        log_scales=cloud.log_scales + torch.where(is_source, factor.log(), 0.0)[:, None],
    )
    total = max(len(cloud), int(targets[-1]) + 1)
    source = torch.arange(total, device=targets.device)
    source[targets] = picks
    is_fresh = torch.ones_like(source, dtype=torch.bool)
    is_fresh[: len(cloud)] = rows.is_fresh | is_source
    is_fresh[targets] = True
    return cloud.select(source), Rows(rows.parent[source], is_fresh)

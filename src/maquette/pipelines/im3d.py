"""IM-3D: sample a turntable of views, fit Gaussians to it, regenerate the views from renders, twice (arXiv 2402.08682).

One multi-view prior gives all the knowledge: the 3D object repairs where its views disagree, and the prior repairs what
the fit has blurred. This module does not know which prior it has, what the prompt means, or where the asset goes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core import (
    BadInput,
    Camera,
    Constant,
    Event,
    Exponential,
    NonFinite,
    Notice,
    Preview,
    Progress,
    Result,
    Scalar,
    Streams,
    prepare_folder,
    turntable,
)
from maquette.core.timing import timed
from maquette.diffusion import add_noise, alpha_bar_at
from maquette.guidance import color_loss, mask_loss, ms_ssim, perceptual
from maquette.io.checkpoint import load_own_state, save_state
from maquette.priors import Encoder, MultiviewPrior, with_coverage
from maquette.priors.sampling import ViewSampler, resized
from maquette.render import change_background, render_gaussians
from maquette.representations.gaussians import GaussianCloud, from_points
from maquette.representations.hull import hull_points
from maquette.training import density, optim, resume

ElevationEstimator = Callable[[Float[Tensor, "images height width 3"]], float]  # sRGB on white -> degrees


RATES = optim.Rates(
    means=Exponential(3e-3, 3e-4, 1200),
    log_scales=Constant(1e-2),
    quats=Constant(1e-2),
    logit_opacities=Constant(5e-2),
    sh=Constant(1e-2),
)
"""DreamGaussian's, with two to three times the rates of the shape (the paper gives none; `docs/papers/im3d.md`)."""

CONTROL = density.AdaptiveDensity(
    every=50, begin=0, end=1151, quantile=0.95, prune_opacity=0.05, prune_scale=0.1, reset_every=None, most=12_000
)
"""Every 50 steps, as in the paper; by quantile, because the gradients come from features; no opacity reset. Faint rows
go soon: kept, they are a fog around the object."""


@dataclass(frozen=True)
class Weights:
    """Of the terms of the loss: 10, 0.2 and 1 in the paper, without `color`."""

    perceptual: float = 10.0
    """Distance of feature maps; 0 leaves it out, as table 2 of the paper does."""
    ms_ssim: float = 0.2
    """One minus multi-scale structural similarity."""
    mask: float = 1.0
    """Squared difference of coverage."""
    color: float = 0.0
    """Squared difference of pixels, which table 2 puts in place of the perceptual term."""


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, encoder, prompt or picture, and seed."""

    views: int = 16
    """Views on the turntable; 16 in the paper, 8 and 4 in its table 3."""
    resolution: int = 128
    """Side of the renders that are compared with the views, px."""
    elevation_deg: float = 15.0
    """Elevation of all views, if it is not estimated from a picture."""
    candidates: int = 1
    """First samples; the one the encoder finds most like the prompt (or picture) goes on."""
    first_steps: int = 20
    """Solver steps of each first sample; two evaluations each with guidance."""
    guidance: float = 4.0
    """Classifier-free guidance scale; 1 is none."""
    guidance_rescale: float = 0.5
    """How much of the contrast that guidance adds is taken back, in [0, 1]."""
    rounds: int = 2
    """Regenerations (paper: 2)."""
    round_every: int = 500
    """Fitting steps before each regeneration."""
    refine_steps: int = 10
    """Solver steps of each regeneration (paper: 10)."""
    strengths: tuple[float, ...] = (0.5, 0.3)
    """The time to which the renders are noised, one for each round (not published)."""
    iterations: int = 1200
    """Fitting steps in all (paper: 1200)."""
    batch_views: int = 4
    """Views compared at each step."""
    init_points: int = 5000
    """Gaussians at the start (paper: 5000 at the centre of space)."""
    init_std: float = 0.15
    """Standard deviation of their centres, world units."""
    hull: float | None = None
    """Start inside of the visual hull of the first views instead: the share of them that may see nothing at a place."""
    weights: Weights = field(default_factory=Weights)
    """Of the terms of the loss."""
    rates: optim.Rates = RATES
    """Learning rates of the raw parameters."""
    control: density.AdaptiveDensity = CONTROL
    """When and where to clone, split and prune."""
    backgrounds: tuple[tuple[float, float, float], ...] = ((1.0, 1.0, 1.0),)
    """Colors (sRGB) that renders and views are laid over when they are compared, one after the other."""
    preview_every: int = 100
    """Steps between previews."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise BadInput(f"{self.candidates} candidates; expected at least 1", "raise candidates")
        if not 1 <= self.batch_views <= self.views:
            raise BadInput(
                f"{self.batch_views} views at a time of {self.views}; expected 1 to {self.views}", "lower batch_views"
            )
        if len(self.strengths) != self.rounds or not all(0 < strength <= 1 for strength in self.strengths):
            raise BadInput(
                f"strengths are {self.strengths} for {self.rounds} rounds; expected one in (0, 1] for each",
                "give as many strengths as rounds",
            )

    @property
    def regenerates_at(self) -> list[int]:
        """The steps before which the views are made anew."""
        return [self.round_every * (i + 1) for i in range(self.rounds) if self.round_every * (i + 1) < self.iterations]


PAPER = Config()
"""The published numbers, with four views a step."""
DEFAULT = replace(
    PAPER,
    candidates=8,
    first_steps=5,
    rounds=0,
    strengths=(),
    batch_views=1,
    iterations=600,
    rates=replace(RATES, means=Exponential(3e-3, 3e-4, 600)),
    control=replace(CONTROL, end=551),
    hull=0.2,
    backgrounds=((1.0, 1.0, 1.0), (0.5, 0.5, 0.5)),
)
"""The same 80 evaluations, all of them spent on eight first samples; a start in the hull of the best, half the steps of
the fit, one view in each. No regeneration: a small prior smooths its own work away (`docs/papers/im3d.md`)."""
TINY = Config(
    views=4, resolution=32, first_steps=2, rounds=1, round_every=2, refine_steps=1, strengths=(0.5,), iterations=4,
    batch_views=2, init_points=64,
    control=density.AdaptiveDensity(every=1, begin=0, end=4, quantile=0.9, reset_every=None, most=100),
    preview_every=2, checkpoint_every=1,
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config,
    prior: MultiviewPrior,
    encoder: Encoder,
    *,
    prompt: str,
    image: Float[Tensor, "side side channel"] | None = None,
    estimate_elevation: ElevationEstimator | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:
    """Make a `GaussianCloud` from words, or from a square sRGB picture on white (with coverage as a fourth channel).

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(cloud, report)`.
    """
    draw = Streams(seed)
    reference, elevation_deg = None, config.elevation_deg
    if image is not None:
        reference = with_coverage(resized(image[None], config.resolution)).to(prior.device)
        if estimate_elevation is not None:
            elevation_deg = float(estimate_elevation(reference[..., :3]))
            yield Notice(f"the picture looks down by {elevation_deg:.0f} degrees")
    camera = turntable(config.views, elevation_deg, size=config.resolution).to(prior.device)
    clean = None if reference is None else resized(reference[..., :3], prior.image_size)[0]
    condition = prior.condition(prompt, reference=clean, camera=None if clean is None else camera[0])
    options = {"guidance": config.guidance, "rescale": config.guidance_rescale}
    sampler = ViewSampler(prior, condition, camera, config.resolution, options, reference)

    state_file = None if checkpoint is None else prepare_folder(checkpoint) / "im3d.safetensors"
    identity = _identity(config, prior, prompt, reference, elevation_deg, seed)
    state = None if state_file is None else _load(state_file, identity, prior.device)
    if state is None:
        # Sample the turntable; start from grey points around the centre of space, or from the hull of the views.
        seconds: dict[str, float] = {}
        noises = [
            torch.randn(config.views, *prior.latent_shape, generator=draw.generator(f"noise/first/{i}"))
            for i in range(config.candidates)
        ]
        rgba = yield from sampler.best(encoder, noises, config.first_steps, seconds)
        cloud = _first_cloud(config, rgba, camera, draw).to(prior.device)
        state = _State(0, rgba, cloud, optim.start(cloud), density.start(cloud), seconds, sampler.evaluations)
        yield Preview(0, rgba[..., :3])
    else:
        yield Notice(f"continuing at step {state.step} of {config.iterations}")

    cloud, adam, noticed = optim.leaves(state.cloud), state.adam, state.noticed
    rgba, seconds = state.rgba, state.seconds
    sampler.evaluations = state.evaluations
    targets, white = on_backgrounds(config, encoder, rgba), rgba.new_ones(3)
    size = (config.resolution, config.resolution)
    for step in range(state.step, config.iterations):
        if step in config.regenerates_at:
            # Noise the renders and denoise them under the same condition; they are the new targets.
            strength = config.strengths[config.regenerates_at.index(step)]
            with torch.no_grad(), timed(seconds, "regenerate"):
                seen = render_gaussians(cloud, camera, background=white)
                renders = torch.cat([seen.color.clamp(0, 1), seen.alpha[..., None]], dim=-1)
                latents = prior.encode(resized(renders, prior.image_size))
                noise = torch.randn(latents.shape, generator=draw.generator(f"noise/{step}")).to(latents)
                noisy = add_noise(latents, noise, alpha_bar_at(prior.alphas_cumprod, strength))
            rgba = yield from sampler.views("regenerate", noisy, strength, config.refine_steps, seconds)
            targets, noticed = on_backgrounds(config, encoder, rgba), density.start(cloud)
            yield Preview(step, rgba[..., :3])

        with timed(seconds, "fit"):
            chosen, target = views_of_step(config, draw, step), targets[step % len(targets)]
            seen = render_gaussians(cloud, camera[chosen], background=target.background, probe=True)
            loss = image_loss(config.weights, encoder, seen.color, seen.alpha, target.of(chosen))
            loss.backward()
            noticed = density.observe(noticed, seen.screen_probe.grad, seen.radii_px, size)
            adam = optim.descend(config.rates, cloud, adam)
            if config.control.is_due(step + 1):
                generator = draw.generator(f"density/{step}")
                changed, noticed, rows = density.refine(config.control, cloud.detach(), noticed, generator)
                cloud, adam = optim.leaves(changed), optim.remap(adam, rows)

        done, value = step + 1, loss.item()
        if not math.isfinite(value):
            raise NonFinite(f"the loss is {value} at step {step}", "lower the learning rates")
        yield Scalar(step, "loss", value)
        if done % config.preview_every == 0:
            yield Preview(step, seen.color.detach().clamp(0, 1))
        if state_file is not None and (done % config.checkpoint_every == 0 or done == config.iterations):
            _save(state_file, identity, _State(done, rgba, cloud, adam, noticed, seconds, sampler.evaluations))
        yield Progress("fit", done, config.iterations)

    report = {
        "pipeline": "im3d",
        "prompt": prompt,
        "seed": seed,
        "elevation_deg": elevation_deg,
        "views": config.views,
        "iterations": config.iterations,
        "regenerated_at": config.regenerates_at,
        "evaluations": sampler.evaluations,
        "gaussians": len(cloud),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    yield Result(cloud.detach(), report)


def _first_cloud(
    config: Config, rgba: Float[Tensor, "views size size 4"], camera: Camera, draw: Streams
) -> GaussianCloud:
    if config.hull is not None:
        where = draw.generator("hull")
        points, colors = hull_points(rgba, camera, config.init_points, where, disagreeing=config.hull)
        if len(points):
            return from_points(points, colors)
    points = config.init_std * torch.randn(config.init_points, 3, generator=draw.generator("points"))
    return from_points(points, torch.full_like(points, 0.5))


@dataclass(frozen=True)
class Target:
    """Views over one background color, with their feature maps: made once, compared with many renders."""

    background: Float[Tensor, " 3"]
    color: Float[Tensor, "views size size 3"]
    alpha: Float[Tensor, "views size size"]
    features: list[Float[Tensor, "views _ _ _"]]

    def of(self, views: Int[Tensor, " chosen"]) -> "Target":
        """Some of the views."""
        return Target(self.background, self.color[views], self.alpha[views], [x[views] for x in self.features])


def views_of_step(config: Config, draw: Streams, step: int) -> Int[Tensor, " chosen"]:
    """Which views are compared at `step`: all of them in a random order before any comes again."""
    first = step * config.batch_views
    wanted = range(first, first + config.batch_views)
    orders = {
        epoch: torch.randperm(config.views, generator=draw.generator(f"order/{epoch}"))
        for epoch in {i // config.views for i in wanted}
    }
    return torch.stack([orders[i // config.views][i % config.views] for i in wanted])


@torch.no_grad()
def on_backgrounds(config: Config, encoder: Encoder, rgba: Float[Tensor, "views size size 4"]) -> list[Target]:
    """The views, which come on white, over every background of the run."""
    alpha, targets = rgba[..., 3], []
    for background in rgba.new_tensor(config.backgrounds):
        color = change_background(rgba[..., :3], alpha, rgba.new_ones(3), background)
        targets.append(Target(background, color, alpha, encoder.features(color)))
    return targets


def image_loss(
    weights: Weights,
    encoder: Encoder,
    color: Float[Tensor, "views size size 3"],
    alpha: Float[Tensor, "views size size"],
    target: "Target",
) -> Float[Tensor, ""]:
    """w_LPIPS L_LPIPS + w_SSIM L_MS-SSIM + w_mask L_mask, averaged over views; 0 costs nothing."""
    loss = color.new_zeros(len(color))
    if weights.perceptual > 0:
        loss = loss + weights.perceptual * perceptual(encoder.features(color), target.features)
    if weights.ms_ssim > 0:
        loss = loss + weights.ms_ssim * (1 - ms_ssim(color, target.color))
    if weights.mask > 0:
        loss = loss + weights.mask * mask_loss(alpha, target.alpha)
    if weights.color > 0:
        loss = loss + weights.color * color_loss(color, target.color)
    return loss.mean()


@dataclass(frozen=True)
class _State:
    """All that the rest of a run depends on; random streams are named by step, so they need no state."""

    step: int
    rgba: Float[Tensor, "views size size 4"]
    cloud: GaussianCloud
    adam: optim.AdamState
    noticed: density.DensityState
    seconds: dict[str, float]
    evaluations: int


def _identity(
    config: Config, prior: MultiviewPrior, prompt: str, reference: Tensor | None, elevation_deg: float, seed: int
) -> dict:
    """What must agree for a state to be continued, as plain values."""
    picture = None if reference is None else blake2b(reference.cpu().numpy().tobytes(), digest_size=16).hexdigest()
    return {
        "prompt": prompt,
        "seed": seed,
        "picture": picture,
        "elevation_deg": elevation_deg,
        "prior": [type(prior).__name__, prior.image_size, *prior.latent_shape],
        "config": repr(config),
    }


def _save(path: Path, identity: dict, state: _State) -> None:
    tensors, values = resume.pack(state.cloud, state.adam, state.noticed)
    values |= {"step": state.step, "seconds": state.seconds, "evaluations": state.evaluations}
    save_state(path, tensors | {"rgba": state.rgba}, values | {"identity": identity})


def _load(path: Path, identity: dict, device: torch.device) -> _State | None:
    loaded = load_own_state(path, identity, device)
    if loaded is None:
        return None
    tensors, values = loaded
    fit = resume.unpack(tensors, values)
    return _State(values["step"], tensors["rgba"], *fit, values["seconds"], values["evaluations"])

"""GE3D: every step is an edit of the renderings in 2D, noised without words and denoised with them (arXiv 2412.05929).

A grey ball, or a cloud from elsewhere, follows the edits from coarse to fine; then pictures edited from its renderings
are frozen, and the cloud is fitted to them. This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import (
    BadInput,
    Camera,
    Constant,
    Event,
    Exponential,
    Preview,
    Progress,
    Streams,
    orbit,
)
from maquette.core.timing import timed
from maquette.guidance import Distillation, Nodes, balancing, color_loss, ge3d, mask_loss, ms_ssim, reconstruct
from maquette.guidance.distillation import Latents
from maquette.guidance.ge3d import NEGATIVE
from maquette.priors import MultiviewPrior, with_coverage
from maquette.priors.sampling import resized
from maquette.render import render_gaussians
from maquette.representations.gaussians import GaussianCloud
from maquette.training import density, optim, short_loops
from maquette.training.descent import Loop, Moment, Outcome, descend
from maquette.training.orbits import EXTENT, Around, Widening
from maquette.training.text_to_cloud import Task
from maquette.training.variation import Regularisers, Variation

OFFSET_NOISE = 0.1
"""Standard deviation of what the noise of each channel has in common over all views and places."""


@dataclass(frozen=True)
class Ending:
    """The reconstructive ending: pictures edited from renderings all around, and a fit to them.

    The paper says that there is one; its code has none. The numbers are those of formation pattern sampling
    (DreamScene, arXiv 2404.03575), whose single step GE3D replaces by the whole way back.
    """

    circles: tuple[tuple[int, float], ...] = ((4, -10.0), (12, 5.0), (14, 15.0), (6, 35.0))
    """Cameras on each circle, and its elevation in degrees. A circle is a set for a multi-view prior."""
    radius: float = 2.56
    """Of the circles, world units; 0.9 of the evaluation's, as published."""
    fov_deg: float = 31.5
    """Vertical field of view."""
    nodes: Nodes = field(default_factory=lambda: Nodes(2, (75, 75), (100, 100), (200, 200)))
    """Of the edit (DreamScene: one jump of 75 to 150, below 200)."""
    guidance: float = 7.5
    """Classifier-free guidance scale of the edit."""
    iterations: int = 40
    """Fitting steps; 0 leaves the ending out."""
    batch_views: int = 18
    """Pictures compared at each step: half of them, as published."""
    color: float = 100.0
    """Weight of the squared difference of pixels."""
    ms_ssim: float = 0.0
    """Weight of one minus multi-scale structural similarity."""
    mask: float = 0.0
    """Weight of the squared difference of coverage."""
    loop: Loop = field(
        default_factory=lambda: Loop(
            rates=optim.Rates(
                means=Exponential(8e-4 * EXTENT, 8e-6 * EXTENT, 40),
                log_scales=Constant(5e-3),
                quats=Constant(1e-3),
                logit_opacities=Constant(5e-2),
                sh=Exponential(5e-3, 4e-3, 40),
            ),
            preview_every=10,
        )
    )
    """Of the fit."""


RATES = optim.Rates(
    means=Exponential(2e-4 * EXTENT, 1.6e-6 * EXTENT, 3000),
    log_scales=Exponential(5e-3, 1e-3, 3000),
    quats=Exponential(1e-3, 2e-4, 3000),
    logit_opacities=Constant(5e-2),
    sh=Exponential(1e-2, 3e-3, 3000),
)
CONTROL = density.AdaptiveDensity(
    every=100, begin=99, end=3000, gradient=7.5e-4, extent=EXTENT, split_scale=0.003, prune_opacity=0.005,
    prune_scale=0.1, revise_opacity=False, reset_every=300,
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt, first cloud, and seed. The defaults are published."""

    iterations: int = 3000
    """Steps of the distillation."""
    resolution: int = 512
    """Side of the renderings, px."""
    cameras: Widening | Around = field(default_factory=Widening)
    """Where each step looks from."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = NEGATIVE
    """Takes the place of "nothing said" in the guidance."""
    inversion: Literal["blank", "negative"] = "blank"
    """What is said on the way up: nothing (paper), or the negative text (code)."""
    nodes: Nodes = field(default_factory=Nodes)
    """How many times an edit visits, and which."""
    guidance: float = 7.5
    """Classifier-free guidance scale."""
    strength: float = 0.1
    """Factor on the gradient of the distillation; it counts against the regularisers."""
    balancing: float = 1 / 3
    """Width of the dynamic balancing coefficients, as a share of the run."""
    jacobian: Literal["identity", "sqrt_alpha"] = "identity"
    """See `maquette.guidance.ge3d`."""
    init_points: int = 100_000
    """Gaussians of the grey ball, where no cloud is given."""
    init_radius: float = 0.405
    """Its radius, world units."""
    loop: Loop = field(
        default_factory=lambda: Loop(
            rates=RATES, control=CONTROL, variation=Variation(background=0.66, scale_noise=0.112, flip=0.5),
            regularisers=Regularisers(1.0, 1.0, 1.0), preview_every=100, checkpoint_every=100,
        )
    )  # fmt: skip
    """How the cloud descends."""
    ending: Ending = field(default_factory=Ending)
    """The reconstruction after it."""

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.balancing <= 0:
            raise BadInput(
                f"{self.iterations} iterations and balancing {self.balancing}; expected at least 1, and more than 0",
                "raise them",
            )


PAPER = Config()
"""The published numbers, for image priors of 512 px."""
DEFAULT = Config(
    iterations=100,
    resolution=128,
    cameras=Around(),
    view_words=False,
    negative=None,
    nodes=Nodes(count=5, jump_min=(140, 60), jump_max=(170, 80), farthest=(900, 420)),
    guidance=3.0,
    init_points=4000,
    init_radius=0.4,
    loop=Loop(
        rates=optim.Rates(
            means=Exponential(5e-3, 5e-4, 100), log_scales=Exponential(2e-2, 2e-3, 100), quats=Constant(1e-2),
            logit_opacities=Exponential(1e-1, 1e-2, 100), sh=Exponential(4e-2, 4e-3, 100),
        ),
        control=density.AdaptiveDensity(
            every=20, begin=10, end=90, quantile=0.95, prune_opacity=0.05, prune_scale=0.1, reset_every=None,
            most=10_000,
        ),
    ),
    ending=Ending(
        circles=((16, 15.0),), radius=2.2, fov_deg=40.0,
        nodes=Nodes(count=10, jump_min=(55, 55), jump_max=(66, 66), farthest=(660, 660)), guidance=2.0,
        iterations=150, batch_views=4, color=10.0, ms_ssim=0.2, mask=1.0,
        loop=Loop(
            rates=optim.Rates(
                means=Exponential(2e-3, 2e-4, 150), log_scales=Constant(1e-2), quats=Constant(1e-2),
                logit_opacities=Constant(5e-2), sh=Constant(1e-2),
            ),
            control=density.AdaptiveDensity(
                every=50, begin=0, end=101, quantile=0.95, prune_opacity=0.05, prune_scale=0.1, reset_every=None,
                most=10_000,
            ),
        ),
    ),
)  # fmt: skip
"""Sized to the pocket prior. A small prior is nearly as sure without words as with them, so edits have no fixed point
and exaggerate for as long as they go on: a low guidance scale, falling rates, and an early end keep it in bounds."""
TINY = Config(
    iterations=4, resolution=32, cameras=Around(views=2), view_words=False, negative=None,
    nodes=Nodes(count=2, jump_min=(150, 150), jump_max=(200, 200), farthest=(500, 500)), init_points=64,
    loop=short_loops.TINY,
    ending=Ending(circles=((2, 15.0),), iterations=2, batch_views=1, radius=2.2, fov_deg=40.0),
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config,
    prior: MultiviewPrior,
    *,
    prompt: str,
    initial: GaussianCloud | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:
    """Make a `GaussianCloud` from words, starting from `initial` or a grey ball.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(cloud, report)`.
    """
    task = Task("ge3d", config, prior, prompt, seed, checkpoint)

    def guide(latents: Latents, moment: Moment) -> Distillation:
        nodes = config.nodes.sample(moment.progress, moment.generator, noise_levels=len(prior.alphas_cumprod))
        width = config.balancing * config.iterations
        weights = balancing(moment.step, config.iterations, pairs=config.nodes.count, width=width)
        return ge3d(
            latents, prior, task.words(moment.camera), moment.camera, nodes, weights, offset_noise(latents, moment),
            scale=config.guidance, strength=config.strength, inversion=config.inversion, jacobian=config.jacobian,
        )  # fmt: skip

    done = yield from task.distilled(guide, initial)
    cloud, evaluations, seconds = done.cloud, done.evaluations, dict(done.seconds)

    ending = config.ending
    if ending.iterations > 0:
        # Made again on a resumed run: the same pictures, for the price of a few steps.
        before = prior.evaluations
        circles, pictures = yield from edited(task, cloud, seconds)
        evaluations += prior.evaluations - before
        yield Preview(config.iterations, pictures[..., :3])
        done = yield from descend(
            ending.loop, cloud, prior, *_comparison(ending, circles, pictures, task.draw), steps=ending.iterations,
            stage="reconstruct", **task.kept("ending"),
        )  # fmt: skip
        cloud = done.cloud
        seconds |= {"reconstruct": seconds.get("reconstruct", 0.0) + done.seconds.get("reconstruct", 0.0)}
    yield task.result(cloud, evaluations, seconds)


def offset_noise(latents: Latents, moment: Moment) -> Latents:
    """Standard normal noise plus a little that whole channels share (section 4 of the official code)."""
    return moment.noise(latents) + OFFSET_NOISE * moment.noise(latents[:1, :, :1, :1])


def edited(
    task: Task, cloud: GaussianCloud, seconds: dict[str, float]
) -> Generator[Event, None, tuple[Camera, Float[Tensor, "views size size 4"]]]:
    """Pseudo ground truth on all circles: renderings noised and denoised along all nodes, then decoded."""
    config, prior, draw, cameras, pictures = task.config, task.prior, task.draw, [], []
    ending = config.ending
    for i, (count, elevation_deg) in enumerate(ending.circles):
        azimuth = torch.arange(count) * (360.0 / count)
        camera = orbit(azimuth, elevation_deg, radius=ending.radius, fov_deg=ending.fov_deg, size=config.resolution)
        camera = camera.to(prior.device)
        with torch.no_grad(), timed(seconds, "edit"):
            moment = Moment(config.iterations, 1.0, camera, draw.generator(f"edit/{i}"))
            seen = render_gaussians(cloud, camera, background=cloud.means.new_ones(3))
            renders = torch.cat([seen.color.clamp(0, 1), seen.alpha[..., None]], dim=-1)
            latents = prior.encode(resized(renders, prior.image_size))
            nodes = ending.nodes.sample(1.0, moment.generator, noise_levels=len(prior.alphas_cumprod))
            noise = offset_noise(latents, moment)
            latents = reconstruct(latents, prior, task.words(camera), camera, nodes, noise, scale=ending.guidance)
            pictures.append(with_coverage(resized(prior.decode(latents), config.resolution)))
        cameras.append(camera)
        yield Progress("edit", i + 1, len(ending.circles))
    return joined(cameras), torch.cat(pictures)


def joined(cameras: list[Camera]) -> Camera:
    """One batch of cameras of one size."""
    parts = [(camera.world_from_camera, camera.focal_px, camera.center_px) for camera in cameras]
    return Camera(*(torch.cat(column) for column in zip(*parts, strict=True)), cameras[0].height, cameras[0].width)


def _comparison(ending: Ending, circles: Camera, pictures: Tensor, draw: Streams):
    """What a step of the fit descends, and the cameras it sees: random views without repetition in a step."""
    count = min(ending.batch_views, len(circles))

    def chosen(step: int) -> Tensor:
        return torch.randperm(len(circles), generator=draw.generator(f"views/{step}"))[:count].to(pictures.device)

    def cameras(step: int) -> Camera:
        return circles[chosen(step)]

    def compare(cloud: GaussianCloud, moment: Moment) -> Outcome:
        wanted = pictures[chosen(moment.step)]
        seen = render_gaussians(cloud, moment.camera, background=cloud.means.new_ones(3), probe=True)
        loss = ending.color * color_loss(seen.color, wanted[..., :3]).sum()
        if ending.ms_ssim > 0:
            loss = loss + ending.ms_ssim * (1 - ms_ssim(seen.color, wanted[..., :3])).sum()
        if ending.mask > 0:
            loss = loss + ending.mask * mask_loss(seen.alpha, wanted[..., 3]).sum()
        return Outcome(loss, seen, {"loss": loss.item() / count})

    return compare, cameras

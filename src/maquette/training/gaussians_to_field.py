"""From Gaussians to a radiance field (Interactive3D, arXiv 2404.16510, eq. 7): fit a field to pictures of the cloud.

Independent Gaussians turn into needles under a prior; a field is one continuous thing and takes residual tables. Added
to the equation: an L1 term for coverage, a random background for each ray, views from all elevations.
This module does not know files or prompts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera, orbit
from maquette.core.errors import BadInput, NonFinite
from maquette.core.event import Event, Progress, Result, Scalar
from maquette.core.schedule import Exponential
from maquette.core.seed import Streams
from maquette.kernels.density import evaluate
from maquette.render.field import Field, march
from maquette.render.gaussians import render_gaussians
from maquette.representations.field import POCKET, FieldShape, HashField
from maquette.representations.gaussians import GaussianCloud
from maquette.representations.occupancy import OccupancyGrid, grown, update

FAINT = 0.02
"""Gaussians less opaque than this do not make the box larger."""
SLACK = 0.005
"""Cells with less matter than this at their centre, and no neighbour with more, stay empty."""
MARGIN_PX = 6
"""Rays this close to the silhouette are drawn too, so that nothing may float around it."""
REPORT_EVERY = 10


@dataclass(frozen=True)
class FieldFit:
    """What to fit, and for how long."""

    shape: FieldShape = POCKET
    """`half_size` and `sees_direction` are taken from the cloud."""
    steps: int = 300
    rays: int = 1024
    """Rays of a step."""
    views: int = 64
    """Pictures of the cloud, from directions spread evenly over the sphere."""
    size: int = 128
    """Their height and width in pixels."""
    samples: int = 128
    """Steps along the diagonal of the cube."""
    alpha_weight: float = 0.5
    """Weight of the coverage term."""
    table_rate: tuple[float, float] = (2e-2, 2e-3)
    """Learning rate of the table at the first and the last step; it falls exponentially."""
    network_rate: tuple[float, float] = (5e-3, 5e-4)
    """The same of the networks."""
    prune_every: int = 50
    """Steps between updates of the occupancy grid."""
    cells: int = 64
    """Cells along a side of the occupancy grid."""


class Distilled(NamedTuple):
    """What a renderer of fields takes."""

    field: HashField
    occupancy: OccupancyGrid


class Rays(NamedTuple):
    """Pixels as rays, and what they shall show."""

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    color: Float[Tensor, "rays 3"]
    """sRGB times coverage."""
    alpha: Float[Tensor, " rays"]


def gaussians_to_field(cloud: GaussianCloud, config: FieldFit | None = None, *, seed: int = 0) -> Iterator[Event]:
    """Fit a field to the pictures of a cloud; the result's asset is `Distilled`. Runs on the CPU.

    Density can only be where the cloud has some: the occupancy grid starts from the Gaussians. Raises BadInput if the
    cloud is empty or not finite, NonFinite if the fit diverges.
    """
    config = FieldFit() if config is None else config
    streams = Streams(seed)
    cloud = cloud.detach().to("cpu").to(torch.float32)
    half_size = extent(cloud)
    shape = replace(config.shape, half_size=half_size, sees_direction=cloud.sh_degree > 0)
    field = HashField(shape, generator=streams.generator("field"))
    support = grown(matter(cloud, half_size, config.cells) > SLACK)
    occupancy = OccupancyGrid(torch.zeros_like(support, dtype=torch.float32), half_size, support)
    step_length = 2 * math.sqrt(3) * half_size / config.samples

    camera = views_all_around(config.views, config.size, half_size)
    with torch.no_grad():
        seen = render_gaussians(cloud, camera)
    rays = rays_near(camera, seen.color, seen.alpha)
    draw = streams.generator("rays")
    optimizer = torch.optim.Adam(
        [{"params": [field.table]}, {"params": [*field.density_net.parameters(), *field.color_net.parameters()]}],
        betas=(0.9, 0.99), eps=1e-15, fused=True,
    )  # fmt: skip
    rates = [Exponential(*ends, config.steps) for ends in (config.table_rate, config.network_rate)]
    for step in range(config.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate(step)
        loss = ray_loss(
            field, rays, occupancy, count=config.rays, samples=config.samples, alpha_weight=config.alpha_weight,
            generator=draw,
        )  # fmt: skip
        if not math.isfinite(loss.item()):
            raise NonFinite(f"the loss is {loss.item()} at step {step} of the distillation", "lower table_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % config.prune_every == 0:
            occupancy = _pruned(occupancy, support, field, step_length, draw)
        if (step + 1) % REPORT_EVERY == 0:
            yield Scalar(step + 1, "loss", loss.item())
        yield Progress("distill", step + 1, config.steps)
    field.eval().requires_grad_(False)
    occupancy = _pruned(occupancy, support, field, step_length, draw)
    report = {"steps": config.steps, "loss": loss.item(), "occupied": float(occupancy.mask.float().mean())}
    yield Result(Distilled(field, occupancy), report)


def extent(cloud: GaussianCloud) -> float:
    """Half the side of the cube around the origin that holds what one can see, to three standard deviations.

    Raises BadInput if there is nothing to see or it has no finite size.
    """
    seen = cloud.select(cloud.opacities > FAINT)
    if len(seen) == 0:
        raise BadInput("the cloud has no visible Gaussians; expected at least one", "check the file or the fit")
    reach = float((seen.means.abs().amax(-1) + 3 * seen.scales.amax(-1)).max())
    if not (math.isfinite(reach) and reach > 0):
        raise BadInput("the cloud has no finite extent; expected finite means and positive scales", "drop such rows")
    return reach


def views_all_around(count: int, size: int, half_size: float) -> Camera:
    """Cameras on a Fibonacci sphere, from straight below to straight above, that look at the whole cube."""
    index = torch.arange(count) + 0.5
    elevation_deg = torch.rad2deg(torch.asin(2 * index / count - 1))
    azimuth_deg = index * (180 * (3 - math.sqrt(5)))
    return orbit(azimuth_deg, elevation_deg, radius=2.2 * half_size / 0.6, size=size)


def rays_near(
    camera: Camera, color: Float[Tensor, "views height width 3"], alpha: Float[Tensor, "views height width"]
) -> Rays:
    """The pixels on and near the silhouettes of pictures whose `color` is premultiplied."""
    window = 2 * MARGIN_PX + 1
    near = torch.nn.functional.max_pool2d(alpha[:, None], window, stride=1, padding=MARGIN_PX)[:, 0] > 1 / 255
    return Rays(*(rays[near] for rays in camera.rays()), color[near], alpha[near])


def ray_loss(
    field: Field,
    rays: Rays,
    occupancy: OccupancyGrid,
    *,
    count: int,
    samples: int,
    alpha_weight: float,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """L1 of `count` random rays, each over a background of its own (eq. 7), and of their coverage."""
    rows = torch.randint(len(rays.origins), (count,), generator=generator)
    behind = torch.rand(count, 3, generator=generator)
    seen = march(
        field, rays.origins[rows], rays.directions[rows], occupancy=occupancy, samples=samples, generator=generator
    )
    drawn = seen.color + (1 - seen.alpha)[:, None] * behind
    wanted = rays.color[rows] + (1 - rays.alpha[rows])[:, None] * behind
    return (drawn - wanted).abs().mean() + alpha_weight * (seen.alpha - rays.alpha[rows]).abs().mean()


def matter(cloud: GaussianCloud, half_size: float, cells: int) -> Float[Tensor, "x y z"]:
    """The density of the Gaussians, sum o exp(-d^2 / 2), in the middle of each cell of the field's cube."""
    step = 2 * half_size / cells
    scales = (cloud.scales.square() + (0.5 * step) ** 2).sqrt()  # nothing slips through between the centres
    origin = torch.full((3,), step / 2 - half_size)
    return evaluate(
        cloud.means, cloud.quats, scales, cloud.opacities, origin=origin, step=step, shape=(cells, cells, cells)
    )


def _pruned(
    occupancy: OccupancyGrid, support: Tensor, field: HashField, step: float, draw: torch.Generator
) -> OccupancyGrid:
    """Update what is occupied; never beyond the cloud, where no ray has taught the field anything."""
    occupancy = update(occupancy, field.density, step=step, generator=draw)
    return replace(occupancy, mask=occupancy.mask & support)

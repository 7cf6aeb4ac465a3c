"""Fit surfels to posed pictures with coverage, and to depth and normal maps where there are some (2DGS, section 5.2).

Surfels start on the visual hull and only move; there is no density control. Knows no files, prompts or priors.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput, NonFinite
from maquette.core.event import Event, Progress, Result, Scalar
from maquette.core.schedule import Exponential
from maquette.core.seed import Streams
from maquette.guidance.surface import normal_consistency
from maquette.render.rendering import Rendering
from maquette.render.surfels import render_surfels
from maquette.representations.isosurface import taubin_smooth
from maquette.representations.mesh import Mesh
from maquette.representations.surface import spread_over
from maquette.representations.surfels import SurfelCloud, from_oriented_points
from maquette.representations.tsdf import fuse, fused_mesh

REPORT_EVERY = 10


@dataclass(frozen=True)
class SurfelFit:
    """What to fit, and for how long."""

    surfels: int = 2000
    """About how many."""
    steps: int = 400
    views: int = 8
    """Of a step."""
    alpha_weight: float = 0.5
    """Of the L1 distance of coverages; that of colors has 1."""
    depth_weight: float = 5.0
    """Of the L1 distance of depths, in world units, where a depth map is given."""
    normal_weight: float = 0.2
    """Of 1 less the cosine between normals, where a normal map is given."""
    distortion_weight: float = 100.0
    """lambda_d: 1000 in the paper for bounded scenes, whose cameras stand about as far away as ours."""
    consistency_weight: float = 0.05
    """lambda_n of the paper."""
    regular_from: float = 0.25
    """Share of the steps after which the last two join in; in the paper 3000 and 7000 of 30 000."""
    mean_rate: tuple[float, float] = (2e-3, 1e-4)
    """Learning rate of the means, world units a step, at the first and the last step."""


def fit_surfels(
    rgba: Float[Tensor, "views height width 4"],
    camera: Camera,
    *,
    depth: Float[Tensor, "views height width"] | None = None,
    normal: Float[Tensor, "views height width 3"] | None = None,
    config: SurfelFit | None = None,
    seed: int = 0,
) -> Iterator[Event]:
    """Descend a cloud of surfels on views; the result's asset is a `SurfelCloud`.

    `rgba` is sRGB with coverage, not premultiplied; `depth` is along the camera axis in world units, 0 where nothing
    is; `normal` is unit in world axes, 0 where nothing is. A random background stands behind every step.
    Raises BadInput if the maps do not fit the cameras or show nothing, NonFinite if the fit diverges.
    """
    config = SurfelFit() if config is None else config
    shape = (len(camera), camera.height, camera.width)
    for name, image in (
        ("rgba", rgba[..., 0]),
        ("depth", depth),
        ("normal", None if normal is None else normal[..., 0]),
    ):
        if image is not None and tuple(image.shape) != shape:
            raise BadInput(f"{name} covers {tuple(image.shape)}; the cameras are {shape}", "pass one image per camera")
    streams = Streams(seed)
    surfels = hull_surfels(rgba[..., 3], camera, config.surfels).map(lambda raw: raw.clone().requires_grad_())
    raw = surfels.tensors()
    rates = {"log_scales": 5e-3, "quats": 5e-3, "logit_opacities": 5e-2, "sh": 1e-2}
    optimizer = torch.optim.Adam(
        [{"params": [raw["means"]]}, *({"params": [raw[name]], "lr": rate} for name, rate in rates.items())],
        eps=1e-15, fused=True,
    )  # fmt: skip
    rate = Exponential(*config.mean_rate, config.steps)
    draw = streams.generator("surfels")
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        chosen = torch.randperm(len(camera), generator=draw)[: config.views]
        background = torch.rand(3, generator=draw)
        maps = [image if image is None else image[chosen] for image in (rgba, depth, normal)]
        seen = render_surfels(surfels, camera[chosen], background=background)
        loss = view_loss(seen, *maps, background, config)
        if step >= config.regular_from * config.steps:
            lean = normal_consistency(seen.normal, seen.alpha, seen.depth, camera[chosen])
            loss = loss + config.distortion_weight * seen.distortion.mean() + config.consistency_weight * lean
        if not math.isfinite(loss.item()):
            raise NonFinite(f"the loss is {loss.item()} at step {step} of the surfel fit", "lower mean_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0:
            yield Scalar(step + 1, "loss", loss.item())
        yield Progress("surfels", step + 1, config.steps)
    yield Result(surfels.detach(), {"steps": config.steps, "loss": loss.item(), "surfels": len(surfels)})


def view_loss(
    seen: Rendering,
    rgba: Float[Tensor, "views height width 4"],
    depth: Float[Tensor, "views height width"] | None,
    normal: Float[Tensor, "views height width 3"] | None,
    background: Float[Tensor, " 3"],
    config: SurfelFit,
) -> Float[Tensor, ""]:
    """L1 of colors, coverage and depth, and 1 less the cosine of the normals; means over all pixels."""
    color, alpha = rgba[..., :3], rgba[..., 3]
    loss = (seen.color - torch.lerp(background, color, alpha[..., None])).abs().mean()
    loss = loss + config.alpha_weight * (seen.alpha - alpha).abs().mean()
    if depth is not None:
        is_solid = (depth > 0) & (alpha > 0.5) & (seen.alpha.detach() > 0.5)
        loss = loss + config.depth_weight * torch.where(is_solid, (seen.depth - depth).abs(), 0.0).mean()
    if normal is not None:
        lean = seen.alpha.detach() - (seen.normal * normal).sum(-1)
        loss = loss + config.normal_weight * torch.where((normal != 0).any(-1), lean, 0.0).mean()
    return loss


def hull_surfels(alpha: Float[Tensor, "views height width"], camera: Camera, count: int) -> SurfelCloud:
    """About `count` grey surfels, evenly over the surface of the visual hull. Raises BadInput if the hull is empty."""
    hull = fused_mesh(fuse(torch.zeros_like(alpha), alpha, camera, resolution=48))
    vertices = taubin_smooth(hull.vertices.double().numpy(), hull.faces.numpy(), rounds=10)
    hull = Mesh(torch.from_numpy(vertices).float(), hull.faces)
    # A face gets a point of its own at least, so take evenly from more than enough.
    face, weights = spread_over(hull, 4 * max(count, len(hull.faces)))
    points = (hull.vertices[hull.faces[face]] * weights[..., None]).sum(1)
    rows = torch.linspace(0, len(points) - 1, count).long()
    return from_oriented_points(points[rows], hull.face_normals()[face[rows]], torch.full((count, 3), 0.5), opacity=0.5)

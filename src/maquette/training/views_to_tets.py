"""From silhouettes and normal maps to a surface that learns (DMTet, Shen et al. 2021; losses of nvdiffrec, 2022).

No distance, no depth, no point is asked: only pictures. This module does not know who drew them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput, NonFinite
from maquette.core.event import Event, Progress, Result, Scalar
from maquette.core.schedule import Exponential, Linear
from maquette.core.seed import Streams
from maquette.render.surface import render_surface
from maquette.representations.sdf_grid import SdfGrid, from_silhouettes
from maquette.representations.smoothness import normal_consistency
from maquette.representations.tets import TetField, sign_changes

REPORT_EVERY = 10


@dataclass(frozen=True)
class TetFit:
    """What to fit, and for how long."""

    cells: int = 32
    """Cells along a side of the grid."""
    half_size: float = 0.6
    """The grid fills [-half_size, half_size]^3 world units."""
    steps: int = 150
    views: int = 2
    """Pictures of a step."""
    rate: tuple[float, float] = (3e-2, 3e-3)
    """Learning rate of distances and offsets, in cells, at the first and the last step; it falls exponentially."""
    normal_weight: float = 1.0
    """Weight of the squared difference of normals, times coverage."""
    sign_weight: tuple[float, float] = (0.02, 0.001)
    """Weight of contradicting neighbours; it falls linearly over the first quarter. A tenth of nvdiffrec's, which
    starts from noise: a hull has no inner walls, and where pictures say little Adam follows this term at full speed."""
    smooth_weight: float = 0.01
    """Weight of neighbouring faces that are turned against each other."""


def views_to_tets(
    camera: Camera,
    alpha: Float[Tensor, "cameras height width"],
    normal: Float[Tensor, "cameras height width 3"] | None = None,
    config: TetFit | None = None,
    *,
    start: SdfGrid | None = None,
    seed: int = 0,
) -> Iterator[Event]:
    """Fit a surface to the coverage and, if given, the normals (outward, times coverage) that cameras see, on the CPU.

    It begins with the visual hull of the silhouettes, or with `start`, whose grid it then takes; a surface moves a few
    cells in a hundred steps, and opens a hole only where a silhouette passes. The result's asset is a `TetField`.
    Raises BadInput if the pictures do not belong to the cameras or show nothing, NonFinite if the fit diverges.
    """
    config = TetFit() if config is None else config
    expected = (len(camera), camera.height, camera.width)
    if alpha.shape != expected or (normal is not None and normal.shape != (*expected, 3)) or len(camera) == 0:
        raise BadInput(
            f"pictures of shape {tuple(alpha.shape)} do not belong to the cameras; expected {expected}",
            "pass one picture of coverage and one of normals for each camera",
        )
    draw = Streams(seed).generator("views")
    camera, alpha = camera.to("cpu").to(torch.float32), alpha.detach().cpu().float()
    normal = None if normal is None else normal.detach().cpu().float()
    hull = start or from_silhouettes(alpha, camera, resolution=config.cells, half_size=config.half_size)
    tets = TetField(hull)
    optimizer = torch.optim.Adam(tets.parameters())
    rate, sign = Exponential(*config.rate, config.steps), Linear(*config.sign_weight, max(config.steps // 4, 1))
    for step in range(config.steps):
        chosen = torch.randperm(len(camera), generator=draw)[: config.views]
        mesh = tets.mesh()
        seen = render_surface(mesh, camera[chosen])
        loss = (seen.alpha - alpha[chosen]).square().mean()
        if normal is not None:
            loss = loss + config.normal_weight * (seen.normal - normal[chosen]).square().sum(-1).mean()
        if step % REPORT_EVERY == 0:
            yield Scalar(step, "loss", loss.item())
        loss = loss + sign(step) * sign_changes(tets.sdf) + config.smooth_weight * normal_consistency(mesh)
        if not torch.isfinite(loss):
            raise NonFinite(f"the loss of step {step} is NaN or infinite", "lower the learning rate")
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield Progress("tetrahedra", step + 1, config.steps)
    yield Result(tets)

"""Descending a surface and its colors under any score distillation: what Magic3D and ProlificDreamer do to meshes.

DMTet for the shape, a hash field for the albedo of whatever point one sees. It knows neither the guidance nor the
prior; the loop itself is `maquette.training.module_descent`.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core import Camera, Event, Streams
from maquette.core.schedule import Constant
from maquette.guidance import Distillation
from maquette.guidance.distillation import Latents
from maquette.priors import MultiviewPrior
from maquette.priors.sampling import resized
from maquette.render import Rendering
from maquette.render.shading import Shading
from maquette.render.surface import render_surface
from maquette.representations.field import HashField
from maquette.representations.mesh import Mesh
from maquette.representations.smoothness import laplacian, normal_consistency
from maquette.representations.tets import TetField, sign_changes
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Moment
from maquette.training.field_descent import Light
from maquette.training.module_descent import Done, Learner, Outcome, Pace, descend
from maquette.training.optim import Rate
from maquette.training.orbits import Around


@dataclass(frozen=True)
class SurfaceLoop:
    """How a surface descends, whatever it descends under. The defaults are threestudio's for Magic3D."""

    cameras: Anywhere | Around = field(default_factory=lambda: Anywhere(fov_deg=(30.0, 45.0)))
    """Where each step looks from."""
    resolution: int = 512
    """Side of the renderings, px."""
    shape_rate: Rate | None = field(default_factory=lambda: Constant(1e-2))
    """Learning rate of distances and offsets, in cells; None keeps the shape."""
    color_rate: Rate | None = field(default_factory=lambda: Constant(1e-2))
    """Learning rate of the albedo's table and networks; None keeps the colors."""
    smooth_normals: float = 10_000.0
    """Weight of neighbouring faces that are turned against each other, against the sum over one view's latents."""
    laplacian: float = 0.0
    """Weight of the squared distance of vertices from the middle of their neighbours, in squared world units."""
    sign_changes: float = 0.0
    """Weight of distances that contradict their neighbours (nvdiffrec)."""
    light: Light | None = field(default_factory=lambda: Light(unlit_steps=0, is_soft=True, around="axis"))
    """Of the renderings; None shows the albedo."""
    shows_normals: bool = False
    """Show the prior colors of normals in place of everything else (Fantasia3D, ProlificDreamer)."""
    pace: Pace = field(default_factory=lambda: Pace(200, 200))
    """Of previews and checkpoints."""


class Painted(NamedTuple):
    """A surface, and the field whose colors it has."""

    mesh: Mesh
    paint: HashField


class ColoredSurface(nn.Module):
    """DMTet and the field that colors it."""

    def __init__(self, tets: TetField, paint: HashField):
        super().__init__()
        self.tets, self.paint = tets, paint

    def look(self, mesh: Mesh, camera: Camera, shading: Shading | None = None) -> Rendering:
        """Pictures on white."""
        white = mesh.vertices.new_ones(3)
        return render_surface(
            mesh, camera, color=lambda points: self.paint(points, points)[1], shade=shading, background=white
        )

    @torch.no_grad()
    def painted(self) -> Painted:
        """What has been made, without gradients. Raises BadInput if nothing of the surface is left."""
        return Painted(self.tets.mesh(), self.paint)


def distill(
    loop: SurfaceLoop,
    surface: ColoredSurface,
    prior: MultiviewPrior,
    guide: Callable[[Latents, Moment], Distillation],
    *,
    steps: int,
    seed: int,
    shown: Camera,
    learners: dict[str, Learner] | None = None,
    afterwards: Callable[[], None] = lambda: None,
    state_file: Path | None = None,
    identity: dict | None = None,
    stage: str = "surface",
) -> Generator[Event, None, Done]:
    """Change the surface in place; the other arguments are those of `field_descent.distill`.

    Raises what `module_descent.descend` raises, and BadInput when nothing of the surface is left.
    """
    draw = Streams(seed)
    mesh = surface.tets.mesh()
    fixed = Mesh(mesh.vertices.detach(), mesh.faces) if loop.shape_rate is None else None

    def cameras(step: int) -> Camera:
        return loop.cameras.at(step, draw.generator(f"{stage}/cameras/{step}"), loop.resolution)

    def objective(moment: Moment) -> Outcome:
        mesh = surface.tets.mesh() if fixed is None else fixed
        shading = Shading("normal", moment.camera.position) if loop.shows_normals else None
        if shading is None and loop.light is not None:
            shading = loop.light.at(moment)
        seen = surface.look(mesh, moment.camera, shading)
        images = torch.cat([seen.color, seen.alpha[..., None]], dim=-1)
        push = guide(prior.encode(resized(images, prior.image_size)), moment)
        loss = push.loss / len(moment.camera)
        if fixed is None:
            loss = loss + roughness(loop, surface.tets, mesh)
        return Outcome(loss, {"gradient": push.gradient_norm, "faces": float(len(mesh.faces))}, afterwards)

    def picture() -> Tensor:
        return surface.look(surface.tets.mesh(), shown).color.clamp(0, 1)

    paint = [surface.paint.table, *surface.paint.density_net.parameters(), *surface.paint.color_net.parameters()]
    groups = [([surface.tets.sdf, surface.tets.offsets], loop.shape_rate), (paint, loop.color_rate)]
    return (
        yield from descend(
            surface, [(group, rate) for group, rate in groups if rate is not None], prior, objective, cameras,
            steps=steps, pace=loop.pace, picture=picture, seed=seed, stage=stage, learners=learners,
            state_file=state_file, identity=(identity or {}) | {"loop": repr(loop)},
        )
    )  # fmt: skip


def roughness(loop: SurfaceLoop, tets: TetField, mesh: Mesh) -> Float[Tensor, ""]:
    """The weighted sum of what is asked of a shape besides likeness."""
    total = loop.smooth_normals * normal_consistency(mesh) + loop.laplacian * laplacian(mesh)
    return total + loop.sign_changes * sign_changes(tets.sdf) if loop.sign_changes > 0 else total

"""What a pipeline made, as the Gaussians and the textured mesh that all files and pictures are written from."""

from dataclasses import replace

import torch
from torch import Tensor

from maquette.core import Camera
from maquette.render import render_field
from maquette.render.field import Field
from maquette.representations import GaussianCloud, Mesh, clean_mesh, field_to_mesh, gaussians_to_mesh, texture
from maquette.representations.discs import mesh_to_gaussians
from maquette.representations.point_latent import PointLatent
from maquette.representations.surfels import gaussians_from_surfels
from maquette.training.gaussians_to_field import Distilled
from maquette.training.surface_descent import Painted

TEXTURE_SIZE = 512
DISCS = 40_000


def shapes_of(made: GaussianCloud | PointLatent | Distilled | Painted, views: Camera) -> tuple[GaussianCloud, Mesh]:
    """Both shapes of an asset; `views` are cameras from which it is known to look right.

    The mesh of a field is where its density has the silhouettes that it shows; a surface is cleaned, and its field
    paints it anew. Gaussians of fields and surfaces are discs on the mesh. Raises BadInput if there is no surface.
    """
    if isinstance(made, PointLatent):
        made = gaussians_from_surfels(made.surfels)
    if isinstance(made, GaussianCloud):
        return made, gaussians_to_mesh(made, views=views)
    if isinstance(made, Distilled):
        with torch.no_grad():
            alpha = render_field(made.field, views, occupancy=made.occupancy).alpha
        mesh = field_to_mesh(_as_shown(made), half_size=made.occupancy.half_size, views=views, alpha=alpha)
    else:
        paint = made.paint.to("cpu")
        with torch.no_grad():
            mesh, _ = clean_mesh(made.mesh, texture_size=TEXTURE_SIZE)
            mesh = texture.paint(mesh, lambda points, normals: paint(points, -normals)[1], size=TEXTURE_SIZE)
    return mesh_to_gaussians(mesh, count=DISCS), mesh


def _as_shown(made: Distilled) -> Field:
    """The field on the CPU, and nothing where no renderer looks: what it says there, no picture ever taught it."""
    field, grid = made.field.to("cpu"), made.occupancy
    grid = replace(grid, thickness=grid.thickness.cpu(), mask=grid.mask.cpu())

    def within(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        density, color = field(points, directions)
        return torch.where(grid.is_occupied(points), density, 0.0), color

    return within

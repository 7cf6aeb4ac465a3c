"""Arrows from one representation to another that need no optimisation. This module does not know files or prompts."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera, look_at
from maquette.core.errors import BadInput
from maquette.kernels.splat3d import rasterize
from maquette.representations import isosurface, texture
from maquette.representations.field_surface import depth_grid
from maquette.representations.gaussians import GaussianCloud
from maquette.representations.mesh import Mesh
from maquette.representations.repair import Repairs, part, repair
from maquette.representations.surface import nearby_color

VIEWS, VIEW_SIZE = 24, 256
"""Cameras all around that stand in where the caller gives none."""
SMOOTHING = 6
"""Rounds of Taubin smoothing, which takes away the steps of the grid and the bumps of single Gaussians."""

MOST_FACES, LARGEST_TEXTURE = 200_000, 8192
"""Unwrapping takes minutes beyond the first; viewers refuse textures beyond the second."""
FIELD_LEVEL = 0.3
"""Optical depth below the surface of a field: a ray that half gets through has a little more than that on each side."""
FIELD_LEVELS = torch.logspace(-2, 0.3, 24).numpy()
"""Depths that may be the surface where silhouettes decide."""


def gaussians_to_mesh(
    cloud: GaussianCloud,
    *,
    views: Camera | None = None,
    images: Float[Tensor, "cameras height width 3"] | None = None,
    resolution: int = 96,
    faces: int = 8000,
    texture_size: int = 512,
    level: float | None = None,
) -> Mesh:
    """A closed, outward, textured triangle mesh of what the cloud shows.

    `views` are cameras from which the cloud is known to look right: those it was fitted to. Without them it is looked
    at from all around. `images` are what the views see, sRGB (renders of the cloud if None); surface that no view sees
    takes the colors of the nearest surface that one does. `resolution` counts grid cells along the longest side,
    `faces` is a limit, the texture has `texture_size` texels on each side.

    The surface is where the density of the Gaussians, sum o exp(-d^2 / 2), crosses `level`; by default the level whose
    silhouettes agree best with the rendered ones, so that few and many, hard and soft Gaussians give the same shape.
    Clouds look right at the image size they were fitted to; where that is unknown, pixels are as large as cells, which
    may thicken the shape by a cell and lets thin parts live.
    Density and not fused depth maps, because clouds fitted to pictures are fog a few cells deep: there the depth of a
    pixel lies behind the surface that one sees. On four low-poly objects fitted to 16 views, the mean distance between
    mesh and truth was 0.003 to 0.009 this way, and 0.004 to 0.013 with holes by fusing median depths.

    Raises BadInput if the cloud is empty, too faint or not finite, or if views and images do not fit.
    """
    check_budgets(resolution, faces, texture_size)
    if images is not None and (views is None or images.shape[:3] != (len(views), views.height, views.width)):
        raise BadInput(
            f"images of shape {tuple(images.shape)} do not belong to the views", "pass one image per camera, same size"
        )
    cloud = cloud.detach().to("cpu").to(torch.float32)
    grid = isosurface.density_grid(cloud, resolution)
    camera = _around_grid(grid) if views is None else views.to("cpu").to(torch.float32)
    if level is None:
        judge = _as_fine_as(grid, camera) if views is None else camera
        level = isosurface.silhouette_level(grid, judge, _render(cloud, judge)[1])

    mesh = texture.unwrap(_surface(grid, level, faces), texture_size)
    color, alpha = _render(cloud, camera)
    return texture.bake(mesh, camera, color if images is None else images.cpu().float(), alpha, size=texture_size)


def field_to_mesh(
    field: Callable[
        [Float[Tensor, "points 3"], Float[Tensor, "points 3"]],
        tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]],
    ],
    *,
    half_size: float,
    views: Camera | None = None,
    alpha: Float[Tensor, "cameras height width"] | None = None,
    resolution: int = 96,
    faces: int = 8000,
    texture_size: int = 512,
    level: float | None = None,
) -> Mesh:
    """A closed, outward mesh of a field (points, directions -> density a world unit, sRGB), painted by the field.

    It is looked for in [-half_size, half_size]^3, a certain optical depth below the outside (see `field_surface`): with
    `alpha`, the coverage that `views` see, as deep as its silhouettes ask for, without, FIELD_LEVEL; `level` overrides
    both. The other arguments are those of `gaussians_to_mesh`. Each texel takes the color that a view straight onto it
    has.

    Raises BadInput for NaN, for a field that is nowhere so thick, and for budgets out of range.
    """
    check_budgets(resolution, faces, texture_size)
    if (views is None) != (alpha is None):
        raise BadInput("views without coverage, or coverage without views", "give both or neither")
    with torch.no_grad():
        grid = depth_grid(field, half_size, resolution)
        if level is None:
            level = FIELD_LEVEL
            if views is not None:
                level = isosurface.silhouette_level(grid, views.to("cpu"), alpha.cpu(), levels=FIELD_LEVELS)
        mesh = texture.unwrap(_surface(grid, level, faces), texture_size)
        return texture.paint(mesh, lambda points, normals: field(points, -normals)[1], size=texture_size)


def clean_mesh(mesh: Mesh, *, faces: int = 8000, texture_size: int = 512) -> tuple[Mesh, Repairs]:
    """Any mesh as one with a single texture, within a budget of faces, as sound as `repair` makes it; and what it did.

    Colors come from the mesh as it was, whether on its faces, its vertices or in a texture. What is open by design
    stays open. Raises BadInput for a mesh without any area, for NaN, and for budgets out of range.
    """
    check_budgets(8, faces, texture_size)
    mesh = mesh.to("cpu")
    mended, done = repair(mesh)
    if len(mended.faces) > faces:
        vertices, triangles = isosurface.decimate(
            mended.vertices.double().numpy(), mended.faces.numpy(), faces, flake=1
        )
        vertices = part(vertices.astype(float), triangles)
        mended = Mesh(torch.from_numpy(vertices).float(), torch.from_numpy(triangles).long())
    flat = texture.unwrap(mended, texture_size)
    return texture.paint(flat, lambda points, normals: nearby_color(mesh, points, normals), size=texture_size), done


def check_budgets(resolution: int, faces: int, texture_size: int) -> None:
    """Refuse what no mesh can be made with, before any work."""
    if resolution < 8 or not 64 <= faces <= MOST_FACES or not 8 <= texture_size <= LARGEST_TEXTURE:
        raise BadInput(
            f"resolution {resolution}, faces {faces}, texture_size {texture_size}; expected at least 8, 64, 8, "
            f"at most {MOST_FACES} faces and {LARGEST_TEXTURE} texels",
            "the defaults are 96, 8000 and 512",
        )


def _surface(grid: isosurface.DensityGrid, level: float, faces: int) -> Mesh:
    vertices, triangles = isosurface.isosurface(grid, level)
    vertices = isosurface.taubin_smooth(vertices, triangles, rounds=SMOOTHING)
    vertices, triangles = isosurface.decimate(vertices, triangles, faces)
    vertices = part(vertices.astype(float), triangles)
    return Mesh(torch.from_numpy(vertices).float(), torch.from_numpy(triangles).long())


def _as_fine_as(grid: isosurface.DensityGrid, camera: Camera) -> Camera:
    """The cameras with pixels as large as cells."""
    extent = (torch.tensor(grid.density.shape) - 1) * grid.step
    distance = torch.linalg.vector_norm(camera.position - (grid.origin + extent / 2), dim=-1)
    pixel = float((distance / camera.focal_px[:, 1]).median())
    height = min(max(round(camera.height * pixel / grid.step), 16), 1024)
    return camera.resized(height, max(1, round(height * camera.width / camera.height)))


def _around_grid(grid: isosurface.DensityGrid) -> Camera:
    extent = (torch.tensor(grid.density.shape) - 1) * grid.step
    return around(grid.origin, grid.origin + extent)


def around(low: Float[Tensor, " 3"], high: Float[Tensor, " 3"], *, views: int = VIEWS, size: int = VIEW_SIZE) -> Camera:
    """Cameras on a Fibonacci sphere that see the whole box from `low` to `high`."""
    center, radius = (low + high) / 2, float(torch.linalg.vector_norm(high - low)) / 2
    index = torch.arange(views)
    height = 1 - (2 * index + 1) / views
    angle = index * math.pi * (3 - math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    directions = torch.stack([ring * angle.sin(), height, ring * angle.cos()], dim=-1)
    fov_deg = 40.0
    distance = radius / math.sin(math.radians(fov_deg / 2))
    return look_at(center + distance * directions, center, fov_deg=fov_deg, size=size)


def _render(cloud: GaussianCloud, camera: Camera) -> tuple[Tensor, Tensor]:
    """Color, freed from the background, and alpha; straight from the kernel, as renderers live a floor above."""
    drawn = rasterize(
        cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh, camera_from_world=camera.camera_from_world,
        focal_px=camera.focal_px, center_px=camera.center_px, height=camera.height, width=camera.width,
        background=torch.zeros(3),
    )  # fmt: skip
    return drawn.color / drawn.alpha.clamp(min=1 / 255)[..., None], drawn.alpha

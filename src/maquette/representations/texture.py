"""UV atlas of a mesh, and a texture baked from pictures of it or from colors in space. Knows not what made either."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.core.rotation import normalize
from maquette.kernels.bake import blend
from maquette.kernels.triangle import rasterize
from maquette.representations.mesh import Mesh

_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
PADDING_PX = 3
"""Texels between charts, so that bilinear lookups at their borders meet no neighbour."""
CENTRES = torch.zeros(1, 2)
TOUCHING = torch.tensor([(0.0, 0.0), *((r * x, r * y) for r in (0.5, 1.0) for x, y in _AROUND)])
"""Texels whose centre is up to one texel beside a face: a bilinear lookup at its border mixes them in."""
POINTS_AT_ONCE = 1 << 18
"""Texels that are asked for their color at once, which bounds memory."""
BARELY_SEEN, WELL_SEEN = 1e-4, 1e-2
"""Sums of weights (a square view counts 1): texels below the first take their color from texels above the second."""


@dataclass(frozen=True)
class Texels:
    """The texels of an atlas that lie on the surface, in row order."""

    inside: Bool[Tensor, "height width"]
    points: Float[Tensor, "texels 3"]
    normals: Float[Tensor, "texels 3"]


def unwrap(mesh: Mesh, size: int) -> Mesh:
    """The mesh with `uv` for a square texture of `size` texels; vertices on seams are doubled (xatlas).

    Colors on vertices go along; a texture is dropped.
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices.cpu().numpy(), mesh.faces.cpu().numpy().astype(np.uint32))
    pack = xatlas.PackOptions()
    pack.resolution, pack.padding = size, PADDING_PX
    atlas.generate(pack_options=pack)
    source, faces, uv = atlas[0]
    source = torch.from_numpy(source.astype(np.int64))
    colors = None if mesh.vertex_colors is None else mesh.vertex_colors[source]
    return replace(
        mesh, vertices=mesh.vertices[source], faces=torch.from_numpy(faces.astype(np.int64)), vertex_colors=colors,
        uv=(torch.from_numpy(uv) * (size - 2) + 1) / size,  # lookups at the border meet the border, not the other side
        texture=None,
    )  # fmt: skip


def texels(mesh: Mesh, size: int, *, reach: Float[Tensor, "offsets 2"] = CENTRES) -> Texels:
    """Where each texel of a square atlas lies on the mesh, by rasterising the atlas as a flat picture.

    A texel is looked for at the first of the offsets `reach` (in texels from its centre) that hits a face.
    """
    flat = torch.cat([mesh.uv * size, torch.ones(len(mesh.uv), 1)], dim=-1)
    index, weights = torch.full((size, size), -1), torch.zeros(size, size, 3)
    for offset in reach:
        found, _, barycentric = rasterize(
            flat, mesh.faces, camera_from_world=torch.eye(4)[None], focal_px=torch.ones(1, 2),
            center_px=-offset[None], height=size, width=size,
        )  # fmt: skip
        is_new = (index < 0) & (found[0] >= 0)
        index[is_new], weights[is_new] = found[0][is_new].long(), barycentric[0][is_new]
    inside = index >= 0
    corners = mesh.faces[index[inside]]
    shares = weights[inside][..., None]
    normals = normalize((mesh.vertex_normals()[corners] * shares).sum(1))
    return Texels(inside, (mesh.vertices[corners] * shares).sum(1), normals)


def bake(
    mesh: Mesh,
    camera: Camera,
    images: Float[Tensor, "cameras height width 3"],
    alpha: Float[Tensor, "cameras height width"],
    *,
    size: int,
) -> Mesh:
    """Paint an unwrapped mesh with what the pictures show of it; sRGB, `size` x `size` texels.

    A texel takes the mean of all views that see it, weighted by alpha, by how squarely they see it, and by whether
    silhouettes are near. Texels that no view sees well take the color of the seen ones nearest in space, texels
    between charts that of the nearest in the atlas. Raises BadInput if no view sees anything.
    """
    target = texels(mesh, size, reach=TOUCHING)
    lens = {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}
    _, depth, _ = rasterize(mesh.vertices, mesh.faces, **lens, height=camera.height, width=camera.width)
    pictures = torch.cat([images, alpha[..., None]], dim=-1)
    colors, weight = blend(target.points, target.normals, pictures=pictures, depth=depth, **lens)
    if not (weight > 0).any():
        raise BadInput("no view sees the mesh", "pass cameras that look at it from outside")
    well_seen = weight > min(WELL_SEEN, float(weight.max()) / 2)
    colors = _fill_from_neighbours(target.points, colors, weight < BARELY_SEEN, well_seen)
    return replace(mesh, texture=_spread(target.inside, colors))


def paint(
    mesh: Mesh,
    color_at: Callable[[Float[Tensor, "points 3"], Float[Tensor, "points 3"]], Float[Tensor, "points 3"]],
    *,
    size: int,
) -> Mesh:
    """Paint an unwrapped mesh with a function of world points and outward unit normals to sRGB.

    Texels beside a chart get the color of the place next to them, those farther away that of the nearest. Raises
    BadInput if the function answers with NaN.
    """
    target = texels(mesh, size, reach=TOUCHING)
    colors = torch.cat([
        color_at(target.points[start : start + POINTS_AT_ONCE], target.normals[start : start + POINTS_AT_ONCE])
        for start in range(0, len(target.points), POINTS_AT_ONCE)
    ])  # fmt: skip
    if not torch.isfinite(colors).all():
        raise BadInput("colors on the surface are NaN or infinite; expected sRGB in [0, 1]", "check what answers")
    return replace(mesh, texture=_spread(target.inside, colors.float()))


def _fill_from_neighbours(
    points: Float[Tensor, "texels 3"],
    colors: Float[Tensor, "texels 3"],
    is_wanting: Bool[Tensor, " texels"],
    is_giving: Bool[Tensor, " texels"],
) -> Float[Tensor, "texels 3"]:
    """Wanting texels become the mean of the four nearest giving ones in space, weighted by inverse distance."""
    from scipy.spatial import cKDTree

    givers = cKDTree(points[is_giving].numpy())
    distance, index = givers.query(points[is_wanting].numpy(), k=range(1, min(4, givers.n) + 1))
    share = 1 / (torch.from_numpy(distance) + 1e-6)
    share = (share / share.sum(-1, keepdim=True)).float()
    filled = colors.clone()
    filled[is_wanting] = torch.einsum("tk,tkc->tc", share, colors[is_giving][torch.from_numpy(index)])
    return filled


def _spread(inside: Bool[Tensor, "height width"], colors: Float[Tensor, "texels 3"]) -> Float[Tensor, "height width 3"]:
    """An image with `colors` where `inside` is true and the nearest of them elsewhere."""
    from scipy import ndimage

    image = torch.zeros(*inside.shape, 3)
    image[inside] = colors
    rows, columns = ndimage.distance_transform_edt(~inside.numpy(), return_distances=False, return_indices=True)
    return image[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()].clamp(0, 1)

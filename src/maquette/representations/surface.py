"""Points on the surface of a mesh, and its color there and nearby: where another mesh of the thing gets its paint."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.representations.mesh import Mesh

SAMPLES = 400_000
"""Points that stand for a surface; on an object of size 1 they lie about 0.003 apart."""
CANDIDATES = 8
"""Nearest samples that are asked which of them faces the same way."""


def surface_color(
    mesh: Mesh, face: Int[Tensor, " points"], barycentric: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3"]:
    """The sRGB color of points on a mesh, each given by its face and its place on it."""
    if mesh.texture is not None:
        uv = (mesh.uv[mesh.faces[face]] * barycentric[..., None]).sum(1)
        return sample_texture(mesh.texture, uv)
    if mesh.face_colors is not None:
        return mesh.face_colors[face]
    if mesh.vertex_colors is not None:
        return (mesh.vertex_colors[mesh.faces[face]] * barycentric[..., None]).sum(1)
    return torch.ones_like(barycentric)


def sample_texture(
    texture: Float[Tensor, "height width 3"], uv: Float[Tensor, "points 2"]
) -> Float[Tensor, "points 3"]:
    """Bilinear lookup; (0, 0) is the upper left corner of the upper left texel, and the texture repeats (glTF 2.0)."""
    height, width, _ = texture.shape
    x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
    left, top = x.floor(), y.floor()
    right_share, low_share = (x - left)[:, None], (y - top)[:, None]
    columns = [(left.long() + step) % width for step in (0, 1)]
    rows = [(top.long() + step) % height for step in (0, 1)]
    upper = torch.lerp(texture[rows[0], columns[0]], texture[rows[0], columns[1]], right_share)
    lower = torch.lerp(texture[rows[1], columns[0]], texture[rows[1], columns[1]], right_share)
    return torch.lerp(upper, lower, low_share)


def surface_points(mesh: Mesh, count: int, generator: torch.Generator) -> Float[Tensor, "points 3"]:
    """`count` points spread evenly by area over the triangles of `mesh`, drawn from a CPU stream."""
    corners = mesh.vertices.cpu()[mesh.faces.cpu()]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = torch.linalg.cross(one, two).norm(dim=-1)
    if not bool(area.sum() > 0):
        raise BadInput(f"a mesh of {len(corners)} triangles has no area to sample", "check what made the mesh")
    face = torch.multinomial(area.double(), count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, 1, generator=generator)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)  # fold the square onto the triangle
    return corners[face, 0] + u * one[face] + v * two[face]


def spread_over(mesh: Mesh, count: int) -> tuple[Int[Tensor, " points"], Float[Tensor, "points 3"]]:
    """About `count` points, at least one a face, evenly by area and without chance: faces, barycentric coordinates.

    Inside of a face they follow the R2 sequence (Roberts 2018), folded onto the triangle.
    """
    a, b, c = mesh.vertices[mesh.faces].double().unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=-1)
    if not float(area.sum()) > 0:
        raise BadInput("the mesh has no area; expected at least one face with one", "check what made it")
    each = (area / area.sum() * count).ceil().long().clamp(min=1)
    face = torch.repeat_interleave(torch.arange(len(area)), each)
    rank = torch.arange(len(face)) - (each.cumsum(0) - each)[face] + 1
    u, v = (rank * 0.7548776662466927) % 1, (rank * 0.5698402909980532) % 1
    is_beyond = u + v > 1
    u, v = torch.where(is_beyond, 1 - u, u), torch.where(is_beyond, 1 - v, v)
    return face, torch.stack([1 - u - v, u, v], dim=-1).float()


def nearby_color(
    mesh: Mesh, points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3"]:
    """The color of the mesh next to each point: of the nearest sample of its surface that faces the same way or back.

    A sample that stands across counts as farther away, so that colors stop at edges and thin walls have two sides.
    """
    from scipy.spatial import cKDTree

    face, barycentric = spread_over(mesh, SAMPLES)
    places = (mesh.vertices[mesh.faces[face]] * barycentric[..., None]).sum(1)
    tree = cKDTree(places.double().numpy())
    distance, index = tree.query(points.double().numpy(), k=range(1, min(CANDIDATES, tree.n) + 1))
    index = torch.from_numpy(index)
    across = 1 - (mesh.face_normals()[face][index] * normals[:, None]).sum(-1).abs()
    spacing = float(torch.from_numpy(distance[:, -1]).median())
    best = (torch.from_numpy(distance) + spacing * across).argmin(dim=1, keepdim=True)
    chosen = index.gather(1, best)[:, 0]
    return surface_color(mesh, face[chosen], barycentric[chosen])

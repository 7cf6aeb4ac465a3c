"""Triangles with colors or a texture. This module does not know files, cameras or where the triangles came from."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh: counter-clockwise faces are seen from outside; world axes +Y up, front +Z.

    Colors are sRGB in [0, 1]. Who draws or writes a mesh uses the first that is there: `texture` (with `uv`),
    `face_colors`, `vertex_colors`; none of them means white. `uv` has its origin at the upper left corner of the
    texture's first row, as in glTF; outside [0, 1] the texture repeats.

    Raises ValueError for counts that do not fit, indices out of range, and a texture without `uv`.
    """

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    vertex_colors: Float[Tensor, "vertices 3"] | None = None
    uv: Float[Tensor, "vertices 2"] | None = None
    texture: Float[Tensor, "height width 3"] | None = None
    face_colors: Float[Tensor, "faces 3"] | None = None

    def __post_init__(self):
        num_vertices, num_faces = len(self.vertices), len(self.faces)
        for name, rows, expected in (
            ("vertex_colors", self.vertex_colors, (num_vertices, 3)),
            ("uv", self.uv, (num_vertices, 2)),
            ("face_colors", self.face_colors, (num_faces, 3)),
        ):
            if rows is not None and tuple(rows.shape) != expected:
                raise ValueError(f"{name} has shape {tuple(rows.shape)}; expected {expected}")
        if self.texture is not None and self.uv is None:
            raise ValueError("the mesh has a texture and no uv; give uv (vertices, 2), or colors instead of a texture")
        if num_faces and not 0 <= int(self.faces.min()) <= int(self.faces.max()) < num_vertices:
            raise ValueError(
                f"faces refer to vertices {int(self.faces.min())} to {int(self.faces.max())}; "
                f"expected 0 to {num_vertices - 1}"
            )

    def to(self, device: torch.device | str) -> "Mesh":
        """The same mesh on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)

    def face_normals(self) -> Float[Tensor, "faces 3"]:
        """Unit normals of the faces; zero where a face has no area."""
        a, b, c = self.vertices[self.faces].unbind(1)
        return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-30)

    def vertex_normals(self) -> Float[Tensor, "vertices 3"]:
        """Unit normals of the vertices, faces weighted by area; +Y where no face with an area touches the vertex.

        Vertices at one and the same position share their normal, so that the seams of a uv atlas stay invisible.
        """
        a, b, c = self.vertices[self.faces].unbind(1)
        doubled_areas = torch.linalg.cross(b - a, c - a)
        places, place_of = torch.unique(self.vertices, dim=0, return_inverse=True)
        sums = torch.zeros_like(places)
        for corner in range(3):
            sums.index_add_(0, place_of[self.faces[:, corner]], doubled_areas)
        length = torch.linalg.vector_norm(sums, dim=-1, keepdim=True)
        up = torch.tensor([0.0, 1.0, 0.0], dtype=sums.dtype, device=sums.device)
        return torch.where(length > 1e-30, sums / length.clamp(min=1e-30), up)[place_of]

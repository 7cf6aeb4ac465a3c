"""Parts of a mesh file, each with its own material, joined into one mesh. This module does not know file formats.

One texture for everything stays a texture; no texture at all becomes vertex colors (none if all is white); a mixture
becomes face colors, each sampled in the middle of its face.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.color import linear_to_srgb, srgb_to_linear
from maquette.representations.mesh import Mesh


@dataclass(frozen=True)
class Piece:
    """Triangles with one material. `color` is linear light and multiplies the texture, which `texture` names."""

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    color: Float[Tensor, "vertices 3"]
    uv: Float[Tensor, "vertices 2"] | None = None
    texture: Hashable | None = None


def joined(pieces: Sequence[Piece], textures: dict[Hashable, Tensor]) -> Mesh:
    """One mesh of all pieces; `textures` are sRGB (height, width, 3) by the name that the pieces use."""
    vertices = torch.cat([piece.vertices for piece in pieces])
    offsets = torch.tensor([0] + [len(piece.vertices) for piece in pieces[:-1]]).cumsum(0)
    faces = torch.cat([piece.faces + offset for piece, offset in zip(pieces, offsets, strict=True)])
    color = torch.cat([piece.color for piece in pieces])
    is_white = bool((color == 1).all())
    if not textures:
        return Mesh(vertices, faces, vertex_colors=None if is_white else linear_to_srgb(color))
    if len({piece.texture for piece in pieces}) == 1 and bool((color == color[0]).all()):
        texture = textures[pieces[0].texture]
        if not is_white:
            texture = linear_to_srgb(srgb_to_linear(texture) * color[0])
        return Mesh(vertices, faces, uv=torch.cat([piece.uv for piece in pieces]), texture=texture)
    return Mesh(vertices, faces, face_colors=torch.cat([_face_colors(piece, textures) for piece in pieces]))


def _face_colors(piece: Piece, textures: dict[Hashable, Tensor]) -> Float[Tensor, "faces 3"]:
    linear = piece.color[piece.faces].mean(dim=1)
    if piece.texture is not None:
        texture = textures[piece.texture]
        size = torch.tensor([texture.shape[1], texture.shape[0]])
        texel = (piece.uv[piece.faces].mean(dim=1).remainder(1) * size).long().minimum(size - 1)
        linear = linear * srgb_to_linear(texture[texel[:, 1], texel[:, 0]])
    return linear_to_srgb(linear).clamp(0, 1)

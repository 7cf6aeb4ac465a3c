"""How rough a mesh is, as losses that surfaces are optimised with. This module does not know what made the mesh."""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.kernels.triangle.edges import edges_of
from maquette.representations.mesh import Mesh


def laplacian(mesh: Mesh) -> Float[Tensor, ""]:
    """Mean squared distance of the vertices from the mean of their neighbours, in squared world units."""
    a, b = edges_of(mesh.faces).ends.unbind(1)
    sums = torch.zeros_like(mesh.vertices).index_add(0, a, mesh.vertices[b]).index_add(0, b, mesh.vertices[a])
    ends = torch.cat([a, b])
    count = mesh.vertices.new_zeros(len(mesh.vertices)).index_add(0, ends, torch.ones_like(ends).to(mesh.vertices))
    return (mesh.vertices - sums / count.clamp(min=1)[:, None]).square().sum(-1)[count > 0].mean()


def normal_consistency(mesh: Mesh) -> Float[Tensor, ""]:
    """Mean of 1 - cos of the angle between the normals of faces that share an edge; 0 for a plane."""
    edges = edges_of(mesh.faces)
    pairs = edges.first[:-1][edges.first.diff() == 2]
    normals = mesh.face_normals()
    one, other = normals[edges.face[pairs]], normals[edges.face[pairs + 1]]
    return (1 - (one * other).sum(-1)).mean()

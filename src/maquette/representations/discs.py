"""From a mesh to Gaussians: flat discs on its surface, in its colors. This module does not know cameras."""

import math

import torch

from maquette.core.errors import BadInput
from maquette.core.rotation import matrix_to_quat, normalize
from maquette.representations.gaussians import SH_C0, GaussianCloud
from maquette.representations.mesh import Mesh
from maquette.representations.surface import spread_over, surface_color

THIN = 0.1
"""Thickness of a disc over its width."""
OVERLAP = 0.7
"""Width of a disc over the side of its share of the surface; wider ones blur, narrower ones leave gaps."""
OPACITY = 0.95


def mesh_to_gaussians(mesh: Mesh, *, count: int = 20_000) -> GaussianCloud:
    """About `count` discs, at least one a face, evenly by area; opaque, without view-dependent color.

    Pictures of it are softer than the mesh by about a disc. Raises BadInput for a mesh without area.
    """
    if count < 1:
        raise BadInput(f"{count} Gaussians; expected at least 1", "the default is 20,000")
    mesh = mesh.to("cpu")
    face, barycentric = spread_over(mesh, count)
    corners = mesh.vertices[mesh.faces[face]].float()
    a, b, c = corners.unbind(1)
    areas = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=-1) / 2
    share = areas / torch.bincount(face, minlength=len(mesh.faces))[face]  # of the surface, for each disc
    normal, along = mesh.face_normals()[face].float(), normalize(b - a)
    frame = torch.stack([along, torch.linalg.cross(normal, along), normal], dim=-1)
    is_flat = share > 0  # faces without area have no frame, and nothing to show
    width = (OVERLAP * share[is_flat].sqrt()).log()[:, None]
    colors = surface_color(mesh, face, barycentric)[is_flat]
    return GaussianCloud(
        means=(corners * barycentric[..., None]).sum(1)[is_flat],
        log_scales=torch.cat([width, width, width + math.log(THIN)], dim=1),
        quats=matrix_to_quat(frame[is_flat]),
        logit_opacities=torch.full((len(width),), math.log(OPACITY / (1 - OPACITY))),
        sh=((colors - 0.5) / SH_C0)[:, None, :],
    )

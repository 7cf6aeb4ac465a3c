"""The twin on CUDA: an adapter to gsplat (Apache-2.0), which is imported, and compiles its kernels, on first use."""

import torch
from torch import Tensor

from maquette.core.rotation import normalize, quat_to_matrix
from maquette.core.splat import gsplat_for, intrinsics_of
from maquette.kernels.splat3d import Rasterized
from maquette.kernels.splat3d.reference import LOW_PASS, NEAR, facing_normals
from maquette.kernels.splat3d.spherical_harmonics import sh_to_color


def rasterize(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, sh: Tensor,
    camera_from_world: Tensor, focal_px: Tensor, center_px: Tensor, background: Tensor, height: int, width: int,
    screen_probe: Tensor | None, normals: bool,
) -> Rasterized:  # fmt: skip
    """See `maquette.kernels.splat3d.rasterize`, which checks and fills in the arguments.

    gsplat projects by itself, so the probe is taken to be zero and only receives its gradient, in `.grad`.
    """
    gsplat = gsplat_for(means)
    eyes = -(camera_from_world[:, :3, :3].mT @ camera_from_world[:, :3, 3:]).squeeze(-1)
    channels = sh_to_color(sh, normalize(means - eyes[:, None]))
    if normals:
        channels = torch.cat([channels, facing_normals(quat_to_matrix(quats), scales, means, eyes)], dim=-1)
        background = torch.nn.functional.pad(background, (0, 3))
    intrinsics = intrinsics_of(focal_px, center_px)
    images, alpha, more = gsplat.rasterization(
        means, quats, scales, opacities, channels, camera_from_world, intrinsics, width, height,
        near_plane=NEAR, eps2d=LOW_PASS, packed=False, backgrounds=background, render_mode="RGB+ED",
    )  # fmt: skip
    if screen_probe is not None and screen_probe.requires_grad and more["means2d"].requires_grad:
        more["means2d"].register_hook(lambda grad: _add_grad(screen_probe, grad))
    radii = more["radii"].to(means.dtype)
    radii = radii.amax(dim=-1) if radii.ndim == 3 else radii  # one radius before gsplat 1.5, one per axis since
    normal = images[..., 3:6] if normals else None
    return Rasterized(images[..., :3], alpha.squeeze(-1), images[..., -1], normal, radii)


def _add_grad(leaf: Tensor, grad: Tensor) -> None:
    leaf.grad = grad.clone() if leaf.grad is None else leaf.grad + grad

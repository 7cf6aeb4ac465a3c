"""The twin on CUDA: an adapter to gsplat (Apache-2.0), which is imported, and compiles its kernels, on first use."""

import torch
from torch import Tensor

from maquette.core.splat import gsplat_for, intrinsics_of
from maquette.kernels.splat2d import Rasterized
from maquette.kernels.splat2d.reference import FAR, NEAR


def rasterize(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor,
    camera_from_world: Tensor, focal_px: Tensor, center_px: Tensor, background: Tensor, height: int, width: int,
) -> Rasterized:  # fmt: skip
    """See `maquette.kernels.splat2d.rasterize`, which checks and fills in the arguments.

    gsplat blends the depths of the centres, not those of the hits, and its own distortion is another one (absolute
    differences), so ours is made from two more channels: the first two moments of the mapped depth.
    """
    gsplat = gsplat_for(means)
    depth = means @ camera_from_world[:, 2, :3].T + camera_from_world[:, 2, 3]  # (surfels, cameras)
    mapped = FAR / (FAR - NEAR) * (1 - NEAR / depth.T.clamp(min=NEAR))
    channels = torch.cat(
        [colors.expand(len(background), len(means), 3), mapped[..., None], mapped.square()[..., None]], dim=-1
    )
    intrinsics = intrinsics_of(focal_px, center_px)
    images, alpha, normal, _, _, median, _ = gsplat.rasterization_2dgs(
        means, quats, torch.nn.functional.pad(scales, (0, 1), value=1.0), opacities, channels, camera_from_world,
        intrinsics, width, height, near_plane=NEAR, packed=False,
        backgrounds=torch.nn.functional.pad(background, (0, 2)), render_mode="RGB+ED",
    )  # fmt: skip
    alpha = alpha.squeeze(-1)
    distortion = (alpha * images[..., 4] - images[..., 3].square()).clamp(min=0)
    return Rasterized(images[..., :3], alpha, images[..., 5], median.squeeze(-1), normal, distortion)

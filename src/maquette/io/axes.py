"""Half turns between our axes and those of files, and what every splat reader must have checked at the end.

Three letters say where +X, +Y and +Z point, seen from the object: ours is LUF (left, up, front), as glTF. Gaussian PLY
files are RDF (right, down, front), SPZ files RUB (right, up, back) by their documentation. All three differ by half
turns about an axis, and a half turn of a Gaussian needs sign flips only: its local axes may be flipped freely, so
R' = A R A is as good as A R, and doing it twice gives back the same bits.
"""

from dataclasses import replace
from pathlib import Path

import torch

from maquette.core.errors import BadInput
from maquette.representations.gaussians import GaussianCloud

HALF_TURNS = {"LUF": (1, 1, 1), "RDF": (-1, -1, 1), "RUB": (-1, 1, -1)}
MAX_LOG_SCALE = 30.0  # e^30 units: beyond it covariances leave float32, and viewers have frozen whole machines


def half_turn(cloud: GaussianCloud, axes: str) -> GaussianCloud:
    """From our axes (LUF) to `axes`, or back: the same turn. Means, quaternions and all SH bands; an involution."""
    x, y, z = HALF_TURNS[axes]
    # Signs of the bands 1, 2, 3 with m ascending: each basis function is a monomial times an even polynomial.
    bands = (1, y, z, x, x * y, y * z, 1, x * z, 1, y, x * y * z, y, z, x, z, x)
    sh_signs = cloud.sh.new_tensor(bands[: cloud.sh.shape[1]])[:, None]
    return replace(
        cloud,
        means=cloud.means * cloud.means.new_tensor((x, y, z)) + 0.0,  # + 0.0 makes -0 a plain 0
        quats=cloud.quats * cloud.quats.new_tensor((1, y * z, x * z, x * y)) + 0.0,
        sh=cloud.sh * sh_signs + 0.0,
    )


def checked(cloud: GaussianCloud, path: str | Path) -> GaussianCloud:
    """The cloud, if it can be rendered: every number finite, no zero quaternion, no monstrous scale.

    Raises BadInput with the count of the Gaussians that cannot.
    """
    if len(cloud) == 0:
        raise BadInput(f"{path} holds no Gaussian", "export the file again")
    rows = torch.cat(
        [cloud.means, cloud.log_scales, cloud.quats, cloud.logit_opacities[:, None], cloud.sh.flatten(1)], 1
    )
    for count, fault in (
        (int((~rows.isfinite()).any(dim=1).sum()), "with NaN or infinite values"),
        (int((cloud.quats == 0).all(dim=1).sum()), "whose rotation is the zero quaternion"),
        (int((cloud.log_scales > MAX_LOG_SCALE).any(dim=1).sum()), f"with a log-scale above {MAX_LOG_SCALE:g}"),
    ):
        if count:
            raise BadInput(
                f"{path} holds {count} of {len(cloud)} Gaussians {fault}",
                "clean the file in a splat editor, or export it again",
            )
    return cloud

"""A cloud of surfels (2D Gaussians, Huang et al. 2024) as raw, unconstrained parameters; not how it is drawn or fitted.

The arrows to and from 3D Gaussians are here too: a surfel is a Gaussian without its shortest axis.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.rotation import matrix_to_quat, normalize, quat_to_matrix
from maquette.representations.gaussians import SH_C0, GaussianCloud, from_points

THIN = 0.01
"""What a flat Gaussian's third width is, in units of its narrower other one."""


@dataclass(frozen=True)
class SurfelCloud:
    """Rows of discs: `opacity * exp(-0.5 (u^2 + v^2))` at mean + u s_u t_u + v s_v t_v (2DGS, eq. 4)."""

    means: Float[Tensor, "surfels 3"]
    """World units."""
    log_scales: Float[Tensor, "surfels 2"]
    """Logarithms of the standard deviations along both tangents, in world units."""
    quats: Float[Tensor, "surfels 4"]
    """wxyz, of any length; the rotated x and y axes are the tangents, the rotated z axis is the normal."""
    logit_opacities: Float[Tensor, " surfels"]
    sh: Float[Tensor, "surfels coefficients 3"]
    """Spherical harmonics per color channel, 1, 4, 9 or 16 coefficients, in the order of the 3DGS code."""

    def __post_init__(self) -> None:
        n = len(self.means)
        shapes = tuple(tuple(tensor.shape) for tensor in self.tensors().values())
        if shapes[:4] != ((n, 3), (n, 2), (n, 4), (n,)) or shapes[4] not in {(n, k, 3) for k in (1, 4, 9, 16)}:
            raise BadInput(
                f"means, log_scales, quats, logit_opacities and sh have shapes {shapes}; expected (n, 3), (n, 2), "
                "(n, 4), (n,) and (n, k, 3) with k = 1, 4, 9 or 16",
                "give every tensor one row per surfel; surfels_from_gaussians makes them from 3D Gaussians",
            )

    def __len__(self) -> int:
        return len(self.means)

    def tensors(self) -> dict[str, Tensor]:
        """The five raw tensors by name, in a fixed order: what an optimiser descends and a checkpoint keeps."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def map(self, change: Callable[[Tensor], Tensor]) -> "SurfelCloud":
        """A cloud with `change` applied to every raw tensor."""
        return replace(self, **{name: change(tensor) for name, tensor in self.tensors().items()})

    @property
    def scales(self) -> Float[Tensor, "surfels 2"]:
        """Standard deviations along both tangents, in world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Float[Tensor, " surfels"]:
        """Opacities in (0, 1)."""
        return self.logit_opacities.sigmoid()

    @property
    def rgb(self) -> Float[Tensor, "surfels 3"]:
        """Colors without their dependence on the view, clamped at 0 as the renderer clamps them."""
        return (0.5 + SH_C0 * self.sh[:, 0]).clamp(min=0.0)

    @property
    def normals(self) -> Float[Tensor, "surfels 3"]:
        """Unit normals; either side may be the outside."""
        return quat_to_matrix(self.quats)[:, :, 2]

    def to(self, target: str | torch.device | torch.dtype) -> "SurfelCloud":
        """The same cloud on another device or in another float type."""
        return self.map(lambda tensor: tensor.to(target))

    def detach(self) -> "SurfelCloud":
        """The same values, cut from the graph of gradients."""
        return self.map(Tensor.detach)

    def select(self, rows: Bool[Tensor, " surfels"] | Int[Tensor, " rows"] | slice) -> "SurfelCloud":
        """The rows where a mask is true, or those at the given indices in their order."""
        return self.map(lambda tensor: tensor[rows])


def from_oriented_points(
    points: Float[Tensor, "surfels 3"],
    normals: Float[Tensor, "surfels 3"],
    colors: Float[Tensor, "surfels 3"],
    *,
    opacity: float = 0.1,
) -> SurfelCloud:
    """Round surfels at `points` across `normals` (any length) with rgb `colors`, each as wide as its neighbourhood.

    Widths as in `from_points`. Raises BadInput for points, normals or colors that are not finite.
    """
    if not torch.isfinite(normals).all():
        raise BadInput("normals hold NaN or infinity; expected finite numbers", "drop those rows")
    cloud = from_points(points, colors, opacity=opacity)
    x, y, z = normalize(normals).unbind(-1)
    # The shortest turn from +z to the normal; half a turn about x where that is undefined.
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(z)], dim=-1)
    flipped = quats.new_tensor([0.0, 1.0, 0.0, 0.0]).expand_as(quats)
    quats = torch.where((z < -0.9999)[:, None], flipped, quats)
    return SurfelCloud(cloud.means, cloud.log_scales[:, :2], normalize(quats), cloud.logit_opacities, cloud.sh)


def surfels_from_gaussians(cloud: GaussianCloud) -> SurfelCloud:
    """The discs that remain when every Gaussian loses its shortest axis, which becomes the normal."""
    shortest = cloud.log_scales.argmin(dim=-1, keepdim=True)
    kept = (shortest + torch.tensor([1, 2], device=shortest.device)) % 3
    order = torch.cat([kept, shortest], dim=-1)  # a cyclic order of the axes, so that it stays a rotation
    axes = quat_to_matrix(cloud.quats).take_along_dim(order[:, None, :], dim=-1)
    scales = cloud.log_scales.take_along_dim(kept, dim=-1)
    return SurfelCloud(cloud.means, scales, matrix_to_quat(axes), cloud.logit_opacities, cloud.sh)


def gaussians_from_surfels(surfels: SurfelCloud, *, thin: float = THIN) -> GaussianCloud:
    """Gaussians of the same two widths whose third is `thin` times the narrower: what any splat viewer can show."""
    if not 0 < thin <= 1:
        raise BadInput(f"thin is {thin}; expected more than 0 and at most 1", f"the default is {THIN}")
    third = surfels.log_scales.amin(dim=-1, keepdim=True) + math.log(thin)
    scales = torch.cat([surfels.log_scales, third], dim=-1)
    return GaussianCloud(surfels.means, scales, surfels.quats, surfels.logit_opacities, surfels.sh)

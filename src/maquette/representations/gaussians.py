"""A cloud of 3D Gaussians (Kerbl et al. 2023) as raw, unconstrained parameters; not how it is drawn or fitted."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core.errors import BadInput

SH_C0 = 0.28209479177387814
"""The constant spherical harmonic: rgb = 0.5 + SH_C0 * sh[:, 0]."""


@dataclass(frozen=True)
class GaussianCloud:
    """Rows of Gaussians: `opacity * exp(-0.5 d^T Sigma^-1 d)` with `Sigma = R diag(scales^2) R^T`, not normalised."""

    means: Float[Tensor, "gaussians 3"]
    """World units."""
    log_scales: Float[Tensor, "gaussians 3"]
    """Logarithms of the standard deviations along the local axes, in world units."""
    quats: Float[Tensor, "gaussians 4"]
    """wxyz, of any length; the zero quaternion counts as no rotation."""
    logit_opacities: Float[Tensor, " gaussians"]
    sh: Float[Tensor, "gaussians coefficients 3"]
    """Spherical harmonics per color channel, 1, 4, 9 or 16 coefficients, in the order of the 3DGS code."""

    def __post_init__(self) -> None:
        n = len(self.means)
        shapes = tuple(tuple(tensor.shape) for tensor in self.tensors().values())
        if shapes[:4] != ((n, 3), (n, 3), (n, 4), (n,)) or shapes[4] not in {(n, k, 3) for k in (1, 4, 9, 16)}:
            raise BadInput(
                f"means, log_scales, quats, logit_opacities and sh have shapes {shapes}; expected (n, 3), (n, 3), "
                "(n, 4), (n,) and (n, k, 3) with k = 1, 4, 9 or 16",
                "give every tensor one row per Gaussian",
            )

    def __len__(self) -> int:
        return len(self.means)

    def tensors(self) -> dict[str, Tensor]:
        """The five raw tensors by name, in a fixed order: what an optimiser descends and a checkpoint keeps."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def map(self, change: Callable[[Tensor], Tensor]) -> "GaussianCloud":
        """A cloud with `change` applied to every raw tensor."""
        return replace(self, **{name: change(tensor) for name, tensor in self.tensors().items()})

    @property
    def scales(self) -> Float[Tensor, "gaussians 3"]:
        """Standard deviations along the local axes, in world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Float[Tensor, " gaussians"]:
        """Opacities in (0, 1)."""
        return self.logit_opacities.sigmoid()

    @property
    def rgb(self) -> Float[Tensor, "gaussians 3"]:
        """Colors without their dependence on the view, clamped at 0 as the renderer clamps them."""
        return (0.5 + SH_C0 * self.sh[:, 0]).clamp(min=0.0)

    @property
    def sh_degree(self) -> int:
        """0 to 3."""
        return {1: 0, 4: 1, 9: 2, 16: 3}[self.sh.shape[1]]

    def to(self, target: str | torch.device | torch.dtype) -> "GaussianCloud":
        """The same cloud on another device or in another float type."""
        return self.map(lambda tensor: tensor.to(target))

    def detach(self) -> "GaussianCloud":
        """The same values, cut from the graph of gradients."""
        return self.map(Tensor.detach)

    def select(self, rows: Bool[Tensor, " gaussians"] | Int[Tensor, " rows"] | slice) -> "GaussianCloud":
        """The rows where a mask is true, or those at the given indices in their order."""
        return self.map(lambda tensor: tensor[rows])

    @staticmethod
    def cat(clouds: Sequence["GaussianCloud"]) -> "GaussianCloud":
        """All rows of all clouds; lower degrees of spherical harmonics are filled up with zeros."""
        if not clouds:
            raise BadInput("no clouds to join; expected at least one", "pass a list of clouds")
        most = max(cloud.sh.shape[1] for cloud in clouds)
        filled = [
            replace(cloud, sh=torch.nn.functional.pad(cloud.sh, (0, 0, 0, most - cloud.sh.shape[1])))
            for cloud in clouds
        ]
        return GaussianCloud(
            *(torch.cat(columns) for columns in zip(*(c.tensors().values() for c in filled), strict=True))
        )


def from_points(
    points: Float[Tensor, "gaussians 3"], colors: Float[Tensor, "gaussians 3"], *, opacity: float = 0.1
) -> GaussianCloud:
    """Round Gaussians at `points` with rgb `colors` in [0, 1], each as wide as its neighbourhood (Kerbl et al. 2023).

    The standard deviation is the root mean square distance to the three nearest other points, at least 1e-7; a point
    that has no neighbours gets 0.01 world units.
    """
    from scipy.spatial import cKDTree  # here, because reading a cloud must not cost an import of scipy

    if not 0.0 < opacity < 1.0:
        raise BadInput(f"opacity is {opacity}; expected a number between 0 and 1", "the default is 0.1")
    if not (torch.isfinite(points).all() and torch.isfinite(colors).all()):
        raise BadInput("points or colors hold NaN or infinity; expected finite numbers", "drop those rows")
    n = len(points)
    neighbours = min(3, n - 1)
    spread = points.new_full((n,), 0.01)
    if neighbours > 0:
        where = points.detach().cpu().double().numpy()
        distance, _ = cKDTree(where).query(where, k=range(2, neighbours + 2))
        spread = torch.from_numpy(distance).square().mean(dim=-1).sqrt().clamp(min=1e-7).to(points)
    return GaussianCloud(
        means=points.clone(),
        log_scales=spread.log()[:, None].repeat(1, 3),
        quats=points.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        logit_opacities=torch.logit(points.new_full((n,), opacity)),
        sh=((colors - 0.5) / SH_C0)[:, None, :],
    )


def state_hash(cloud: GaussianCloud) -> str:
    """32 hexadecimal digits that agree exactly when every raw value agrees bit for bit, whatever the device."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in cloud.tensors().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy())
    return digest.hexdigest()

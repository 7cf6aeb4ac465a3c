"""The state of a fit of Gaussians as named tensors and plain values, for a checkpoint. Knows no files and no losses."""

from torch import Tensor

from maquette.representations.gaussians import GaussianCloud
from maquette.training.density import DensityState
from maquette.training.optim import AdamState


def pack(cloud: GaussianCloud, adam: AdamState, noticed: DensityState) -> tuple[dict[str, Tensor], dict]:
    """Everything that the next step of the fit depends on; the tensors are those of the fit, not copies."""
    groups = {"cloud": cloud.tensors(), "exp_avg": adam.exp_avg, "exp_avg_sq": adam.exp_avg_sq}
    tensors = {f"{group}.{name}": x for group, part in groups.items() for name, x in part.items()}
    tensors |= {
        "density.gradient_sum": noticed.gradient_sum,
        "density.seen": noticed.seen,
        "density.radius_max": noticed.radius_max,
    }
    return tensors, {"adam_step": adam.step, "resets": noticed.resets}


def unpack(tensors: dict[str, Tensor], values: dict) -> tuple[GaussianCloud, AdamState, DensityState]:
    """The inverse of `pack`; names that it did not make are left alone. The cloud has no gradients yet."""

    def group(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): x for key, x in tensors.items() if key.startswith(f"{name}.")}

    return (
        GaussianCloud(**group("cloud")),
        AdamState(group("exp_avg"), group("exp_avg_sq"), values["adam_step"]),
        DensityState(**group("density"), resets=values["resets"]),
    )

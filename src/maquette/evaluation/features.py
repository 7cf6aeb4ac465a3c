"""What a named network says of many samples: the rows that distances between sets are measured in.

A distance means nothing without the network that it was measured with, so rows never travel without its name. This
module does not know pictures from points.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput, NonFinite


@dataclass(frozen=True)
class Network:
    """Any function from a batch of samples to one row of features for each, and what to call it in reports.

    An encoder of pictures is given as `Network("pocket judge", load_judge().embed_image)`; a CLIP or DINO of the user,
    or Inception, in the same way.
    """

    name: str
    embed: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Features:
    """Rows of features in float64, and the name of the network that they come from.

    Raises BadInput for fewer than two rows, and NonFinite for NaN or infinity.
    """

    network: str
    rows: Float[Tensor, "samples features"]

    def __post_init__(self) -> None:
        if len(self.rows) < 2:
            raise BadInput(
                f"there are features of {len(self.rows)} samples; expected at least 2, because one has no spread",
                "give more samples",
            )
        if not torch.isfinite(self.rows).all():
            raise NonFinite(f"features of {self.network} hold NaN or infinity", "look at the samples that it was given")
        object.__setattr__(self, "rows", self.rows.detach().cpu().double())

    def __len__(self) -> int:
        return len(self.rows)


@torch.no_grad()
def extract(network: Network, samples: Float[Tensor, "samples *shape"], *, batch: int = 64) -> Features:
    """The features of all samples, `batch` at a time."""
    if len(samples) == 0:
        raise BadInput("there are no samples to look at; expected at least 2", "give more samples")
    return Features(network.name, torch.cat([network.embed(block).double().cpu() for block in samples.split(batch)]))


def check_comparable(a: Features, b: Features) -> None:
    """Raises BadInput unless both come from the same network."""
    if a.network != b.network or a.rows.shape[1] != b.rows.shape[1]:
        raise BadInput(
            f"features of {a.network} ({a.rows.shape[1]} wide) cannot be compared with features of {b.network} "
            f"({b.rows.shape[1]} wide)",
            "look at both sets with the same network",
        )

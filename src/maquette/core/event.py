"""Everything that a run ever says. The command line, a notebook, a worker and a test read the same stream.

A run is a generator of events: pausing is not asking for the next one, cancelling is closing it. This module does not
know who listens.
"""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """`step` of `total` steps of the named stage are done."""

    stage: str
    step: int
    total: int


@dataclass(frozen=True)
class Scalar:
    """A number worth plotting, such as a loss."""

    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Preview:
    """What the asset looks like now. Previews replace one another: a slow reader may drop all but the last."""

    step: int
    images: Float[Tensor, "images height width 3"]  # sRGB in [0, 1]


@dataclass(frozen=True)
class Notice:
    """A sentence that a person should read once."""

    text: str


@dataclass(frozen=True)
class Result:
    """The last event of every run: the asset, and a report (plain JSON values) of how it came to be."""

    asset: object
    report: dict = field(default_factory=dict)


Event = Progress | Scalar | Preview | Notice | Result

"""Which prior a run asks, as a person names it.

Nothing heavy is imported here, so that a mistake is answered at once.
"""

from dataclasses import dataclass

from maquette.core.errors import BadInput
from maquette.priors.hub import Family, family_of

PRECISIONS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Source:
    """A prior by its name, and how to read it."""

    name: str = "pocket"
    """"pocket", a diffusers folder, or a hub id."""
    revision: str | None = None
    """Of a hub id: a branch, a tag, or a commit, which pins it."""
    is_offline: bool = False
    """Whether to use only what is on this machine."""
    dtype: str | None = None
    """Of the weights, one of `PRECISIONS`; None leaves the choice to the family."""

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in PRECISIONS:
            raise BadInput(f"dtype is {self.dtype!r}", f"choose one of {', '.join(PRECISIONS)}")

    def family(self) -> Family:
        """How to load it; `BadInput` within seconds for one that is neither here nor within reach."""
        return family_of(self.name, revision=self.revision, is_offline=self.is_offline)

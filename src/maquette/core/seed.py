"""Named streams of random numbers: the same seed and the same name give the same numbers on every machine.

A stream does not depend on how many numbers other streams have drawn, so a run that resumes in the middle, or that
draws its preview noise in another order, ends in the same asset.
"""

from dataclasses import dataclass
from hashlib import blake2b

import torch

from maquette.core.inputs import check_seed


@dataclass(frozen=True)
class Streams:
    """The random streams of one run, from one `seed` with 0 <= seed < 2**63."""

    seed: int

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def generator(self, name: str) -> torch.Generator:
        """A fresh CPU generator at the start of the stream `name`; the same call twice gives the same numbers.

        Put the step into the name (`f"noise/{step}"`) where a run must be able to resume. Numbers are drawn on the
        CPU and then moved, so that they do not depend on the device.
        """
        key = self.seed.to_bytes(8, "little")
        digest = blake2b(name.encode(), digest_size=8, key=key).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)

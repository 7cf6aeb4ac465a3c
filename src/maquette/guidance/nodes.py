"""Random time nodes for guidance that walks along a trajectory (GE3D and formation pattern sampling)."""

from dataclasses import dataclass

import torch

from maquette.core import BadInput
from maquette.diffusion import time_of


@dataclass(frozen=True)
class Nodes:
    """How the time nodes are drawn; each pair is the value at the beginning and at the end of the run.

    In levels of the prior's table; the defaults are those of the published configurations, for tables of 1000.
    """

    count: int = 6  # jumps at most; 5 to 8 are sane
    jump_min: tuple[int, int] = (60, 30)
    jump_max: tuple[int, int] = (80, 50)  # not reached
    farthest: tuple[int, int] = (480, 300)  # not reached

    def sample(self, progress: float, generator: torch.Generator, *, noise_levels: int = 1000) -> tuple[float, ...]:
        """Rising times for one step from entry 0 on: at most `count` random jumps, fewer where they go too far."""
        low, high, farthest = (moved(ends, progress) for ends in (self.jump_min, self.jump_max, self.farthest))
        levels = [0]
        for _ in range(self.count):
            level = levels[-1] + int(torch.randint(low, high, (), generator=generator))
            if level >= farthest:
                break
            levels.append(level)
        if len(levels) == 1:
            raise BadInput(f"no jump from {low} to {high} stays below {farthest} levels", "draw shorter jumps")
        return tuple(time_of(level, noise_levels) for level in levels)


def moved(ends: tuple[int, int], progress: float) -> int:
    """From the first to the second with `progress` in [0, 1]; the way is truncated to whole levels, as published."""
    begin, end = ends
    return begin - int((begin - end) * progress)

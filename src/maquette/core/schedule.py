"""A number that depends on the step: `value = schedule(step)`. All schedules hold their end value after the end."""

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Anything that turns a step (0, 1, 2 ...) into a number."""

    def __call__(self, step: float) -> float:
        """The value at `step`."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same `value` at every step."""

    value: float

    def __call__(self, step: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` at step 0 to `end` at step `steps`."""

    start: float
    end: float
    steps: int

    def __call__(self, step: float) -> float:
        return self.start + (self.end - self.start) * _fraction(step, self.steps)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `start` to `end` over `steps`: flat at both ends (Loshchilov and Hutter 2017, eq. 5)."""

    start: float
    end: float
    steps: int

    def __call__(self, step: float) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * _fraction(step, self.steps))) / 2


@dataclass(frozen=True)
class Exponential:
    """A straight line in log space from `start` to `end` over `steps` (both positive); 3DGS decays its rates so."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.start <= 0 or self.end <= 0:
            raise ValueError(f"Exponential from {self.start} to {self.end}: both must be positive; use Linear")

    def __call__(self, step: float) -> float:
        part = _fraction(step, self.steps)
        return self.start ** (1 - part) * self.end**part


@dataclass(frozen=True)
class Steps:
    """A staircase: `values[0]` before step `at[0]`, then `values[i]` from step `at[i - 1]` on.

    >>> rate = Steps(values=(1.0, 0.1), at=(500,))
    >>> rate(499), rate(500)
    (1.0, 0.1)
    """

    values: tuple[float, ...]
    at: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.at) + 1 or list(self.at) != sorted(self.at):
            raise ValueError(
                f"Steps got {len(self.values)} values and steps {self.at}; expected one value more than "
                "steps, and rising steps"
            )

    def __call__(self, step: float) -> float:
        return self.values[sum(step >= edge for edge in self.at)]


def _fraction(step: float, steps: int) -> float:
    return 1.0 if steps <= 0 else min(max(step / steps, 0.0), 1.0)

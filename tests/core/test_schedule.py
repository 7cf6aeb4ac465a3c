import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.core import Constant, Cosine, Exponential, Linear, Steps


def test_closed_forms():
    assert Constant(3.0)(10**9) == 3.0
    assert Linear(1.0, 3.0, 10)(5) == 2.0
    assert Cosine(2.0, 0.0, 300)(100) == pytest.approx(1 + math.cos(math.pi / 3))
    assert Exponential(1e-2, 1e-4, 100)(50) == pytest.approx(1e-3)
    stairs = Steps(values=(1.0, 0.5, 0.1), at=(10, 20))
    assert [stairs(step) for step in (0, 9, 10, 19, 20, 500)] == [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]


@pytest.mark.parametrize("kind", [Linear, Cosine, Exponential])
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 10_000))
def test_ends_are_met_held_and_never_overshot(kind, start, end, steps):
    schedule = kind(start, end, steps)
    assert schedule(0) == pytest.approx(start)
    assert schedule(steps) == pytest.approx(end)
    assert schedule(steps * 3) == schedule(steps)
    values = [schedule(steps * part / 7) for part in range(8)]
    assert values == sorted(values, reverse=start > end) or start == pytest.approx(end)


def test_a_schedule_of_no_steps_is_at_its_end():
    assert Linear(1.0, 0.0, 0)(0) == 0.0


def test_meaningless_schedules_are_refused():
    with pytest.raises(ValueError, match="positive"):
        Exponential(0.0, 1.0, 10)
    with pytest.raises(ValueError, match="one value more"):
        Steps(values=(1.0,), at=(5,))
    with pytest.raises(ValueError, match="rising"):
        Steps(values=(1.0, 2.0, 3.0), at=(5, 4))

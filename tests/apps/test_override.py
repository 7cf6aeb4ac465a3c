from dataclasses import dataclass, field
from typing import Literal

import pytest

from maquette.apps.override import overridden
from maquette.core import BadInput


@dataclass(frozen=True)
class Weights:
    mask: float = 1.0
    use_ssim: bool = True


@dataclass(frozen=True)
class Config:
    views: int = 16
    strengths: tuple[float, ...] = (0.5, 0.3)
    loss: Literal["l1", "l2"] = "l1"
    limit: int | None = 5
    note: str = ""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self):
        if self.views < 1:
            raise BadInput("no views", "give some")


def test_values_change_at_any_depth_and_the_original_stays():
    start = Config()
    values = {"views": 8, "strengths": [1, 0.2], "loss": "l2", "limit": None}
    values |= {"weights.mask": 0, "weights.use_ssim": False}
    changed = overridden(start, values)
    assert changed == Config(8, (1.0, 0.2), "l2", None, "", Weights(0.0, False))
    assert type(changed.weights.mask) is float
    assert overridden(start, {"weights": {"mask": 2}}).weights == Weights(2.0)
    assert start == Config()
    assert overridden(start, {}) is start


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("vews", 8, "did you mean views"),
        ("weights.mast", 8, "did you mean mask"),
        ("", 8, "there is no ''"),
        ("views.x", 8, "single value"),
        ("weights", 8, "parts to be set one by one"),
        ("views", 8.5, "a whole number"),
        ("views", True, "a whole number"),
        ("views", 0, "no views"),
        ("weights.mask", float("nan"), "a finite number"),
        ("weights.mask", "1", "a finite number"),
        ("weights.use_ssim", 1, "true or false"),
        ("strengths", 0.5, "a list"),
        ("strengths", [0.5, "x"], "a finite number"),
        ("loss", "l3", "one of l1, l2"),
        ("note", 3, "a word"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(name, value, complaint):
    with pytest.raises(BadInput, match=complaint):
        overridden(Config(), {name: value})


def test_every_value_of_the_methods_can_be_written_down_and_read_back():
    import dataclasses

    from maquette.pipelines.im3d import DEFAULT

    def leaves(config, prefix=""):
        for part in dataclasses.fields(config):
            value = getattr(config, part.name)
            if dataclasses.is_dataclass(value):
                yield from leaves(value, f"{prefix}{part.name}.")
            else:
                yield prefix + part.name, value

    values = dict(leaves(DEFAULT))
    assert len(values) > 10
    assert overridden(DEFAULT, values) == DEFAULT

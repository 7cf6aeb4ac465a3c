import os

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.io.checkpoint import load_state, save_state


def some_tensors():
    square = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    return {
        "float": square,
        "double": square.double() / 3,
        "whole": torch.tensor([2**62, -1]),
        "flags": torch.tensor([True, False]),
        "turned": square.T,
        "same_memory": square[1],
        "wide": torch.ones(1).expand(5),
        "empty": torch.zeros(0, 3),
        "special": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def test_every_bit_returns(tmp_path):
    values = {"step": 3, "prompt": "a rød apple \u0000", "nested": {"list": [1.5, None, True]}, "third": 1 / 3}
    save_state(tmp_path / "state", some_tensors(), values)
    tensors, read = load_state(tmp_path / "state")
    assert read == values
    assert set(tensors) == set(some_tensors())
    for name, wanted in some_tensors().items():
        got = tensors[name]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        assert got.numpy().tobytes() == wanted.contiguous().numpy().tobytes(), name


def test_no_file_is_none_and_a_loaded_state_outlives_its_file(tmp_path):
    path = tmp_path / "state"
    assert load_state(path) is None
    save_state(path, {"a": torch.arange(3)}, {})
    tensors, _ = load_state(path)
    save_state(path, {"a": torch.zeros(3, dtype=torch.int64)}, {})
    os.remove(path)
    assert tensors["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_damaged_file_is_explained(tmp_path, cut):
    path = tmp_path / "state"
    save_state(path, some_tensors(), {"step": 1})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadInput, match="delete it"):
        load_state(path)


def test_somebody_elses_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "state")
    with pytest.raises(BadInput, match="not the state of a run"):
        load_state(tmp_path / "state")


def test_a_failed_save_keeps_the_old_state(tmp_path):
    path = tmp_path / "state"
    save_state(path, {"a": torch.ones(1)}, {"step": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_state(path, {"a": torch.zeros(1)}, {"loss": float("nan")})
    assert load_state(path)[1] == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state"]

import pytest
import torch

from maquette.core import BadInput, pick_device


def test_the_device_that_was_asked_for_or_the_best_present():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:99", "cpu:-1", "mps"])
def test_other_names_are_refused_and_never_replaced(name):
    with pytest.raises(BadInput):
        pick_device(name)


def test_cuda_is_refused_where_there_is_none():
    if torch.cuda.is_available():
        assert pick_device("cuda").type == "cuda"
    else:
        with pytest.raises(BadInput, match="--device cpu"):
            pick_device("cuda")

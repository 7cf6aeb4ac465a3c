"""Adapters change nothing at first, then only what they may, and cost what they should."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from maquette.core import Streams
from maquette.core.errors import BadInput
from maquette.models.lora import LowRankUpdate, adapt

X = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


def draw() -> torch.Generator:
    return Streams(0).generator("adapters")


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return Attention(16, heads=2, dim_head=8).requires_grad_(False)


def test_the_update_is_low_rank_scaled_and_starts_at_zero():
    update = LowRankUpdate(6, 5, rank=2, alpha=8.0, generator=draw())
    assert torch.equal(update(torch.ones(3, 6)), torch.zeros(3, 5))
    nn.init.normal_(update.lora_B.weight, generator=draw())
    matrix = update(torch.eye(6)).T
    torch.testing.assert_close(matrix, 4 * update.lora_B.weight @ update.lora_A.weight)
    assert torch.linalg.matrix_rank(matrix) == 2
    assert update(torch.ones(3, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_weights_are_shared_and_only_adapters_learn(attention):
    student, adapters = adapt(attention, rank=3, generator=draw())
    assert list(adapters) == ["to_q", "to_k", "to_v", "to_out/0"]
    assert torch.equal(student(X), attention(X))
    assert student.to_q.linear.weight is attention.to_q.weight, "no second copy of a large network"
    learning = {name for name, weight in student.named_parameters() if weight.requires_grad}
    assert learning == {f"{path}.update.lora_{side}.weight" for path in ("to_q", "to_k", "to_v", "to_out.0")
                        for side in "AB"}  # fmt: skip
    before = {name: weight.clone() for name, weight in attention.named_parameters()}
    for _ in range(2):  # in the first step B is zero, and A has no gradient
        student(X).square().sum().backward()
        with torch.no_grad():
            for weight in adapters.parameters():
                weight -= 0.1 * weight.grad
                weight.grad = None
    assert not torch.allclose(student(X), attention(X))
    assert all(torch.equal(weight, before[name]) for name, weight in attention.named_parameters())
    assert isinstance(attention.to_q, nn.Linear), "the teacher keeps its own maps"


def test_stable_diffusion_2_1_gets_as_many_as_the_paper_adds():
    """Rank 4 on every projection of attention: two numbers of rank for each side of each map, counted by hand."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20))
        _, adapters = adapt(unet.requires_grad_(False), generator=draw())
    widths = [320] * 5 + [640] * 5 + [1280] * 6  # blocks of attention at each width, down, middle and up
    own = sum(4 * 2 * width for width in widths)  # q, k, v, out of self-attention: 4 maps of (width, width)
    words = sum(2 * 2 * width + 2 * (width + 1024) for width in widths)  # q and out; k and v read the words
    assert sum(weight.numel() for weight in adapters.parameters()) == 4 * (own + words) == 829_952
    assert len(adapters) == 16 * 8


def test_there_must_be_something_to_adapt(attention):
    with pytest.raises(BadInput, match="no attention"):
        adapt(nn.Sequential(nn.Linear(4, 4)), generator=draw())
    with pytest.raises(BadInput, match="rank 0"):
        adapt(attention, rank=0, generator=draw())

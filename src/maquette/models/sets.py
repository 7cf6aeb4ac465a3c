"""Parts of networks over sets: where a point is, and what a set of tokens says to itself. No order, no cameras."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.models.dit import Attention

OCTAVES = 10


def position_features(points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape features"]:
    """The point itself and sines and cosines of pi 2^k times it, k = 0 to 9: 63 numbers (NeRF, eq. 4)."""
    scale = torch.pi * 2.0 ** torch.arange(OCTAVES, device=points.device)
    angle = (points.float()[..., None, :] * scale[:, None]).flatten(-2)
    return torch.cat([points.float(), angle.sin(), angle.cos()], dim=-1)


class PointEmbedding(nn.Module):
    """Positions in world units to tokens: what stands in place of a learned sequence, so that any number will do."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(3 + 6 * OCTAVES, width)

    def forward(self, points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape width"]:
        return self.linear(position_features(points).to(self.linear.weight.dtype))


class FeedForward(nn.Module):
    """width -> inner -> out with a GELU between."""

    def __init__(self, width: int, inner: int, out: int):
        super().__init__()
        self.expand, self.contract = nn.Linear(width, inner), nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(functional.gelu(self.expand(x)))


class SetBlock(nn.Module):
    """Pre-norm transformer block with normalised queries and keys; the identity at first.

    Reads `context` where one is given, else the set itself.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm, self.norm_inner = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.inner = FeedForward(width, 4 * width, width)
        nn.init.zeros_(self.inner.contract.weight)
        nn.init.zeros_(self.inner.contract.bias)

    def forward(
        self, x: Float[Tensor, "sets tokens width"], context: Float[Tensor, "sets others width"] | None = None
    ) -> Float[Tensor, "sets tokens width"]:
        x = x + self.attention(self.norm(x), context)
        return x + self.inner(self.norm_inner(x))

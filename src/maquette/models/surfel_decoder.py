"""Latent points to surfels, coarse to fine (GaussianAnything, arXiv 2411.08033, sections 3.2 and B.1).

A transformer lets the points look at each other and gives one surfel for each; every upsampler then turns each surfel
into a few, by itself. No cameras, no losses. Positions come in by their embedding and not by their place in a list:
the number of points is free, and permuted points give permuted surfels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.models.sets import FeedForward, PointEmbedding, SetBlock
from maquette.representations.gaussians import SH_C0
from maquette.representations.surfels import SurfelCloud

NUMBERS = 13
"""offset 3, opacity 1, scales 2, quaternion wxyz 4, rgb 3; all before their activations."""
REACH = 0.25
"""Children stay this near to their parent along each axis, world units: a quarter of the box."""
BASE_SHARE = 0.1
"""And the coarsest surfels within this share of it around their points."""
COVER = 0.5
"""A raw scale of 0 makes a standard deviation of this over the root of their number: they cover a surface of size 1."""


class Level(NamedTuple):
    """Surfels of one level of detail of several objects."""

    means: Float[Tensor, "objects surfels 3"]
    """World units."""
    raw: Float[Tensor, "objects surfels 13"]
    """Columns as in NUMBERS; the first three have gone into `means`."""

    def cloud(self, number: int) -> SurfelCloud:
        """One object as a cloud: softplus for scales, sigmoid for opacity, (1 + tanh) / 2 for rgb."""
        raw = self.raw[number].float()
        unit = COVER / math.sqrt(len(raw)) / math.log(2.0)
        # softplus ends at zero long before float32 does, and its logarithm with it
        log_scales = functional.softplus(raw[:, 4:6].clamp(min=-15.0)).log() + math.log(unit)
        sh = 0.5 * torch.tanh(raw[:, None, 10:13]) / SH_C0
        return SurfelCloud(self.means[number].float(), log_scales, raw[:, 6:10], raw[:, 3], sh)


class Upsampler(nn.Module):
    """Every parent gives `split` surfels; it sees itself and them, and no other parent."""

    def __init__(self, parent_width: int, width: int, heads: int, split: int, depth: int):
        super().__init__()
        self.split = split
        self.enter = nn.Linear(parent_width, width)
        self.queries = nn.Parameter(torch.randn(split, width))
        self.blocks = nn.ModuleList(SetBlock(width, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, NUMBERS)
        # Near their parent, but not on it: coincident children would be moved alike.
        nn.init.normal_(self.leave.weight, std=0.05 / width**0.5)
        nn.init.zeros_(self.leave.bias)

    def forward(self, tokens: Float[Tensor, "objects parents _"], parents: Level) -> tuple[Tensor, Level]:
        """Tokens (objects, children, width) and surfels of the next level; children of one parent follow each other."""
        objects = len(tokens)
        seen = self.enter(tokens).flatten(0, 1)[:, None]
        x = torch.cat([self.queries.to(seen.dtype).expand(len(seen), -1, -1), seen], dim=1)
        for block in self.blocks:
            x = block(x)
        x = x[:, : self.split].reshape(objects, -1, x.shape[-1])
        change = self.leave(self.norm(x)).float()
        means, raw = (part.repeat_interleave(self.split, dim=1) for part in parents)
        return x, Level(means + REACH * torch.tanh(change[..., :3]), raw + change)


class SurfelDecoder(nn.Module):
    """Points and their features to surfels of every level of detail.

    `splits` and `widths` say for each upsampler how many surfels a surfel becomes and how wide its tokens are.
    """

    def __init__(self, channels: int, width: int, heads: int, depth: int, splits: Sequence[int], widths: Sequence[int]):
        super().__init__()
        self.enter, self.position = FeedForward(channels, width, width), PointEmbedding(width)
        self.blocks = nn.ModuleList(SetBlock(width, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, NUMBERS)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        nn.init.normal_(self.leave.weight[6:10], std=width**-0.5)  # they face all ways at first
        each = width // heads
        parents = [width, *widths]
        self.upsamplers = nn.ModuleList(
            Upsampler(parent, wide, max(wide // each, 1), count, 1)
            for parent, wide, count in zip(parents, widths, splits, strict=False)
        )

    def forward(
        self, points: Float[Tensor, "objects points 3"], features: Float[Tensor, "objects points channels"]
    ) -> list[Level]:
        """From as many surfels as points to the finest."""
        x = self.enter(features) + self.position(points)
        for block in self.blocks:
            x = block(x)
        raw = self.leave(self.norm(x)).float()
        levels = [Level(points + BASE_SHARE * REACH * torch.tanh(raw[..., :3]), raw)]
        for upsampler in self.upsamplers:
            x, level = upsampler(x, levels[-1])
            levels.append(level)
        return levels

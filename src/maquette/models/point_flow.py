"""Velocities of points, and of features given points: both flows of GaussianAnything (arXiv 2411.08033, 3.3 and B.2).

A transformer over a set without an order: permuted points give permuted velocities, and any number of them will do.
Blocks are those of the pocket denoiser: self-attention, words, feed-forward; AdaLN-single, normalised queries and keys.
Stored as a diffusers model; it knows no path, no solver and no decoder.
"""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.core.errors import BadInput
from maquette.models.dit import FREQUENCIES, Block, time_features
from maquette.models.sets import FeedForward, PointEmbedding

CLOCK = 1000.0
"""Times in [0, 1] are stretched by this before their sinusoids, which would hardly tell them apart otherwise."""


class PointFlow(ModelMixin, ConfigMixin):
    """dz/dt of noisy `channels` numbers a point; 3 for positions, the latent's channels for features.

    With `on_points` the points that the features belong to are given, by their embedding, and are never left out.
    `mean` and `std` (a number a channel; 0 and 1 if None) are those of the data: the network works on what `normalize`
    gives, and `restore` undoes it. The defaults are a pocket size; the paper's is width 1024, depth 24, 16 heads.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        width: int = 256,
        depth: int = 8,
        heads: int = 4,
        text_width: int = 256,
        on_points: bool = False,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ):
        super().__init__()
        self._mean, self._std = torch.tensor(mean or [0.0] * channels), torch.tensor(std or [1.0] * channels)
        self.enter = FeedForward(channels, width, width)
        self.position = PointEmbedding(width) if on_points else None
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(text_width, width)
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, heads, text_width) for _ in range(depth))
        self.last_table, self.leave = nn.Parameter(torch.zeros(2, width)), nn.Linear(width, channels)
        for layer in (self.pooled, self.modulation, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def normalize(self, data: Float[Tensor, "*shape channels"]) -> Float[Tensor, "*shape channels"]:
        """(data - mean) / std."""
        return (data - self._mean.to(data)) / self._std.to(data)

    def restore(self, data: Float[Tensor, "*shape channels"]) -> Float[Tensor, "*shape channels"]:
        """The inverse of `normalize`."""
        return data * self._std.to(data) + self._mean.to(data)

    def forward(
        self,
        z: Float[Tensor, "sets points channels"],
        t: Float[Tensor, " sets"],
        text: Float[Tensor, "sets words text_width"],
        mask: Bool[Tensor, "sets words"],
        points: Float[Tensor, "sets points 3"] | None = None,
    ) -> Float[Tensor, "sets points channels"]:
        """`t` is in [0, 1] with 1 noise; `text` of zeros is the empty condition; `points` are in world units.

        Raises BadInput if points are given to a flow of points, or missing for one of features.
        """
        if (points is None) != (self.position is None):
            expected = "no points" if self.position is None else "the points of the features"
            raise BadInput(f"points are {'missing' if points is None else 'given'}", f"pass {expected} to this flow")
        dtype = self.leave.weight.dtype
        x, text = self.enter(z.to(dtype)), text.to(dtype)
        if self.position is not None:
            x = x + self.position(points)
        share = (mask / mask.sum(1, keepdim=True).clamp(min=1)).to(dtype)
        pooled = functional.layer_norm((text * share[..., None]).sum(1), text.shape[-1:])
        emb = functional.silu(self.time(time_features(t * CLOCK).to(dtype)) + self.pooled(pooled))
        modulation = self.modulation(emb).view(len(z), 6, -1)
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)[:, None, None]
        for block in self.blocks:
            x = block(x, text, bias, modulation)
        scale, shift = (self.last_table + emb[:, None]).unbind(1)
        x = functional.layer_norm(x, x.shape[-1:]) * (1 + scale[:, None]) + shift[:, None]
        return self.leave(x).float()

"""A latent that is a point cloud: posed views -> points with features -> surfels (GaussianAnything, arXiv 2411.08033).

The points are a latent of their own: they stay as they came and can be moved by hand; only the features that the views
leave on them are squeezed. Stored as a diffusers model; it does not know losses, nor how the surfels are drawn.
"""

from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import BadInput
from maquette.models.autoencoder import ResidualBlock
from maquette.models.posed_views import CHANNELS
from maquette.models.sets import OCTAVES, FeedForward, PointEmbedding, SetBlock
from maquette.models.surfel_decoder import Level, SurfelDecoder

PATCH = 8
"""Pixels a side of a token of the set latent."""
FINE = 4
"""Of the tokens that are only read: in small views a patch of 8 is a fifth of an object and mixes its colors."""
LOCAL_OCTAVE, LOCAL_SPAN = 2.0, 1.2
"""Octaves of positions that count at first, so that the read-out begins near its points."""
STEEPEST = 20.0
"""Log-variances stay within this of zero, softly."""


class Posterior(NamedTuple):
    """A diagonal Gaussian of features for each point."""

    mean: Float[Tensor, "objects points channels"]
    log_variance: Float[Tensor, "objects points channels"]

    def sample(self, generator: torch.Generator) -> Float[Tensor, "objects points channels"]:
        """mean + sigma eps; numbers are drawn on the CPU."""
        noise = torch.randn(self.mean.shape, generator=generator).to(self.mean)
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def divergence(self) -> Float[Tensor, " objects"]:
        """KL from the standard normal distribution, summed over points and channels, in nats."""
        terms = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * terms.sum((1, 2))


class ViewEncoder(nn.Module):
    """Views to a set latent: a convolutional stem for each, then attention across the tokens of all.

    Each token is told the mean position of the surface in its patch. Finer tokens, which have seen no others, follow.
    """

    def __init__(self, width: int, heads: int, depth: int):
        super().__init__()
        stages, channels = [], CHANNELS
        for stage in (width // 4, width // 2, width):
            stages += [nn.Conv2d(channels, stage, 3, stride=2, padding=1), ResidualBlock(stage)]
            channels = stage
        self.stem, self.last = nn.Sequential(*stages[:4]), nn.Sequential(*stages[4:])
        self.norm, self.position = nn.LayerNorm(width), PointEmbedding(width)
        self.fine, self.norm_fine = nn.Linear(width // 2, width), nn.LayerNorm(width)
        self.norm_fine_out = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(SetBlock(width, heads) for _ in range(depth))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, views: Float[Tensor, "objects views 15 height width"]) -> Float[Tensor, "objects tokens _"]:
        objects, views = len(views), views.flatten(0, 1)
        halves = self.stem(views.contiguous(memory_format=torch.channels_last))
        x = self.norm(_tokens(self.last(halves))) + self.position(patch_positions(views, PATCH))
        fine = self.norm_fine(self.fine(_tokens(halves))) + self.position(patch_positions(views, FINE))
        x, fine = (tokens.reshape(objects, -1, tokens.shape[-1]) for tokens in (x, fine))
        for block in self.blocks:
            x = block(x)
        return torch.cat([self.norm_out(x), self.norm_fine_out(fine)], dim=1)


def _tokens(maps: Float[Tensor, "views channels rows columns"]) -> Float[Tensor, "views tokens channels"]:
    return maps.flatten(2).transpose(1, 2)


def patch_positions(views: Float[Tensor, "views 15 height width"], patch: int) -> Float[Tensor, "views patches 3"]:
    """Mean of the surface points in each patch, in rows; zero for a patch that sees none."""
    points = views[:, 12:15].float()
    is_seen = (points != 0).any(1, keepdim=True).to(points)
    mean, share = (nn.functional.avg_pool2d(image, patch) for image in (points, is_seen))
    return (mean / share.clamp(min=1e-6)).flatten(2).transpose(1, 2)


class GaussianVae(ModelMixin, ConfigMixin):
    """Views and farthest-point samples of their surface -> features for each point -> surfels of every level.

    Images must be multiples of 8 px. The number of views and that of points are free. `splits` and `level_widths` go
    to the upsamplers. The defaults are a pocket size: 192 points make 192, 768 and 3072 surfels; the paper's is 768
    points, 10 channels, width 768, depth 12 and splits 8, 4, 3.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        width: int = 192,
        heads: int = 6,
        view_depth: int = 2,
        decoder_depth: int = 6,
        splits: list[int] | tuple[int, ...] = (4, 4),
        level_widths: list[int] | tuple[int, ...] = (192, 96),
    ):
        super().__init__()
        if len(splits) != len(level_widths):
            raise BadInput(
                f"{len(splits)} upsamplers have {len(level_widths)} widths; expected one each", "give both lists"
            )
        self.views = ViewEncoder(width, heads, view_depth)
        self.read = SetBlock(width, heads)
        self.norm, self.moments = nn.LayerNorm(width), FeedForward(width, width, 2 * latent_channels)
        self._begin_local()
        self.decoder = SurfelDecoder(latent_channels, width, heads, decoder_depth, splits, level_widths)

    @torch.no_grad()
    def _begin_local(self) -> None:
        """Let the read-out look near its points at first: it must not be the identity, and far views mislead it."""
        attention, position = self.read.attention, self.views.position.linear
        nn.init.xavier_uniform_(attention.out.weight)
        octaves = torch.arange(OCTAVES).repeat_interleave(3).repeat(2)
        scale = torch.cat([torch.ones(3), (-0.5 * ((octaves - LOCAL_OCTAVE) / LOCAL_SPAN) ** 2).exp()])
        position.weight.mul_(2.5 * scale / scale.square().mean().sqrt())
        width = len(attention.query.weight)
        attention.key_value.weight[:width] = attention.query.weight  # what is near is alike
        attention.key_value.bias[:width] = attention.query.bias
        for norm, weight in (
            (self.views.norm, 0.3), (self.views.norm_fine, 0.3), (attention.query_norm, 1.7), (attention.key_norm, 1.7),
        ):  # fmt: skip
            norm.weight.fill_(weight)

    def encode(
        self,
        views: Float[Tensor, "objects views 15 height width"],
        points: Float[Tensor, "objects points 3"],
    ) -> Posterior:
        """Features of `points` (world units, on the surface that the views see); views as `pack_views` makes them.

        Raises BadInput for images that patches of 8 px do not fill.
        """
        if views.shape[-1] % PATCH or views.shape[-2] % PATCH:
            raise BadInput(
                f"views of {tuple(views.shape[-2:])} px; expected multiples of {PATCH}", "render them at another size"
            )
        read = self.norm(self.read(self.views.position(points), self.views(views)))
        mean, log_variance = self.moments(read).float().chunk(2, dim=-1)
        return Posterior(mean, STEEPEST * torch.tanh(log_variance / STEEPEST))

    def decode(
        self, points: Float[Tensor, "objects points 3"], features: Float[Tensor, "objects points channels"]
    ) -> list[Level]:
        """Surfels of every level of detail, coarsest (one a point) to finest."""
        return self.decoder(points, features)

"""MVDream's U-Net (Shi et al., arXiv 2308.16512): Stable Diffusion's, whose self-attention sees all views of a set.

Written from the layout of the published weights, so that a checkpoint of the original, or of its diffusers port, loads
by name: the names are those of latent diffusion (`input_blocks.1.0.in_layers.0.weight`). What is new beside Stable
Diffusion 2.1 is `camera_embed`, which is added to the embedding of time; attention across views has no weights of its
own.
"""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.core.errors import BadInput
from maquette.models.video_unet import sinusoids


class ResidualBlock(nn.Module):
    """Two convolutions, with the embedding of time and camera between them."""

    def __init__(self, channels: int, out_channels: int, embedding: int):
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out_channels),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )  # the third was dropout, which nobody uses; the fourth has to keep its number
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        inner = self.in_layers(x) + self.emb_layers(embedded)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(inner)


class JointBlock(nn.Module):
    """Self-attention over the tokens of all views of a set, cross-attention of each view to the words, a gated MLP."""

    def __init__(self, width: int, head: int, words: int):
        super().__init__()
        heads = {"heads": width // head, "dim_head": head}
        self.attn1 = Attention(width, **heads)
        self.ff = FeedForward(width, activation_fn="geglu")
        self.attn2 = Attention(width, cross_attention_dim=words, **heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, words: Tensor, views: int) -> Tensor:
        tokens = x.shape[1]
        x = x.reshape(-1, views * tokens, x.shape[2])
        x = (x + self.attn1(self.norm1(x))).reshape(-1, tokens, x.shape[2])
        x = x + self.attn2(self.norm2(x), encoder_hidden_states=words)
        return x + self.ff(self.norm3(x))


class JointTransformer(nn.Module):
    """Blocks between two linear maps, around which a map of features goes as it is."""

    def __init__(self, width: int, head: int, words: int, depth: int):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(JointBlock(width, head, words) for _ in range(depth))
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, words: Tensor, views: int) -> Tensor:
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, words, views)
        return x + self.proj_out(tokens).transpose(1, 2).reshape(x.shape)


class Halve(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Double(nn.Module):
    """Every pixel four times, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.Sequential):
    """Layers in a row, each given what it takes."""

    def forward(self, x: Tensor, embedded: Tensor, words: Tensor, views: int) -> Tensor:
        for layer in self:
            if isinstance(layer, ResidualBlock):
                x = layer(x, embedded)
            elif isinstance(layer, JointTransformer):
                x = layer(x, words, views)
            else:
                x = layer(x)
        return x


class MultiviewUnet(ModelMixin, ConfigMixin):
    """Predicts the noise on sets of views from words and one camera for each view. The defaults are of SD 2.1's size.

    The configuration has the names of the port's; its further entries say nothing about the network and are ignored.
    """

    @register_to_config
    def __init__(
        self,
        image_size: int = 32,
        in_channels: int = 4,
        model_channels: int = 320,
        out_channels: int = 4,
        num_res_blocks: int = 2,
        attention_resolutions: tuple[int, ...] | list[int] = (4, 2, 1),
        channel_mult: tuple[int, ...] | list[int] = (1, 2, 4, 4),
        num_head_channels: int = 64,
        transformer_depth: int = 1,
        context_dim: int = 1024,
        camera_dim: int = 16,
        ip_dim: int = 0,
    ):
        super().__init__()
        if ip_dim:
            raise BadInput("this is ImageDream, which also reads a picture; only MVDream is known", "load MVDream")
        embedding, channels = 4 * model_channels, model_channels

        def stage(into: int, out: int, factor: int) -> list[nn.Module]:
            layers: list[nn.Module] = [ResidualBlock(into, out, embedding)]
            if factor in attention_resolutions:
                layers.append(JointTransformer(out, num_head_channels, context_dim, transformer_depth))
            return layers

        self.time_embed = _two_layers(model_channels, embedding)
        self.camera_embed = _two_layers(camera_dim, embedding)
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(in_channels, channels, 3, padding=1))])
        kept = [channels]
        for level, multiple in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                self.input_blocks.append(Stage(*stage(channels, multiple * model_channels, 2**level)))
                channels = multiple * model_channels
                kept.append(channels)
            if level < len(channel_mult) - 1:
                self.input_blocks.append(Stage(Halve(channels)))
                kept.append(channels)
        self.middle_block = Stage(
            ResidualBlock(channels, channels, embedding),
            JointTransformer(channels, num_head_channels, context_dim, transformer_depth),
            ResidualBlock(channels, channels, embedding),
        )
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                layers = stage(channels + kept.pop(), multiple * model_channels, 2**level)
                channels = multiple * model_channels
                if level and i == num_res_blocks:
                    layers.append(Double(channels))
                self.output_blocks.append(Stage(*layers))
        self.out = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))

    def forward(
        self,
        latents: Float[Tensor, "sets views channels height width"],
        level: int,
        words: Float[Tensor, "sets tokens embedding"],
        camera: Float[Tensor, "sets views numbers"],
    ) -> Float[Tensor, "sets views out height width"]:
        """The noise on the latents at entry `level` of the table; the words and the time hold for a whole set."""
        sets, views = latents.shape[:2]
        time = sinusoids(torch.full((1,), float(level), device=latents.device), self.config.model_channels)
        embedded = self.time_embed(time.to(latents.dtype)) + self.camera_embed(camera.flatten(0, 1).to(latents.dtype))
        told = (embedded, words.repeat_interleave(views, dim=0), views)
        x, kept = latents.flatten(0, 1), []
        for block in self.input_blocks:
            x = block(x, *told)
            kept.append(x)
        x = self.middle_block(x, *told)
        for block in self.output_blocks:
            x = block(torch.cat([x, kept.pop()], dim=1), *told)
        return self.out(x).unflatten(0, (sets, views))


def _two_layers(numbers: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(numbers, width), nn.SiLU(), nn.Linear(width, width))

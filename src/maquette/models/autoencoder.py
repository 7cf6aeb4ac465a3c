"""The pocket autoencoder: 128 px RGBA image <-> 8 x 8 x 16 latent.

A slim convolutional VAE. Full resolution is folded into channels at once (pixel unshuffle by 4), which keeps every
convolution where two CPU cores are fast. Alpha is a fourth channel, so what is generated carries its own matte.
Stored and loaded as a diffusers model; it does not know what the images show.
"""

from collections.abc import Sequence

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

FOLD = 4


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), without normalisation."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


def _stage(channels: int, depth: int) -> list[nn.Module]:
    return [ResidualBlock(channels) for _ in range(depth)]


class PocketAutoencoder(ModelMixin, ConfigMixin):
    """KL autoencoder (Kingma and Welling 2014) over RGBA images in [-1, 1], channels first.

    `scaling_factor` (per channel) and `shift_factor` make the latents of the training images zero mean and unit
    deviation:
    priors use `(z - shift_factor) / scaling_factor`.
    """

    @register_to_config
    def __init__(
        self,
        encoder_widths: Sequence[int] = (64, 128, 256),
        decoder_widths: Sequence[int] = (64, 128, 256),
        encoder_depth: int = 1,
        decoder_depth: int = 1,
        latent_channels: int = 16,
        shift_factor: list[float] | None = None,
        scaling_factor: list[float] | None = None,
    ):
        super().__init__()
        fine, middle, coarse = encoder_widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(FOLD),
            nn.Conv2d(4 * FOLD**2, fine, 3, padding=1),
            *_stage(fine, encoder_depth),
            nn.Conv2d(fine, middle, 3, stride=2, padding=1),
            *_stage(middle, encoder_depth),
            nn.Conv2d(middle, coarse, 3, stride=2, padding=1),
            *_stage(coarse, encoder_depth),
            nn.Conv2d(coarse, 2 * latent_channels, 1),
        )
        fine, middle, coarse = decoder_widths
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *_stage(coarse, decoder_depth),
            nn.Conv2d(coarse, 4 * middle, 1),
            nn.PixelShuffle(2),
            *_stage(middle, decoder_depth),
            nn.Conv2d(middle, 4 * fine, 1),
            nn.PixelShuffle(2),
            *_stage(fine, decoder_depth),
            nn.Conv2d(fine, 4 * FOLD**2, 3, padding=1),
            nn.PixelShuffle(FOLD),
        )

    def encode(self, images: Float[Tensor, "n 4 height width"]) -> DiagonalGaussianDistribution:
        """The posterior over latents (n, latent_channels, height / 16, width / 16)."""
        return DiagonalGaussianDistribution(self.encoder(images).float())

    def decode(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 4 height width"]:
        """Images (n, 4, 16 h, 16 w); values may leave [-1, 1] slightly."""
        return self.decoder(latents)

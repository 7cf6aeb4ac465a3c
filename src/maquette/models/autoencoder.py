"""The pocket autoencoder: 128 px RGBA image <-> 4 x 4 x 128 latent.

Its encoder is linear: the principal components of patches of 32 px. Their variances fall as steeply as those of images
do, so that diffusion over them decides shape and color first and details last, as it does over pixels; learned latents
of equal variance hide the shape among details (see `lab/`). A small convolutional network repairs the seams. Stored
and loaded as a diffusers model; it does not know what the images show.
"""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

FOLD = 4
BLANK = (1.0, 1.0, 1.0, -1.0)
"""White without coverage, in [-1, 1]: its latent is zero."""


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


class PocketAutoencoder(ModelMixin, ConfigMixin):
    """Principal components of patches of RGBA images in [-1, 1], channels first, and a decoder that repairs seams.

    `variances` are the mean squares of the latent channels over the training images, largest first, 1 on average.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 32,
        latent_channels: int = 128,
        width: int = 64,
        depth: int = 3,
        variances: list[float] | None = None,
    ):
        super().__init__()
        # Not strided convolutions: in bf16 on a CPU those with a kernel of 32 px give wrong numbers (see `lab/`).
        self.analysis = nn.Linear(4 * patch**2, latent_channels, bias=False)
        self.synthesis = nn.Linear(latent_channels, 4 * patch**2, bias=False)
        self.refine = nn.Sequential(
            nn.PixelUnshuffle(FOLD),
            nn.Conv2d(4 * FOLD**2, width, 3, padding=1),
            *(ResidualBlock(width) for _ in range(depth)),
            nn.Conv2d(width, 4 * FOLD**2, 3, padding=1),
            nn.PixelShuffle(FOLD),
        )
        nn.init.zeros_(self.refine[-2].weight)
        nn.init.zeros_(self.refine[-2].bias)

    def encode(self, images: Float[Tensor, "n 4 height width"]) -> Float[Tensor, "n c _ _"]:
        """Latents (n, latent_channels, height / patch, width / patch)."""
        return self.analysis(patches(images, self.config.patch)).movedim(-1, 1)

    def decode(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 4 height width"]:
        """Images (n, 4, patch h, patch w); values may leave [-1, 1] slightly."""
        coarse = self._linear(latents)
        return coarse + self.refine(coarse)

    def threshold(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The latents of what `latents` show, cut to [-1, 1]: Imagen's static thresholding (arXiv 2205.11487, 2.3)."""
        return self.encode(self._linear(latents).clamp(-1, 1))

    def _linear(self, latents: Tensor) -> Tensor:
        """Images before their seams are repaired."""
        p = self.config.patch
        n, _, h, w = latents.shape
        folded = self.synthesis(latents.movedim(1, -1)).view(n, h, w, 4, p, p)
        return folded.permute(0, 3, 1, 4, 2, 5).reshape(n, 4, h * p, w * p) + _blank(latents)


def patches(images: Float[Tensor, "n 4 height width"], side: int) -> Float[Tensor, "n _ _ _"]:
    """Square patches (n, rows, columns, numbers) less `BLANK`, each as 4 side^2 numbers, channel by channel."""
    n, _, height, width = images.shape
    folded = (images - _blank(images)).reshape(n, 4, height // side, side, width // side, side)
    return folded.permute(0, 2, 4, 1, 3, 5).flatten(3)


def _blank(like: Tensor) -> Tensor:
    return like.new_tensor(BLANK).view(4, 1, 1)


def principal_components(
    images: Float[Tensor, "n 4 height width"], patch: int, count: int
) -> tuple[Float[Tensor, "components _"], Float[Tensor, " components"]]:
    """Orthonormal components of all patches, by falling mean square, and those mean squares."""
    rows = patches(images, patch).flatten(0, 2)
    squares, components = torch.linalg.eigh(rows.T @ rows / len(rows))
    return components.T.flip(0)[:count], squares.flip(0)[:count]

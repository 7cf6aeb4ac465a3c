"""DeepFloyd IF, stage I: a U-Net over pixels of 64 px that reads T5, as a prior whose views know nothing of each other.

There is no autoencoder: its latents are the pixels in [-1, 1]. Cameras are ignored, and so are the learned variance and
the dynamic thresholding of the pipeline's sampler: a distillation wants the prediction itself.
"""

from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors.latents import ask_unet, guided_x0, nothing_said, schedule_of, words_only
from maquette.priors.load import Loading, load_parts
from maquette.priors.protocol import Condition, Latents, Picture
from maquette.priors.sampling import resized
from maquette.priors.t5 import T5Words, read_t5

TOKENS = 77
"""How much of a text it was trained on."""


class PixelUnetPrior:
    """`MultiviewPrior` over pixels. A text is (1, 77, width of T5); the network sees its padding, as it was trained."""

    blank = cached_property(nothing_said)

    def __init__(self, unet, text_encoder, tokenizer, scheduler):
        self.unet, self.text_encoder, self.tokenizer = unet, text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        self.image_size = unet.config.sample_size
        self.latent_shape = (unet.config.in_channels, self.image_size, self.image_size)
        self.device, self.evaluations = unet.device, 0

    def condition(self, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None) -> Condition:
        """The first tokens of `prompt` through T5; pictures raise `BadInput`."""
        words_only(reference)
        text, _ = read_t5(self.text_encoder, self.tokenizer, prompt, TOKENS)
        return Condition(prompt, text)

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Latents:
        """Pixels in [-1, 1], of any size resized to `image_size`; differentiable. Coverage is dropped."""
        return resized(images[..., :3].float().to(self.device), self.image_size).movedim(-1, 1) * 2 - 1

    def decode(self, latents: Latents) -> Float[Tensor, "views size size 3"]:
        """sRGB in [0, 1]."""
        return (latents.float() / 2 + 0.5).clamp(0, 1).movedim(1, -1)

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of each view by itself, in pixels."""
        ask = partial(ask_unet, self.unet)
        return guided_x0(self, ask, latents, t, condition, guidance=guidance, rescale=rescale)


def load_pixel_unet(source: str | Path, **options: Unpack[Loading]) -> PixelUnetPrior:
    """Load a folder, or a hub id at `revision`; see `load_prior`.

    Raises `MissingExtra` where the vocabulary takes packages that are not installed.
    """
    return PixelUnetPrior(**load_parts(source, _classes, **options))


def _classes() -> dict[str, type]:
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import T5EncoderModel

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": T5Words,
        "text_encoder": T5EncoderModel,
        "unet": UNet2DConditionModel,
    }

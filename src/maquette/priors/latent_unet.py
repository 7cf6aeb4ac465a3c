"""Stable Diffusion 1.x and 2.x from a diffusers folder or a hub id, as a prior whose views know nothing of each other.

Weights come as safetensors only and no code is loaded. Cameras are ignored: say the view in words
(`maquette.guidance.texts_by_view`).
"""

from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

from maquette.core.camera import Camera
from maquette.priors.latents import (
    ask_unet,
    condition_by_clip,
    decode,
    encode,
    guided_x0,
    nothing_said,
    schedule_of,
    sizes_of,
)
from maquette.priors.load import Loading, load_parts
from maquette.priors.protocol import Condition, Latents


class LatentUnetPrior:
    """`MultiviewPrior` over the latents of a U-Net with text cross-attention that predicts eps or v."""

    blank = cached_property(nothing_said)

    def __init__(self, unet, vae, text_encoder, tokenizer, scheduler):
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        self.latent_shape, self.image_size = sizes_of(unet.config.in_channels, unet.config.sample_size, vae)
        self.condition = partial(condition_by_clip, tokenizer, text_encoder)
        self.encode, self.decode = partial(encode, vae), partial(decode, vae)
        self.device, self.evaluations = unet.device, 0

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of each view by itself."""
        ask = partial(ask_unet, self.unet)
        return guided_x0(self, ask, latents, t, condition, guidance=guidance, rescale=rescale)


def load_latent_unet(source: str | Path, **options: Unpack[Loading]) -> LatentUnetPrior:
    """Load a folder, or a hub id at `revision`, through the `from_pretrained` of the libraries; see `load_prior`."""
    return LatentUnetPrior(**load_parts(source, _classes, **options))


def _classes() -> dict[str, type]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": CLIPTokenizer,
        "text_encoder": CLIPTextModel,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
    }

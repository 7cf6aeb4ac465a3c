"""DeepFloyd IF, stage I: a U-Net over pixels of 64 px that reads T5, as a prior whose views know nothing of each other.

There is no autoencoder: its latents are the pixels in [-1, 1]. Cameras are ignored, and so are the learned variance and
the dynamic thresholding of the pipeline's sampler: a distillation wants the prediction itself.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors.latents import guided_x0, schedule_of, stacked, words_only
from maquette.priors.load import load_parts, usual_dtype
from maquette.priors.protocol import Condition
from maquette.priors.sampling import resized
from maquette.priors.t5 import T5Words, read_t5

TOKENS = 77
"""How much of a text it was trained on."""


class PixelUnetPrior:
    """`MultiviewPrior` over pixels. A text is (1, 77, width of T5); the network sees its padding, as it was trained."""

    def __init__(self, unet, text_encoder, tokenizer, scheduler):
        self.unet, self.text_encoder, self.tokenizer = unet, text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        self.image_size = unet.config.sample_size
        self.latent_shape = (unet.config.in_channels, self.image_size, self.image_size)
        self.evaluations = 0

    @property
    def device(self) -> torch.device:
        """Where the networks and the pixels live."""
        return self.unet.device

    def condition(
        self, prompt: str, *, reference: Float[Tensor, "height width 3"] | None = None, camera: Camera | None = None
    ) -> Condition:
        """The first tokens of `prompt` through T5; pictures raise `BadInput`."""
        words_only(reference)
        text, _ = read_t5(self.text_encoder, self.tokenizer, prompt, TOKENS)
        return Condition(prompt, text)

    @cached_property
    def _blank(self) -> Condition:
        return self.condition("")

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Float[Tensor, "views c h w"]:
        """Pixels in [-1, 1], of any size resized to `image_size`; differentiable. Coverage is dropped."""
        return resized(images[..., :3].float().to(self.device), self.image_size).movedim(-1, 1) * 2 - 1

    def decode(self, latents: Float[Tensor, "views c h w"]) -> Float[Tensor, "views size size 3"]:
        """sRGB in [0, 1]."""
        return (latents.float() / 2 + 0.5).clamp(0, 1).movedim(1, -1)

    @torch.no_grad()
    def denoise(
        self,
        latents: Float[Tensor, "views c h w"],
        t: float,
        condition: Condition,
        camera: Camera,
        *,
        guidance: float,
        rescale: float = 0.0,
    ) -> Float[Tensor, "views c h w"]:
        """x0 of each view by itself."""

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            self.evaluations += len(conditions)
            words = stacked([words.text for words in conditions], len(latents), self.unet.dtype)
            return self.unet(noisy.to(self.unet.dtype), level, encoder_hidden_states=words).sample

        return guided_x0(
            ask, latents, t, condition, self._blank, guidance, alphas_cumprod=self.alphas_cumprod,
            predicts=self.predicts, rescale=rescale,
        )  # fmt: skip


def load_pixel_unet(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> PixelUnetPrior:
    """Load a folder, or a hub id at `revision`; see `load_prior`.

    `dtype` is float16 on CUDA and float32 elsewhere if left out. Raises `MissingExtra` where the vocabulary takes
    packages that are not installed.
    """
    return PixelUnetPrior(
        **load_parts(
            source, _classes, revision=revision, is_offline=is_offline, device=device,
            dtype=dtype or usual_dtype(device),
        )
    )  # fmt: skip


def _classes() -> dict[str, type]:
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import T5EncoderModel

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": T5Words,
        "text_encoder": T5EncoderModel,
        "unet": UNet2DConditionModel,
    }

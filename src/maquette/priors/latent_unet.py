"""Stable Diffusion 1.x and 2.x from a diffusers folder or a hub id, as a prior whose views know nothing of each other.

Weights come as safetensors only and no code is loaded. Cameras are ignored: say the view in words
(`maquette.guidance.texts_by_view`).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors.latents import decode, embedded_prompt, encode, guided_x0, schedule_of, stacked, words_only
from maquette.priors.load import load_parts, usual_dtype
from maquette.priors.protocol import Condition


class LatentUnetPrior:
    """`MultiviewPrior` over the latents of a U-Net with text cross-attention that predicts eps or v."""

    def __init__(self, unet, vae, text_encoder, tokenizer, scheduler):
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        side = unet.config.sample_size
        self.latent_shape = (unet.config.in_channels, side, side)
        self.image_size = side * 2 ** (len(vae.config.block_out_channels) - 1)
        self.evaluations = 0

    @property
    def device(self) -> torch.device:
        """Where the networks and the latents live."""
        return self.unet.device

    def condition(
        self, prompt: str, *, reference: Float[Tensor, "height width 3"] | None = None, camera: Camera | None = None
    ) -> Condition:
        """All tokens of `prompt`, padded and cut to the length of the text encoder; pictures raise `BadInput`."""
        words_only(reference)
        return Condition(prompt, embedded_prompt(self.tokenizer, self.text_encoder, prompt))

    @cached_property
    def _blank(self) -> Condition:
        return self.condition("")

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Float[Tensor, "views c h w"]:
        """The mean of the posterior, scaled; differentiable. Coverage is dropped."""
        return encode(self.vae, images)

    def decode(self, latents: Float[Tensor, "views c h w"]) -> Float[Tensor, "views size size 3"]:
        """sRGB in [0, 1]."""
        return decode(self.vae, latents)

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


def load_latent_unet(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> LatentUnetPrior:
    """Load a folder, or a hub id at `revision`, through the `from_pretrained` of the libraries; see `load_prior`.

    `dtype` is float16 on CUDA and float32 elsewhere if left out.
    """
    return LatentUnetPrior(
        **load_parts(
            source, _classes, revision=revision, is_offline=is_offline, device=device,
            dtype=dtype or usual_dtype(device),
        )
    )  # fmt: skip


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

"""Stable Diffusion XL, base model: two text encoders side by side, and a vector of the whole sentence beside the words.

Views know nothing of each other; cameras are ignored. The network is told that its picture was of full size and never
cropped, which is what it is asked for.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors import hub
from maquette.priors.latents import decode, encode, guided_x0, schedule_of, stacked, words_only
from maquette.priors.load import load_parts, usual_dtype
from maquette.priors.protocol import Condition


class SdxlPrior:
    """`MultiviewPrior` over the latents of an SDXL U-Net. A text is (1, 77, width of both encoders together)."""

    def __init__(
        self, unet, vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, scheduler, *, is_blank_zero: bool
    ):
        self.unet, self.vae, self.is_blank_zero = unet, vae, is_blank_zero
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.text_encoder_2, self.tokenizer_2 = text_encoder_2, tokenizer_2
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        side = unet.config.sample_size
        self.latent_shape = (unet.config.in_channels, side, side)
        self.image_size = side * 2 ** (len(vae.config.block_out_channels) - 1)
        self.evaluations = 0

    @property
    def device(self) -> torch.device:
        """Where the networks and the latents live."""
        return self.unet.device

    @torch.no_grad()
    def condition(
        self, prompt: str, *, reference: Float[Tensor, "height width 3"] | None = None, camera: Camera | None = None
    ) -> Condition:
        """The last layer but one of both encoders, and the vector of the second; pictures raise `BadInput`.

        Nothing said is zeros where the pipeline's folder says so (`force_zeros_for_empty_prompt`), as it was trained.
        """
        words_only(reference)
        pairs = ((self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2))
        layers, said = [], None
        for tokenizer, encoder in pairs:
            length = tokenizer.model_max_length
            tokens = tokenizer(prompt, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
            said = encoder(tokens["input_ids"].to(self.device), output_hidden_states=True)
            layers.append(said.hidden_states[-2].float())
        text, pooled = torch.cat(layers, dim=-1), said.text_embeds.float()
        if self.is_blank_zero and not prompt:
            text, pooled = torch.zeros_like(text), torch.zeros_like(pooled)
        return Condition(prompt, text, pooled=pooled)

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
        views, dtype, side = len(latents), self.unet.dtype, float(self.image_size)

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            self.evaluations += len(conditions)
            # (original height and width, top and left of the crop, wanted height and width)
            sizes = torch.tensor([[side, side, 0, 0, side, side]], device=self.device)
            besides = {
                "text_embeds": stacked([words.pooled for words in conditions], views, dtype),
                "time_ids": stacked([sizes] * len(conditions), views, dtype),
            }
            words = stacked([words.text for words in conditions], views, dtype)
            said = self.unet(noisy.to(dtype), level, encoder_hidden_states=words, added_cond_kwargs=besides)
            return said.sample

        return guided_x0(
            ask, latents, t, condition, self._blank, guidance, alphas_cumprod=self.alphas_cumprod,
            predicts=self.predicts, rescale=rescale,
        )  # fmt: skip


def load_sdxl(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> SdxlPrior:
    """Load a folder, or a hub id at `revision`; see `load_prior`.

    `dtype` is float16 on CUDA and float32 elsewhere if left out. An autoencoder that is marked `force_upcast`, because
    it overflows in float16, stays in float32.
    """
    dtype = dtype or usual_dtype(device)
    parts = load_parts(source, _classes, revision=revision, is_offline=is_offline, device=device, dtype=dtype)
    if dtype == torch.float16 and parts["vae"].config.force_upcast:
        parts["vae"].float()
    index = hub.read_index(source, revision=revision, is_offline=is_offline)
    return SdxlPrior(**parts, is_blank_zero=index.get("force_zeros_for_empty_prompt", True))


def _classes() -> dict[str, type]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": CLIPTokenizer,
        "tokenizer_2": CLIPTokenizer,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
    }

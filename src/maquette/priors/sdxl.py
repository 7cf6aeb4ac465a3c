"""Stable Diffusion XL, base model: two text encoders side by side, and a vector of the whole sentence beside the words.

Views know nothing of each other; cameras are ignored. The network is told that its picture was of full size and never
cropped, which is what it is asked for.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors.latents import decode, encode, guided_x0, nothing_said, schedule_of, sizes_of, stacked, words_only
from maquette.priors.load import Loading, index_of, load_parts
from maquette.priors.protocol import Condition, Latents, Picture


class SdxlPrior:
    """`MultiviewPrior` over the latents of an SDXL U-Net. A text is (1, 77, width of both encoders together)."""

    blank = cached_property(nothing_said)

    def __init__(
        self, unet, vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, scheduler, *, is_blank_zero: bool
    ):
        self.unet, self.vae, self.is_blank_zero = unet, vae, is_blank_zero
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.text_encoder_2, self.tokenizer_2 = text_encoder_2, tokenizer_2
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        self.latent_shape, self.image_size = sizes_of(unet.config.in_channels, unet.config.sample_size, vae)
        self.encode, self.decode = partial(encode, vae), partial(decode, vae)
        self.device, self.evaluations = unet.device, 0

    @torch.no_grad()
    def condition(self, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None) -> Condition:
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

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of each view by itself."""
        views, dtype, side = len(latents), self.unet.dtype, float(self.image_size)

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            # (original height and width, top and left of the crop, wanted height and width)
            sizes = torch.tensor([[side, side, 0, 0, side, side]], device=self.device)
            besides = {
                "text_embeds": stacked([words.pooled for words in conditions], views, dtype),
                "time_ids": stacked([sizes] * len(conditions), views, dtype),
            }
            words = stacked([words.text for words in conditions], views, dtype)
            said = self.unet(noisy.to(dtype), level, encoder_hidden_states=words, added_cond_kwargs=besides)
            return said.sample

        return guided_x0(self, ask, latents, t, condition, guidance=guidance, rescale=rescale)


def load_sdxl(source: str | Path, **options: Unpack[Loading]) -> SdxlPrior:
    """Load a folder, or a hub id at `revision`; see `load_prior`.

    An autoencoder that is marked `force_upcast`, because it overflows in float16, stays in float32.
    """
    parts = load_parts(source, _classes, **options)
    if parts["vae"].dtype == torch.float16 and parts["vae"].config.force_upcast:
        parts["vae"].float()
    index = index_of(source, **options)
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

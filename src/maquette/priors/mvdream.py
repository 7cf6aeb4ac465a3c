"""MVDream from its diffusers port, as a prior over sets of views that are denoised together.

The port brings its network as code, which is not run: `maquette.models.mvdream_unet` has the same weights by name. Four
views 90 degrees apart, at one elevation, are what it was trained on, and captions that end in ", 3d asset".
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors.latents import decode, embedded_prompt, encode, guided_x0, schedule_of, words_only
from maquette.priors.load import load_parts, usual_dtype
from maquette.priors.protocol import Condition

Z_UP = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""threestudio's world from ours: its +x, the front, is our +Z; its +y our +X; its +z our +Y."""


class MVDreamPrior:
    """`MultiviewPrior` over the latents of a U-Net that attends across views and is told where each is seen from."""

    def __init__(self, unet, vae, text_encoder, tokenizer, scheduler):
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        side = unet.config.image_size
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
        """x0 of the whole set; the cameras are said with and without the words."""
        poses = camera_vectors(camera).to(self.device)

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            sets = len(conditions)
            self.evaluations += sets
            words = torch.cat([words.text for words in conditions]).to(self.unet.dtype)
            views = noisy.to(self.unet.dtype).unflatten(0, (sets, -1))
            return self.unet(views, level, words, poses.expand(sets, -1, -1)).flatten(0, 1)

        return guided_x0(
            ask, latents, t, condition, self._blank, guidance, alphas_cumprod=self.alphas_cumprod,
            predicts=self.predicts, rescale=rescale,
        )  # fmt: skip


def camera_vectors(camera: Camera) -> Float[Tensor, "views 16"]:
    """Camera-to-world matrices row by row, in OpenGL's axes and threestudio's world, with the centre at distance 1."""
    to_z_up = camera.world_from_camera.new_tensor(Z_UP)
    pose = camera.world_from_camera.clone()
    pose[:, :3, 1:3] *= -1  # down and forward become up and back
    pose[:, :3, 3] = torch.nn.functional.normalize(camera.position, dim=-1)
    pose[:, :3] = to_z_up @ pose[:, :3]
    return pose.flatten(1)


def load_mvdream(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> MVDreamPrior:
    """Load the port's folder, or its hub id; see `load_prior`.

    `dtype` is float16 on CUDA and float32 elsewhere if left out.
    """
    return MVDreamPrior(
        **load_parts(
            source, _classes, revision=revision, is_offline=is_offline, device=device,
            dtype=dtype or usual_dtype(device),
        )
    )  # fmt: skip


def _classes() -> dict[str, type]:
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import CLIPTextModel, CLIPTokenizer

    from maquette.models.mvdream_unet import MultiviewUnet

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": CLIPTokenizer,
        "text_encoder": CLIPTextModel,
        "unet": MultiviewUnet,
        "vae": AutoencoderKL,
    }

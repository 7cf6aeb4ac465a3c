"""MVDream from its diffusers port, as a prior over sets of views that are denoised together.

The port brings its network as code, which is not run: `maquette.models.mvdream_unet` has the same weights by name. Four
views 90 degrees apart, at one elevation, are what it was trained on, and captions that end in ", 3d asset".
"""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.priors.latents import condition_by_clip, decode, encode, guided_x0, nothing_said, schedule_of, sizes_of
from maquette.priors.load import Loading, load_parts
from maquette.priors.protocol import Condition, Latents

Z_UP = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""threestudio's world from ours: its +x, the front, is our +Z; its +y our +X; its +z our +Y."""


class MVDreamPrior:
    """`MultiviewPrior` over the latents of a U-Net that attends across views and is told where each is seen from."""

    blank = cached_property(nothing_said)

    def __init__(self, unet, vae, text_encoder, tokenizer, scheduler):
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        self.latent_shape, self.image_size = sizes_of(unet.config.in_channels, unet.config.image_size, vae)
        self.condition = partial(condition_by_clip, tokenizer, text_encoder)
        self.encode, self.decode = partial(encode, vae), partial(decode, vae)
        self.device, self.evaluations = unet.device, 0

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of the whole set; the cameras are said with and without the words."""
        poses = camera_vectors(camera).to(self.device)

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            sets = len(conditions)
            words = torch.cat([words.text for words in conditions]).to(self.unet.dtype)
            views = noisy.to(self.unet.dtype).unflatten(0, (sets, -1))
            return self.unet(views, level, words, poses.expand(sets, -1, -1)).flatten(0, 1)

        return guided_x0(self, ask, latents, t, condition, guidance=guidance, rescale=rescale)


def camera_vectors(camera: Camera) -> Float[Tensor, "views 16"]:
    """Camera-to-world matrices row by row, in OpenGL's axes and threestudio's world, with the centre at distance 1."""
    to_z_up = camera.world_from_camera.new_tensor(Z_UP)
    pose = camera.world_from_camera.clone()
    pose[:, :3, 1:3] *= -1  # down and forward become up and back
    pose[:, :3, 3] = torch.nn.functional.normalize(camera.position, dim=-1)
    pose[:, :3] = to_z_up @ pose[:, :3]
    return pose.flatten(1)


def load_mvdream(source: str | Path, **options: Unpack[Loading]) -> MVDreamPrior:
    """Load the port's folder, or its hub id; see `load_prior`."""
    return MVDreamPrior(**load_parts(source, _classes, **options))


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

"""Stable Video Diffusion and SV3D as priors: the frames of one video are the views of one turn around an object.

Both start from one picture and read no words. SVD (arXiv 2311.15127) knows no cameras; SV3D (arXiv 2403.12008) is told
where each frame is seen from, relative to the picture. Their continuous noise levels are a variance-preserving table
here (`maquette.diffusion.karras_table`), so the loop is the caller's, as with every prior. State is float32.
"""

import math
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.core.seed import Streams
from maquette.diffusion import guide, karras_table, level_of, sigma_of, x0_from_v
from maquette.models.video_unet import predict_frames, sinusoids
from maquette.priors.latents import decode, encode, picture_of, pixels_per_latent, shown_in
from maquette.priors.load import Loading, index_of, load_parts
from maquette.priors.multiview import orbit_angles
from maquette.priors.pictures import blurred_resize, clip_pixels, resized
from maquette.priors.protocol import Condition, Latents, Picture

FPS, MOTION = 7, 127  # what SVD is usually asked for; it was trained on frames per second less one
SVD_AUGMENTATION, SV3D_AUGMENTATION = 0.02, 1e-5  # noise on the picture, and the number that says so
TURN = 2 * math.pi
SAME = 1e-4  # radians; a frame nearer to the picture's azimuth than this is seen from there
AT_ONCE = 14  # frames that SVD's decoder was trained to see together


class VideoPrior:
    """`MultiviewPrior` over the latents of a spatio-temporal U-Net with v-prediction, for SVD, SV3D_u and SV3D_p.

    Which of them it is shows in the width of its added conditioning. Any number of views goes; 14 or 25 (SVD) and 21
    (SV3D) were trained. SV3D wants cameras at radius 2 with a vertical field of view of 33.8 degrees.
    """

    def __init__(
        self, unet, vae, image_encoder, *, size: int = 576, sigma_min: float = 0.002, sigma_max: float = 700.0
    ):
        self.unet, self.vae, self.image_encoder, self.image_size = unet, vae, image_encoder, size
        self.alphas_cumprod: Float[Tensor, " noise_levels"] = karras_table(sigma_min=sigma_min, sigma_max=sigma_max)
        self._features: int = unet.config.addition_time_embed_dim
        widths = unet.add_embedding.linear_1.in_features / self._features
        kinds = {3: "svd", 1: "sv3d_u", 5: "sv3d_p"}
        if widths not in kinds:
            raise BadInput(
                f"each frame is told {widths:g} times {self._features} numbers; SVD has 3, SV3D_u 1 and SV3D_p 5",
                "choose another video model",
            )
        self.kind: str = kinds[widths]
        side = size // pixels_per_latent(vae)
        self.latent_shape = (unet.config.out_channels, side, side)
        self.encode = partial(encode, vae)
        self.device, self.evaluations = unet.device, 0

    @torch.no_grad()
    def condition(self, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None) -> Condition:
        """The picture's CLIP embedding and latents, with the little noise of training; the words are only kept."""
        picture = picture_of(reference).to(self.device, torch.float32)
        pixels = clip_pixels(blurred_resize(picture, self.image_encoder.config.image_size))
        tokens = self.image_encoder(pixels.to(self.image_encoder.dtype)).image_embeds[:, None]
        picture = resized(picture, self.image_size)
        noise = torch.randn(picture.shape, generator=Streams(0).generator("augmentation")).to(picture)
        # Half of it, because noise is measured on [-1, 1]. Latents of the picture are not scaled, those of frames are.
        latents = self.encode(picture + self._augmentation / 2 * noise) / self.vae.config.scaling_factor
        return Condition(prompt, tokens.float(), reference=reference, camera=camera, picture=latents)

    def decode(self, latents: Latents) -> Float[Tensor, "views size size 3"]:
        """sRGB in [0, 1]; SVD's decoder smooths over time, so views should come in the order of their turn."""
        if not hasattr(self.vae.decoder, "time_conv_out"):
            return torch.cat([decode(self.vae, view) for view in latents.split(1)])
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.device, self.vae.dtype)
        parts = [self.vae.decode(part, num_frames=len(part)).sample for part in scaled.split(AT_ONCE)]
        return (torch.cat(parts).float() / 2 + 0.5).clamp(0, 1).movedim(1, -1)

    @torch.no_grad()
    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of all frames. `guidance` is the largest scale: frames that the picture shows are guided by 1.

        It grows along SVD's video, and to the far side of SV3D's turn and back. "Nothing said" is no picture at all.
        """
        picture = shown_in(condition)
        alpha_bar = float(self.alphas_cumprod[max(level_of(t, len(self.alphas_cumprod)), 0)])
        order, vectors = self._frames(condition, camera)
        noisy, dtype = latents.float()[order], self.unet.dtype
        said = []
        # With the picture, without it, or one after the other: a video is large enough.
        for share in [guidance] if guidance in (0, 1) else [1.0, 0.0]:
            beside = (share * picture).expand(len(noisy), -1, -1, -1)
            v = predict_frames(
                self.unet, torch.cat([noisy, beside], dim=1)[None].to(dtype), math.log(sigma_of(alpha_bar)) / 4,
                (share * condition.text).to(dtype), vectors[None],
            )  # fmt: skip
            said.append(x0_from_v(noisy, v[0].float(), alpha_bar))
        self.evaluations += len(said)
        clean = said[0]
        if len(said) == 2:
            scales = (1 + (guidance - 1) * self._growth(len(noisy))).to(noisy)[:, None, None, None]
            clean = guide(*said, scales, rescale=rescale)
        return clean[order.argsort()]

    @property
    def _augmentation(self) -> float:
        return SVD_AUGMENTATION if self.kind == "svd" else SV3D_AUGMENTATION

    def _growth(self, count: int) -> Float[Tensor, " frames"]:
        """From 0 to 1, for SVD; for SV3D up to 1 in the middle and down again."""
        along = torch.linspace(0, 1, count)
        return along if self.kind == "svd" else 1 - (2 * along - 1).abs()

    def _frames(self, condition: Condition, camera: Camera) -> tuple[Int[Tensor, " views"], Float[Tensor, "views _"]]:
        """The order in which the network wants the views, and what it is told of each.

        SV3D's frames go once around from the picture, which comes last: azimuths rise above 0, and end at 0.
        """
        if self.kind == "svd":
            told = torch.tensor([FPS - 1, MOTION, SVD_AUGMENTATION], device=self.device)
            return torch.arange(len(camera), device=self.device), self._spoken(told).expand(len(camera), -1)
        azimuth, elevation = (angles[0].to(self.device) for angles in orbit_angles(camera))
        start = 0.0 if condition.camera is None else orbit_angles(condition.camera)[0][0].to(self.device)
        azimuth = (azimuth - start) % TURN
        azimuth = torch.where(azimuth > TURN - SAME, 0.0, azimuth)
        order = torch.where(azimuth < SAME, TURN, azimuth).argsort(stable=True)
        vectors = self._spoken(torch.full((1,), SV3D_AUGMENTATION, device=self.device)).expand(len(camera), -1)
        if self.kind == "sv3d_p":
            angles = torch.stack([math.pi / 2 - elevation, azimuth], dim=1)
            vectors = torch.cat([vectors, sinusoids(angles, 2 * self._features).flatten(1)], dim=1)
        return order, vectors[order]

    def _spoken(self, numbers: Float[Tensor, " numbers"]) -> Float[Tensor, "1 features"]:
        return sinusoids(numbers, self._features).flatten()[None]


def load_video(source: str | Path, **options: Unpack[Loading]) -> VideoPrior:
    """Load SVD, or SV3D in its diffusers port, from a folder or the hub; the autoencoder computes in float32.

    Raises `BadInput`, as `load_prior` does.
    """
    vae = index_of(source, **options).get("vae", ["", ""])[1]

    def classes() -> dict[str, type]:
        from diffusers import (
            AutoencoderKL,
            AutoencoderKLTemporalDecoder,
            EulerDiscreteScheduler,
            UNetSpatioTemporalConditionModel,
        )
        from transformers import CLIPVisionModelWithProjection

        return {
            "scheduler": EulerDiscreteScheduler,
            "image_encoder": CLIPVisionModelWithProjection,
            "unet": UNetSpatioTemporalConditionModel,
            "vae": AutoencoderKL if vae == "AutoencoderKL" else AutoencoderKLTemporalDecoder,
        }

    parts = load_parts(source, classes, **options)
    asked = parts.pop("scheduler").config
    if asked.prediction_type != "v_prediction":
        raise BadInput(f"{source} predicts {asked.prediction_type}; expected v_prediction", "choose another")
    parts["vae"].float()  # its activations overflow float16
    return VideoPrior(**parts, sigma_min=asked.sigma_min, sigma_max=asked.sigma_max)

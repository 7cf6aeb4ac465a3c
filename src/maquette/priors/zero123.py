"""Zero123++ (arXiv 2310.15110) as a prior: six fixed views around a picture, denoised as the tiles of one image.

The published pipeline is code of the repository, which is not run: the network is diffusers' own U-Net, and what the
code adds is written here: attention to the noised picture, the picture's embedding on the empty prompt, moved latents.
Backgrounds are grey, as it was trained, and not white. The picture is encoded by the mean and not by a sample.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera, orbit
from maquette.core.errors import BadInput
from maquette.core.seed import Streams
from maquette.diffusion import add_noise
from maquette.models.reference_attention import attend_to_reference
from maquette.priors.latents import (
    embedded_prompt,
    encode,
    guided_x0,
    picture_of,
    pixels_per_latent,
    schedule_of,
    shown_in,
)
from maquette.priors.load import Loading, index_of, load_parts
from maquette.priors.multiview import orbit_angles
from maquette.priors.pictures import clip_pixels, resized
from maquette.priors.protocol import Condition, Latents, Picture

ROWS, COLUMNS = 3, 2
AZIMUTHS = (30.0, 90.0, 150.0, 210.0, 270.0, 330.0)  # degrees from the picture's, row by row
V1_1, V1_2 = (30.0, -20.0), (20.0, -10.0)  # elevations, in turn; absolute, whatever the picture's
FOV_DEG = 30.0  # of version 1.2
TOLERANCE = 0.5  # degrees
SHIFT, SCALE = 0.22, 0.75  # z' = (z - shift) scale
CONTRAST = 0.5 / 0.8  # of the tiles before the autoencoder


class Zero123Prior:
    """`MultiviewPrior` over the six tiles of one latent image; cameras other than its own raise `BadInput`.

    `ramp` are the weights of the picture's embedding on the tokens of the prompt (`ramping_coefficients`). The pass
    over the picture, a sixth as large, is not counted as an evaluation.
    """

    def __init__(
        self, unet, vae, text_encoder, tokenizer, vision_encoder, scheduler, *, ramp: Sequence[float], size: int = 320
    ):
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.vision_encoder, self.image_size = vision_encoder, size
        self.alphas_cumprod, self.predicts = schedule_of(scheduler)
        self._ramp = torch.tensor(ramp, device=unet.device)[None, :, None]
        side = size // pixels_per_latent(vae)
        self.latent_shape = (unet.config.in_channels, side, side)
        self.device, self.evaluations = unet.device, 0
        attend_to_reference(unet)

    @torch.no_grad()
    def condition(self, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None) -> Condition:
        """The picture's embedding, spread over the tokens of nothing said, and its latents; the words are only kept."""
        picture = picture_of(reference).to(self.device, torch.float32)
        seen = clip_pixels(resized(picture, self.vision_encoder.config.image_size)).to(self.vision_encoder.dtype)
        embedding = self.vision_encoder(seen).image_embeds.float()[:, None]
        text = self.blank.text + self._ramp * embedding
        return Condition(prompt, text, reference=reference, camera=camera, picture=self._latents_of(picture))

    @cached_property
    def blank(self) -> Condition:
        """Nothing said of a grey picture."""
        text = embedded_prompt(self.tokenizer, self.text_encoder, "")
        grey = torch.full((1, self.image_size, self.image_size, 3), 0.5, device=self.device)
        return Condition("", text, picture=self._latents_of(grey))

    def _latents_of(self, picture: Float[Tensor, "1 h w 3"]) -> Float[Tensor, "1 channels rows columns"]:
        with torch.no_grad():  # neither scaled nor shifted, unlike the latents of the tiles
            return encode(self.vae, resized(picture, self.image_size)) / self.vae.config.scaling_factor

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Latents:
        """The six views as one image, through the autoencoder, scaled, and cut again; differentiable."""
        tiles = as_grid((images[..., :3].movedim(-1, 1) - 0.5) * CONTRAST + 0.5)
        return as_views((encode(self.vae, tiles.movedim(1, -1)) - SHIFT) * SCALE)

    def decode(self, latents: Latents) -> Float[Tensor, "views size size 3"]:
        """sRGB in [0, 1], on grey."""
        scaled = (as_grid(latents) / SCALE + SHIFT) / self.vae.config.scaling_factor
        pixels = self.vae.decode(scaled.to(self.vae.device, self.vae.dtype)).sample.float() / CONTRAST
        return as_views((pixels / 2 + 0.5).clamp(0, 1)).movedim(1, -1)

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """x0 of the six views; "nothing said" sees a grey picture. The picture's noise depends on `t` alone."""
        shown = shown_in(condition)
        check_cameras(camera, condition.camera)

        def ask(noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
            dtype = self.unet.dtype
            words = torch.cat([words.text for words in conditions]).to(dtype)
            pictures = torch.cat([words.picture for words in conditions])
            noise = torch.randn(shown.shape, generator=Streams(0).generator(f"reference/{level}"))
            beside = add_noise(pictures, noise.to(pictures).expand_as(pictures), float(self.alphas_cumprod[level]))
            kept: dict[str, Tensor] = {}
            for sample, is_reference in ((beside, True), (noisy, False)):
                said = self.unet(
                    sample.to(dtype), level, encoder_hidden_states=words,
                    cross_attention_kwargs={"kept": kept, "is_reference": is_reference},
                ).sample  # fmt: skip
            return said

        return as_views(guided_x0(self, ask, as_grid(latents), t, condition, guidance=guidance, rescale=rescale))


def six_cameras(
    reference: Camera, *, elevations_deg: tuple[float, float] = V1_2, fov_deg: float = FOV_DEG, size: int = 320
) -> Camera:
    """The cameras of the six views around a picture seen by `reference`, as far away as it."""
    azimuth = orbit_angles(reference)[0][0, 0].rad2deg() + reference.position.new_tensor(AZIMUTHS)
    radius = float(reference.position[0].norm())
    return orbit(azimuth, torch.tensor(elevations_deg * ROWS), radius=radius, fov_deg=fov_deg, size=size)


def check_cameras(camera: Camera, reference: Camera | None) -> None:
    """`BadInput` unless these are the six, in their order, of one version; distance and field of view are not seen."""
    azimuth, elevation = (angles[0].double().rad2deg().cpu() for angles in orbit_angles(camera))
    start = 0.0 if reference is None else float(orbit_angles(reference)[0].rad2deg())
    if len(camera) == len(AZIMUTHS):
        off = (azimuth - start - torch.tensor(AZIMUTHS) + 180) % 360 - 180
        low = min((elevation - torch.tensor(known * ROWS)).abs().max() for known in (V1_1, V1_2))
        if max(off.abs().max(), low) < TOLERANCE:
            return
    raise BadInput(
        f"{len(camera)} cameras at azimuths {[round(a) for a in (azimuth - start).tolist()]} from the picture's",
        "Zero123++ has six fixed views: take them from `six_cameras`",
    )


def as_grid(views: Float[Tensor, "views c h w"]) -> Float[Tensor, "1 c rows columns"]:
    """Six views as the tiles of one image, row by row; `BadInput` for another number."""
    count, channels, height, width = views.shape
    if count != ROWS * COLUMNS:
        raise BadInput(f"{count} views; Zero123++ has six that it denoises together", "use `six_cameras`")
    tiles = views.reshape(ROWS, COLUMNS, channels, height, width).permute(2, 0, 3, 1, 4)
    return tiles.reshape(1, channels, ROWS * height, COLUMNS * width)


def as_views(grid: Float[Tensor, "1 c rows columns"]) -> Float[Tensor, "6 c h w"]:
    """The tiles of one image as six views."""
    channels, height, width = grid.shape[1], grid.shape[2] // ROWS, grid.shape[3] // COLUMNS
    tiles = grid.reshape(channels, ROWS, height, COLUMNS, width).permute(1, 3, 0, 2, 4)
    return tiles.reshape(ROWS * COLUMNS, channels, height, width)


def load_zero123(source: str | Path, **options: Unpack[Loading]) -> Zero123Prior:
    """Load a folder, or a hub id at `revision`; see `load_prior`."""
    ramp = index_of(source, **options).get("ramping_coefficients")
    if not ramp:
        raise BadInput(f"{source} has no ramping_coefficients in its model_index.json", "choose a Zero123++")
    return Zero123Prior(**load_parts(source, _classes, **options), ramp=ramp)


def _classes() -> dict[str, type]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

    return {
        "scheduler": DDIMScheduler,
        "tokenizer": CLIPTokenizer,
        "text_encoder": CLIPTextModel,
        "vision_encoder": CLIPVisionModelWithProjection,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
    }

"""What priors over images have in common: pictures to latents and back, and a network asked with and without words.

A prior holds these functions, bound to its own networks. The state of a trajectory is float32; only what a network sees
is cast to its own dtype.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.diffusion import guide, level_of, x0_from_eps, x0_from_v
from maquette.priors.protocol import Condition, Latents, MultiviewPrior, Picture

Predicts = Literal["epsilon", "v_prediction"]
X0_FROM = {"epsilon": x0_from_eps, "v_prediction": x0_from_v}
Ask = Callable[[Float[Tensor, "asked c h w"], int, Sequence[Condition]], Float[Tensor, "asked more h w"]]
"""`ask(noisy, level, conditions)`: one pass of a network over the views under each condition in turn."""


@runtime_checkable
class Guidable(MultiviewPrior, Protocol):
    """A prior that `guided_x0` can ask."""

    predicts: Predicts
    blank: Condition  # nothing said


def schedule_of(scheduler) -> tuple[Float[Tensor, " noise_levels"], Predicts]:
    """The table of a diffusers scheduler, and what its network predicts; `BadInput` for anything but eps and v."""
    predicts = scheduler.config.prediction_type
    if predicts not in X0_FROM:
        raise BadInput(f"the network predicts {predicts}; expected epsilon or v_prediction", "choose another")
    return scheduler.alphas_cumprod.double(), predicts


def pixels_per_latent(vae) -> int:
    """How many pixels a side an autoencoder makes one latent of."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def sizes_of(channels: int, side: int, vae) -> tuple[tuple[int, int, int], int]:
    """`latent_shape` and `image_size` of a prior over square latents."""
    return (channels, side, side), side * pixels_per_latent(vae)


def words_only(reference: Tensor | None) -> None:
    """Refuse a picture, for priors that read none."""
    if reference is not None:
        raise BadInput("this prior reads words only; it was given a picture", "leave --image out")


def picture_of(reference: Picture | None) -> Float[Tensor, "1 height width 3"]:
    """The picture that a prior starts from; `BadInput` if there is none."""
    if reference is None:
        raise BadInput("this prior starts from a picture and was given words alone", "give one with --image")
    return reference[None]


def shown_in(condition: Condition) -> Float[Tensor, "1 channels rows columns"]:
    """What such a prior made of its picture; `BadInput` for the condition of another prior."""
    if condition.picture is None:
        raise BadInput("the condition holds no picture", "make it with this prior's own `condition`")
    return condition.picture


@torch.no_grad()
def embedded_prompt(tokenizer, text_encoder, prompt: str) -> Float[Tensor, "1 tokens embedding"]:
    """The last hidden states of a CLIP text encoder for `prompt`, padded and cut to its length."""
    length = tokenizer.model_max_length
    tokens = tokenizer(prompt, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return text_encoder(tokens["input_ids"].to(text_encoder.device)).last_hidden_state.float()


def condition_by_clip(
    tokenizer, text_encoder, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None
) -> Condition:
    """All tokens of `prompt`, padded and cut to the length of the text encoder; pictures raise `BadInput`."""
    words_only(reference)
    return Condition(prompt, embedded_prompt(tokenizer, text_encoder, prompt))


def encode(vae, images: Float[Tensor, "views height width channel"]) -> Float[Tensor, "views c h w"]:
    """The mean of the posterior, scaled; differentiable. Coverage is dropped."""
    pixels = images[..., :3].to(vae.device, vae.dtype).movedim(-1, 1) * 2 - 1
    return vae.encode(pixels).latent_dist.mean.float() * vae.config.scaling_factor


def decode(vae, latents: Float[Tensor, "views c h w"]) -> Float[Tensor, "views size size 3"]:
    """sRGB in [0, 1]."""
    scaled = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
    return (vae.decode(scaled).sample.float() / 2 + 0.5).clamp(0, 1).movedim(1, -1)


def nothing_said(prior: MultiviewPrior) -> Condition:
    """The empty prompt: a cached property of priors that read words."""
    return prior.condition("")


@torch.no_grad()
def guided_x0(
    prior: Guidable, ask: Ask, latents: Latents, t: float, condition: Condition, *, guidance: float, rescale: float
) -> Latents:
    """x0 under classifier-free guidance, from one entry of the table for both the network and the arithmetic.

    The conditions are `condition` before "nothing said", of which a guidance of 1 or 0 leaves one; each counts as an
    evaluation of `prior`. Channels beyond those of the latents are the variance that the network has learned, and are
    dropped. diffusers guides eps and not x0, which is the same.
    """
    level = max(level_of(t, len(prior.alphas_cumprod)), 0)
    conditions = [condition] if guidance == 1 else [prior.blank] if guidance == 0 else [condition, prior.blank]
    prior.evaluations += len(conditions)
    noisy = latents.float().repeat(len(conditions), 1, 1, 1)
    said = ask(noisy, level, conditions).float()[:, : latents.shape[1]]
    x0 = X0_FROM[prior.predicts](noisy, said, float(prior.alphas_cumprod[level])).chunk(len(conditions))
    return x0[0] if len(x0) == 1 else guide(x0[0], x0[1], guidance, rescale=rescale)


def ask_unet(unet, noisy: Tensor, level: int, conditions: Sequence[Condition]) -> Tensor:
    """`Ask` of a U-Net of diffusers that is told words and nothing else, once `unet` is bound."""
    words = stacked([said.text for said in conditions], len(noisy) // len(conditions), unet.dtype)
    return unet(noisy.to(unet.dtype), level, encoder_hidden_states=words).sample


def stacked(
    tensors: Sequence[Shaped[Tensor, "1 *rest"]], views: int, dtype: torch.dtype
) -> Float[Tensor, "asked *rest"]:
    """One row for each view under each condition, in the order of `guided_x0`."""
    return torch.cat([tensor.expand(views, *tensor.shape[1:]) for tensor in tensors]).to(dtype)

"""The forward pass of diffusers' spatio-temporal U-Net, with a conditioning vector for each frame.

Diffusers gives all frames of a video one vector (its speed and motion, for SVD). SV3D (arXiv 2403.12008, section 3)
gives each frame its own, from where its camera stands. Weights and names are the same, so one class loads both.
"""

import torch
from diffusers.models.embeddings import get_timestep_embedding
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput


def sinusoids(values: Float[Tensor, "*batch"], features: int) -> Float[Tensor, "*batch {features}"]:
    """Each number as `features` cosines and sines, in the order that SVD and SV3D were trained with."""
    flat = get_timestep_embedding(values.flatten(), features, flip_sin_to_cos=True, downscale_freq_shift=0)
    return flat.reshape(*values.shape, features)


def predict_frames(
    unet,
    frames: Float[Tensor, "videos frames channels height width"],
    time: float,
    tokens: Float[Tensor, "videos tokens embedding"],
    vectors: Float[Tensor, "videos frames features"],
) -> Float[Tensor, "videos frames out height width"]:
    """What a `UNetSpatioTemporalConditionModel` says of `frames` at c_noise `time`; equal vectors make it diffusers'.

    Raises `BadInput` for frames that its stages cannot halve evenly.
    """
    count = frames.shape[1]
    multiple = 2**unet.num_upsamplers
    if any(side % multiple for side in frames.shape[-2:]):
        raise BadInput(
            f"latents of {tuple(frames.shape[-2:])}; expected multiples of {multiple}", "choose another image size"
        )
    levels = torch.full((len(frames),), time, device=frames.device)
    embedded = unet.time_embedding(unet.time_proj(levels).to(frames.dtype)).repeat_interleave(count, dim=0)
    embedded = embedded + unet.add_embedding(vectors.to(frames.dtype).flatten(0, 1))
    told = {"temb": embedded, "image_only_indicator": frames.new_zeros(frames.shape[:2])}
    words = {"encoder_hidden_states": tokens.repeat_interleave(count, dim=0)}

    hidden = unet.conv_in(frames.flatten(0, 1))
    skips = (hidden,)
    for block in unet.down_blocks:
        hidden, more = block(hidden_states=hidden, **told, **_words_for(block, words))
        skips += more
    hidden = unet.mid_block(hidden_states=hidden, **told, **words)
    for block in unet.up_blocks:
        taken = len(block.resnets)
        skips, own = skips[:-taken], skips[-taken:]
        hidden = block(hidden_states=hidden, res_hidden_states_tuple=own, **told, **_words_for(block, words))
    said = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    return said.unflatten(0, frames.shape[:2])


def _words_for(block, words: dict[str, Tensor]) -> dict[str, Tensor]:
    return words if getattr(block, "has_cross_attention", False) else {}

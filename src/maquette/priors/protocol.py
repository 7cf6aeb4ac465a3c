"""What every learned or analytic prior can do, so that no method knows which one it has.

This module knows no network. A prior that satisfies `MultiviewPrior` can drive any method that needs a denoiser over
views; an object that satisfies `Encoder` can drive any method that needs features of images.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.camera import Camera

Picture = Float[Tensor, "height width 3"]
"""One clean view: sRGB in [0, 1] of the object on white."""
Latents = Float[Tensor, "views channels height width"]
"""A set of views as a prior sees them."""


@dataclass(frozen=True)
class Condition:
    """What a sample should show: words, and optionally one clean picture of it.

    `text` and `mask` are the prior's own embedding of `prompt` (None for priors that read no words). `reference` is a
    picture of the object, seen from the single view of `camera`; both are given or neither is.
    `pooled` is one vector of the whole sentence, for priors that want one beside the tokens.
    `picture` is what a prior that lives on pictures made of the reference once, for itself.
    """

    prompt: str
    text: Float[Tensor, "1 tokens embedding"] | None = None
    mask: Bool[Tensor, "1 tokens"] | None = None
    reference: Picture | None = None
    camera: Camera | None = None
    picture: Float[Tensor, "1 channels rows columns"] | None = None
    pooled: Float[Tensor, "1 sentence"] | None = None


@runtime_checkable
class MultiviewPrior(Protocol):
    """A denoiser over sets of views with a variance-preserving discrete schedule, like Stable Diffusion's.

    A noisy latent is  z_t = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) eps. Times at this door are fractions in [0, 1]:
    0 is clean (alpha_bar = 1) and t > 0 is entry `round(t * T) - 1` of `alphas_cumprod`, see
    `maquette.diffusion.alpha_bar_at`. Latents are scaled to unit variance or near it.
    """

    image_size: int  # side of the square images of `encode` and `decode`, px
    latent_shape: tuple[int, int, int]  # (channels, height, width) of one view
    alphas_cumprod: Float[Tensor, " noise_levels"]  # float64, decreasing
    device: torch.device  # where its latents live
    evaluations: int  # network forward passes so far over a set of views; a guidance pair counts 2

    def condition(self, prompt: str, *, reference: Picture | None = None, camera: Camera | None = None) -> Condition:
        """Embed the words (and keep the clean view, if any). Raises `BadInput` for words it can do nothing with."""
        ...

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Latents:
        """sRGB on white -> latents, differentiable. A fourth channel is coverage; priors without coverage drop it."""
        ...

    def decode(self, latents: Latents) -> Float[Tensor, "views size size channel"]:
        """Latents -> sRGB images in [0, 1] on white, and as fourth channel, if the prior knows it, coverage."""
        ...

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float
    ) -> Latents:
        """The expected CLEAN latents given the noisy ones; `camera` holds one camera for each view.

        `guidance` is the classifier-free scale s in  x_u + s (x_c - x_u):  1 is the plain conditional prediction (one
        forward pass), 0 the unconditional one; every other value costs two passes. `rescale` in [0, 1] undoes the
        contrast that guidance adds, see `maquette.diffusion.guide`.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """A network that turns images, and if it can words, into vectors that are close when they mean the same."""

    def embed_image(self, images: Float[Tensor, "images height width 3"]) -> Float[Tensor, "images embedding"]:
        """Unit vectors of sRGB images in [0, 1]."""
        ...

    def embed_text(self, texts: list[str]) -> Float[Tensor, "texts embedding"]:
        """Unit vectors of sentences."""
        ...

    def features(self, images: Float[Tensor, "images height width 3"]) -> list[Tensor]:
        """Feature maps (images, channels, h, w) of sRGB images in [0, 1], shallow to deep; differentiable."""
        ...

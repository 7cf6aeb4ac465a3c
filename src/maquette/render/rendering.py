"""What a renderer returns. This module does not know what was rendered."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Rendering:
    """Pictures of one thing from a batch of cameras, and what density control wants to know about them."""

    color: Float[Tensor, "cameras height width 3"]
    """sRGB, the background included."""
    alpha: Float[Tensor, "cameras height width"]
    """Coverage in [0, 1]."""
    depth: Float[Tensor, "cameras height width"]
    """Expected distance along the camera axis in world units (weighted by coverage); 0 where alpha is 0."""
    normal: Float[Tensor, "cameras height width 3"] | None = None
    """World space, towards the camera, weighted by coverage: its length is at most alpha."""
    radii_px: Float[Tensor, "cameras gaussians"] | None = None
    """Half the longer side of each Gaussian's box in pixels; 0 where it does not touch the image."""
    screen_probe: Float[Tensor, "cameras gaussians 2"] | None = None
    """Zeros that were added to the projected means: after `backward()`, its `.grad` is dLoss / d(mean in pixels)."""
    median_depth: Float[Tensor, "cameras height width"] | None = None
    """Distance along the camera axis at which half of the light is gone; 0 where nothing is seen. Surfels only."""
    distortion: Float[Tensor, "cameras height width"] | None = None
    """How thick the surface is along each ray (2DGS, eq. 13, squared as in its code). Surfels only."""

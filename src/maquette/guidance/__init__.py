"""Losses on rendered images. Nothing here knows what made the image."""

from maquette.guidance.reconstruction import color_loss, mask_loss, ms_ssim, perceptual

__all__ = ["color_loss", "mask_loss", "ms_ssim", "perceptual"]

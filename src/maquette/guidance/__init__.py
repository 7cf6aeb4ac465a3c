"""Losses on rendered images. Nothing here knows what made the image.

The door is not lazy: a function and its file share a name here (`sds` in sds.py), and a file that is imported later
than a lazy door would take the name of its function. All of it together is small.
"""

from maquette.guidance.distillation import Distillation
from maquette.guidance.reconstruction import color_loss, mask_loss, ms_ssim, perceptual
from maquette.guidance.sds import sds
from maquette.guidance.wording import ViewTexts, Wording, texts_by_view

__all__ = [
    "Distillation",
    "ViewTexts",
    "Wording",
    "color_loss",
    "mask_loss",
    "ms_ssim",
    "perceptual",
    "sds",
    "texts_by_view",
]

"""Losses on rendered images. Nothing here knows what made the image.

The door is not lazy: a function and its file share a name here (`sds` in sds.py), and a file that is imported later
than a lazy door would take the name of its function. All of it together is small.
"""

from maquette.guidance.csd import csd
from maquette.guidance.distillation import Distillation
from maquette.guidance.fps import fps, reconstruct_in_one_step
from maquette.guidance.ge3d import balancing, ge3d, reconstruct
from maquette.guidance.ism import ism
from maquette.guidance.mvdream import mvdream
from maquette.guidance.nfsd import nfsd
from maquette.guidance.nodes import Nodes
from maquette.guidance.reconstruction import color_loss, mask_loss, ms_ssim, perceptual
from maquette.guidance.sdi import sdi
from maquette.guidance.sds import sds
from maquette.guidance.sjc import sjc
from maquette.guidance.vsd import student_loss, vsd
from maquette.guidance.wording import ViewTexts, Wording, texts_by_view

__all__ = [
    "Distillation",
    "Nodes",
    "ViewTexts",
    "Wording",
    "balancing",
    "color_loss",
    "csd",
    "fps",
    "ge3d",
    "ism",
    "mask_loss",
    "ms_ssim",
    "mvdream",
    "nfsd",
    "perceptual",
    "reconstruct",
    "reconstruct_in_one_step",
    "sdi",
    "sds",
    "sjc",
    "student_loss",
    "texts_by_view",
    "vsd",
]

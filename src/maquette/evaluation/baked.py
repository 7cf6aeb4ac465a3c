"""How well a mesh with its texture shows what it was made from. Knows no files."""

from dataclasses import replace

import torch

from maquette.core.camera import Camera
from maquette.evaluation.image import psnr
from maquette.render.mesh import render_mesh
from maquette.render.rendering import Rendering
from maquette.representations.health import Health, examine
from maquette.representations.mesh import Mesh

SOLID = 0.99
"""Coverage from which a pixel counts as inside."""


def bake_psnr(mesh: Mesh, camera: Camera, source: Rendering) -> tuple[float, float]:
    """PSNR in dB of pictures of `mesh` against those of its source on white: of everything, and of what is inside.

    `source` is drawn on white from `camera`. Inside is where both are solid: there silhouettes have no say, and what is
    left are colors. The first is the mean over the pictures; the second of all pixels together, 0 where there are none.
    """
    drawn = render_mesh(mesh, camera, background=torch.ones(3))
    theirs = source.color.detach().cpu().clamp(0, 1)
    inside = torch.minimum(drawn.alpha, source.alpha.detach().cpu()) > SOLID
    error = (drawn.color - theirs)[inside].double().square()
    colors = float(-10 * torch.log10(error.mean())) if inside.any() else 0.0
    return float(psnr(drawn.color, theirs).mean()), colors


def examine_baked(mesh: Mesh, camera: Camera, source: Rendering, *, budget: int | None = None) -> Health:
    """`examine`, and `bake_psnr` with it."""
    whole, inside = bake_psnr(mesh, camera, source)
    return replace(examine(mesh, budget=budget), bake_psnr_db=whole, bake_psnr_inside_db=inside)

"""The mask of what a click in a picture means, without a network: what can be reached from it over little contrast.

Contrast is what changes in color, what jumps in depth, and where the surface bends inwards. Objects touch in creases,
and parts are convex more often than not (Stein et al., "Object Partitioning using Local Convexity", CVPR 2014): the
edges of a box do not end it, the crease where it stands on a table does. This module does not know what was drawn.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core import Camera
from maquette.core.errors import BadInput
from maquette.render import Rendering

Pixels = tuple[tuple[float, float], ...]
"""Columns and rows; pixel centres lie at +0.5."""

COVERED = 0.5
"""Less coverage is background."""
COLOR, TURN, JUMP = 20.0, 0.4, 4.0
"""How much contrast ends a part: in CIE Lab; in radians by which the surface bends inwards; in pixels of depth."""
_GRAIN, _ROUGHNESS, _SLOPE = 0.8, 0.03, 4.0  # per pixel, in the same units: so much is noise, or a slanting surface
_LIGHTNESS = 0.8  # its weight: shades differ in it more than things do
_BLUR, _BLUR_NORMALS = 1.0, 1.5  # px: what is finer is the grain of the Gaussians
_STEP = 1e-3  # contrast of a pixel without any, so that paths are short where nothing decides
_CALM = 3  # px: a click that meets an edge means what lies beside it
_PINHOLE = 16  # px
_RIM = 4  # px: how far the edge of a mask may be from where the contrast began


def grow(rendering: Rendering, camera: Camera, on: Pixels, off: Pixels = ()) -> Bool[Tensor, "height width"]:
    """The pixels that the clicks `on` reach over less contrast than ends a part, and than the clicks `off` need.

    `rendering` is one picture on black with its alpha and depth. The contrast of a path is the sum of all changes along
    it, so an edge counts the same whether it is sharp or soft. BadInput for a click outside, or on the background.
    """
    from scipy import ndimage
    from skimage.graph import MCP_Geometric
    from skimage.segmentation import watershed

    body = (rendering.alpha[0] >= COVERED).cpu().numpy()
    for column, row in (*on, *off):
        check_click(rendering, column, row)
    edge = contrast(rendering, camera)
    calm = np.where(body, ndimage.uniform_filter(edge, 3), np.inf)
    paths = MCP_Geometric(np.where(body, edge + _STEP, -1.0))  # negative: no path
    reached = paths.find_costs([_calmest(calm, pixel) for pixel in on])[0].copy()  # the next call writes over it
    core = reached < 1
    if off:
        elsewhere, _ = paths.find_costs([_calmest(calm, pixel) for pixel in off])
        core &= reached < elsewhere
    # Contrast ends the core at the foot of an edge; the ridge of the edge is where the part ends.
    near = ndimage.binary_dilation(core, iterations=_RIM)
    markers = np.where(core, 1, np.where(near & body, 0, 2))
    mask = _without_pinholes(watershed(edge, markers) == 1) & body
    if off:
        mask &= reached < elsewhere
    return torch.from_numpy(mask)


def check_click(rendering: Rendering, column: float, row: float) -> None:
    """BadInput for a click outside the picture, or on its background."""
    height, width = rendering.alpha.shape[1:]
    if not (0 <= column < width and 0 <= row < height):
        raise BadInput(
            f"the click {column:g},{row:g} lies outside the picture of {width} x {height} pixels",
            "columns count from the left, rows from the top, both from 0",
        )
    if rendering.alpha[0, int(row), int(column)] < COVERED:
        raise BadInput(f"the click {column:g},{row:g} is on the background", "click on the object itself")


def contrast(rendering: Rendering, camera: Camera) -> Float[np.ndarray, "height width"]:
    """How much each pixel differs from the next: 1, summed up over an edge, ends a part."""
    from skimage.color import rgb2lab

    alpha = rendering.alpha[0].cpu().numpy()
    weight = (alpha >= COVERED).astype(np.float32)
    color = (rendering.color[0].cpu().numpy() / np.maximum(alpha, 1e-3)[..., None]).clip(0, 1)
    lab = _blurred(rgb2lab(color).astype(np.float32) * np.float32([_LIGHTNESS, 1, 1]), weight, _BLUR)
    color_edge = np.sqrt(sum((change**2).sum(-1) for change in np.gradient(lab, axis=(0, 1))))

    points = _blurred(points_in_camera(rendering.depth[0], camera).numpy(), weight, _BLUR)
    down, right = np.gradient(points, axis=(0, 1))
    a_pixel = np.maximum(points[..., 2] / float(camera.focal_px[0, 0]), 1e-9)  # world units
    slope = np.hypot(right[..., 2], down[..., 2]) / a_pixel

    normals = _unit(_blurred(_unit(np.cross(down, right)), weight, _BLUR_NORMALS))  # towards the camera
    turn_down, turn_right = np.gradient(normals, axis=(0, 1))
    crease = np.hypot(_inwards(turn_right, right), _inwards(turn_down, down))
    parts = (
        np.maximum(color_edge - _GRAIN, 0) / COLOR,
        np.maximum(crease - _ROUGHNESS, 0) / TURN,
        np.maximum(slope - _SLOPE, 0) / JUMP,
    )
    return np.sqrt(sum(part.astype(np.float64) ** 2 for part in parts))


def points_in_camera(depth: Float[Tensor, "height width"], camera: Camera) -> Float[Tensor, "height width 3"]:
    """Where the surface is, in the axes of the camera (x right, y down, z forward)."""
    depth = depth.cpu()
    height, width = depth.shape
    (fx, fy), (cx, cy) = camera.focal_px[0].tolist(), camera.center_px[0].tolist()
    x = (torch.arange(width) + 0.5 - cx) / fx
    y = (torch.arange(height) + 0.5 - cy) / fy
    return torch.stack([x * depth, y[:, None] * depth, depth], dim=-1)


def _without_pinholes(mask: np.ndarray) -> np.ndarray:
    """Fills holes that are too small to be things which stand in front."""
    from scipy import ndimage

    holes, _ = ndimage.label(~mask)
    return mask | (np.bincount(holes.ravel())[holes] <= _PINHOLE)


def _inwards(turn: np.ndarray, step: np.ndarray) -> np.ndarray:
    """By how many radians the surface turns towards itself on the way of a step; 0 where it turns away."""
    along = (turn * step).sum(-1) / np.maximum(np.linalg.norm(step, axis=-1), 1e-9)
    return np.maximum(-along, 0)


def _blurred(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Smoothed over the object alone, so that the background does not bleed in."""
    from scipy import ndimage

    planes = [ndimage.gaussian_filter(plane * weight, sigma, truncate=3) for plane in np.moveaxis(values, -1, 0)]
    share = ndimage.gaussian_filter(weight, sigma, truncate=3)
    return np.stack(planes, axis=-1) / np.maximum(share, 1e-6)[..., None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _calmest(calm: np.ndarray, pixel: tuple[float, float]) -> tuple[int, int]:
    """The row and column near a click where there is least contrast."""
    column, row = int(pixel[0]), int(pixel[1])
    top, left = max(row - _CALM, 0), max(column - _CALM, 0)
    window = calm[top : row + _CALM + 1, left : column + _CALM + 1]
    down, right = np.unravel_index(np.argmin(window), window.shape)
    return top + int(down), left + int(right)

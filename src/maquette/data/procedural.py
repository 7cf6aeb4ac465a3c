"""Captioned shapes made by rule, so that tests and smoke runs of the recipes need no data.

Boxes, balls, cones, tables and chairs in the thirteen palette colours, resting in [-0.5, 0.5]^3 like every asset.
"""

from functools import reduce

import numpy as np

from maquette.core.color import PALETTE
from maquette.data.captions import article
from maquette.data.shards import CaptionedMesh

SHAPES = ("box", "ball", "cone", "table", "chair")
_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """An axis-aligned box, outward winding: vertices (8, 3) float32 and faces (12, 3) int32."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return low + corners * (high - low), np.concatenate([_QUADS[:, [0, 1, 2]], _QUADS[:, [0, 2, 3]]]).astype(np.int32)


def revolved(profile: np.ndarray, sides: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """The surface of revolution about +Y of a profile (points, 2) of (radius, height) from bottom to top."""
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.sin(angle), np.cos(angle)], 1)
    vertices = np.concatenate([np.insert(radius * ring, 1, height, axis=1) for radius, height in profile])
    faces = []
    for level in range(len(profile) - 1):
        for k in range(sides):
            a, b = level * sides + k, level * sides + (k + 1) % sides
            faces += [[a, b, b + sides], [a, b + sides, a + sides]]
    return vertices.astype(np.float32), np.array(faces, np.int32)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return reduce(lambda a, b: (np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1] + len(a[0])])), parts)


def _legs(side: float, top: float, thick: float) -> list[tuple[np.ndarray, np.ndarray]]:
    places = [(x, z) for x in (-side, side - thick) for z in (-side, side - thick)]
    return [box((x, -0.5, z), (x + thick, top, z + thick)) for x, z in places]


def shape(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of one of `SHAPES`; the chair's back is at -Z, so that it faces +Z."""
    if name == "box":
        return box((-0.4, -0.5, -0.4), (0.4, 0.5, 0.4))
    if name == "ball":
        angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
        return revolved(0.5 * np.stack([np.cos(angle), np.sin(angle)], 1))
    if name == "cone":
        return revolved(np.array([[0.0, -0.5], [0.4, -0.5], [0.0, 0.5]]))
    if name == "table":
        return _joined([box((-0.5, 0.1, -0.4), (0.5, 0.2, 0.4)), *_legs(0.38, 0.1, 0.08)])
    seat = [box((-0.3, -0.1, -0.3), (0.3, 0.0, 0.3)), box((-0.3, 0.0, -0.3), (0.3, 0.5, -0.22))]
    return _joined([*seat, *_legs(0.3, -0.1, 0.07)])


def procedural_mesh(number: int) -> CaptionedMesh:
    """Object `number` of the endless list of shapes and colours: equal numbers give equal objects."""
    name = SHAPES[number % len(SHAPES)]
    color = list(PALETTE)[(number // len(SHAPES)) % len(PALETTE)]
    vertices, faces = shape(name)
    paint = (np.asarray(PALETTE[color]) * 255).round().astype(np.uint8)
    return CaptionedMesh(
        key=f"{color}-{name}", vertices=vertices, faces=faces, colors=np.tile(paint, (len(faces), 1)),
        captions=(article(name), article(f"{color} {name}"), f"low poly {color} {name}"), noun=name, category=name,
        color_shares=((color, 1.0),),
    )  # fmt: skip

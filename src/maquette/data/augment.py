"""Augmentation that binds words to things: recolouring with the colour words changed, and two objects in one scene.

Everything here makes a new `CaptionedMesh` from others and a NumPy generator; nothing is random otherwise.
"""

from dataclasses import replace

import numpy as np

from maquette.core.color import PALETTE
from maquette.data.captions import composed, recolored
from maquette.data.shards import CaptionedMesh

NAMED_SHARE = 0.14  # colours below this share of the visible area are not mentioned
RELATIONS = ("on", "on top of", "next to", "beside")


def color_names(colors: np.ndarray) -> np.ndarray:
    """Palette name of each sRGB colour (n, 3) uint8, by rules on hue, saturation and value like those of the
    captions."""
    rgb = colors.astype(np.float32) / 255
    value, least = rgb.max(1), rgb.min(1)
    chroma = value - least
    saturation = chroma / np.maximum(value, 1e-6)
    safe = np.maximum(chroma, 1e-6)
    r, g, b = rgb.T
    hue = np.select(
        [value == r, value == g], [((g - b) / safe) % 6, (b - r) / safe + 2], default=(r - g) / safe + 4
    ) * np.float32(60)
    names = np.select(
        [hue < 16, hue < 44, hue < 70, hue < 158, hue < 192, hue < 255, hue < 290, hue < 345],
        ["red", "orange", "yellow", "green", "teal", "blue", "purple", "pink"],
        default="red",
    ).astype("<U8")
    warm = (hue < 44) | (hue > 345)
    names[warm & (value < 0.66) & (hue >= 12) & (hue < 44)] = "brown"
    names[(hue > 15) & (hue < 60) & (saturation < 0.45) & (value > 0.6)] = "beige"
    dull = saturation < 0.16
    names[dull] = np.select([value[dull] < 0.2, value[dull] > 0.85], ["black", "white"], default="gray")
    names[value < 0.13] = "black"
    return names


def recolor(mesh: CaptionedMesh, draw: np.random.Generator) -> CaptionedMesh:
    """Give the faces of the largest colour of `mesh` another palette colour, and say so in its captions.

    Faces keep their lightness relative to the mean of the changed faces, so painted details survive.
    """
    names = color_names(mesh.colors)
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) + 1e-9
    shares = {name: float(area[names == name].sum() / area.sum()) for name in np.unique(names)}
    largest = max(shares, key=shares.get)
    target = draw.choice([name for name in PALETTE if name != largest])
    chosen = names == largest
    light = mesh.colors[chosen].astype(np.float32).mean(1)
    mean = max(float(np.average(light, weights=area[chosen])), 1.0)
    # a dark group would blow small differences up to noise, so its contrast is damped
    contrast = np.clip(light / mean, 0.5, 1.6) ** (0.5 if mean < 60 else 0.8)
    paint = np.asarray(PALETTE[target], np.float32)
    paint = paint * 255 if paint.max() <= 1 else paint
    paint = np.clip(paint * draw.uniform(0.85, 1.1) + draw.uniform(-12, 12, 3), 0, 255)
    colors = mesh.colors.copy()
    colors[chosen] = np.clip(paint * contrast[:, None], 0, 255).astype(np.uint8)
    shares[target] = shares.pop(largest) + shares.get(target, 0.0)
    visible = sorted(((n, s) for n, s in shares.items() if s >= NAMED_SHARE), key=lambda item: -item[1])
    spoken = [target] + [name for name, _ in visible if name != target]
    if shares[target] < 0.4:
        return replace(mesh, colors=colors, captions=(), color_shares=tuple(visible))
    captions = tuple(recolored(mesh.noun, spoken[:2], draw) for _ in range(4))
    return replace(mesh, colors=colors, captions=captions, color_shares=tuple(visible))


def _fitted(vertices: np.ndarray) -> np.ndarray:
    low, high = vertices.min(0), vertices.max(0)
    return (vertices - (low + high) / 2) / max(float((high - low).max()), 1e-6)


def compose(first: CaptionedMesh, second: CaptionedMesh, draw: np.random.Generator) -> CaptionedMesh:
    """One scene of two objects: `first` stands on or beside `second`; the sentence says which."""
    relation = RELATIONS[draw.integers(len(RELATIONS))]
    a = first.vertices * np.float32(draw.uniform(0.55, 0.9))
    b = second.vertices
    if relation.startswith("on"):
        a = a - np.array([0, a[:, 1].min() - b[:, 1].max() + 0.02, 0], np.float32)
    else:
        a = a - np.array([a[:, 0].max() - b[:, 0].min() + 0.06, a[:, 1].min() - b[:, 1].min(), 0], np.float32)
    vertices = _fitted(np.concatenate([a, b])).astype(np.float32)
    return CaptionedMesh(
        key=f"{first.key}+{second.key}",
        vertices=vertices,
        faces=np.concatenate([first.faces, second.faces + len(a)]).astype(np.int32),
        colors=np.concatenate([first.colors, second.colors]),
        captions=(composed(first.noun, second.noun, relation),),
        noun=first.noun,
        category=first.category,
    )

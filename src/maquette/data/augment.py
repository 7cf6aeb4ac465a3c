"""Augmentation that binds words to things: other colors and other materials, and the words for them.

Everything here makes a new `CaptionedMesh` from others and a NumPy generator; nothing is random otherwise.
"""

from dataclasses import replace

import numpy as np

from maquette.core.color import PALETTE
from maquette.data.captions import WORD, article, recolored
from maquette.data.shards import CaptionedMesh

NAMED_SHARE = 0.14  # colours below this share of the visible area are not mentioned
WHOLE = {  # sRGB of a thing that is all of one material, and how much its faces differ
    "golden": ((0.90, 0.68, 0.20), 0.05), "silver": ((0.76, 0.78, 0.80), 0.05), "metal": ((0.50, 0.52, 0.55), 0.05),
    "wooden": ((0.58, 0.40, 0.24), 0.12), "stone": ((0.56, 0.55, 0.52), 0.10),
}  # fmt: skip
ABOVE = {"mossy": (0.36, 0.52, 0.24), "snowy": (0.94, 0.96, 0.98)}  # sRGB of what lies on faces that look up


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


def dressed(mesh: CaptionedMesh, draw: np.random.Generator) -> CaptionedMesh:
    """`mesh` made of another material (gold, silver, metal, wood, stone), or with moss or snow on it, and the words.

    Lightness relative to the mean survives, damped; moss and snow leave the other faces as they are.
    """
    names = [*WHOLE, *ABOVE]
    material = names[draw.integers(len(names))]
    own = mesh.colors.astype(np.float32) / 255
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1) + 1e-9
    if material in WHOLE:
        base, spread = WHOLE[material]
        light = own.mean(1)
        contrast = np.clip(light / max(float(np.average(light, weights=area)), 0.05), 0.5, 1.6) ** 0.5
        paint = np.asarray(base, np.float32) * (contrast * draw.normal(1, spread, len(own)))[:, None]
    else:
        covered = normals[:, 1] / area > draw.uniform(0.2, 0.5)
        layer = np.asarray(ABOVE[material], np.float32) * draw.normal(1, 0.04, (len(own), 1))
        paint = np.where(covered[:, None], layer, own)
    # a noun like "red knight" or "wooden door" would contradict the material
    told, spoken = {*PALETTE, *WHOLE, *ABOVE, "gold"}, WORD.findall(mesh.noun)
    noun = mesh.category if spoken[-1] in told else " ".join(word for word in spoken if word not in told)
    captions = (article(f"{material} {noun}"), f"{material} {noun}", f"low poly {material} {noun}")
    colors = (paint.clip(0, 1) * 255).astype(np.uint8)
    return replace(mesh, colors=colors, captions=captions, noun=noun, color_shares=())

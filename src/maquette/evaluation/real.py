"""Pictures of real objects that fit the prompts: what the judge says of them bounds what it can say of made ones."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.data.shards import read_index, read_mesh
from maquette.data.views import render_views
from maquette.evaluation.scoring import Item


def real_views(
    items: Sequence[Item], folder: Path | str, camera: Camera
) -> list[Float[Tensor, "cameras height width 3"] | None]:
    """Renders on white of one object of the data set for each prompt, None where it has none that fits.

    An object fits if its noun or category is the prompt's category and its largest color is the prompt's color; for
    prompts without a category, if the prompt is one of its captions. Objects held out of training come first.
    """
    rows = sorted(read_index(folder), key=lambda row: (row["split"] != "val", row["id"]))
    found = [next((row for row in rows if _fits(row, item)), None) for item in items]
    return [None if row is None else _views(row, folder, camera) for row in found]


def _fits(row: dict, item: Item) -> bool:
    if item.category is None:
        return item.prompt in row["captions"]
    is_thing = item.category in (row["noun"], row["category"])
    return is_thing and (item.color is None or (bool(row["colors"]) and row["colors"][0][0] == item.color))


def _views(row: dict, folder: Path | str, camera: Camera) -> Float[Tensor, "cameras height width 3"]:
    rgba = render_views(read_mesh(row, folder), camera).rgba  # blended on white
    return torch.from_numpy(rgba)[..., :3].float() / 255

"""What an evaluation leaves behind: numbers as JSON, and contact sheets with a row of views for each prompt."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.core.files import atomic_write
from maquette.io.image import save_image
from maquette.io.sheet import contact_sheet


@dataclass(frozen=True)
class SheetRow:
    """One object: its views in a row, and what stands below them."""

    views: Float[Tensor, "views height width 3"]
    label: str


def write_json(path: Path, report: dict) -> None:
    """Write plain values, sorted by nothing and rounded to 6 digits; NaN and infinities become null."""
    with atomic_write(path, "w") as file:
        json.dump(_plain(report), file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def write_sheets(
    folder: Path, rows: Sequence[SheetRow], *, name: str = "sheet", view_px: int = 64, columns: int = 3,
    rows_per_page: int = 17,
) -> list[Path]:  # fmt: skip
    """Write `name-1.png`, `name-2.png` ... and return their paths: objects in the given order, row by row.

    Every object needs the same number of views; each is scaled to `view_px`.
    """
    paths, per_page = [], columns * rows_per_page
    for first in range(0, len(rows), per_page):
        page = rows[first : first + per_page]
        strips = torch.stack([_strip(row.views, view_px) for row in page])
        paths.append(folder / f"{name}-{len(paths) + 1}.png")
        save_image(paths[-1], contact_sheet(strips, columns, [row.label for row in page]))
    return paths


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Mean and standard deviation (of the population) of some numbers; None for no numbers."""
    if not values:
        return None
    numbers = torch.tensor(values, dtype=torch.float64)
    return {"mean": numbers.mean().item(), "std": numbers.std(correction=0).item(), "count": len(values)}


def middle(values: Sequence[float]) -> dict[str, float] | None:
    """Median and largest of some numbers; None for no numbers."""
    if not values:
        return None
    return {"median": torch.tensor(values, dtype=torch.float64).quantile(0.5).item(), "most": float(max(values))}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; numbers right of the first column."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def _strip(views: Float[Tensor, "views height width 3"], view_px: int) -> Float[Tensor, "view_px row_px 3"]:
    small = F.interpolate(views.movedim(-1, 1), (view_px, view_px), mode="bilinear", antialias=True)
    return torch.cat(list(small.movedim(1, -1)), dim=1).clamp(0, 1)


def _plain(value: object) -> object:
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bool() | int() | str() | None:
            return value
        case float():
            return round(value, 6) if math.isfinite(value) else None
    return str(value)

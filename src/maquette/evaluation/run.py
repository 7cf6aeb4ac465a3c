"""Make an asset for every prompt of a list, look at it from all around, and let a judge say what it sees.

Resumable by prompt: what is finished is not made again. The judge is an encoder that no asset was made with. This
module does not know how assets are made: `make` does.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera, turntable
from maquette.core.errors import MaquetteError
from maquette.core.event import Event, Notice, Preview, Progress, Result
from maquette.core.files import prepare_folder
from maquette.evaluation.real import real_views
from maquette.evaluation.report import SheetRow, middle, write_json, write_sheets
from maquette.evaluation.scoring import Item, Scores, score
from maquette.io.image import load_image, save_image
from maquette.priors.protocol import Encoder
from maquette.render.gaussians import render_gaussians

VIEWS, ELEVATION_DEG, VIEW_PX, ACROSS = 8, 15.0, 128, 4

Make = Callable[[str, Path], Iterator[Event]]
"""Makes the asset of a prompt into a folder; ends in a Result whose asset is a `GaussianCloud`."""


@dataclass(frozen=True)
class Made:
    """One finished asset: its renders, what the prior drew before the fit (if the run showed it), and its report."""

    views: Float[Tensor, "views height width 3"]
    drawn: Float[Tensor, "drawn drawn_height drawn_width 3"] | None
    seconds: float
    report: dict


def evaluate_prompts(
    prompts: Sequence[str | dict],
    out: Path,
    *,
    make: Make,
    judge: Encoder,
    guide: Encoder | None = None,
    seed: int = 0,
    limit: int | None = None,
    identity: dict | None = None,
    data: Path | None = None,
) -> Iterator[Event]:
    """Make, render (8 azimuths, elevation 15 degrees, on white) and score; ends in Result(None, report).

    Writes `out/report.json`, contact sheets `out/sheet-*.png`, and a folder for each asset under `out/assets`. A prompt
    is a sentence or a dict with `prompt` and perhaps `category`, `color` and `kind`; `limit` takes the first so many.
    `identity` holds all else that assets depend on (version, configuration, weights): another value makes them anew.
    One asset that fails is reported, counts as a miss, and is tried again next time. `guide` is scored for information,
    and with a folder of `data`, so are real objects, as an upper bound.
    """
    items = [_item(prompt) for prompt in prompts[:limit]]
    identity = {**(identity or {}), "seed": seed}
    made, failed = {}, {}
    for done, item in enumerate(items):
        yield Progress("assets", done, len(items))
        try:
            made[item.prompt] = _make(make, item.prompt, _folder(out, item.prompt, identity))
        except Exception as error:  # noqa: BLE001 - hours of other prompts must not be lost; the report names it
            failed[item.prompt] = str(error) if isinstance(error, MaquetteError) else f"{type(error).__name__}: {error}"
            yield Notice(f"{item.prompt}: {failed[item.prompt]}")
    yield Progress("assets", len(items), len(items))

    found = [made.get(item.prompt) for item in items]
    views = [None if one is None else one.views for one in found]
    drawn = [None if one is None else one.drawn for one in found]
    first = [None if pictures is None else pictures[0] for pictures in drawn]
    scores = score(items, views, judge, references=first)
    report = {
        "prompts": len(items),
        "failed": failed,
        "identity": identity,
        "views": {"azimuths": VIEWS, "elevation_deg": ELEVATION_DEG, "size_px": VIEW_PX, "background": "white"},
        "judge": scores.summary,
        # What the prior drew, before the fit: tells whether a miss was drawn or fitted.
        "judge_on_drawn_views": _on_known(items, drawn, judge),
        "guide": None if guide is None else score(items, views, guide, references=first).summary,
        # Real objects, for the prompts that the data has one for: what this judge could find at best.
        "upper_bound": None if data is None else _on_known(items, real_views(items, data, _camera()), judge),
        "seconds": middle([one.seconds for one in made.values()]),
        "evaluations": middle([one.report["evaluations"] for one in made.values() if "evaluations" in one.report]),
        "peak_memory_mib": _peak_memory(made),
        "items": _rows(items, found, scores, out, identity),
    }
    write_json(out / "report.json", report)
    write_sheets(out, [_sheet_row(item, one, row) for item, one, row in zip(items, found, scores.items, strict=True)])
    yield Result(None, report)


def _item(prompt: str | dict) -> Item:
    if isinstance(prompt, str):
        return Item(prompt)
    return Item(prompt["prompt"], *(prompt.get(name) for name in ("category", "color", "kind")))


def _folder(out: Path, prompt: str, identity: dict) -> Path:
    """Readable, and another one whenever anything that the asset depends on changes."""
    key = json.dumps({**identity, "prompt": prompt}, sort_keys=True, default=str)
    words = "-".join(re.findall(r"[a-z0-9]+", prompt.lower()))[:40].strip("-") or "asset"
    return out / "assets" / f"{words}-{blake2b(key.encode(), digest_size=5).hexdigest()}"


def _make(make: Make, prompt: str, folder: Path) -> Made:
    """The asset, made now or before. What is scored is always read from the files, so that resuming changes nothing."""
    record = folder / "evaluation.json"
    if not (record.is_file() and (folder / "views.png").is_file()):
        start, drawn, result = time.perf_counter(), None, None
        for event in make(prompt, prepare_folder(folder)):
            match event:
                case Preview(0, images):
                    drawn = images
                case Result():
                    result = event
        assert result is not None, "the run ended without a Result"
        seconds = time.perf_counter() - start
        with torch.no_grad():
            seen = render_gaussians(result.asset.to("cpu"), _camera(), background=torch.ones(3)).color.clamp(0, 1)
        _save_grid(folder / "views.png", seen)
        if drawn is not None:
            _save_grid(folder / "drawn.png", drawn)
        count = 0 if drawn is None else len(drawn)
        write_json(record, {"prompt": prompt, "seconds": seconds, "drawn": count, "report": result.report})
    known = json.loads(record.read_text(encoding="utf-8"))
    drawn = _load_grid(folder / "drawn.png", known["drawn"]) if known["drawn"] else None
    return Made(_load_grid(folder / "views.png", VIEWS), drawn, known["seconds"], known["report"])


def _save_grid(path: Path, images: Float[Tensor, "images height width 3"]) -> None:
    blank = images.new_ones(-len(images) % ACROSS, *images.shape[1:])
    rows = torch.cat([images, blank]).unflatten(0, (-1, ACROSS))
    save_image(path, torch.cat([torch.cat(list(row), dim=1) for row in rows]))


def _load_grid(path: Path, count: int) -> Float[Tensor, "images height width 3"]:
    rows = load_image(path, max_side=1 << 14).chunk(-(-count // ACROSS))
    return torch.cat([torch.stack(row.chunk(ACROSS, dim=1)) for row in rows])[:count]


def _camera() -> Camera:
    return turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX)


def _on_known(items: Sequence[Item], views: Sequence[Tensor | None], encoder: Encoder) -> dict:
    """Scores over the objects that there are views of; the candidates are still all prompts."""
    scores = score(items, views, encoder)
    hits = [row["rank"] == 0 for row in scores.items if row is not None]
    return {
        "objects": len(hits),
        "r_precision": sum(hits) / len(hits) if hits else None,
        "text_similarity": scores.summary.get("text_similarity"),
    }


def _peak_memory(made: dict[str, Made]) -> float | None:
    known = [one.report["peak_memory_mib"] for one in made.values() if "peak_memory_mib" in one.report]
    return max(known) if known else None


def _rows(items: Sequence[Item], found: Sequence[Made | None], scores: Scores, out: Path, identity: dict) -> list[dict]:
    rows = []
    for item, one, row in zip(items, found, scores.items, strict=True):
        folder = _folder(out, item.prompt, identity).relative_to(out)
        about = {name: value for name, value in vars(item).items() if value is not None}
        rows.append({**about, "folder": str(folder), "seconds": None if one is None else one.seconds, **(row or {})})
    return rows


def _sheet_row(item: Item, one: Made | None, row: dict | None) -> SheetRow:
    if one is None or row is None:
        return SheetRow(torch.ones(VIEWS, VIEW_PX, VIEW_PX, 3), f"{item.prompt} - failed")
    said = "hit" if row["rank"] == 0 else f"rank {row['rank'] + 1}, more like {row['best']}"
    return SheetRow(one.views, f"{item.prompt} - {said} - {row['text_similarity']:.2f}")

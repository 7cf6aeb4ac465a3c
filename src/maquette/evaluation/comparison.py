"""The report of a comparison: what every method cost and came to, as numbers, curves, sheets of pictures and a table.

It does not know what the methods are or how they ran.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.files import atomic_write
from maquette.evaluation.curves import (
    ELEVATION_DEG,
    MEASURES,
    VIEW_PX,
    VIEWS,
    Row,
    mean_curve,
    reached,
    resampled,
)
from maquette.evaluation.report import SheetRow, markdown_table, write_json, write_sheets
from maquette.io.image import save_image
from maquette.io.plot import Line, legend, line_plot
from maquette.representations.gaussians import GaussianCloud

LOOKS = 12
"""Equal parts of the budget, with a look at the end of each."""
SHARE_OF_BEST = 0.9


@dataclass(frozen=True)
class Run:
    """One method on one prompt."""

    cloud: GaussianCloud
    curve: list[Row]
    fronts: Float[Tensor, "looks size size 3"]
    """The front view at each look."""
    views: Float[Tensor, "views size size 3"]
    """The last look."""
    steps: int


@dataclass(frozen=True)
class Drawn:
    """What the prior draws for a prompt without 3D: a turntable to compare sides with, and the measures of another."""

    reference: Float[Tensor, "sides size size 3"]
    views: Float[Tensor, "views size size 3"]
    row: Row


def write_comparison(
    out: Path, runs: dict[str, dict[str, Run]], drawn: dict[str, Drawn], *, evaluations: int, told: dict
) -> dict:
    """Write `report.json`, `report.md`, `curves.png`, `sheet-*.png` (the ends) and `way-*.png` (the fronts on the way).

    `runs` are by prompt and then by method, the same methods for all prompts; `told` is kept as it is.
    """
    report = told | summary(runs, drawn, evaluations=evaluations)
    write_json(out / "report.json", report)
    with atomic_write(out / "report.md", "w") as file:
        file.write(table(report))
    save_image(out / "curves.png", plots({name: row["curve"] for name, row in report["methods"].items()}))
    ends, ways = [], []
    for prompt, by_name in runs.items():
        for name, run in by_name.items():
            ends.append(SheetRow(run.views, f"{prompt} - {name} - {_digits(run.curve[-1]['similarity'], 2)}"))
            ways.append(SheetRow(_way(run, evaluations), f"{prompt} - {name}, front, {LOOKS} parts of the way"))
        label = f"{prompt} - drawn, no 3D - {_digits(drawn[prompt].row['similarity'], 2)}"
        ends.append(SheetRow(drawn[prompt].views, label))
    write_sheets(out, ends, view_px=96, columns=1)
    write_sheets(out, ways, name="way", view_px=64, columns=1)
    return report


def summary(runs: dict[str, dict[str, Run]], drawn: dict[str, Drawn], *, evaluations: int) -> dict:
    """Plain values: everything that was measured, and for each method the means over prompts.

    `evaluations_to_90` is what a method had spent when it first came to 90 % of the best similarity that any method had
    on the same prompt at any time; None if it never did. Means are over the prompts where it did, `arrived` of them.
    """
    prompts, methods = {}, {}
    for prompt, by_name in runs.items():
        level = SHARE_OF_BEST * max(row["similarity"] for run in by_name.values() for row in run.curve)
        prompts[prompt] = {
            "drawn": drawn[prompt].row,
            "methods": {
                name: {"steps": run.steps, "evaluations_to_90": reached(run.curve, level), "curve": run.curve}
                for name, run in by_name.items()
            },
        }
    grid = _grid(evaluations)
    for name in next(iter(runs.values())):
        curve = mean_curve([resampled(by_name[name].curve, grid) for by_name in runs.values()])
        to_90 = [prompts[prompt]["methods"][name]["evaluations_to_90"] for prompt in runs]
        arrived = [value for value in to_90 if value is not None]
        methods[name] = {
            **mean_curve([by_name[name].curve[-1:] for by_name in runs.values()])[0],
            "steps": sum(by_name[name].steps for by_name in runs.values()) / len(runs),
            "best_similarity": max(row["similarity"] for row in curve),
            "evaluations_to_90": sum(arrived) / len(arrived) if arrived else None,
            "arrived": len(arrived),
            "curve": curve,
        }
    views = {"azimuths": VIEWS, "elevation_deg": ELEVATION_DEG, "size_px": VIEW_PX, "background": "white"}
    return {"evaluations": evaluations, "looks": LOOKS, "views": views, "methods": methods, "prompts": prompts}


def table(report: dict) -> str:
    """The means over prompts at the end of the budget, in Markdown."""
    header = ["guidance", "steps", *MEASURES, "difference", "shared", "to 90 %", "arrived", "seconds"]
    rows = []
    for name, row in report["methods"].items():
        numbers = [_digits(row[measure], 3) for measure in (*MEASURES, "difference", "shared")]
        arrived = f"{row['arrived']} of {len(report['prompts'])}"
        spent = [_digits(row["evaluations_to_90"], 0), arrived, _digits(row["seconds"], 0)]
        rows.append([name, _digits(row["steps"], 0), *numbers, *spent])
    drawn = mean_curve([[one["drawn"]] for one in report["prompts"].values()])[0]
    rows.append(["(drawn, no 3D)", "", *[_digits(drawn[measure], 3) for measure in MEASURES], "", "", "", "", ""])
    return markdown_table(header, rows)


def plots(curves: dict[str, list[Row]]) -> Float[Tensor, "height width 3"]:
    """Every measure against evaluations (above) and seconds (below), with one legend."""
    grid = []
    for cost in ("evaluations", "seconds"):
        pictures = [
            line_plot(
                [
                    Line(name, [row[cost] for row in rows], [row[measure] for row in rows])
                    for name, rows in curves.items()
                ],
                title=measure,
                x_label=cost,
            )
            for measure in MEASURES
        ]
        grid.append(torch.cat(pictures, dim=1))
    return torch.cat([legend(list(curves), grid[0].shape[1]), *grid])


def _grid(evaluations: int) -> list[float]:
    return [evaluations * k / LOOKS for k in range(LOOKS + 1)]


def _way(run: Run, evaluations: int) -> Float[Tensor, "looks size size 3"]:
    """The front that was seen nearest to each point of the grid: methods with long steps are seen more seldom."""
    spent = torch.tensor([row["evaluations"] for row in run.curve])
    return run.fronts[[int((spent - x).abs().argmin()) for x in _grid(evaluations)]]


def _digits(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

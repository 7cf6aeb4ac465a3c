"""The report of a comparison: what every method cost and came to, as numbers, curves, sheets of pictures and a table.

It does not know what the methods are or how they ran; the numbers are those of standing.py.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.files import atomic_write
from maquette.evaluation.curves import MEASURES
from maquette.evaluation.report import SheetRow, markdown_table, write_json, write_sheets
from maquette.evaluation.runs import Drawn, Run
from maquette.evaluation.standing import LOOKS, grid, standing, summary, told
from maquette.io.image import save_image
from maquette.io.plot import Line, legend, line_plot

OVERVIEW_PX, SHEET_PX, WAY_PX = 112, 96, 64


def write_comparison(
    out: Path, runs: dict[str, dict[str, Run]], drawn: dict[str, Drawn], *, evaluations: int, settings: dict
) -> dict:
    """Write the report of `runs` (by prompt, then by method, the same methods for all prompts) and return its numbers.

    `report.json` holds everything, `summary.json` what a paragraph needs, `report.md` the table and the sentences,
    `curves.png` the means with their errors, `overview-1.png` the front of every result, `sheet-N.png` all views of the
    results for prompt N, and `way-N.png` their fronts on the way. `settings` are kept as they are.
    """
    report = settings | summary(runs, drawn, evaluations=evaluations)
    write_json(out / "report.json", report)
    write_json(out / "summary.json", told_in_short := standing(report))
    with atomic_write(out / "report.md", "w") as file:
        file.write(table(report) + "\n" + "".join(f"- {sentence}\n" for sentence in told_in_short["sentences"]))
    save_image(out / "curves.png", plots(report["methods"]))
    write_sheets(out, _fronts(runs, drawn, report), name="overview", view_px=OVERVIEW_PX, columns=1)
    names = list(report["methods"])
    ends, ways = [], []
    for prompt, by_name in runs.items():
        for name in names:
            run = by_name[name]
            ends.append(SheetRow(run.views, f"{prompt} - {name} - {run.curve[-1]['similarity']:.2f}"))
            ways.append(SheetRow(_way(run, evaluations), f"{prompt} - {name}, front, {LOOKS} parts of the way"))
        label = f"{prompt} - drawn, no 3D - {drawn[prompt].row['similarity']:.2f}"
        ends.append(SheetRow(drawn[prompt].views, label))
    write_sheets(out, ends, view_px=SHEET_PX, columns=1, rows_per_page=len(names) + 1)
    write_sheets(out, ways, name="way", view_px=WAY_PX, columns=1, rows_per_page=len(names))
    return report


def table(report: dict) -> str:
    """The means over prompts at the end of the budget, with their errors, in Markdown."""
    header = ["guidance", "steps", *MEASURES, "difference", "shared", "to 90 %", "arrived", "to own 90 %", "seconds"]
    rows = []
    for name, row in report["methods"].items():
        numbers = [told(row[measure]) for measure in (*MEASURES, "difference", "shared")]
        arrived = f"{row['to_90']['count']} of {len(report['prompts'])}"
        spent = [told(row["to_90"], 0), arrived, told(row["to_own_90"], 0), told(row["seconds"], 0)]
        rows.append([name, told(row["steps"], 0), *numbers, *spent])
    drawn = [told(report["drawn"][measure]) for measure in MEASURES]
    rows.append(["(drawn, no 3D)", "", *drawn, *[""] * (len(header) - 2 - len(MEASURES))])
    return markdown_table(header, rows)


def plots(methods: dict[str, dict]) -> Float[Tensor, "height width 3"]:
    """Every measure against evaluations (above) and seconds (below) with bands of one standard error, and a legend."""
    rows = []
    for cost in ("evaluations", "seconds"):
        pictures = [
            line_plot(
                [
                    Line(
                        name,
                        *(_column(row["curve"], key) for key in (cost, measure)),
                        _column(row["curve_error"], measure),
                    )
                    for name, row in methods.items()
                ],
                title=measure,
                x_label=cost,
            )
            for measure in MEASURES
        ]
        rows.append(torch.cat(pictures, dim=1))
    return torch.cat([legend(list(methods), rows[0].shape[1]), *rows])


def _column(rows: list[dict], name: str) -> list[float | None]:
    return [row[name] for row in rows]


def _fronts(runs: dict[str, dict[str, Run]], drawn: dict[str, Drawn], report: dict) -> list[SheetRow]:
    """A row for each method, and one for the prior: the front of what was made for every prompt."""

    def row(label: str, views_of: Callable[[str], Tensor]) -> SheetRow:
        return SheetRow(torch.stack([views_of(prompt)[0] for prompt in runs]), label)

    rows = [
        row(f"{name} - similarity {told(one['similarity'])}", lambda prompt, name=name: runs[prompt][name].views)
        for name, one in report["methods"].items()
    ]
    return [*rows, row("drawn, no 3D", lambda prompt: drawn[prompt].views)]


def _way(run: Run, evaluations: int) -> Float[Tensor, "looks size size 3"]:
    """The front that was seen nearest to each point of the grid: methods with long steps are seen more seldom."""
    spent = torch.tensor([row["evaluations"] for row in run.curve])
    return run.fronts[[int((spent - x).abs().argmin()) for x in grid(evaluations)]]

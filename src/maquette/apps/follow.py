"""Two readers of a run's events: progress bars for a person, one JSON object a line for a machine.

They draw and return the result; they do not know what the run makes.
"""

import dataclasses
import json
import math
from collections.abc import Iterable

from maquette.core import Event, Notice, Preview, Progress, Result, Scalar


def follow(events: Iterable[Event], *, as_json: bool) -> Result:
    """Read a run to its end and return its Result; bars go to standard error, JSON lines to standard output."""
    return _follow_json(events) if as_json else _follow_bars(events)


def json_line(kind: str, /, **values: object) -> str:
    """One event as a line that another program can read."""
    return json.dumps(_plain({"event": kind, **values}), ensure_ascii=False, allow_nan=False, default=str)


def _plain(value: object) -> object:
    """NaN and infinities become null, since JSON has no word for them."""
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _follow_json(events: Iterable[Event]) -> Result:
    result = None
    for event in events:
        match event:
            case Preview(step, images):  # pixels stay out of a log; the run folder has them
                line = json_line("preview", step=step, images=len(images))
            case Result(_, report):
                result, line = event, json_line("result", report=report)
            case _:
                line = json_line(type(event).__name__.lower(), **dataclasses.asdict(event))
        print(line, flush=True)
    return _ended(result)


def _follow_bars(events: Iterable[Event]) -> Result:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[number]}"),
    )
    result, rows, number = None, {}, ""
    with Bars(*columns, console=Console(stderr=True), transient=False) as bars:
        for event in events:
            match event:
                case Scalar(_, name, value):  # belongs to the step that the next Progress completes
                    number = f"{name} {value:.4g}"
                case Progress(stage, step, total):
                    if stage not in rows:
                        rows[stage] = bars.add_task(stage, number="")
                    shown = {"number": number} if number else {}
                    bars.update(rows[stage], completed=step, total=total, **shown)
                    number = ""
                case Notice(text):
                    bars.console.print(text, markup=False, highlight=False)
                case Result():
                    result = event
    return _ended(result)


def _ended(result: Result | None) -> Result:
    if result is None:
        raise RuntimeError("the run ended without a Result event")
    return result

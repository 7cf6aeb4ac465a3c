"""The words of an edit from the terminal, read and written: numbers with commas, files of JSON, lines of a log."""

import json
from pathlib import Path

from maquette.core.errors import BadInput


def listed(edit: dict) -> str:
    """One line for a person: the kind of an edit as JSON, and what it was given, as far as it fits."""
    text = f"{edit.get('kind')} {_given(edit)}"
    return text if len(text) <= 100 else f"{text[:99]}…"


def vector(text: str, where: str) -> tuple[float, float, float]:
    """Three numbers; `where` names the option in the error."""
    x, y, z = numbers(text, 3, where)
    return x, y, z


def numbers(text: str, count: int, where: str) -> list[float]:
    """Exactly `count` finite numbers with commas between them; BadInput for anything else."""
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(abs(value) < float("inf") for value in values):
        raise BadInput(f"{where} is {text!r}; expected {count} numbers with commas", f"for example {where} 0,0.1,0")
    return values


def json_of(path: Path) -> object:
    """What a file holds; BadInput if it cannot be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error})", "check the file") from error


def _given(values: dict) -> str:
    """Names and values without what is empty."""
    return " ".join(
        f"{name}={_said(value)}" for name, value in values.items() if name != "kind" and value not in ("", [], None)
    )


def _said(value: object) -> str:
    """Numbers as one would type them, points of a path with semicolons, a region by its kind."""
    match value:
        case dict():
            return f"{value.get('kind')}({_given(value)})"
        case list():
            return (";" if isinstance(value[0], list) else ",").join(_said(one) for one in value)
        case float():
            return f"{value:g}"
        case str() if " " in value:
            return json.dumps(value, ensure_ascii=False)
    return str(value)

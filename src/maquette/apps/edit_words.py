"""The words of an edit from the terminal, read and written: numbers with commas, files of JSON, lines of a log."""

import json
from pathlib import Path

from maquette.core.errors import BadInput


def listed(edit: dict) -> str:
    """One line for a person: the kind of an edit as JSON, and the values that fit."""
    values = [f"{name}={value}" for name, value in edit.items() if name != "kind"]
    text = f"{edit.get('kind')} {' '.join(values)}"
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

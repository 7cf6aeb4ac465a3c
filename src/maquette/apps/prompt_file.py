"""Lists of prompts in files: plain text, or JSON lines with a `prompt` in each object."""

import json
from pathlib import Path

from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt


def read_prompts(path: Path) -> list[dict | str]:
    """Prompts in the order of the file; empty lines are skipped, duplicates stay. BadInput names the first bad line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"cannot read {path}: {reason}", "give a text file with a prompt on each line") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise BadInput(f"{path} holds no prompts", "write one prompt on each line")
    read = _object_of if path.suffix in (".jsonl", ".ndjson") else check_prompt
    prompts = []
    for number, line in numbered:
        try:
            prompts.append(read(line))
        except BadInput as error:
            raise BadInput(f"{path}, line {number}: {error.message}", error.next_step) from error
    return prompts


def _object_of(line: str) -> dict:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise BadInput(f"not JSON ({error})", 'write {"prompt": "a red apple"}') from error
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
        raise BadInput('expected an object with a "prompt"', 'write {"prompt": "a red apple"}')
    return {**value, "prompt": check_prompt(value["prompt"])}

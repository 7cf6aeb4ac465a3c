"""Interaction scripts: a JSON list of edits, each with the step before which it happens, and the clouds they paste.

The edits are written as a session's log has them; a paste may also name a file. This module does not know what an
edit does, or which pipeline it interrupts.
"""

import json
import re
from collections.abc import Generator
from pathlib import Path

from maquette.core import Event, Unsupported
from maquette.core.errors import BadInput
from maquette.edit import Paste, is_worded, to_json
from maquette.edit.edit import understood
from maquette.pipelines.interactive3d import Interaction, script
from maquette.representations import GaussianCloud, state_hash

INTERRUPTIBLE = ("interactive3d",)
"""Pipelines that take edits on their way."""

Script = tuple[tuple[Interaction, ...], dict[str, GaussianCloud]]
"""Edits in their order, and the clouds that they paste, by `state_hash`."""


def read_script(path: Path) -> Script:
    """The script in a file. The `cloud` of a paste is a file with Gaussians, as seen from the script's folder.

    Raises BadInput for what is not a list of edits with steps, and for clouds that cannot be read.
    """
    from maquette.io import load_splats

    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error})", "check the file; see docs/editing.md") from error
    clouds = {}
    for edit in values if isinstance(values, list) else ():
        if isinstance(edit, dict) and edit.get("kind") == "paste" and isinstance(edit.get("cloud"), str):
            if re.fullmatch("[0-9a-f]{32}", edit["cloud"]):
                continue
            cloud = load_splats(path.parent / edit["cloud"])
            edit["cloud"] = state_hash(cloud)
            clouds[edit["cloud"]] = cloud
    plan = script(json.dumps(values))
    for one in plan:
        if isinstance(one.edit, Paste) and one.edit.cloud not in clouds:
            raise BadInput(f"the script pastes {one.edit.cloud}, and names no file for it", "give the file's name")
    return plan, clouds


def as_json(plan: tuple[Interaction, ...]) -> list[dict]:
    """The list that `script` reads."""
    return [{"step": one.step, **to_json(one.edit)} for one in plan]


def scripted(path: Path, pipeline: str, *, has_pocket_words: bool) -> Generator[Event, None, dict]:
    """What a pipeline wants to know of the script in a file: `interactions` and `clouds`.

    Words are said as the pocket prior knows them, if it is the one that hears them; a Notice says what was left out.
    Raises Unsupported for a pipeline that takes no edits.
    """
    if pipeline not in INTERRUPTIBLE:
        raise Unsupported(f"{pipeline} takes no edits on its way", f"choose --pipeline {' or '.join(INTERRUPTIBLE)}")
    plan, clouds = read_script(path)
    said = []
    for one in plan:
        edit = one.edit
        if has_pocket_words and is_worded(edit):
            edit = yield from understood(edit)
        said.append(Interaction(one.step, edit))
    return {"interactions": tuple(said), "clouds": clouds}

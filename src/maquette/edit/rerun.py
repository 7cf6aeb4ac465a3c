"""A session once more, from its first state and its log: the same version on the same machine makes the same bytes."""

from pathlib import Path

from maquette.core.errors import BadInput
from maquette.edit.combine import Paste
from maquette.edit.edit import from_json
from maquette.edit.journal import read_log
from maquette.edit.session import Session
from maquette.edit.store import Clouds, check_hash, load_scene, state_path
from maquette.priors import MultiviewPrior


def replay(source: str | Path, target: str | Path, prior: MultiviewPrior | None = None) -> list[str]:
    """Do everything in the log of `source` again in the new folder `target`, undone edits included.

    Returns what a person should know: the first line that led to another state than the log says, if any (another
    version, machine or `prior` may compute other bits; None is the pocket prior). Raises BadInput, naming the line,
    for an edit that this version cannot do; the target then ends before it.
    """
    source = Path(source)
    entries, clouds = read_log(source), Clouds(source)
    start = state_path(source, 0)
    scene = check_hash(load_scene(start), entries[0].after, start)
    differing = []
    with Session.create(target, scene.cloud, scene.parts, seed=entries[0].seed) as session:
        session.prior = prior
        for entry in entries[1:]:
            try:
                match entry.what:
                    case "undo":
                        session.undo()
                    case "redo":
                        session.redo()
                    case _:
                        edit = from_json(entry.edit)
                        if isinstance(edit, Paste) and edit.cloud in clouds:
                            session.keep(clouds[edit.cloud])
                        session.do(edit)
            except BadInput as error:
                raise BadInput(f"line {entry.line + 1} of the log: {error.message}", error.next_step) from error
            if session.hash != entry.after:
                differing.append(entry)
    if not differing:
        return []
    first = differing[0]
    return [f"from line {first.line + 1} on the result differs from that of maquette {first.version}"]

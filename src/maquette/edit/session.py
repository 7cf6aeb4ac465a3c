"""The document that a person edits: a folder with an asset, the log of its edits, and what undo and redo need.

    log.jsonl       the truth: an edit has happened when its line is complete
    states/N        the whole scene after line N: of the start, and of every sixteenth edit since
    deltas/N        what the edit of line N changed, forth and back
    clouds/HASH     what was pasted
    lock            held by the one process that may write

Files are written before the line that needs them, and cleaned up when there is no such line. This module knows
the names of edits, and not what any of them does.
"""

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import torch

from maquette.core import Event
from maquette.core.errors import BadInput
from maquette.core.files import prepare_folder
from maquette.core.inputs import check_seed
from maquette.edit.combine import Paste, Remove
from maquette.edit.delta import backward, difference, forward
from maquette.edit.drag import Drag
from maquette.edit.edit import Edit, Report, Sources, changing, finished, from_json, to_json
from maquette.edit.guided_drag import GuidedDrag
from maquette.edit.journal import FORMAT, LOCK, LOG, Entry, Lock, append, history, repair_log
from maquette.edit.latent import Latent
from maquette.edit.pick import SelectClick
from maquette.edit.refine import Refine
from maquette.edit.regenerate import Regenerate
from maquette.edit.repaint import Repaint
from maquette.edit.scene import ALL, Change, Scene, scene_hash
from maquette.edit.select import Forget, Select
from maquette.edit.store import (
    FOLDERS,
    Clouds,
    check_hash,
    delta_path,
    load_delta,
    load_scene,
    numbered,
    save_delta,
    save_scene,
    state_path,
)
from maquette.edit.transform import Duplicate, Mirror, Move, Rotate, Stretch
from maquette.edit.values import kind_of
from maquette.edit.verbs import method
from maquette.priors import MultiviewPrior
from maquette.representations import GaussianCloud, state_hash

STATE_EVERY = 16
"""Edits between two whole states: opening reads one of them and at most fifteen deltas."""


def check_vacant(folder: Path) -> None:
    """BadInput if no session can begin in a folder. For those who first spend a minute on making its asset."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {*FOLDERS, LOCK}:
        raise BadInput(f"{folder} is not empty", "choose a new folder, or open the session that it holds")


class Session:
    """An open session. `Session.create` and `Session.open` make it; use it in a `with` block, or `close` it.

    Every method either completes, on the disk too, or raises and leaves the session as it was.
    """

    def __init__(self, folder: Path, lock: Lock):
        """Read what the folder holds; for `create` and `open`, which have checked it."""
        self.folder, self._lock = folder, lock
        self.notices: list[str] = []
        """What a person should know about how the session was found."""
        entries, is_torn = repair_log(folder)
        self._entries, self._history = entries, history(entries)
        self._hash = entries[-1].after
        self.clouds = Clouds(folder)
        """What can be pasted, by its hash."""
        self.prior: MultiviewPrior | None = None
        """What words mean to edits that have any; the pocket prior if None. The log does not keep it."""
        self._running = ""
        doing, line = lock.left_behind.get("doing"), lock.left_behind.get("line")
        is_unfinished = isinstance(line, int) and line >= len(entries)
        if self._clean() or is_torn or is_unfinished:
            doing = f" ({doing})" if is_unfinished else ""
            self.notices.append(f"the last edit{doing} was not finished and is lost; all before it is here")
        self.scene = self._load()
        """The present state."""
        self._forget_unused_clouds()

    @classmethod
    def create(cls, folder: str | Path, cloud: GaussianCloud, parts: dict | None = None, *, seed: int = 0) -> "Session":
        """A new session of a cloud, and parts if it has any. BadInput if the folder is not empty or not ours."""
        folder, seed = Path(folder), check_seed(seed)
        cloud = cloud.detach().to("cpu").map(torch.clone)
        if len(cloud) == 0 or any(x.dtype != torch.float32 for x in cloud.tensors().values()):
            raise BadInput(
                "a session takes a cloud in float32 with at least one Gaussian", "use cloud.to(torch.float32)"
            )
        if not all(bool(torch.isfinite(tensor).all()) for tensor in cloud.tensors().values()):
            raise BadInput("the cloud holds NaN or infinity; expected finite numbers", "drop those rows")
        scene = Scene(cloud, {name: mask.cpu().clone() for name, mask in (parts or {}).items()})
        check_vacant(folder)
        prepare_folder(folder)
        lock = Lock(folder)
        try:
            for name in FOLDERS:
                (folder / name).mkdir(exist_ok=True)
            save_scene(state_path(folder, 0), scene)
            report = {"rows": len(cloud)}
            append(folder, Entry(0, "start", "", scene_hash(scene), report, seed=seed, format=FORMAT))
            return cls(folder, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, folder: str | Path) -> "Session":
        """The session in a folder, as it was left. `notices` says whether an edit was lost to a kill.

        Raises BadInput if it is not a session, is damaged, is open elsewhere, or was made by a newer version.
        """
        folder = Path(folder)
        if not (folder / LOG).is_file():
            raise BadInput(f"{folder} is not a session (it has no {LOG})", "make one with Session.create")
        lock = Lock(folder)
        try:
            return cls(folder, lock)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Give the folder back. Nothing is left to save."""
        self._lock.release()

    def __enter__(self) -> "Session":
        """The session itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The log."""
        return tuple(self._entries)

    @property
    def done(self) -> int:
        """How many edits can be undone."""
        return len(self._history.done)

    @property
    def undone(self) -> int:
        """How many edits can be redone."""
        return len(self._history.undone)

    @property
    def hash(self) -> str:
        """The `scene_hash` of the present state."""
        return self._hash

    def do(self, edit: Edit) -> Report:
        """Apply an edit. What was undone before can then no longer be redone. Raises BadInput as the edit does."""
        return finished(self.doing(edit))

    def doing(self, edit: Edit) -> Generator[Event, None, Report]:
        """`do` as a stream of the edit's events. Closed early, or never read to its end, nothing has happened.

        Until it has ended, other changes of the session are refused with BadInput.
        """
        edit = from_json(to_json(edit))  # checked, and the numbers as a replay reads them
        self._idle()
        self._running = kind_of(type(edit))
        try:
            with self._lock.doing(self._running, len(self._entries)):
                sources = Sources(self.clouds, self.prior, self._entries[0].seed)
                change, report = yield from changing(edit, self.scene, sources)
                self._held()
                self._commit(edit, change, report)
        finally:
            self._running = ""
        return report

    select, forget, remove, duplicate = method(Select), method(Forget), method(Remove), method(Duplicate)
    select_click = method(SelectClick)
    move, rotate, stretch, mirror = method(Move), method(Rotate), method(Stretch), method(Mirror)
    drag, guided_drag = method(Drag), method(GuidedDrag)
    repaint, regenerate, refine = method(Repaint), method(Regenerate), method(Refine)
    latent = method(Latent)

    def paste(self, cloud: GaussianCloud, name: str, **placed: object) -> Report:
        """Keep a cloud and bring it in as the part `name`; `at`, `scale`, `axis` and `degrees` as in `Paste`."""
        return self.do(Paste(self.keep(cloud), name, **placed))

    def export(self, path: str | Path, *, part: str = ALL, as_mesh: bool = False) -> None:
        """Write the present state, or one part of it, as a file, see `save_scene_file`."""
        from maquette.edit.export import save_scene_file  # here, because no edit needs the writers of files

        save_scene_file(path, self.scene, part=part, as_mesh=as_mesh)

    def undo(self, count: int = 1) -> None:
        """Take back the last `count` edits, exactly. BadInput, and nothing happens, if there are fewer."""
        self._idle()
        self._enough(count, self.done, "undo")
        for _ in range(count):
            self._step("undo", self._history.done[-1])

    def redo(self, count: int = 1) -> None:
        """Do again what was undone last. BadInput, and nothing happens, if there is less."""
        self._idle()
        self._enough(count, self.undone, "redo")
        for _ in range(count):
            self._step("redo", self._history.undone[-1])

    def keep(self, cloud: GaussianCloud) -> str:
        """Store a cloud for `Paste`, and return the hash by which it is named there."""
        cloud = cloud.detach().to("cpu").to(torch.float32)
        if len(cloud) == 0 or not all(bool(torch.isfinite(tensor).all()) for tensor in cloud.tensors().values()):
            raise BadInput("what is to be pasted is empty, or holds NaN or infinity", "check the file")
        name = state_hash(cloud)
        save_scene(self.clouds.path(name), Scene(cloud))
        return name

    def _commit(self, edit: Edit, change: Change, report: Report) -> None:
        line, depth = len(self._entries), len(self._history.done) + 1
        delta = difference(self.scene, change)
        files = [delta_path(self.folder, line)]
        now = scene_hash(change.scene)
        entry = Entry(line, "edit", self._hash, now, report.lasting(), edit=to_json(edit))
        try:
            save_delta(files[0], delta)
            if depth % STATE_EVERY == 0:
                files.append(state_path(self.folder, line))
                save_scene(files[1], change.scene)
            append(self.folder, entry)
        except BaseException:
            for path in files:
                path.unlink(missing_ok=True)
            raise
        self._arrive(entry, change.scene)
        with suppress(OSError):  # what cannot be deleted now is no part of the session, and the next opening tries
            self._clean()

    def _held(self) -> None:
        if not self._lock.is_held:
            raise BadInput("the session is closed", "open it again with Session.open")

    def _idle(self) -> None:
        self._held()
        if self._running:
            raise BadInput(f"an edit ({self._running}) is running", "let it end, or close its stream")

    def _step(self, what: str, line: int) -> None:
        with self._lock.doing(what, len(self._entries)):
            delta = load_delta(delta_path(self.folder, line))
            scene = (backward if what == "undo" else forward)(delta, self.scene)
            wanted = self._entries[line].before if what == "undo" else self._entries[line].after
            check_hash(scene, wanted, delta_path(self.folder, line))
            entry = Entry(len(self._entries), what, self._hash, wanted, {"rows": len(scene.cloud)})
            append(self.folder, entry)
            self._arrive(entry, scene)

    def _arrive(self, entry: Entry, scene: Scene) -> None:
        self._entries.append(entry)
        self._history = self._history.after(entry)
        self._hash, self.scene = entry.after, scene

    def _enough(self, count: int, available: int, what: str) -> None:
        if not 1 <= count <= available:
            why = "a new edit ends what can be redone" if what == "redo" else "the log shows what was done"
            raise BadInput(f"cannot {what} {count} edits: there are {available} to {what}", why)

    def _load(self) -> Scene:
        """The nearest whole state, and from there the deltas."""
        chain, now = self._history.reachable, len(self._history.done)
        saved = [at for at, line in enumerate(chain) if state_path(self.folder, line).is_file()]
        if not saved:
            raise BadInput(f"{self.folder} has lost its states", "restore the session from a copy")
        at = min(saved, key=lambda index: abs(index - now))
        scene = load_scene(state_path(self.folder, chain[at]))
        for index in range(at, now):
            scene = forward(load_delta(delta_path(self.folder, chain[index + 1])), scene)
        for index in range(at, now, -1):
            scene = backward(load_delta(delta_path(self.folder, chain[index])), scene)
        check_hash(scene, self._hash, self.folder)
        return scene

    def _clean(self) -> bool:
        """Delete files that no undo or redo can reach; True if one was left by an edit that has no line."""
        reachable, is_unfinished = set(self._history.reachable), False
        for kind in ("states", "deltas"):
            for line, path in numbered(self.folder, kind).items():
                if line not in reachable:
                    is_unfinished |= line >= len(self._entries)
                    path.unlink()
        return is_unfinished

    def _forget_unused_clouds(self) -> None:
        """Delete clouds that were kept but never pasted; those of undone edits are needed by a replay."""
        pasted = {entry.edit.get("cloud") for entry in self._entries if entry.edit is not None}
        for name in set(self.clouds) - pasted:
            self.clouds.path(name).unlink()

"""The log of a session, one JSON object a line, only ever appended to; and the lock that keeps two writers apart.

The log is the truth: an edit has happened when its line is complete. Which edits are done, and which undone, follows
from reading it. This module does not know what an edit does.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette import __version__
from maquette.core.errors import BadInput, Unsupported

FORMAT = 2
LOG, LOCK = "log.jsonl", "lock"


@dataclass(frozen=True)
class Entry:
    """One line of the log."""

    line: int
    what: Literal["start", "edit", "undo", "redo"]
    before: str
    """The hash of the scene before; empty at the start."""
    after: str
    report: dict
    edit: dict | None = None
    """The edit as JSON, for `edit` only."""
    version: str = __version__
    seed: int | None = None
    """The seed of the session, at the start only."""
    format: int | None = None
    """The version of the folder's layout, at the start only."""

    def text(self) -> str:
        """The line, with what is not set left out."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True)
class History:
    """Lines of the edits that are done, the last one last, and of those that were undone, the next to redo last."""

    done: tuple[int, ...] = ()
    undone: tuple[int, ...] = ()

    def after(self, entry: Entry) -> "History":
        """The history with one more entry. A new edit makes those that were undone unreachable."""
        match entry.what:
            case "edit":
                return History((*self.done, entry.line), ())
            case "undo":
                return History(self.done[:-1], (*self.undone, self.done[-1]))
            case "redo":
                return History((*self.done, self.undone[-1]), self.undone[:-1])
        return History()

    @property
    def reachable(self) -> tuple[int, ...]:
        """Lines of all states that undo and redo can reach, in order; the present one is number `len(done)`."""
        return (0, *self.done, *reversed(self.undone))


def history(entries: Sequence[Entry]) -> History:
    """What a log amounts to."""
    now = History()
    for entry in entries:
        now = now.after(entry)
    return now


def read_log(folder: str | Path) -> list[Entry]:
    """The complete lines of a session's log; needs no lock. Raises BadInput if the folder holds no session of ours."""
    return _read(Path(folder))[0]


def repair_log(folder: Path) -> tuple[list[Entry], bool]:
    """`read_log`, and whether a last line was cut off in the middle; if so it is taken away. Needs the lock."""
    entries, size = _read(folder)
    is_torn = (folder / LOG).stat().st_size > size
    if is_torn:
        os.truncate(folder / LOG, size)
    return entries, is_torn


def append(folder: Path, entry: Entry) -> None:
    """Add a line, and flush it to the disk. After any failure the log is what it was. BadInput if the disk is full."""
    descriptor = -1
    size = None
    try:
        descriptor = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(descriptor).st_size
        content = entry.text().encode()
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    except BaseException as error:
        if size is not None:
            os.ftruncate(descriptor, size)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            reason = os.strerror(error.errno)
            raise BadInput(f"cannot write {folder / LOG}: {reason}", "free space; the session is unchanged") from error
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


class Lock:
    """The right to write into a session folder. The system gives it back when its process ends, in whatever way."""

    def __init__(self, folder: Path):
        """Take the lock, or raise BadInput at once that names the process which has it."""
        try:
            import fcntl
        except ImportError as error:
            raise Unsupported("this system has no file locks of POSIX", "edit on Linux or macOS") from error

        self._path = folder / LOCK
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BadInput(f"cannot write {self._path}: {error.strerror}", "work on a copy of the session") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _parsed(os.pread(self._descriptor, 4096, 0))
            os.close(self._descriptor)
            who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
            raise BadInput(f"{folder} is open in {who}", "close it there first, or work on a copy") from error
        self.left_behind = _parsed(os.pread(self._descriptor, 4096, 0))
        """What the last holder was doing when it ended, if it did not end well: `doing` and `line`."""
        self._write({})

    @contextmanager
    def doing(self, what: str, line: int) -> Iterator[None]:
        """Leave a word for those who come after a kill."""
        self._write({"doing": what, "line": line})
        try:
            yield
        finally:
            if self.is_held:
                self._write({})

    @property
    def is_held(self) -> bool:
        """Whether it has not been given back."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Give the lock back; a second time does nothing. The empty file stays, since removing it would race."""
        if self.is_held:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, values: dict) -> None:
        text = json.dumps({"process": os.getpid(), "host": socket.gethostname(), **values}).ljust(256)
        os.pwrite(self._descriptor, text.encode(), 0)  # one write of one length: never a mixture of two


def _parsed(content: bytes) -> dict:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):  # an empty file, or one that a power cut has damaged: nobody is there
        return {}
    return values if isinstance(values, dict) else {}


def _read(folder: Path) -> tuple[list[Entry], int]:
    """Entries, and how many bytes they take."""
    path = folder / LOG
    if not path.is_file():
        raise BadInput(f"{folder} is not a session (it has no {LOG})", "make one with: maquette edit FOLDER new FILE")
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    entries: list[Entry] = []
    now = History()
    for text in content[:end].split(b"\n")[:-1]:
        entries.append(_entry(text, entries, now, path))
        now = now.after(entries[-1])
    if not entries:
        raise BadInput(f"{path} has no complete line", "restore the session from a copy")
    return entries, end


def _entry(text: bytes, earlier: list[Entry], now: History, path: Path) -> Entry:
    values, line = _parsed(text), len(earlier)
    layout = values.get("format")
    if line == 0 and isinstance(layout, int) and layout != FORMAT:
        raise BadInput(
            f"{path} has layout {layout} of maquette {values.get('version')}; this one reads {FORMAT}",
            "update maquette" if layout > FORMAT else "export it with that version, and start a new session",
        )
    try:
        entry = Entry(**values)
    except TypeError as error:
        raise BadInput(f"line {line + 1} of {path} is not one of a session's log", "restore it from a copy") from error
    is_possible = {
        "start": line == 0 and layout == FORMAT and isinstance(entry.seed, int),
        "edit": line > 0 and isinstance(entry.edit, dict),
        "undo": bool(now.done),
        "redo": bool(now.undone),
    }
    before = earlier[-1].after if earlier else ""
    follows = is_possible.get(str(entry.what), False) and entry.line == line and entry.before == before
    if not follows or not isinstance(entry.after, str) or not isinstance(entry.report, dict):
        raise BadInput(f"line {line + 1} of {path} does not follow from those before it", "restore it from a copy")
    return entry

"""Writing so that a file is there completely or not at all, and folders that are checked before work begins.

This module does not know any file format.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from maquette.core.errors import BadInput

NEEDED_MIB = 64  # an asset with its video, pictures and checkpoint stays below this
_THE_DISK_SAYS_NO = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}


@contextmanager
def atomic_write(path: str | Path, mode: Literal["wb", "w"] = "wb") -> Iterator[IO]:
    """Open `path` for writing; the file appears, complete and flushed to disk, when the block ends without an error.

    Any older file stays untouched until then and after a failure. The new content has no name until it is complete
    where the file system can do that (Linux: O_TMPFILE), so that even a kill leaves nothing behind; elsewhere it is a
    hidden `.part` file beside the target that every failure except a kill removes. Raises `BadInput` for a folder that
    is not there, and a disk that is full or read-only.
    """
    path = Path(path).absolute()  # so that a block which changes the working folder still writes where it was asked to
    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent}", "make it first, or choose another")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with _explained(path), _folder_handle(path.parent) as folder:
        descriptor, is_nameless = _open_part(part)
        try:
            with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if is_nameless:  # the folder's handle also makes Python follow the link, which it else forgets
                    os.link(f"/proc/self/fd/{file.fileno()}", part.name, dst_dir_fd=folder, follow_symlinks=True)
            os.replace(part, path)
        except BaseException:  # also Ctrl-C and a closed generator: tidy up, then let it pass
            part.unlink(missing_ok=True)
            raise
        if folder is not None:
            os.fsync(folder)  # the new name itself must survive a power cut


def prepare_folder(path: str | Path) -> Path:
    """Make the folder `path`, with parents, and prove that a run can write into it before the run begins.

    Raises `BadInput` if it is a file, cannot be written, or its disk has less than `NEEDED_MIB` free. Files that are
    already there stay.
    """
    path = Path(path)
    if "\0" in str(path):
        raise BadInput("the folder's name contains a NUL character", "choose another name")
    with _explained(path):
        above = next((folder for folder in (path, *path.parents) if folder.exists()), Path())
        if not above.is_dir():
            raise BadInput(f"{above} is a file; expected a folder or a new name", "choose another output folder")
        free_mib = shutil.disk_usage(above).free / 2**20
        if free_mib < NEEDED_MIB:
            raise BadInput(
                f"the disk of {path} has {free_mib:.0f} MiB free; a run may need {NEEDED_MIB}",
                "free space or choose another folder",
            )
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{secrets.token_hex(4)}.probe"
        probe.write_bytes(b"")
        probe.unlink()
    return path


def _open_part(part: Path) -> tuple[int, bool]:
    """A descriptor for the new content, and whether it has no name yet."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            return os.open(part.parent, os.O_TMPFILE | os.O_WRONLY, 0o666), True
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
    return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), False


@contextmanager
def _folder_handle(folder: Path) -> Iterator[int | None]:
    """An open folder, where the system has such a thing."""
    if os.name != "posix":
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BadInput(f"the name {path.name[:40]}… is too long for this disk", "choose a shorter name") from error
        if error.errno not in _THE_DISK_SAYS_NO:
            raise
        reason = os.strerror(error.errno)
        raise BadInput(f"cannot write {path}: {reason}", "choose another folder or free space") from error

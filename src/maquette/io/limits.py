"""What every reader checks before it parses: that there is a file, how large it is, and that a parser's complaint
becomes our error. This module does not know any file format.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from maquette.core.errors import BadInput, Unsupported

MAX_FILE_MIB = 2048
MAX_GAUSSIANS = 20_000_000
MAX_VERTICES = 10_000_000
MAX_FACES = 20_000_000
MAX_IMAGE_SIDE = 16_384
MAX_IMAGE_PIXELS = 64_000_000
MAX_TEXTURE_PIXELS = 32_000_000  # of all textures of a file together

# What parsers of broken bytes are known to raise, ours and those of Pillow, trimesh and gsply. A list, and not
# `Exception`, so that Ctrl-C, a full memory elsewhere and errors of our own stay what they are.
_COMPLAINTS = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, ArithmeticError, RecursionError,
    MemoryError, SyntaxError, EOFError, OSError, struct.error, zlib.error,
)  # fmt: skip


def read_file(path: str | Path, kind: str, *, max_mib: int = MAX_FILE_MIB) -> bytes:
    """All bytes of a regular file. `kind` names what was expected, with its article ("a PLY file").

    Raises BadInput when there is no such file, it is a folder or a device, it is empty, it is larger than `max_mib`,
    or it may not be read.
    """
    path = Path(path)
    with refused(path, kind):
        if not path.exists():
            raise BadInput(f"there is no file {path}; expected {kind}", "check the path")
        if not path.is_file():  # a pipe or a device would block or never end
            raise BadInput(f"{path} is not a regular file; expected {kind}", "give the path of a file")
        size = path.stat().st_size
        if size == 0:
            raise BadInput(f"{path} is empty (0 bytes); expected {kind}", "make or download the file again")
        if size > max_mib * 2**20:
            raise BadInput(f"{path} has {size / 2**20:.0f} MiB; {kind} may have {max_mib}", "give a smaller file")
        return path.read_bytes()


@contextmanager
def refused(path: str | Path, kind: str) -> Iterator[None]:
    """Turn what a parser raises on broken bytes into BadInput; our own errors pass unchanged."""
    try:
        yield
    except (BadInput, Unsupported):
        raise
    except PermissionError as error:
        raise BadInput(f"{path} may not be read by this user", "change its permissions or copy it") from error
    except _COMPLAINTS as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise BadInput(
            f"{path} cannot be read as {kind} ({reason[:200]})", "make or download the file again; it looks damaged"
        ) from error


def beside(path: str | Path, uri: str) -> Path:
    """The file that `path` refers to as `uri`: only inside the folder of `path`, whatever links and dots say."""
    folder = Path(path).resolve().parent
    name = unquote(uri).replace("\\", "/")
    target = (folder / name).resolve() if "\0" not in name else None
    if target is None or ":" in name or name.startswith("/") or not target.is_relative_to(folder):
        raise BadInput(
            f"{path} refers to {uri[:80]!r}, outside of its own folder",
            "put the files it needs beside it, or export it as one file",
        )
    return target

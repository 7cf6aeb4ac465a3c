"""What this machine and this installation have, in plain words: the commands `doctor` and `info`."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import maquette
from maquette.pipelines import PIPELINES

_PACKAGE = Path(maquette.__file__).parent
_LIBRARIES = ("torch", "numpy", "numba", "diffusers", "transformers", "trimesh", "gsply", "imageio-ffmpeg", "gsplat")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether a run can live with it, and what to tell a person."""

    is_good: bool
    text: str


def examine() -> Iterator[Finding]:
    """Look at everything that a run needs; a check that fails in itself is a bad finding and does not stop the rest."""
    for check in (_python, _torch, _device, _threads, _ffmpeg, _writing, _weights, _compiled_kernels):
        yield _looked_at(check)


def describe() -> str:
    """Versions, methods, priors and the size of the vocabulary, as lines of text."""
    found = [f"{name} {number}" for name in _LIBRARIES if (number := _version(name))]
    lines = [
        f"maquette {maquette.__version__}",
        f"python   {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"with     {', '.join(found)}",
        f"methods  {', '.join(PIPELINES)}",
        f"priors   {_weights().text}; any diffusers pipeline folder or hub id",
        f"words    {_vocabulary_size()} (maquette info --vocabulary lists them)",
    ]
    return "\n".join(lines)


def list_vocabulary() -> str:
    """Every word that the pocket prior knows, by kind."""
    from maquette.priors.prompts import vocabulary

    blocks = [f"{kind} ({len(words)})\n  {', '.join(words)}" for kind, words in vocabulary().items()]
    return "\n\n".join(blocks)


def _looked_at(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(False, f"{check.__name__.strip('_')}: {type(error).__name__}: {error}")


def _python() -> Finding:
    return Finding(sys.version_info >= (3, 11), f"Python {platform.python_version()} (3.11 or newer is needed)")


def _torch() -> Finding:
    import torch

    total = (torch.eye(3) @ torch.ones(3)).sum().item()
    return Finding(total == 3, f"torch {torch.__version__} computes")


def _device() -> Finding:
    from maquette.core.device import pick_device

    device = pick_device()
    if device.type == "cpu":
        return Finding(True, "no CUDA device: runs use the CPU, which is what the pocket prior is made for")
    import torch

    name = torch.cuda.get_device_name(device)
    has_kernels = _version("gsplat") is not None
    return Finding(True, f"CUDA device {name}" + ("" if has_kernels else '; pip install "maquette[cuda]" splats on it'))


def _threads() -> Finding:
    import numba
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    used = f"torch uses {torch.get_num_threads()} threads and numba {numba.config.NUMBA_NUM_THREADS}"
    return Finding(True, f"{cores} CPU cores; {used}")


def _ffmpeg() -> Finding:
    import imageio_ffmpeg

    return Finding(True, f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()} writes the videos")


def _writing() -> Finding:
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        with tempfile.TemporaryFile(dir=folder) as file:  # an OSError becomes the finding
            file.write(b"x")
    return Finding(True, f"files can be written in {Path.cwd()} and {tempfile.gettempdir()}")


def _weights() -> Finding:
    files = list((_PACKAGE / "pocket").rglob("*.safetensors"))
    if not files:
        return Finding(False, "the pocket prior's weights are missing: install maquette again from a release")
    return Finding(True, f"pocket prior: {sum(file.stat().st_size for file in files) / 2**20:.0f} MiB of weights")


def _compiled_kernels() -> Finding:
    # Numba keeps what it compiled beside the source, else in the user's cache folder.
    folders = [_PACKAGE / "kernels", Path.home() / ".cache"]
    if os.environ.get("NUMBA_CACHE_DIR"):
        folders = [Path(os.environ["NUMBA_CACHE_DIR"])]
    kept_in = next((folder for folder in folders if os.access(_nearest(folder), os.W_OK)), None)
    if kept_in is None:
        return Finding(False, "compiled kernels cannot be kept, so each start is slow: set NUMBA_CACHE_DIR to a folder")
    return Finding(True, f"compiled kernels are kept in {kept_in}")


def _nearest(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _vocabulary_size() -> str:
    from maquette.priors.prompts import vocabulary

    return ", ".join(f"{len(words)} {kind}" for kind, words in vocabulary().items())

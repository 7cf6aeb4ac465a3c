"""Any prior by its name: the pocket one, a diffusers folder, or a hub id. One call for all of them.

The loaders of the families stand beside this file and share what is here: parts read by the libraries that define
them, in one dtype, on one device, thrifty where memory is short.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypedDict, Unpack

import torch

from maquette.core.errors import BadInput
from maquette.priors import hub
from maquette.priors.multiview import MultiviewLatentPrior, load_multiview, quiet_loading
from maquette.priors.protocol import MultiviewPrior

SHORT_GIB = 10.0  # a device with less free memory attends in slices and decodes in tiles


class Loading(TypedDict, total=False):
    """What every loader may be told besides the source."""

    revision: str | None
    """Of a hub id; a commit pins it."""
    is_offline: bool
    """Fetch nothing."""
    device: str | torch.device
    """"cpu" if left out."""
    dtype: torch.dtype | None
    """If left out float16 on CUDA, as these models were published for, and float32 elsewhere."""


def load_prior(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> MultiviewPrior:
    """Load "pocket", a diffusers folder, or a hub id at `revision` (a commit pins it), by the class that it names.

    `dtype` is the family's own choice if left out: see each loader. What is on this machine is used without asking the
    network; what is not is fetched, unless `is_offline`. Raises `BadInput` that says what is missing, how large it is,
    under which licence, and how to get it.
    """
    family = hub.family_of(source, revision=revision, is_offline=is_offline)
    loader = getattr(import_module(family.module), family.loader)
    return loader(source, revision=revision, is_offline=is_offline, device=device, dtype=dtype)


def load_pocket(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> MultiviewLatentPrior:
    """The prior that is shipped, or another folder of its kind (what `maquette train denoiser` writes)."""
    folder = hub.folder_of(source, revision)
    if folder is None:
        folder = hub.fetch(source, revision=revision, is_offline=is_offline)
    return load_multiview(folder, device=device, dtype=dtype)


def load_parts(
    source: str | Path,
    classes: Callable[[], dict[str, type]],
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> dict[str, object]:
    """The named parts of a pipeline through `from_pretrained` of their classes: networks frozen, on `device`.

    `classes` imports what it names, and is called when the files are there. Files that are missing from the hub
    client's cache are fetched. Raises `BadInput` where parts are missing or come as pickles only.
    """
    dtype = dtype or usual_dtype(device)
    folder = hub.folder_of(source, revision)
    if folder is not None:
        return _read(source, folder, classes(), torch.device(device), dtype)
    cached = hub.in_cache(source, revision)
    if cached is not None:
        try:
            return _read(source, cached, classes(), torch.device(device), dtype)
        except BadInput:
            if is_offline or not hub.has_network():
                raise
    folder = hub.fetch(source, revision=revision, is_offline=is_offline)
    return _read(source, folder, classes(), torch.device(device), dtype)


def index_of(source: str | Path, **options: Unpack[Loading]) -> dict:
    """`model_index.json` of what a loader is asked for."""
    where = {name: options[name] for name in ("revision", "is_offline") if name in options}
    return hub.read_index(source, **where)


def usual_dtype(device: str | torch.device) -> torch.dtype:
    """float16 on CUDA, as these models were published for, and float32 elsewhere."""
    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def described(prior: MultiviewPrior) -> str:
    """One line for a person: class, dtype, device and size of the weights in memory."""
    networks = [part for part in vars(prior).values() if isinstance(part, torch.nn.Module)]
    weights = [weight for network in networks for weight in (*network.parameters(), *network.buffers())]
    size = sum(weight.nbytes for weight in weights)
    kinds = sorted({str(weight.dtype).removeprefix("torch.") for weight in weights if weight.is_floating_point()})
    return f"{type(prior).__name__} in {' and '.join(kinds)} on {prior.device}, {size:,} bytes of weights"


def spare_memory(parts: dict[str, object]) -> None:
    """Attend in slices and decode in tiles: slower, and less memory at once; nothing changes but the rounding."""
    for part in parts.values():
        if hasattr(part, "set_attention_slice"):
            part.set_attention_slice("auto")
        if hasattr(part, "enable_tiling"):
            part.enable_tiling()


def _read(
    source: str | Path, folder: Path, classes: dict[str, type], device: torch.device, dtype: torch.dtype
) -> dict[str, object]:
    from transformers import PreTrainedModel

    parts = {}
    with quiet_loading():
        for name, kind in classes.items():
            options = {}
            if issubclass(kind, PreTrainedModel):
                options = {"use_safetensors": True, "dtype": dtype}
            elif issubclass(kind, torch.nn.Module):  # of diffusers, whose thrifty way of loading takes another package
                options = {"use_safetensors": True, "torch_dtype": dtype, "low_cpu_mem_usage": False}
            if options:
                options["output_loading_info"] = True
            try:
                part = kind.from_pretrained(folder, subfolder=name, local_files_only=True, **options)
            except OSError as error:
                raise BadInput(
                    f"{source} has no whole {name} with safetensors: {str(error).strip().splitlines()[0]}",
                    "choose a revision that has them; pickled weights are refused, since loading them runs code",
                ) from error
            if options:
                part, told = part
                missing = sorted(told["missing_keys"])
                if missing:  # the libraries would go on with random numbers
                    raise BadInput(
                        f"{source} lacks {len(missing)} weights of its {name}, {missing[0]} among them",
                        "copy it again; if it is whole, it is another network than its folder says",
                    )
            parts[name] = part
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False).to(device)
    if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] < SHORT_GIB * 2**30:
        spare_memory(parts)
    return parts

"""The state of a run in one file that is there completely or not at all: safetensors, with plain values as JSON inside.

One file and not two, because a rename replaces one file at a time and a kill may come between. This module does not
know what is being run.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.files import atomic_write

_KEY = "maquette_state"


def save_state(path: str | Path, tensors: dict[str, Tensor], values: dict) -> None:
    """Replace the file at `path` by these tensors (any device; stored bit for bit) and `values` (what JSON can hold).

    The folder must exist. A full or read-only disk raises `BadInput`, and the older file stays.
    """
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # no shared memory
    content = save(own, metadata={_KEY: json.dumps(values, allow_nan=False)})
    with atomic_write(path) as file:
        file.write(content)


def load_state(path: str | Path) -> tuple[dict[str, Tensor], dict] | None:
    """What `save_state` wrote, on the CPU, or None if there is no such file. A damaged file raises `BadInput`."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            values = json.loads((file.metadata() or {})[_KEY])
            names = file.keys()
            return {name: file.get_tensor(name).clone() for name in names}, values
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise BadInput(f"{path} is not the state of a run ({error})", "delete it to start the run over") from error


def load_own_state(path: str | Path, identity: dict, device: torch.device) -> tuple[dict[str, Tensor], dict] | None:
    """As `load_state`, on `device`, of the run that saved `identity` among its values; `BadInput` for another's."""
    loaded = load_state(path)
    if loaded is None:
        return None
    tensors, values = loaded
    other = [name for name, value in identity.items() if values["identity"].get(name) != value]
    if other:
        raise BadInput(
            f"{path} belongs to another run: its {', '.join(other)} differs", "delete it, or choose another folder"
        )
    return {name: tensor.to(device) for name, tensor in tensors.items()}, values

"""Choosing the device: the one that was asked for, or CUDA where there is one, else the CPU. Never a quiet change."""

import torch

from maquette.core.errors import BadInput


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name` ("cpu", "cuda", "cuda:1"); None picks CUDA if it is present, else the CPU."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (":" in name and not index.isdecimal()):
        raise BadInput(f"device is {name!r}; expected cpu, cuda or cuda:N", "leave the option out to have one picked")
    if kind == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= present:
            raise BadInput(f"device is {name!r}, but torch sees {present} CUDA devices", "use --device cpu")
    return torch.device(name)

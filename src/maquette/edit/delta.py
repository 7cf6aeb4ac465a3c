"""The difference between two scenes as tensors: forth, back, and no larger than the rows that changed.

Values are compared as bits, so that -0 and the bits of NaN survive, and where they changed, the flipped bits are stored
(old xor new), which lead forth and back. This module does not know which edit
made the difference.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.edit.scene import Change, Scene, pack, unpack
from maquette.representations import GaussianCloud

_BITS = {4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Delta:
    """Tensors for a file, and the plain values beside them."""

    tensors: dict[str, Tensor]
    values: dict


def difference(before: Scene, change: Change) -> Delta:
    """What leads from `before` to `change.scene` and back."""
    after, kept = change.scene, change.kept
    counts = (len(before.cloud), len(after.cloud), before.cloud.sh.shape[1], after.cloud.sh.shape[1])
    width = max(counts[2:])
    olds, news = columns(before.cloud, width), columns(after.cloud, width)
    lost = torch.ones(len(before.cloud), dtype=torch.bool)
    lost[kept] = False
    tensors = {"lost": lost.nonzero()[:, 0].int()}
    for name, old in olds.items():
        new = news[name]
        if new is not old:
            at = differing(old if len(kept) == len(old) else old[kept], new[: len(kept)]).nonzero()[:, 0]
            tensors |= {f"{name}.at": at.int(), f"{name}.flips": _bits(old[kept[at]]) ^ _bits(new[at])}
        tensors |= {f"{name}.lost": old[lost], f"{name}.added": new[len(kept) :]}
    for side, parts, others in (("old", before.parts, after.parts), ("new", after.parts, before.parts)):
        for name, mask in parts.items():
            if name not in others or not torch.equal(mask, others[name]):
                tensors[f"part.{side}.{name}"] = pack(mask)
    values = {"rows": counts[:2], "sh": counts[2:], "gone": sorted(set(before.parts) - set(after.parts))}
    values["made"] = sorted(set(after.parts) - set(before.parts))
    return Delta({name: x for name, x in tensors.items() if len(x)}, values)


def forward(delta: Delta, scene: Scene) -> Scene:
    """The scene after, from the one before. Raises BadInput if the delta is not about this scene."""
    return _step(delta, scene, is_forward=True)


def backward(delta: Delta, scene: Scene) -> Scene:
    """The scene before, from the one after. Raises BadInput if the delta is not about this scene."""
    return _step(delta, scene, is_forward=False)


def differing(old: Tensor, new: Tensor) -> Tensor:
    """Which rows differ in any bit."""
    return (_bits(old) != _bits(new)).flatten(1).any(dim=1) if old.ndim > 1 else _bits(old) != _bits(new)


def touched(before: Scene, change: Change) -> Bool[Tensor, " kept"]:
    """Which of the kept rows differ in any bit; padding with zeros to a higher degree of harmonics does not count."""
    width = max(before.cloud.sh.shape[1], change.scene.cloud.sh.shape[1])
    news, kept = columns(change.scene.cloud, width), change.kept
    differs = torch.zeros(len(kept), dtype=torch.bool)
    for name, old in columns(before.cloud, width).items():
        if news[name] is not old:
            differs |= differing(old if len(kept) == len(old) else old[kept], news[name][: len(kept)])
    return differs


def columns(cloud: GaussianCloud, coefficients: int) -> dict[str, Tensor]:
    """The raw tensors, with the spherical harmonics padded by zeros to `coefficients`."""
    tensors, missing = cloud.tensors(), coefficients - cloud.sh.shape[1]
    return tensors | {"sh": torch.nn.functional.pad(cloud.sh, (0, 0, 0, missing))} if missing else tensors


def _step(delta: Delta, scene: Scene, *, is_forward: bool) -> Scene:
    source, target = (0, 1) if is_forward else (1, 0)
    side = ("old", "new")[target]
    try:
        rows, sh = delta.values["rows"], delta.values["sh"]
        if (len(scene.cloud), scene.cloud.sh.shape[1]) != (rows[source], sh[source]):
            raise ValueError(f"it is about {rows[source]} rows, the scene has {len(scene.cloud)}")
        found = columns(scene.cloud, max(sh))
        survivors = _survivors(delta, rows[0])
        tensors = {}
        for name, values in found.items():
            values = values[survivors] if is_forward else values[: len(survivors)]
            if f"{name}.at" in delta.tensors:
                at = delta.tensors[f"{name}.at"].long()
                flipped = _bits(values[at]) ^ delta.tensors[f"{name}.flips"]
                values = values.index_put((at,), flipped.view(values.dtype))
            tensors[name] = values
            if is_forward and f"{name}.added" in delta.tensors:
                tensors[name] = torch.cat([values, delta.tensors[f"{name}.added"]])
            if not is_forward and "lost" in delta.tensors:
                whole = values.new_empty(rows[0], *values.shape[1:])
                whole[survivors], whole[delta.tensors["lost"].long()] = values, delta.tensors[f"{name}.lost"]
                tensors[name] = whole
        tensors["sh"] = tensors["sh"][:, : sh[target]].contiguous()
        return Scene(GaussianCloud(**tensors), _parts(delta, scene.parts, side, rows[target]))
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"a stored difference does not fit its scene ({error})", "restore the session") from error


def _parts(delta: Delta, parts: dict[str, Tensor], side: str, count: int) -> dict[str, Tensor]:
    absent = delta.values["gone"] if side == "new" else delta.values["made"]
    prefix = f"part.{side}."
    stored = {
        name.removeprefix(prefix): unpack(bits, count)
        for name, bits in delta.tensors.items()
        if name.startswith(prefix)
    }
    return {name: mask for name, mask in parts.items() if name not in absent} | stored


def _survivors(delta: Delta, count: int) -> Int[Tensor, " kept"]:
    lost = torch.zeros(count, dtype=torch.bool)
    if "lost" in delta.tensors:
        lost[delta.tensors["lost"].long()] = True
    return (~lost).nonzero()[:, 0]


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().view(_BITS[values.element_size()])

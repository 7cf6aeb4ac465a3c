"""What is edited: Gaussians with named parts, and what an edit did to its rows. Knows no edit and no file."""

import hashlib
import re
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.representations import GaussianCloud, state_hash

ALL = "all"
"""The part that every scene has: all rows."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}")


@dataclass(frozen=True)
class Scene:
    """Gaussians and parts: masks over their rows, by name. Parts may overlap and may be empty."""

    cloud: GaussianCloud
    parts: dict[str, Bool[Tensor, " gaussians"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, mask in self.parts.items():
            check_name(name)
            if mask.shape != (len(self.cloud),) or mask.dtype != torch.bool:
                raise BadInput(
                    f"part {name!r} is {tuple(mask.shape)} of {mask.dtype}; expected a mask of {len(self.cloud)} rows",
                    "give every part one true or false per Gaussian",
                )

    def rows(self, part: str) -> Bool[Tensor, " gaussians"]:
        """The mask of a part, which must exist and must not be empty. Raises BadInput."""
        if part == ALL:
            if len(self.cloud) == 0:
                raise BadInput("the scene has no Gaussians", "paste something first")
            return torch.ones(len(self.cloud), dtype=torch.bool, device=self.cloud.means.device)
        if part not in self.parts:
            known = ", ".join(sorted(self.parts)) or "none yet"
            raise BadInput(f"there is no part {part!r} (parts: {known})", f"select it first, or use {ALL!r}")
        if not bool(self.parts[part].any()):
            raise BadInput(f"part {part!r} has no rows left: they were removed", "select it anew, or undo")
        return self.parts[part]


@dataclass(frozen=True)
class Change:
    """A scene after an edit: first the old rows that are left, in their old order, then the new ones."""

    scene: Scene
    selected: Bool[Tensor, " before"]
    """The old rows that the edit was about; it must not have touched any other."""
    kept: Int[Tensor, " kept"]
    """The old rows that are left, ascending; row `k` of the new scene continues old row `kept[k]`."""


def changed_in_place(scene: Scene, cloud: GaussianCloud, selected: Bool[Tensor, " gaussians"]) -> Change:
    """The change when rows keep their places: `cloud` instead of the scene's own, and the same parts."""
    return Change(replace(scene, cloud=cloud), selected, torch.arange(len(cloud), device=selected.device))


def descended(
    scene: Scene,
    cloud: GaussianCloud,
    parent: Int[Tensor, " after"],
    kept: Int[Tensor, " kept"],
    selected: Bool[Tensor, " before"],
) -> Change:
    """The change to any `cloud`, such as density control makes: every row is in the parts of its parent.

    `parent` is the old row that a row continues or descends from, -1 for none; `kept` as in `Change`.
    """
    parts = {name: mask[parent.clamp(min=0)] & (parent >= 0) for name, mask in scene.parts.items()}
    return Change(Scene(cloud, parts), selected, kept)


def extended(
    scene: Scene, new: GaussianCloud, parents: Int[Tensor, " new"], selected: Bool[Tensor, " before"]
) -> Change:
    """The change when rows are added at the end, with their parents."""
    kept = torch.arange(len(scene.cloud), device=selected.device)
    return descended(scene, GaussianCloud.cat([scene.cloud, new]), torch.cat([kept, parents]), kept, selected)


def put(cloud: GaussianCloud, rows: Bool[Tensor, " gaussians"], new: GaussianCloud) -> GaussianCloud:
    """The cloud with the selected rows replaced by those of `new`; tensors that agree are shared, not copied."""
    tensors, at = {}, rows.nonzero()[:, 0]
    for name, old in cloud.tensors().items():
        values = getattr(new, name)
        if len(at) == len(old):
            tensors[name] = old if torch.equal(old, values) else values
        else:
            tensors[name] = old if torch.equal(old[at], values) else old.index_put((at,), values)
    return GaussianCloud(**tensors)


def check_name(name: str) -> str:
    """The name of a part; BadInput unless it is short and plain, since it becomes a node of a file, and not `all`."""
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name[:70]!r} cannot be the name of a part", "use up to 64 letters, digits, spaces, and . _ -")
    if name == ALL:
        raise BadInput(f"{ALL!r} already means every Gaussian", "choose another name")
    return name


def scene_hash(scene: Scene) -> str:
    """32 hexadecimal digits that agree exactly when every raw value and every named part agrees bit for bit."""
    digest = hashlib.blake2b(state_hash(scene.cloud).encode(), digest_size=16)
    for name in sorted(scene.parts):
        digest.update(f"{name};".encode() + pack(scene.parts[name]).numpy().tobytes())
    return digest.hexdigest()


def pack(mask: Bool[Tensor, " gaussians"]) -> Tensor:
    """Eight rows to a byte, the first row in the lowest bit."""
    bits = torch.nn.functional.pad(mask.cpu().to(torch.uint8), (0, -len(mask) % 8)).view(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def unpack(packed: Tensor, count: int) -> Tensor:
    """The inverse of `pack`. BadInput if the bytes are not those of `count` rows."""
    if packed.dtype != torch.uint8 or packed.shape != ((count + 7) // 8,):
        raise BadInput(f"{tuple(packed.shape)} bytes of a mask do not hold {count} rows", "the file is damaged")
    return ((packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).flatten()[:count].bool()

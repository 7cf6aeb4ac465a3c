"""Taking rows away and bringing others in: E' = E - P and E1 + E2 (Interactive3D, section 3.2, eq. 1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from maquette.core.errors import BadInput
from maquette.edit.regions import Vector, positive
from maquette.edit.scene import Change, Scene, check_name
from maquette.edit.transform import added_part, direction, middle, near, rotation
from maquette.representations import GaussianCloud
from maquette.representations.transform import transform


@dataclass(frozen=True)
class Remove:
    """Delete the rows of a part. Its name stays, without rows; other parts lose what they shared with it."""

    part: str


@dataclass(frozen=True)
class Paste:
    """Bring in another cloud as the part `name`: scaled and turned about the middle of its box, which comes to `at`."""

    cloud: str
    """The `state_hash` of the cloud, under which a session keeps it."""
    name: str
    at: Vector | None = None
    """World units; None leaves the middle where it is."""
    scale: float = 1.0
    axis: Vector = (0.0, 1.0, 0.0)
    degrees: float = 0.0

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{32}", self.cloud):
            raise BadInput(f"{self.cloud[:40]!r} is not the hash of a cloud", "use session.keep(cloud)")
        check_name(self.name)
        positive(self.scale, "the scale of what is pasted")
        direction(self.axis, "the axis")
        near(self.at or (0.0, 0.0, 0.0), "the place")


def remove(edit: Remove, scene: Scene) -> Change:
    """BadInput if nothing would be left."""
    rows = scene.rows(edit.part)
    if bool(rows.all()):
        raise BadInput(f"removing {edit.part!r} would leave nothing", "undo further back, or remove less")
    kept = (~rows).nonzero()[:, 0]
    parts = {name: mask[kept] for name, mask in scene.parts.items()}
    return Change(Scene(scene.cloud.select(kept), parts), rows, kept)


def paste(edit: Paste, scene: Scene, clouds: Mapping[str, GaussianCloud]) -> Change:
    """Spherical harmonics of the lower degree are filled up with zeros. BadInput for a cloud that is not kept."""
    if edit.cloud not in clouds:
        raise BadInput(f"there is no cloud {edit.cloud}", "keep it with session.keep(cloud) first")
    if edit.name in scene.parts:
        raise BadInput(f"there is already a part {edit.name!r}", "choose another name")
    cloud = clouds[edit.cloud].detach().to(scene.cloud.means.device).to(scene.cloud.means.dtype)
    linear = edit.scale * rotation(edit.axis, edit.degrees)
    center = middle(cloud.means.double()).cpu()
    target = center if edit.at is None else torch.tensor(edit.at, dtype=torch.float64)
    if edit.scale != 1 or edit.degrees != 0 or edit.at is not None:
        cloud = transform(cloud, linear, target - linear @ center)
    near(cloud.means.abs().amax(dim=0).tolist(), "what is pasted would lie at")
    return added_part(scene, cloud, edit.name, torch.zeros(len(scene.cloud), dtype=torch.bool))

"""Where the rows of a part come from while density control adds and prunes, and the change that this amounts to.

A part learns as a cloud of its own, beside the rest of its scene, which is a constant: rows outside have no gradient
and no moments, and keep every bit. This module does not know what the part learns.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maquette.edit.scene import Change, Scene, descended
from maquette.representations import GaussianCloud
from maquette.training.density import Rows


@dataclass(frozen=True)
class Lineage:
    """Of the rows of a part that may grow, in their order."""

    parent: Int[Tensor, " part"]
    """The row of the scene that a row continues or descends from."""
    continues: Bool[Tensor, " part"]
    """Whether it is still that row itself; these come first, in their old order."""

    @staticmethod
    def of(rows: Bool[Tensor, " gaussians"]) -> "Lineage":
        """The part as it is in the scene."""
        parent = rows.nonzero()[:, 0]
        return Lineage(parent, torch.ones_like(parent, dtype=torch.bool))

    def after(self, rows: Rows) -> "Lineage":
        """After a refinement of the part's density."""
        return Lineage(self.parent[rows.parent], self.continues[rows.parent] & ~rows.is_fresh)

    def joined(self, parents: Int[Tensor, " new"]) -> "Lineage":
        """With new rows at the end that descend from these rows of the scene."""
        fresh = torch.zeros_like(parents, dtype=torch.bool)
        return Lineage(torch.cat([self.parent, parents]), torch.cat([self.continues, fresh]))

    def change(self, scene: Scene, rows: Bool[Tensor, " gaussians"], part: GaussianCloud) -> Change:
        """The scene with `part` in the place of `rows`: old rows first; new ones in the parts of their parents."""
        outside, part = (~rows).nonzero()[:, 0], part.detach()
        kept = torch.cat([outside, self.parent[self.continues]])
        order = kept.argsort()
        old = GaussianCloud.cat([scene.cloud.select(outside), part.select(self.continues)]).select(order)
        cloud = GaussianCloud.cat([old, part.select(~self.continues)])
        parent = torch.cat([kept[order], self.parent[~self.continues]])
        return descended(scene, cloud, parent, kept[order], rows)

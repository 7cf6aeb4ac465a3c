"""Drags under guidance: rows follow the source while words keep the object whole.

Interactive3D (arXiv 2404.16510), section 3.2: before each step of the optimiser followers move on (eq. 4); the loss is
that of the words (`guided.py`), the motion loss (eq. 5) and, for rigid drags, the rigid loss (eq. 6). When the source
has arrived, chains of Gaussians bridge the gap; density control and the words heal the swept region. The paper gives no
weights; here they are relative to how hard the words push. This module does not know which prior it has.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Event, Preview, Progress, Streams
from maquette.core.errors import BadInput
from maquette.edit import motion
from maquette.edit.drag import bridges, check_path, nothing_near
from maquette.edit.guided import Interactive, Learner, check_gradients, check_words, default_control, default_rates
from maquette.edit.regions import Vector
from maquette.edit.scene import ALL, Change, Scene, put
from maquette.guidance import Wording
from maquette.priors import MultiviewPrior
from maquette.training.density import Rows

REACH = 1.5
"""Rows within so many radii of the path learn, and no others."""


@dataclass(frozen=True)
class GuidedDrag:
    """Pull what lies within `radius` of `source` along `path` (world units), while the whole thing stays `prompt`."""

    source: Vector
    path: tuple[Vector, ...]
    radius: float
    prompt: str
    mode: Literal["rigid", "deform"] = "deform"
    part: str = ALL
    """Only rows of this part follow and learn."""
    steps: int = 60
    """Until the source arrives."""
    heal: int = 60
    """And after that."""
    local: str = ""
    """What the part is, if it is worth looking at: three steps in four then see it alone, from near."""
    times: tuple[float, float] = (0.1, 0.5)
    """The range of noise levels."""
    guidance: float = 7.5
    """Classifier-free guidance scale; 1 is none."""
    motion_weight: float = 0.1
    """Of eq. 5: at 1 it pulls along an axis as hard as the words push a follower, root mean square."""
    rigid_weight: float = 3.0
    """Of eq. 6, in the same unit, in rigid drags; 0 leaves it out."""

    def __post_init__(self) -> None:
        check_path(self.source, self.path, self.radius, self.mode)
        check_words(self.prompt, self.local, self.times, self.guidance)
        if not 1 <= self.steps <= 10_000 or not 0 <= self.heal <= 100_000:
            raise BadInput(f"{self.steps} steps and {self.heal} to heal; expected 1 or more, 0 or more", "change them")
        if not (0 <= self.motion_weight <= 1e6 and 0 <= self.rigid_weight <= 1e6):
            raise BadInput(
                f"weights of motion {self.motion_weight} and rigidity {self.rigid_weight}; expected 0 to 1e6",
                "the defaults are 0.1 and 3",
            )


@dataclass(frozen=True)
class _Hold:
    """Where followers belong: their places in the frame of the source as it was at the start."""

    motion: motion.Motion
    home: Float[Tensor, "part 3"]
    """Of a row that follows: its mean when it joined, less the way that the source had gone by then."""

    def advanced(self, means: Float[Tensor, "part 3"]) -> tuple["_Hold", Float[Tensor, "part 3"]]:
        """One step on, and where the rows then are."""
        before = self.motion.active
        now, moved = motion.advance(self.motion, means, torch.ones_like(before))
        joined = (now.active & ~before)[:, None]
        return _Hold(now, torch.where(joined, moved - (now.source - now.path[0]), self.home)), moved

    def followed(self, rows: Rows, means: Float[Tensor, "part 3"]) -> "_Hold":
        """After rows came and went: new ones follow if their parents do, from where they are."""
        active, touched = self.motion.active[rows.parent], self.motion.touched[rows.parent]
        fresh = means - (self.motion.source - self.motion.path[0])
        home = torch.where(rows.is_fresh[:, None], fresh, self.home[rows.parent])
        return _Hold(replace(self.motion, active=active, touched=touched), home)

    def loss(self, edit: GuidedDrag, means: Float[Tensor, "part 3"]) -> Float[Tensor, ""]:
        """Equations 5 and 6 for those that follow now; a deformed thing is free once the source has arrived."""
        state, rows = self.motion, self.motion.active
        if edit.mode == "deform" and state.is_done:
            return means.sum() * 0
        form = "offset" if edit.mode == "rigid" else "point"
        goal = motion.goals(self.home[rows], state.path[0], state.path[-1], form)
        total = edit.motion_weight * motion.motion_loss(means[rows], goal)
        if edit.mode == "rigid":
            rigid = motion.rigid_loss(means[rows], state.source, self.home[rows], state.path[0])
            total = total + edit.rigid_weight * rigid
        return total


def guided_drag(edit: GuidedDrag, scene: Scene, prior: MultiviewPrior, draw: Streams) -> Generator[Event, None, Change]:
    """The change, after its progress and previews. Rows farther from the path, or of other parts, keep every bit.

    The same scene, prior and streams give the same bits. BadInput if no row lies near the source; NonFinite if the
    prior gives no numbers.
    """
    allowed, means = scene.rows(edit.part), scene.cloud.means
    path = means.new_tensor((edit.source, *edit.path))
    rows = motion.swept(means, path, REACH * edit.radius) & allowed
    learner = Learner.of(scene.cloud, rows)
    every = torch.ones(len(learner.cloud), dtype=torch.bool)
    start = motion.start(
        learner.cloud.means.detach(), path, radius=edit.radius, steps=edit.steps, mode=edit.mode, allowed=every
    )
    if not bool(start.active.any()):
        raise nothing_near(means[allowed], path[0], edit.radius)
    hold = _Hold(start, learner.cloud.means.detach().clone())
    loss = Interactive(
        prior, Wording(prior.condition(edit.local)) if edit.local else None, scene.cloud.select(allowed & ~rows),
        scene.cloud.select(~allowed), Wording(prior.condition(edit.prompt)), edit.times, edit.guidance,
    )  # fmt: skip
    total = edit.steps + edit.heal
    rates, control = default_rates(total), default_control(total)
    for step in range(total):
        if step < edit.steps:
            hold, moved = hold.advanced(learner.cloud.means.detach())
            with torch.no_grad():
                learner.cloud.means.copy_(moved)
                for moments in (learner.adam.exp_avg, learner.adam.exp_avg_sq):  # else Adam would undo the motion
                    moments["means"][hold.motion.active] = 0
        pushed = loss.push(learner.cloud, step, draw, "drag")
        pushed.loss.backward()
        with torch.enable_grad():
            pull = hold.loss(edit, learner.cloud.means)
            (pull * _strength(learner.cloud.means.grad, hold.motion.active)).backward()
        check_gradients(learner.cloud, step, "drag")
        grows = control if step >= edit.steps else None  # bridges need to know which row is which
        learner, changed = learner.stepped(pushed, rates, grows, step, draw.generator(f"density/{step}"))
        if changed is not None:
            hold = hold.followed(changed, learner.cloud.means.detach())
        if step + 1 == edit.steps:
            learner, hold = _bridged(scene, rows, learner, hold)
        if step % 10 == 0:
            yield Preview(step, pushed.seen.color.detach().clamp(0, 1))
        yield Progress("drag", step + 1, total)
    return learner.lineage.change(scene, rows, learner.cloud)


def _strength(gradient: Float[Tensor, "part 3"], rows: Tensor) -> Float[Tensor, ""]:
    """How hard these rows are pushed: the root mean square length of their gradients, 0 for none."""
    return gradient[rows].square().sum(dim=-1).mean().sqrt() if bool(rows.any()) else gradient.new_zeros(())


def _bridged(scene: Scene, rows: Tensor, learner: Learner, hold: _Hold) -> tuple[Learner, _Hold]:
    """With chains of Gaussians where rows that were neighbours have come apart."""
    now = put(scene.cloud, rows, learner.cloud.detach())
    moved = torch.zeros(len(now), dtype=torch.bool)
    moved[rows] = hold.motion.touched
    new, parents = bridges(scene.cloud, now, moved)
    mine = rows[parents]  # chains may end at rows that do not learn
    if not bool(mine.any()):
        return learner, hold
    new, parents = new.select(mine), parents[mine]
    learner = learner.joined(new, parents)
    none = torch.zeros(len(parents), dtype=torch.bool)
    state = hold.motion
    state = replace(state, active=torch.cat([state.active, none]), touched=torch.cat([state.touched, none]))
    return learner, _Hold(state, torch.cat([hold.home, new.means]))

"""A part once more, finer and by words: its own hash tables learn on a field, and the result comes back as Gaussians.

Stage II of Interactive3D (arXiv 2404.16510, section 3.3): the scene becomes a hash field, which is frozen; the cells of
the part get a residual table (eq. 9) that alone learns from zoomed views under the words. What the field then shows
of the part MORE or LESS than before is added to the pictures of the part's Gaussians, and they are fitted to those. So
what the part has not learned is not blurred by the way through the field, the scene stays one kind of thing, and
every other edit, undo and file works on as before. This module does not know which prior it has.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core import Camera, Event, NonFinite, Preview, Progress, Result, Streams, orbit, turntable
from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt
from maquette.edit.imagine import reimagined
from maquette.edit.lineage import Lineage
from maquette.edit.scene import Change, Scene
from maquette.edit.zoom import Ball, around, zoomed
from maquette.kernels.hashgrid import GridShape
from maquette.priors import Condition, MultiviewPrior
from maquette.render import render_field, render_gaussians
from maquette.representations import GaussianCloud
from maquette.representations.field import HashField
from maquette.representations.occupancy import OccupancyGrid, grown
from maquette.training.gaussians_to_field import (
    SLACK,
    Distilled,
    FieldFit,
    gaussians_to_field,
    matter,
    ray_loss,
    rays_near,
)
from maquette.training.refit import Refit, refit

VIEWS, WHOLE_EVERY = 8, 4
"""Views that are repainted together; every fourth step looks at the whole object, if there are words for it."""
ELEVATIONS_DEG = (20.0, 35.0, 5.0)
"""Of the rounds, in turn."""
RAYS, ALPHA_WEIGHT = 1024, 0.5
TABLE_RATE, NETWORK_RATE = 1e-2, 2e-3
"""Of the part's table, and of its networks."""
BASE, FINEST, LOG2_ENTRIES = 4, 128, 15
"""Cells along the part's box, on the coarsest and the finest level; and the most entries of a level."""
BAKE_AZIMUTHS, BAKE_ELEVATIONS_DEG = 8, (0.0, 20.0, 40.0)
"""Where the result is looked at: from where the words were, for beneath a part nothing was ever said."""

Looked = tuple[Float[Tensor, "views height width 3"], Float[Tensor, "views height width"]]
"""Premultiplied color, and coverage."""


@dataclass(frozen=True)
class Refine:
    """Work a part out under `prompt`, on a field with tables of the part's own: colors and shape, within its cells."""

    part: str
    prompt: str
    levels: int = 8
    """Of the part's table: more for what is intricate."""
    steps: int = 300
    whole: str = ""
    """What the whole object then is; without it, all views show the part."""
    times: tuple[float, ...] = (0.6, 0.45, 0.3)
    """To which times, in (0, 1], the views are noised, one after the other: near 1 forgets the old look, low keeps."""
    guidance: float = 5.0
    """Classifier-free guidance scale; 1 is none."""
    fit: int = 300
    """Steps in which the scene becomes a field."""
    bake: int = 200
    """Steps in which the part becomes Gaussians again."""

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        if self.whole:
            check_prompt(self.whole)
        if not 1 <= self.levels <= 16:
            raise BadInput(f"the part's table has {self.levels} levels; expected 1 to 16", "the default is 8")
        if not self.times or not all(0 < time <= 1 for time in self.times):
            raise BadInput(f"the times are {self.times}; expected at least one, all in (0, 1]", "for example 0.6,0.3")
        if not len(self.times) <= self.steps <= 100_000 or not all(1 <= n <= 100_000 for n in (self.fit, self.bake)):
            raise BadInput(
                f"{self.steps} steps for {len(self.times)} times, {self.fit} for the field, {self.bake} for the way "
                "back; expected one or more for each, at most 100000",
                "the defaults are 300, 300 and 200",
            )
        if not 0 <= self.guidance <= 1000:
            raise BadInput(f"the guidance is {self.guidance}; expected 0 to 1000", "the default is 5")


def refine(edit: Refine, scene: Scene, prior: MultiviewPrior, seed: int) -> Generator[Event, None, Change]:
    """The change, after the progress of its three stages and previews of the part. Rows outside keep every bit.

    The same scene, prior and seed give the same bits. BadInput for a part that is not there or cannot be seen;
    NonFinite if the prior gives no numbers.
    """
    rows, draw = scene.rows(edit.part), Streams(seed)
    part, ball = scene.cloud.select(rows).detach(), around(scene.cloud.select(rows))
    field, occupancy = yield from distilled(scene.cloud, replace(FieldFit(), steps=edit.fit), seed)
    cells = part_cells(scene.cloud, rows, occupancy)
    own = replace(occupancy, mask=cells)
    camera = zoomed(_bake_orbit(prior.image_size), ball)
    samples = samples_across(ball, occupancy)
    before = look(field, camera, own, samples)
    residual = field.add_part(
        cells, GridShape(edit.levels, BASE, FINEST, LOG2_ENTRIES), generator=draw.generator("part")
    )
    learners = [
        {"params": [residual.table], "lr": TABLE_RATE},
        {"params": [*residual.density_net.parameters(), *residual.color_net.parameters()], "lr": NETWORK_RATE},
    ]
    yield from teach(field, learners, occupancy, own, ball, edit, prior, draw)

    # What the field has learned, on top of what the Gaussians show.
    after = look(field, camera, own, samples)
    with torch.no_grad():
        seen = render_gaussians(part, camera)
    color, alpha = (seen.color + after[0] - before[0]).clamp(0, 1), (seen.alpha + after[1] - before[1]).clamp(0, 1)
    yield Preview(edit.steps, color + (1 - alpha)[..., None])
    config = Refit(steps=edit.bake)
    baked, origin = yield from refit(part, camera, color, alpha, config, draw)
    return Lineage.of(rows).after(origin).change(scene, rows, baked)


def distilled(cloud: GaussianCloud, config: FieldFit, seed: int) -> Generator[Event, None, Distilled]:
    """The field of a cloud, whose events are passed on."""
    for event in gaussians_to_field(cloud, config, seed=seed):
        if isinstance(event, Result):
            return event.asset
        yield event
    raise AssertionError("a stream ends in its result")


def part_cells(cloud: GaussianCloud, rows: Bool[Tensor, " gaussians"], occupancy: OccupancyGrid) -> Tensor:
    """The cells of a field that are the part's: with more of its matter than of others', and free ones beside them.

    The paper intersects its occupancy with a ball; the rows of a part are such a set already, and say more. Raises
    BadInput if nothing of the part can be seen.
    """
    own, other = (matter(cloud.select(x), occupancy.half_size, occupancy.resolution) for x in (rows, ~rows))
    inside = (own > SLACK) & (own >= other)
    if not bool(inside.any()):
        raise BadInput("nothing of the part can be seen on its own", "select more of it, or grow it")
    return grown(inside) & (own >= other)


def teach(
    field: HashField,
    learners: list[dict],
    occupancy: OccupancyGrid,
    own: OccupancyGrid,
    ball: Ball,
    edit: Refine,
    prior: MultiviewPrior,
    draw: Streams,
) -> Generator[Event, None, None]:
    """Let `learners`, groups of parameters of the field, follow the words, in a round for each of `edit.times`.

    A round noises and denoises eight views of the cells of `own`, near its `ball`, and fits rays of them. Every fourth
    step looks at the whole object, if `edit.whole` says what it is.
    """
    adam = torch.optim.Adam(learners, betas=(0.9, 0.99), eps=1e-15)
    near, whole = prior.condition(edit.prompt), prior.condition(edit.whole) if edit.whole else None
    everything = replace(occupancy, mask=occupancy.mask | own.mask)
    samples = samples_across(ball, occupancy)
    starts = [edit.steps * i // len(edit.times) for i in range(len(edit.times))]
    for step in range(edit.steps):
        if step in starts:
            turn = starts.index(step)
            ring = turntable(VIEWS, ELEVATIONS_DEG[turn % len(ELEVATIONS_DEG)], size=prior.image_size)
            asked = (prior, ring, edit.times[turn], edit.guidance, draw.generator(f"refine/{turn}"))
            camera = zoomed(ring, ball)
            local = _repainted(near, look(field, camera, own, samples), *asked)
            views = [(rays_near(camera, *local), own)] * WHOLE_EVERY
            if whole is not None:
                seen = look(field, ring, everything, samples)
                views[-1] = (rays_near(ring, *_repainted(whole, seen, *asked)), everything)
            yield Preview(step, local[0] + (1 - local[1])[..., None])
        rays, grid = views[step % WHOLE_EVERY]
        with torch.enable_grad():
            loss = ray_loss(
                field, rays, grid, count=RAYS, samples=samples, alpha_weight=ALPHA_WEIGHT,
                generator=draw.generator(f"rays/{step}"),
            )  # fmt: skip
            if not math.isfinite(loss.item()):
                raise NonFinite(f"the loss of a refinement is {loss.item()} at step {step}", "lower the guidance")
            adam.zero_grad()
            loss.backward()
        adam.step()
        yield Progress("refine", step + 1, edit.steps)


@torch.no_grad()
def look(field: HashField, camera: Camera, grid: OccupancyGrid, samples: int) -> Looked:
    """Premultiplied color and coverage of what lies in the cells of `grid`."""
    seen = render_field(field, camera, occupancy=grid, samples=samples)
    return seen.color, seen.alpha


def _repainted(
    words: Condition,
    seen: Looked,
    prior: MultiviewPrior,
    ring: Camera,
    time: float,
    guidance: float,
    noise: torch.Generator,
) -> Looked:
    """What was looked at, as the words would have it."""
    color, alpha = seen
    rgba = torch.cat([color + (1 - alpha)[..., None], alpha[..., None]], dim=-1).clamp(0, 1)
    rgb, alpha = reimagined(prior, words, rgba, ring, time, guidance, noise).split([3, 1], dim=-1)
    if not bool(torch.isfinite(rgb).all()):
        raise NonFinite("the prior's pictures of the part hold NaN or infinity", "lower the guidance")
    if not bool((alpha > 0.5).any()):
        raise BadInput("under these words nothing of the part is left", "choose other words, or smaller times")
    return (rgb - (1 - alpha)).clamp(min=0), alpha[..., 0]


def _bake_orbit(size: int) -> Camera:
    """Rings of cameras, each turned a little further."""
    count = len(BAKE_ELEVATIONS_DEG)
    turns = torch.arange(BAKE_AZIMUTHS * count) * (360.0 / (BAKE_AZIMUTHS * count))
    return orbit(turns, torch.tensor(BAKE_ELEVATIONS_DEG).repeat(BAKE_AZIMUTHS), size=size)


def samples_across(ball: Ball, occupancy: OccupancyGrid) -> int:
    """Steps along the cube's diagonal of which some fifty cross the ball."""
    return min(max(math.ceil(50 * math.sqrt(3) * occupancy.half_size / ball.radius), 128), 512)

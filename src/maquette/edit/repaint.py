"""Other colors for a part, by words: a prior repaints pictures of the part, and only the part's rows learn from them.

Semantic editing with the interactive loss of Interactive3D (arXiv 2404.16510, section 3.2): cameras come near the part,
a quarter of the views shows the whole object under words of its own, and the person chooses the times. The guidance is
the reconstruction form (IM-3D, arXiv 2402.08682, section 3.3; Instruct-NeRF2NeRF, arXiv 2303.12789): views are noised
to a time, denoised together under the words, and fitted. This module does not know which prior it has.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core import Camera, Event, NonFinite, Preview, Progress, Streams, turntable
from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt
from maquette.edit.imagine import reimagined
from maquette.edit.scene import Change, Scene, changed_in_place, put
from maquette.edit.zoom import around, zoomed
from maquette.priors import Condition, MultiviewPrior
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud
from maquette.representations.gaussians import SH_C0

VIEWS, BATCH = 8, 2
"""Views that are repainted together, and those that a step compares."""
ELEVATIONS_DEG = (20.0, 35.0, 5.0)
"""Of the rounds, in turn."""
RATE, HIGHER_SH = 5e-2, 1 / 20
"""Learning rate of the constant harmonic (0.014 in rgb), and the factor on it for all others."""
WHOLE_EVERY = 4
"""Every fourth step looks at the whole object, if there are words for it."""
DARKEST = (0.01 - 0.5) / SH_C0
"""The constant harmonic of a color of 0.01. Below 0 a color is cut, and would never hear that it should be lighter."""


@dataclass(frozen=True)
class Repaint:
    """Let a part look like `prompt`, in `steps` steps: its colors change, its shape stays."""

    part: str
    prompt: str
    steps: int = 300
    whole: str = ""
    """What the whole object then is; without it, all views show the part."""
    times: tuple[float, ...] = (0.8, 0.65, 0.5)
    """To which times, in (0, 1], the views are noised, one after the other: near 1 forgets the old look, low keeps."""
    guidance: float = 5.0
    """Classifier-free guidance scale; 1 is none."""

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        if self.whole:
            check_prompt(self.whole)
        if not self.times or not all(0 < time <= 1 for time in self.times):
            raise BadInput(f"the times are {self.times}; expected at least one, all in (0, 1]", "for example 0.8,0.5")
        if not len(self.times) <= self.steps <= 100_000:
            raise BadInput(
                f"{self.steps} steps for {len(self.times)} times; expected one step or more for each, at most 100000",
                "the default is 300",
            )
        if not 0 <= self.guidance <= 1000:
            raise BadInput(f"the guidance is {self.guidance}; expected 0 to 1000", "the default is 5")


@dataclass(frozen=True)
class _Targets:
    """What views should show, and how much of each pixel is the part's."""

    cloud: GaussianCloud
    """Its rows `rows` are the part; the others hide it where they stand in front, and are black."""
    rows: Bool[Tensor, " gaussians"]
    camera: Camera
    color: Float[Tensor, "views size size 3"]
    weight: Float[Tensor, "views size size"]
    """0 where the repainted view shows no object."""
    share: Float[Tensor, "views size size 1"]

    def loss(self, sh: Float[Tensor, "part coefficients 3"], views: Int[Tensor, " chosen"]) -> Float[Tensor, ""]:
        """Mean absolute difference of the part's own light, so that neither edges nor neighbours tint it."""
        seen = render_gaussians(_colored(self.cloud, self.rows, sh), self.camera[views]).color
        away = (seen - self.share[views] * self.color[views]).abs().mean(dim=-1) * self.weight[views]
        return away.sum() / (self.share[views][..., 0] * self.weight[views]).sum().clamp(min=1.0)


def repaint(edit: Repaint, scene: Scene, prior: MultiviewPrior, draw: Streams) -> Generator[Event, None, Change]:
    """The change, after its progress and previews of the part. Rows outside keep every bit: nothing of them is learned.

    The same scene, prior and streams give the same bits. BadInput for a part that is not there; NonFinite if the
    prior gives no numbers.
    """
    rows = scene.rows(edit.part)
    part = scene.cloud.select(rows).detach()
    everything = torch.ones(len(part), dtype=torch.bool, device=rows.device)
    near, words = around(part), prior.condition(edit.prompt)
    whole = prior.condition(edit.whole) if edit.whole else None
    base, rest = part.sh[:, :1].clamp(min=DARKEST).requires_grad_(), part.sh[:, 1:].clone().requires_grad_()
    adam = torch.optim.Adam([{"params": [base]}, {"params": [rest], "lr": RATE * HIGHER_SH}], lr=RATE, eps=1e-15)
    sh = torch.cat([base, rest], dim=1)
    starts = [edit.steps * i // len(edit.times) for i in range(len(edit.times))]
    for step in range(edit.steps):
        if step in starts:
            turn = starts.index(step)
            orbit = turntable(VIEWS, ELEVATIONS_DEG[turn % len(ELEVATIONS_DEG)], size=prior.image_size)
            orbit, time, noise = orbit.to(prior.device), edit.times[turn], draw.generator(f"repaint/{turn}")
            now = replace(part, sh=sh.detach())
            local = _targets(prior, words, now, everything, orbit, zoomed(orbit, near), time, edit.guidance, noise)
            views = [local] * WHOLE_EVERY
            if whole is not None:
                now = put(scene.cloud, rows, now)
                views[-1] = _targets(prior, whole, now, rows, orbit, orbit, time, edit.guidance, noise)
            yield Preview(step, local.color)
        chosen = torch.arange(step * BATCH, (step + 1) * BATCH) % VIEWS
        with torch.enable_grad():
            sh = torch.cat([base, rest], dim=1)
            loss = views[step % WHOLE_EVERY].loss(sh, chosen)
            adam.zero_grad()
            loss.backward()
        if not bool(torch.isfinite(loss)):
            raise NonFinite(f"the loss of a repaint is {loss.item()} at step {step}", "lower the guidance")
        adam.step()
        with torch.no_grad():
            base.clamp_(min=DARKEST)
        yield Progress("repaint", step + 1, edit.steps)
    painted = replace(part, sh=torch.cat([base, rest], dim=1).detach())
    return changed_in_place(scene, put(scene.cloud, rows, painted), rows)


@torch.no_grad()
def _targets(
    prior: MultiviewPrior,
    words: Condition,
    cloud: GaussianCloud,
    rows: Bool[Tensor, " gaussians"],
    orbit: Camera,
    camera: Camera,
    time: float,
    guidance: float,
    noise: torch.Generator,
) -> _Targets:
    """The views of `camera`, repainted. To the prior they are views of a whole object from the `orbit`."""
    seen = render_gaussians(cloud, camera, background=cloud.means.new_ones(3))
    rgba = torch.cat([seen.color.clamp(0, 1), seen.alpha[..., None]], dim=-1)
    rgb, alpha = reimagined(prior, words, rgba, orbit, time, guidance, noise).split([3, 1], dim=-1)
    own = ((rgb - (1 - alpha)) / alpha.clamp(min=1e-3)).clamp(0, 1)  # without the white behind it
    white = cloud.sh.new_full((int(rows.sum()), 1, 3), 0.5 / SH_C0)
    share = render_gaussians(_colored(cloud, rows, white), camera).color[..., :1]
    return _Targets(cloud, rows, camera, own, (alpha[..., 0] > 0.5).to(share), share)


def _colored(
    cloud: GaussianCloud, rows: Bool[Tensor, " gaussians"], sh: Float[Tensor, "part coefficients 3"]
) -> GaussianCloud:
    """The part in other colors, everything else black."""
    black = sh.new_zeros(len(cloud), *sh.shape[1:])
    black[:, 0] = -0.5 / SH_C0
    return replace(cloud, sh=black.index_put((rows,), sh))

"""Words that guide an edit while it happens: the interactive loss of Interactive3D, and rows that learn under it.

Arxiv 2404.16510, section 3.2, "interactive SDS": cameras come near the part, some look at the whole object under words
of its own, and the person chooses the range of times. The gradient is the x0 form of MVDream (arXiv 2308.16512), whose
colors stay nearer to the prior's own than those of SDS. This module does not know which prior it has.
"""

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maquette.core import Camera, Constant, Exponential, NonFinite, Streams
from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt
from maquette.edit.lineage import Lineage
from maquette.edit.zoom import around, zoomed
from maquette.guidance import Wording, mvdream
from maquette.priors import MultiviewPrior
from maquette.render import Rendering, render_gaussians
from maquette.representations import GaussianCloud
from maquette.training import density, optim
from maquette.training.orbits import Around

WHOLE_EVERY = 4
"""Every fourth step looks at the whole object, if there are words for it."""
ORBIT = Around(views=4)


def default_rates(steps: int) -> optim.Rates:
    """Half to two thirds of those that make a thing from nothing, since here something is there already."""
    return optim.Rates(
        means=Exponential(2e-3, 2e-4, steps), log_scales=Constant(5e-3), quats=Constant(5e-3),
        logit_opacities=Constant(2e-2), sh=Constant(2e-2),
    )  # fmt: skip


def default_control(steps: int) -> density.AdaptiveDensity:
    """Every 25 steps the top 5 % grow and what is faint goes; the last fifth of the steps is left to settle."""
    end = steps - steps // 5
    return density.AdaptiveDensity(
        every=25, begin=10, end=end, quantile=0.95, prune_opacity=0.02, prune_scale=0.1, reset_every=None
    )


def check_words(prompt: str, other: str, times: tuple[float, ...], guidance: float) -> None:
    """BadInput unless words can be read (the second may be missing), times are a range, and guidance is sensible."""
    check_prompt(prompt)
    if other:
        check_prompt(other)
    if len(times) != 2 or not 0 < times[0] <= times[1] <= 1:
        raise BadInput(f"the times are {times}; expected the ends of a range in (0, 1]", "for example 0.1,0.5")
    if not 0 <= guidance <= 1000:
        raise BadInput(f"the guidance is {guidance}; expected 0 to 1000", "the default is 7.5")


@dataclass(frozen=True)
class Learner:
    """Rows that learn, and all that their next step depends on."""

    cloud: GaussianCloud
    adam: optim.AdamState
    noticed: density.DensityState
    lineage: Lineage

    @staticmethod
    def of(cloud: GaussianCloud, rows: Bool[Tensor, " gaussians"]) -> "Learner":
        """Those rows of a scene, about to learn."""
        part = optim.leaves(cloud.select(rows))
        return Learner(part, optim.start(part), density.start(part), Lineage.of(rows))

    def joined(self, new: GaussianCloud, parents: Int[Tensor, " new"]) -> "Learner":
        """With more rows at the end that begin to learn, and the rows of the scene that they descend from."""
        cloud = optim.leaves(GaussianCloud.cat([self.cloud.detach(), new]))
        index = torch.arange(len(cloud))
        rows = density.Rows(index.clamp(max=len(self.cloud) - 1), index >= len(self.cloud))
        return Learner(cloud, optim.remap(self.adam, rows), density.start(cloud), self.lineage.joined(parents))

    def stepped(
        self,
        pushed: "Pushed",
        rates: optim.Rates,
        control: density.AdaptiveDensity | None,
        step: int,
        generator: torch.Generator,
    ) -> tuple["Learner", density.Rows | None]:
        """One step of Adam down the gradients that are there and, where `control` is due, of density control.

        Returns what became of the rows too, if they changed. Raises BadInput if none is left.
        """
        cloud, noticed = self.cloud, self.noticed
        views = len(pushed.camera)
        gradient = pushed.seen.screen_probe.grad[:, pushed.before :] / views  # of a sum over views; a mean is expected
        radii = pushed.seen.radii_px[:, pushed.before :]
        noticed = density.observe(noticed, gradient, radii, (pushed.camera.height, pushed.camera.width))
        adam = optim.descend(rates, cloud, self.adam)
        if control is None or not control.is_due(step + 1):
            return replace(self, adam=adam, noticed=noticed), None
        changed, noticed, rows = density.refine(control, cloud.detach(), noticed, generator)
        if len(changed) == 0:
            raise BadInput("all Gaussians of the part have become too faint", "use smaller times or fewer steps")
        learner = Learner(optim.leaves(changed), optim.remap(adam, rows), noticed, self.lineage.after(rows))
        return learner, rows


@dataclass(frozen=True)
class Pushed:
    """A loss that is ready for `backward`, and the rendering that it comes from."""

    loss: Tensor
    seen: Rendering
    camera: Camera
    before: int
    """Rows in the rendering that do not learn; they come first."""


@dataclass(frozen=True)
class Interactive:
    """What the words are, and what stands around the rows that learn."""

    prior: MultiviewPrior
    near: Wording | None
    """None looks at the whole object in every step."""
    beside: GaussianCloud
    """Rows of the part itself that do not learn."""
    rest: GaussianCloud
    """All other rows, in sight only where the whole object is looked at."""
    whole: Wording | None = None
    times: tuple[float, float] = (0.1, 0.5)
    """t ~ U(low, high); 0.98 forgets what is there, 0.3 works out details."""
    guidance: float = 7.5
    orbit: Around = field(default_factory=lambda: ORBIT)

    def push(self, learns: GaussianCloud, step: int, draw: Streams, stage: str) -> Pushed:
        """The loss of a step, summed over views. Raises NonFinite if the prior or the rendering gives no numbers."""
        generator = draw.generator(f"{stage}/{step}")
        orbit = self.orbit.at(step, generator, self.prior.image_size).to(self.prior.device)
        is_whole = self.near is None or (self.whole is not None and step % WHOLE_EVERY == WHOLE_EVERY - 1)
        fixed = [self.rest, self.beside] if is_whole else [self.beside]
        cloud = GaussianCloud.cat([*fixed, learns])
        camera = orbit if is_whole else zoomed(orbit, around(cloud))
        low, high = self.times
        t = low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()
        with torch.enable_grad():
            seen = render_gaussians(cloud, camera, background=cloud.means.new_ones(3), probe=True)
            latents = self.prior.encode(torch.cat([seen.color, seen.alpha[..., None]], dim=-1))
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            words = self.whole if is_whole else self.near
            pushed = mvdream(latents, self.prior, words, orbit, t, noise, scale=self.guidance)
        return Pushed(pushed.loss, seen, camera, sum(map(len, fixed)))


def check_gradients(cloud: GaussianCloud, step: int, stage: str) -> None:
    """NonFinite, naming the parameter and the step, if a gradient is not finite."""
    for name, tensor in cloud.tensors().items():
        if tensor.grad is not None and not math.isfinite(float(tensor.grad.abs().sum())):
            raise NonFinite(f"the gradient of {name} is not finite at step {step} of the {stage}", "lower the guidance")

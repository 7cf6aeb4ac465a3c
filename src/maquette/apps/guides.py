"""Every score distillation by its name, with its paper's numbers, over all views of a step as one set.

Times are drawn as the papers draw them, with the share of the budget that is spent in place of the share of the steps.
Weights and strengths do not matter here: Adam divides them out, and there are no regularisers to balance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from maquette.core import BadInput, Camera, Constant, Linear, Steps
from maquette.diffusion import TimeRange, linear_time
from maquette.diffusion.annealing import DREAMFUSION, SJC
from maquette.guidance import Distillation, balancing, csd, ge3d, ism, nfsd, sdi, sds, sjc, student_loss, vsd
from maquette.guidance.distillation import Latents
from maquette.guidance.nfsd import NEGATIVE
from maquette.guidance.wording import Wordings
from maquette.pipelines.ge3d import DEFAULT
from maquette.priors import MultiviewPrior
from maquette.priors.multiview import MultiviewLatentPrior
from maquette.priors.student import Student
from maquette.training.descent import Guide, Moment, said

Words = Callable[[Camera], Wordings]

LENGTH = 3000  # steps of an imagined run, on which schedules are laid; only shares of it count
LATER_LOW = TimeRange(Constant(0.02), Steps((0.98, 0.5), (LENGTH // 2,)))  # ProlificDreamer's
WARMING = TimeRange(Constant(0.07), Linear(0.98, 0.5, LENGTH * 3 // 10))  # LucidDreamer's; 0.05 of it are the interval


@dataclass(frozen=True)
class Method:
    """A guide, and about how many evaluations of the denoiser one step of it takes."""

    guide: Callable[[MultiviewLatentPrior, str], Guide]
    evaluations: int


def methods(names: str) -> dict[str, Method]:
    """The methods of a list with commas; `BadInput` for an unknown name or none."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in METHODS]
    if unknown or not wanted:
        raise BadInput(f"there is no guidance {', '.join(unknown)!r}", f"choose some of {','.join(METHODS)}")
    return {name: METHODS[name] for name in wanted}


def _plain(step: Callable[[MultiviewPrior, Words, Latents, Moment], Distillation], negative: str | None = None):
    """A guide without a memory."""

    def make(prior: MultiviewPrior, prompt: str) -> Guide:
        words = said(prior, prompt, negative=negative, by_view=False)
        return lambda latents, moment: step(prior, words, latents, moment)

    return make


def _sds(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    t = DREAMFUSION.sample(moment.step, moment.generator)
    return sds(latents, prior, words(moment.camera), moment.camera, t, moment.noise(latents))


def _sjc(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    t = SJC.sample(moment.step, moment.generator)
    return sjc(latents, prior, words(moment.camera), moment.camera, t, moment.noise(latents))


def _csd(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    t = LATER_LOW.sample(moment.progress * LENGTH, moment.generator)
    return csd(latents, prior, words(moment.camera), moment.camera, t, moment.noise(latents))


def _nfsd(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    t = DREAMFUSION.sample(moment.step, moment.generator)
    return nfsd(latents, prior, words(moment.camera), moment.camera, t, moment.noise(latents))


def _ism(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    t = WARMING.sample(moment.progress * LENGTH, moment.generator)
    return ism(latents, prior, words(moment.camera), moment.camera, t, moment.noise(latents))


def _sdi(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    t = linear_time(moment.progress, end=0.25)
    return sdi(latents, prior, words(moment.camera), moment.camera, t, moment.generator)


def _ge3d(prior: MultiviewPrior, words: Words, latents: Latents, moment: Moment) -> Distillation:
    nodes = DEFAULT.nodes.sample(moment.progress, moment.generator, noise_levels=len(prior.alphas_cumprod))
    weights = balancing(
        round(moment.progress * LENGTH), LENGTH, pairs=DEFAULT.nodes.count,
        width=DEFAULT.balancing * LENGTH,
    )  # fmt: skip
    return ge3d(latents, prior, words(moment.camera), moment.camera, nodes, weights, moment.noise(latents))


def _vsd(prior: MultiviewLatentPrior, prompt: str) -> Guide:
    """One particle, and a student that learns once in every step; what it evaluates is counted with the prior's."""
    words, student = said(prior, prompt, negative=None, by_view=False), Student(prior)

    def guide(latents: Latents, moment: Moment) -> Distillation:
        told, before = words(moment.camera), student.evaluations
        t = LATER_LOW.sample(moment.progress * LENGTH, moment.generator)
        push = vsd(latents, prior, student, told, told, moment.camera, t, moment.noise(latents))
        other = max(torch.rand((), generator=moment.generator).item(), 0.02)
        student.learn(student_loss(latents, student, told, moment.camera, other, moment.noise(latents), predicts="v"))
        prior.evaluations += student.evaluations - before
        return push

    return guide


METHODS = {
    "sds": Method(_plain(_sds), 2),
    "sjc": Method(_plain(_sjc), 2),
    "csd": Method(_plain(_csd), 2),
    "nfsd": Method(_plain(_nfsd, NEGATIVE), 3),
    "vsd": Method(_vsd, 4),
    "ism": Method(_plain(_ism), 6),
    "sdi": Method(_plain(_sdi), 16),
    "ge3d": Method(_plain(_ge3d), 15),
}

"""Many score distillations from one seed, one first cloud and one sequence of cameras, at equal denoiser evaluations.

It runs the loop that all pipelines share and looks at the cloud on its way with a judge that guides nothing. Looks are
not part of the seconds. What is finished is kept at once (`maquette.evaluation.runs`), so an interrupted comparison
continues; `maquette.evaluation.comparison` makes a report of it.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from maquette import __version__, io
from maquette.apps.evaluate import weights_hash
from maquette.apps.guides import Method
from maquette.core import (
    Camera,
    Constant,
    Event,
    Exponential,
    Notice,
    Progress,
    Result,
    Scalar,
    Streams,
    prepare_folder,
    turntable,
)
from maquette.core.device import pick_device
from maquette.evaluation.comparison import write_comparison
from maquette.evaluation.curves import ELEVATION_DEG, VIEW_PX, VIEWS, look, look_at_views
from maquette.evaluation.runs import Drawn, Run, begin, folder_of, load_drawn, load_run, save_drawn, save_run
from maquette.evaluation.standing import LOOKS
from maquette.priors import Encoder
from maquette.priors.encoders import load_judge
from maquette.priors.multiview import MultiviewLatentPrior, load_multiview
from maquette.priors.prompts import understand
from maquette.priors.rescaled import Rescaled
from maquette.priors.sampling import ViewSampler, resized
from maquette.representations.gaussians import GaussianCloud
from maquette.training import optim
from maquette.training.descent import Guide, Loop, Moment, Outcome, descend, grey_ball
from maquette.training.orbits import Around
from maquette.training.variation import varied

RENDER_PX, POINTS, BALL_RADIUS = 128, 4000, 0.4
USUAL = 6  # evaluations of a step of interval score matching
Pace = Literal["step", "evaluation"]
DRAWN, DRAWN_STEPS = {"guidance": 4.0, "rescale": 0.5}, 20


def compare(
    prompts: Sequence[str],
    methods: dict[str, Method],
    out: Path,
    *,
    evaluations: int,
    seed: int,
    scale: float | None,
    pace: Pace,
    device: str | None,
) -> Iterator[Event]:
    """Run every method on every prompt that `out` does not hold yet, and write the report, sheets and clouds there.

    With a `scale` all methods that have a scale of classifier-free guidance take this one; `pace` is that of `rates`.
    The last event is `Result(None, report)`. Raises `BadInput` for a folder that was begun with other settings, and
    before anything runs for a prompt without a known word.
    """
    target = pick_device(device)
    understood = {}
    for prompt in prompts:
        words = understand(prompt)
        if words.notice:
            yield Notice(words.notice)
        understood[prompt] = words.understood
    settings = {
        "version": __version__, "weights": weights_hash("multiview", "judge"), "device": target.type,
        "evaluations": evaluations, "seed": seed, "scale": scale, "pace": pace, "gaussians": POINTS,
        "render_px": RENDER_PX, "drawn_with": {**DRAWN, "steps": DRAWN_STEPS},
    }  # fmt: skip
    begin(out, settings)
    yield Progress("load", 0, 1)
    plain, judge, draw = load_multiview(device=target), load_judge(), Streams(seed)
    prior = plain if scale is None else Rescaled(plain, scale)
    yield Progress("load", 1, 1)

    start = grey_ball(POINTS, BALL_RADIUS, draw.generator("points"))
    runs, drawn, total = {}, {}, len(prompts) * len(methods) * evaluations
    for i, prompt in enumerate(prompts):
        folder = prepare_folder(folder_of(out, prompt))
        if (found := load_drawn(folder / "drawn.safetensors")) is None:
            found = yield from _drawn(plain, judge, understood[prompt], draw)
            save_drawn(folder / "drawn.safetensors", found)
        drawn[prompt] = load_drawn(folder / "drawn.safetensors")
        runs[prompt] = {}
        for j, (name, method) in enumerate(methods.items()):
            before, kept = (i * len(methods) + j) * evaluations, folder / f"{name}.safetensors"
            if not kept.exists():
                cloud, run = yield from _run(
                    method, prior, judge, understood[prompt], drawn[prompt].reference, start, evaluations, seed, pace,
                    (before, total),
                )  # fmt: skip
                io.save_ply(folder / f"{name}.ply", cloud)
                save_run(kept, run)  # last: a run counts as finished when this file is there
                yield Notice(f"{prompt}, {name}: {_told(run)}")
            runs[prompt][name] = load_run(kept)
            yield Progress("all", before + evaluations, total)
    yield Result(None, write_comparison(out, runs, drawn, evaluations=evaluations, settings=settings))


def _run(
    method: Method, prior: MultiviewLatentPrior, judge: Encoder, prompt: str, reference: Tensor, start: GaussianCloud,
    evaluations: int, seed: int, pace: Pace, place: tuple[int, int],
) -> Generator[Event, None, tuple[GaussianCloud, Run]]:  # fmt: skip
    """One descent, with a look at the cloud before it, `LOOKS` times on the way at equal distances, and at its end.

    `place` is how many evaluations of the comparison are done before it, and how many there are in all.
    """
    draw, watch = Streams(seed), _Watch(prior, judge, prompt, reference)
    loop, guide = Loop(rates=rates(method, evaluations, pace)), method.guide(prior, prompt)
    orbits = Around()

    def cameras(step: int) -> Camera:
        return orbits.at(step, draw.generator(f"cameras/{step}"), RENDER_PX)

    def objective(cloud: GaussianCloud, moment: Moment) -> Outcome:
        if watch.spent >= len(watch.curve) * evaluations / LOOKS:
            watch.look(cloud)
        return _pushed(loop, prior, guide, cloud, moment)

    # One name for all methods: it names the random streams, and all shall see the same dice.
    events = descend(
        loop, start.to(prior.device), prior, objective, cameras, evaluations=evaluations, seed=seed, stage="compare"
    )
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            done = end.value
            break
        if isinstance(event, Progress):  # the bar is one of the whole comparison, and knows the time left
            yield Progress("all", place[0] + event.step, place[1])
        elif not isinstance(event, Scalar):
            yield event
    watch.look(done.cloud)
    return done.cloud, Run(watch.curve, torch.stack(watch.fronts), watch.views, done.steps)


def _told(run: Run) -> str:
    end = run.curve[-1]
    return (
        f"{run.steps} steps in {end['seconds']:.0f} s, similarity {end['similarity']:.2f}, "
        f"saturation {end['saturation']:.2f}"
    )


def rates(method: Method, evaluations: int, pace: Pace) -> optim.Rates:
    """One optimiser for all; places come to rest over the run of each method, however many steps it can afford.

    Adam moves a value by about its rate in a step. At the pace of a "step" that is the same for all methods, so a
    method of dear steps cannot go far; at the pace of an "evaluation" it is the same for each evaluation, and the rates
    are those of the other pace where a step takes `USUAL` of them.
    """
    factor = method.evaluations / USUAL if pace == "evaluation" else 1.0
    return optim.Rates(
        means=Exponential(factor * 5e-3, factor * 5e-4, max(round(evaluations / method.evaluations), 1)),
        log_scales=Constant(factor * 1e-2),
        quats=Constant(factor * 1e-2),
        logit_opacities=Constant(factor * 5e-2),
        sh=Constant(factor * 2e-2),
    )


def _pushed(loop: Loop, prior: MultiviewLatentPrior, guide: Guide, cloud: GaussianCloud, moment: Moment) -> Outcome:
    seen, images = varied(loop.variation, cloud, moment.camera, moment.generator)
    push = guide(prior.encode(resized(images, prior.image_size)), moment)
    return Outcome(push.loss, seen, {"gradient": push.gradient_norm})


class _Watch:
    """What was seen on the way, and a clock that stands still while one looks."""

    def __init__(self, prior: MultiviewLatentPrior, judge: Encoder, prompt: str, reference: Tensor):
        self.prior, self.judge, self.prompt, self.reference = prior, judge, prompt, reference
        self.curve, self.fronts, self.views = [], [], None
        self._first, self._begun, self._looking = prior.evaluations, time.perf_counter(), 0.0

    @property
    def spent(self) -> int:
        return self.prior.evaluations - self._first

    def look(self, cloud: GaussianCloud) -> None:
        now = time.perf_counter()
        row, self.views = look(cloud, self.prompt, self.judge, self.reference)
        self.curve.append({"evaluations": self.spent, "seconds": now - self._begun - self._looking, **row})
        self.fronts.append(self.views[0])
        self._looking += time.perf_counter() - now


def _drawn(prior: MultiviewLatentPrior, judge: Encoder, prompt: str, draw: Streams) -> Generator[Event, None, Drawn]:
    camera = turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX).to(prior.device)
    sampler = ViewSampler(prior, prior.condition(prompt), camera, VIEW_PX, DRAWN)
    sets = []
    for i in range(2):
        noise = torch.randn(VIEWS, *prior.latent_shape, generator=draw.generator(f"drawn/{i}"))
        sets.append((yield from sampler.views("draw", noise, 1.0, DRAWN_STEPS, {}, part=(i, 2))).cpu())
    reference, views = sets[0][:: VIEWS // 4, ..., :3], sets[1]
    return Drawn(reference, views[..., :3], look_at_views(views[..., :3], views[..., 3], prompt, judge, reference))

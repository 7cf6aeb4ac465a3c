"""Many score distillations from one seed, one first cloud and one sequence of cameras, at equal denoiser evaluations.

It runs the loop that all pipelines share and looks at the cloud on its way with a judge that guides nothing. Looks are
not part of the seconds. `maquette.evaluation.comparison` makes a report of it.
"""

import re
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from maquette import __version__, io
from maquette.apps.guides import Method
from maquette.core import (
    Camera,
    Constant,
    Event,
    Exponential,
    Notice,
    Progress,
    Result,
    Streams,
    prepare_folder,
    turntable,
)
from maquette.core.device import pick_device
from maquette.evaluation.comparison import LOOKS, Drawn, Run, write_comparison
from maquette.evaluation.curves import ELEVATION_DEG, VIEW_PX, VIEWS, look, look_at_views
from maquette.priors import Encoder
from maquette.priors.encoders import load_judge
from maquette.priors.multiview import MultiviewLatentPrior, load_multiview
from maquette.priors.prompts import understand
from maquette.priors.sampling import ViewSampler, resized
from maquette.representations.gaussians import GaussianCloud, state_hash
from maquette.training import optim
from maquette.training.descent import Guide, Loop, Moment, Outcome, descend, grey_ball
from maquette.training.orbits import Around
from maquette.training.variation import varied

RENDER_PX, POINTS, BALL_RADIUS = 128, 4000, 0.4
DRAWN = {"guidance": 4.0, "rescale": 0.5}


def compare(
    prompts: Sequence[str], methods: dict[str, Method], out: Path, *, evaluations: int, seed: int, device: str | None
) -> Iterator[Event]:
    """Run every method on every prompt and write `report.json`, `report.md`, curves, sheets and clouds into `out`.

    The last event is `Result(None, report)`.
    """
    target = pick_device(device)
    yield Progress("load", 0, 1)
    prior, judge, draw = load_multiview(device=target), load_judge(), Streams(seed)
    yield Progress("load", 1, 1)
    start = grey_ball(POINTS, BALL_RADIUS, draw.generator("points"))
    runs, drawn = {}, {}
    for i, prompt in enumerate(prompts):
        words = understand(prompt)
        if words.notice:
            yield Notice(words.notice)
        folder = prepare_folder(out / f"{i + 1}-{_slug(prompt)}")
        drawn[prompt] = yield from _drawn(prior, judge, words.understood, draw)
        runs[prompt] = {}
        for name, method in methods.items():
            yield Notice(f"{prompt}: {name}")
            run = yield from _run(
                name, method, prior, judge, words.understood, drawn[prompt].reference, start, evaluations, seed
            )
            runs[prompt][name] = run
            io.save_ply(folder / f"{name}.ply", run.cloud)
    told = {"version": __version__, "seed": seed, "gaussians": POINTS, "start": state_hash(start), "drawn_with": DRAWN}
    yield Result(None, write_comparison(out, runs, drawn, evaluations=evaluations, told=told))


def _run(
    name: str, method: Method, prior: MultiviewLatentPrior, judge: Encoder, prompt: str, reference: Tensor,
    start: GaussianCloud, evaluations: int, seed: int,
) -> Generator[Event, None, Run]:  # fmt: skip
    """One descent, with a look at the cloud before it, `LOOKS` times on the way at equal distances, and at its end."""
    draw, watch = Streams(seed), _Watch(prior, judge, prompt, reference)
    loop, guide = Loop(rates=rates(evaluations / method.evaluations)), method.guide(prior, prompt)
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
        yield Progress(name, event.step, event.total) if isinstance(event, Progress) else event
    watch.look(done.cloud)
    return Run(done.cloud, watch.curve, torch.stack(watch.fronts), watch.views, done.steps)


def rates(steps: float) -> optim.Rates:
    """One optimiser for all; places come to rest over the run of each method, however many steps it can afford."""
    return optim.Rates(
        means=Exponential(5e-3, 5e-4, max(round(steps), 1)),
        log_scales=Constant(1e-2),
        quats=Constant(1e-2),
        logit_opacities=Constant(5e-2),
        sh=Constant(2e-2),
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
        sets.append((yield from sampler.views("draw", noise, 1.0, 20, {}, part=(i, 2))).cpu())
    reference, views = sets[0][:: VIEWS // 4, ..., :3], sets[1]
    return Drawn(reference, views[..., :3], look_at_views(views[..., :3], views[..., 3], prompt, judge, reference))


def _slug(prompt: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", prompt.lower()))[:60] or "asset"

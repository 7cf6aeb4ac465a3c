"""Interactive3D: generate Gaussians, edit them while they grow, then work the thing out on a hash field.

Dong et al., CVPR 2024 (arXiv 2404.16510). Stage I descends Gaussians under a multi-view prior; edits arrive between its
steps, from a script or from a person, and the run goes on from what they left. Stage II refines parts on a field with
tables of their own. This module does not know which prior it has, what an edit does, or where the asset goes.
"""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue

import torch
from jaxtyping import Bool
from torch import Tensor

from maquette.core import (
    BadInput,
    Constant,
    Event,
    Exponential,
    Linear,
    Notice,
    Preview,
    Progress,
    Result,
    Scalar,
    Streams,
    prepare_folder,
    turntable,
)
from maquette.core.timing import timed
from maquette.diffusion import TimeRange
from maquette.edit import ALL, Edit, Refine, Scene, Sources, from_json, to_json
from maquette.edit.delta import touched
from maquette.edit.edit import changing
from maquette.edit.guided import Interactive, check_gradients
from maquette.edit.scene import pack, unpack
from maquette.guidance import Wording
from maquette.io.checkpoint import load_own_state, save_state
from maquette.priors import Encoder, MultiviewPrior
from maquette.priors.sampling import ViewSampler
from maquette.render import render_gaussians
from maquette.representations.gaussians import GaussianCloud, from_points, state_hash
from maquette.representations.hull import hull_points
from maquette.training import density, optim, resume
from maquette.training.descent import grey_ball
from maquette.training.orbits import Around

FROZEN = "frozen"
"""Rows of the part with this name stand still in stage I, to the bit, until the name is forgotten."""


@dataclass(frozen=True)
class Interaction:
    """An edit before a step of stage I; at the last step and beyond, in stage II."""

    step: int
    edit: Edit


def script(text: str) -> tuple[Interaction, ...]:
    """Interactions from JSON: a list of edits as sessions log them, each with its `step` (0 if left out)."""
    try:
        made = [_interaction(one) for one in json.loads(text)]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"the script is not a list of edits ({error})", "see docs/editing.md") from error
    return tuple(sorted(made, key=lambda one: one.step))


def _interaction(values: dict) -> Interaction:
    step = values.get("step", 0)
    if type(step) is not int or step < 0:
        raise BadInput(f"the step of {values.get('kind')} is {step!r}; expected 0, 1, 2, ...", "correct the script")
    return Interaction(step, from_json({name: value for name, value in values.items() if name != "step"}))


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt, first cloud, interactions and seed."""

    iterations: int = 10_000
    """Steps of stage I (paper: 10 000)."""
    cameras: Around = field(default_factory=Around)
    """Where a step looks from."""
    times: tuple[tuple[float, float], tuple[float, float]] = ((0.98, 0.02), (0.98, 0.5))
    """First and last value of the lower and of the upper end of the range of t (MVDream's, which the release has)."""
    annealed: float = 0.8
    """The share of stage I in which they get there."""
    guidance: float = 50.0
    """Classifier-free guidance scale of stage I (release: 50 with MVDream)."""
    init_points: int = 4096
    """Gaussians at the start (Point-E gives as many)."""
    init_radius: float = 0.4
    """Radius of the grey ball, world units, where neither a cloud nor views are there to start from."""
    first_views: int = 0
    """Views that are sampled first, in whose hull the Gaussians start; 0 starts from a grey ball."""
    candidates: int = 1
    """First samples of them all; the one that the encoder finds most like the prompt is built on."""
    first_steps: int = 10
    """Solver steps of each sample; two evaluations each."""
    first_guidance: float = 4.0
    """Their classifier-free guidance scale."""
    rates: optim.Rates = field(
        default_factory=lambda: optim.Rates(
            means=Exponential(5e-3, 3e-5, 10_000), log_scales=Exponential(3e-3, 1e-3, 10_000), quats=Constant(3e-3),
            logit_opacities=Constant(3e-3), sh=Constant(1e-2),
        )
    )  # fmt: skip
    """Learning rates of the raw parameters: GSGEN's, on which stage I is built."""
    control: density.AdaptiveDensity = field(
        default_factory=lambda: density.AdaptiveDensity(
            every=1000, begin=1999, end=9999, quantile=0.95, split_scale=0.02, prune_opacity=0.05, prune_scale=None,
            reset_every=None, most=200_000,
        )
    )  # fmt: skip
    """When and where to clone, split and prune: at GSGEN's steps, by quantile, without its compactness."""
    refine: Refine | None = field(
        default_factory=lambda: Refine(ALL, "a thing", 16, 10_000, "", (0.5, 0.35, 0.2), 7.5, 1_800, 2_000)
    )
    """Stage II where the interactions have none: levels, steps and times of it; its words are the prompt."""
    resolution: int = 256
    """Side of the previews, px; the prior decides what it sees."""
    preview_every: int = 50
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise BadInput(f"{self.candidates} candidates; expected at least 1", "raise candidates")


PAPER = Config()
"""10 000 and 10 000 steps, with what the release says of the guidance; the field has the size that fits two cores."""
DEFAULT = Config(
    iterations=120,
    times=((0.4, 0.05), (0.7, 0.3)),
    guidance=5.0,
    init_points=4000,
    first_views=16,
    candidates=8,
    first_steps=5,
    rates=optim.Rates(
        means=Exponential(2e-3, 2e-4, 120), log_scales=Constant(1e-2), quats=Constant(1e-2),
        logit_opacities=Constant(5e-2), sh=Constant(1e-2),
    ),
    control=density.AdaptiveDensity(
        every=20, begin=10, end=101, quantile=0.95, prune_opacity=0.05, reset_every=None, most=10_000
    ),
    refine=Refine(ALL, "a thing", 8, 200, "", (0.5, 0.3), 4.0, 200, 150),
    resolution=128,
    preview_every=20,
    checkpoint_every=20,
)  # fmt: skip
"""Sized to the pocket prior: a start in the hull of the best of eight first samples (those of `im3d.DEFAULT`), small
times from there on, minutes on two cores."""
TINY = Config(
    iterations=4, cameras=Around(views=2), init_points=64, refine=None,
    control=density.AdaptiveDensity(every=1, begin=0, end=4, quantile=0.9, reset_every=None, most=100),
    resolution=32, preview_every=2, checkpoint_every=1,
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config,
    prior: MultiviewPrior,
    encoder: Encoder | None = None,
    *,
    prompt: str,
    interactions: Sequence[Interaction] = (),
    edits: SimpleQueue | None = None,
    clouds: Mapping[str, GaussianCloud] | None = None,
    initial: GaussianCloud | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:
    """Make a `GaussianCloud` from words, with edits on the way.

    `interactions` are edits by the step before which they happen. `edits` is a queue into which anybody, such as the
    reader of the events or another thread, may put an `Edit`: it happens before the next step of stage I, or with a
    `Notice` it does not. `clouds` are those that may be pasted. Rows of a part named "frozen" stand still in stage I.
    `encoder` chooses the best of several first samples, where `config.candidates` asks for them.

    With a folder `checkpoint` the run keeps its state there (at once after an edit from the queue), and a run that
    finds a state continues it to the same bytes; the state of another run raises `BadInput`. Killed in stage II, it
    begins stage II again. A scripted edit that cannot be done raises `BadInput`. The last event is
    `Result(cloud, report)`.
    """
    if initial is None and config.first_views and config.candidates > 1 and encoder is None:
        raise BadInput(f"the best of {config.candidates} samples needs an encoder", "give one, or set candidates=1")
    draw, seconds = Streams(seed), {}
    interactions = sorted(interactions, key=lambda one: one.step)
    sources = Sources(clouds or {}, prior, seed)
    state_file = None if checkpoint is None else prepare_folder(checkpoint) / "interactive3d.safetensors"
    identity = {
        "prompt": prompt, "seed": seed, "config": repr(config), "initial": initial and state_hash(initial),
        "prior": [type(prior).__name__, prior.image_size, *prior.latent_shape],
        "interactions": [[one.step, to_json(one.edit)] for one in interactions],
    }  # fmt: skip
    before = prior.evaluations
    state = None if state_file is None else _load(state_file, identity, prior.device)
    if state is None:
        if initial is None:
            initial = yield from _first_cloud(config, prior, encoder, prompt, draw, seconds)
        learns = optim.leaves(initial.to(prior.device))
        state = _State(0, learns.select(slice(0, 0)).detach(), learns, optim.start(learns), density.start(learns))
    else:
        yield Notice(f"continuing at step {state.step} of {config.iterations}")
        before, seconds = before - state.evaluations, state.seconds
        state = replace(state, learns=optim.leaves(state.learns))

    # Stage I: the words, and whoever has an edit.
    words, shown = Wording(prior.condition(prompt)), turntable(4, 15.0, size=config.resolution).to(prior.device)
    law = TimeRange(*(Linear(*ends, max(1, round(config.annealed * config.iterations))) for ends in config.times))
    size = (prior.image_size,) * 2
    for step in range(state.step, config.iterations):
        while state.applied < len(interactions) and interactions[state.applied].step <= step:
            state = yield from _edited(state, interactions[state.applied].edit, sources)
            state = replace(state, applied=state.applied + 1)
        while (wish := _next(edits)) is not None:
            try:
                state = yield from _edited(state, wish, sources)
            except BadInput as error:
                yield Notice(f"{error}")
            if state_file is not None:
                _save(state_file, identity, replace(state, evaluations=prior.evaluations - before, seconds=seconds))

        with timed(seconds, "generate"):
            low, high = law.low(step), law.high(step)
            loss = Interactive(
                prior, None, state.still, state.still.select(slice(0, 0)), words, (min(low, high), max(low, high)),
                config.guidance, config.cameras,
            )  # fmt: skip
            pushed = loss.push(state.learns, step, draw, "generate")
            pushed.loss.backward()
            check_gradients(state.learns, step, "generation")
            gradient = pushed.seen.screen_probe.grad[:, len(state.still) :] / len(pushed.camera)
            radii = pushed.seen.radii_px[:, len(state.still) :]
            noticed = density.observe(state.noticed, gradient, radii, size)
            strength = float(gradient.norm())
            state = replace(state, step=step + 1, noticed=noticed)
            state = replace(state, adam=optim.descend(config.rates, state.learns, state.adam))
            if config.control.is_due(step + 1):
                state = _densified(config, state, draw.generator(f"density/{step}"))
        yield Scalar(step, "gradient", strength)
        if (step + 1) % config.preview_every == 0:
            with torch.no_grad():
                seen = render_gaussians(state.scene.cloud, shown, background=torch.ones(3).to(prior.device))
            yield Preview(step, seen.color.clamp(0, 1))
        if state_file is not None and ((step + 1) % config.checkpoint_every == 0 or step + 1 == config.iterations):
            _save(state_file, identity, replace(state, evaluations=prior.evaluations - before, seconds=seconds))
        yield Progress("generate", step + 1, config.iterations)

    # Stage II: parts on a field, each with tables of its own; or the whole under the prompt.
    scene = state.scene
    last = [one.edit for one in interactions[state.applied :]]
    if not any(isinstance(edit, Refine) for edit in last) and config.refine is not None:
        last.append(replace(config.refine, part=ALL, prompt=prompt))
    for edit in last:
        with timed(seconds, "refine"):
            change, _ = yield from changing(edit, scene, sources)
            scene = change.scene
    report = {
        "pipeline": "interactive3d",
        "prompt": prompt,
        "seed": seed,
        "iterations": config.iterations,
        "edits": state.edits + len(last),
        "parts": {name: int(rows.sum()) for name, rows in scene.parts.items()},
        "evaluations": prior.evaluations - before,
        "gaussians": len(scene.cloud),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    yield Result(scene.cloud, report)


@dataclass(frozen=True)
class _State:
    """All that the rest of stage I depends on; random streams are named by step, so they need no state."""

    step: int
    still: GaussianCloud
    """Frozen rows: constants."""
    learns: GaussianCloud
    adam: optim.AdamState
    noticed: density.DensityState
    parts: dict[str, Bool[Tensor, " gaussians"]] = field(default_factory=dict)
    """Over the rows that stand still, then those that learn."""
    applied: int = 0
    """Scripted interactions that have happened."""
    edits: int = 0
    """All edits that have, those from the queue included."""
    evaluations: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def scene(self) -> Scene:
        """What there is now, as a person edits it."""
        return Scene(GaussianCloud.cat([self.still, self.learns.detach()]), self.parts)


def _first_cloud(
    config: Config,
    prior: MultiviewPrior,
    encoder: Encoder | None,
    prompt: str,
    draw: Streams,
    seconds: dict[str, float],
) -> Generator[Event, None, GaussianCloud]:
    if config.first_views:
        camera = turntable(config.first_views, 15.0, size=prior.image_size).to(prior.device)
        options = {"guidance": config.first_guidance, "rescale": 0.5}
        sampler = ViewSampler(prior, prior.condition(prompt), camera, prior.image_size, options)
        noises = [
            torch.randn(config.first_views, *prior.latent_shape, generator=draw.generator(f"noise/first/{i}"))
            for i in range(config.candidates)
        ]
        rgba = yield from sampler.best(encoder, noises, config.first_steps, seconds)
        yield Preview(0, rgba[..., :3])
        points, colors = hull_points(rgba, camera, config.init_points, draw.generator("hull"), disagreeing=0.2)
        if len(points):
            return from_points(points, colors)
    return grey_ball(config.init_points, config.init_radius, draw.generator("points"))


def _next(edits: SimpleQueue | None) -> Edit | None:
    try:
        return None if edits is None else edits.get_nowait()
    except Empty:
        return None


def _edited(state: _State, edit: Edit, sources: Sources) -> Generator[Event, None, _State]:
    """After an edit: rows that it did not touch keep their moments, all others begin anew."""
    change, report = yield from changing(edit, state.scene, sources)
    scene, still = change.scene, change.scene.parts.get(FROZEN)
    still = torch.zeros(len(scene.cloud), dtype=torch.bool) if still is None else still
    if bool(still.all()):
        raise BadInput(f"everything is {FROZEN}: nothing is left to generate", "freeze less, or forget the part")
    origin = torch.full((len(scene.cloud),), -1)
    origin[: len(change.kept)] = torch.where(touched(state.scene, change), -1, change.kept - len(state.still))
    origin = origin[~still]
    rows = density.Rows(origin.clamp(min=0), origin < 0)
    learns = optim.leaves(scene.cloud.select(~still))
    order = torch.cat([still.nonzero()[:, 0], (~still).nonzero()[:, 0]])
    parts = {name: mask[order] for name, mask in scene.parts.items()}
    yield Notice(f"{type(edit).__name__}: {report.changed} changed, {report.added} added, {report.removed} removed")
    return replace(
        state, still=scene.cloud.select(still), learns=learns, parts=parts, adam=optim.remap(state.adam, rows),
        noticed=density.start(learns), edits=state.edits + 1,
    )  # fmt: skip


def _densified(config: Config, state: _State, generator: torch.Generator) -> _State:
    """After density control of the rows that learn; parts follow them."""
    learns, noticed, rows = density.refine(config.control, state.learns.detach(), state.noticed, generator)
    if len(learns) == 0:
        raise BadInput(f"all Gaussians are too faint at step {state.step}", "lower control.prune_opacity")
    first = torch.arange(len(state.still))
    order = torch.cat([first, rows.parent + len(first)])
    parts = {name: mask[order] for name, mask in state.parts.items()}
    learns, adam = optim.leaves(learns), optim.remap(state.adam, rows)
    return replace(state, learns=learns, adam=adam, noticed=noticed, parts=parts)


def _save(path: Path, identity: dict, state: _State) -> None:
    tensors, values = resume.pack(state.learns, state.adam, state.noticed)
    tensors |= {f"still.{name}": x for name, x in state.still.tensors().items()}
    tensors |= {f"part.{name}": pack(mask) for name, mask in state.parts.items()}
    values |= {name: getattr(state, name) for name in ("step", "applied", "edits", "evaluations", "seconds")}
    save_state(path, tensors, values | {"rows": len(state.still) + len(state.learns), "identity": identity})


def _load(path: Path, identity: dict, device: torch.device) -> _State | None:
    loaded = load_own_state(path, identity, device)
    if loaded is None:
        return None
    tensors, values = loaded

    def group(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): x for key, x in tensors.items() if key.startswith(f"{name}.")}

    learns, adam, noticed = resume.unpack(tensors, values)
    parts = {name: unpack(bits, values["rows"]) for name, bits in group("part").items()}
    own = {name: values[name] for name in ("applied", "edits", "evaluations", "seconds")}
    return _State(values["step"], GaussianCloud(**group("still")), learns, adam, noticed, parts, **own)

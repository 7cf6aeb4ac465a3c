"""Several seeds, and the one that the guide likes best: `maquette generate --best-of N`.

The guide is the encoder that may guide (features, perceptual losses). The judge of `maquette evaluate` takes no part,
so that it stays fair to assets that were chosen like this.
"""

import json
from collections.abc import Generator, Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette import io
from maquette.apps.make import Asset, configured, depends_on, make, subject
from maquette.apps.prior import Source
from maquette.core import BadInput, Event, Notice, Progress, Result, turntable
from maquette.core.files import atomic_write, prepare_folder
from maquette.core.inputs import check_prompt, check_seed
from maquette.evaluation.text import similarity
from maquette.priors.encoders import load_encoder
from maquette.priors.prompts import understand
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud

VIEWS, ELEVATION_DEG, VIEW_PX = 8, 15.0, 128


def best(
    prompt: str | None,
    *,
    count: int,
    image: Path | None,
    pipeline: str,
    prior: str | Source,
    seed: int,
    device: str | None,
    overrides: dict,
    out: Path | None,
    script: Path | None = None,
    start: Path | None = None,
) -> Iterator[Event]:
    """`make` with the seeds `seed` to `seed + count - 1`, of which the best is kept; ends in its `Result`.

    The score of an asset is the mean cosine, by the guide, between eight views of it on white and the prompt as the
    pocket vocabulary understands it, or the picture where there are no words. `report["best_of"]` lists all scores.
    With `out` every asset has a folder `out/candidates/seed-N`, and the files of the best are in `out` too; a candidate
    that is finished is not made again, and one that was stopped continues. Raises `BadInput` where the vocabulary has
    no word of the prompt.
    """
    source = Source(prior) if isinstance(prior, str) else prior
    asked = {"image": image, "pipeline": pipeline, "prior": source, "device": device, "overrides": overrides}
    asked |= {"script": script, "start": start}
    if count < 1:
        raise BadInput(f"the best of {count} seeds; expected at least 1", "leave it out to make one asset")
    if count == 1:
        yield from make(prompt, seed=seed, out=out, **asked)
        return
    seeds = [check_seed(seed + i) for i in range(count)]
    words = understand(check_prompt(prompt)).understood if prompt else None
    yield Notice(f"seeds {seeds[0]} to {seeds[-1]}: {count} times the time and the evaluations of one asset")
    scores, kept = {}, None
    for i, one in enumerate(seeds):
        folder = None if out is None else out / "candidates" / f"seed-{one}"
        made = yield from _candidate(prompt, one, folder, asked)
        scores[one] = _score(made.asset.cloud, words, image)
        if kept is None or scores[one] > scores[kept.report["seed"]]:
            kept = made
        yield Progress("best of", i + 1, count)
    chosen = kept.report["seed"]
    by = f"similarity of {VIEWS} views to the {'words' if words else 'picture'}, by the guide"
    next_best = max(score for one, score in scores.items() if one != chosen)
    yield Notice(f"kept seed {chosen}: {by} {scores[chosen]:.3f}, the next best {next_best:.3f}")
    report = kept.report | {"best_of": {"kept": chosen, "by": by, "scores": {str(one): scores[one] for one in seeds}}}
    if out is not None:
        _copy(out / "candidates" / f"seed-{chosen}", prepare_folder(out), report)
    yield Result(kept.asset, report)


def _candidate(prompt: str | None, seed: int, folder: Path | None, asked: dict) -> Generator[Event, None, Result]:
    """The asset of one seed: read if it is finished in `folder`, else made."""
    found = None if folder is None else _finished(folder, prompt, seed, asked)
    if found is not None:
        yield Notice(f"seed {seed} is finished already")
        return found
    for event in make(prompt, seed=seed, out=folder, **asked):
        match event:
            case Result():
                return event
            case Progress(stage, step, total):
                yield Progress(f"{seed}: {stage}", step, total)
            case _:
                yield event
    raise AssertionError("the run ended without a Result")


def _finished(folder: Path, prompt: str | None, seed: int, asked: dict) -> Result | None:
    """What `folder` holds, if it is this asset: the report is written last."""
    if not (folder / "run.json").is_file():
        return None
    report = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    source, pipeline = asked["prior"], asked["pipeline"]
    config = configured(asked["overrides"], pipeline, is_image_prior=not source.family().is_multiview)
    wanted = depends_on(prompt, asked["image"], pipeline, source, seed, config, asked["script"], asked["start"])
    if json.loads(json.dumps(wanted, default=str)) != {name: report.get(name) for name in wanted}:
        return None
    cloud, mesh = io.load_ply(folder / "asset.ply"), io.load_mesh(folder / "asset.glb")
    return Result(Asset(cloud, mesh, report), report)


@torch.no_grad()
def _score(cloud: GaussianCloud, words: str | None, image: Path | None) -> float:
    guide, camera = load_encoder(), turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX)
    views = render_gaussians(cloud.detach().to("cpu"), camera, background=torch.ones(3)).color.clamp(0, 1)
    wanted = guide.embed_text([words]) if words else guide.embed_image(_picture(image)[None])
    seen = guide.embed_image(views)
    return similarity(seen, wanted.expand_as(seen)).mean().item()


def _picture(image: Path) -> Float[Tensor, "height width 3"]:
    return subject(image, None)[..., :3]


def _copy(source: Path, target: Path, report: dict) -> None:
    for path in source.iterdir():
        if path.is_file() and path.name != "run.json":
            with atomic_write(target / path.name) as file:
                file.write(path.read_bytes())
    with atomic_write(target / "run.json", "w") as file:
        file.write(json.dumps(report, indent=2, default=str) + "\n")

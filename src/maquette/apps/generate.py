"""From a sentence or a picture to an asset: the one path that the command line, Python and evaluation share."""

from collections.abc import Iterator
from pathlib import Path

from maquette.apps.best import best
from maquette.apps.make import Asset
from maquette.apps.prior import Source
from maquette.core import Event, Result


def generate(
    prompt: str = "",
    *,
    image: str | Path | None = None,
    pipeline: str = "im3d",
    prior: str | Path = "pocket",
    revision: str | None = None,
    is_offline: bool = False,
    dtype: str | None = None,
    seed: int = 0,
    best_of: int = 1,
    script: str | Path | None = None,
    start: str | Path | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    **overrides: object,
) -> Asset:
    """Make a 3D asset from a sentence, a picture, or both; the same seed makes the same asset.

    `pipeline` is a name in `maquette.pipelines.PIPELINES`; `prior`, `revision`, `is_offline` and `dtype` are those of
    `Source`. With `best_of` so many seeds from `seed` on are tried and the best one is kept, see `best`. `script` is a
    file with edits for pipelines that take some on their way, see `maquette.apps.interactions`; `start` one with
    Gaussians, for pipelines that begin from some. `overrides` are `quality` ("standard", "paper", "tiny") or fields of
    its configuration. With `out`, the files of `maquette generate` are written there as well. Raises BadInput for what
    cannot be understood, Unsupported for a picture where the pipeline reads only words.
    """
    result = None
    events = best(
        prompt or None, count=best_of, image=None if image is None else Path(image), pipeline=pipeline,
        prior=Source(str(prior), revision, is_offline, dtype), seed=seed, device=device, overrides=overrides,
        out=None if out is None else Path(out), script=None if script is None else Path(script),
        start=None if start is None else Path(start),
    )  # fmt: skip
    for event in events:
        result = event if isinstance(event, Result) else result
    return result.asset


def generate_to_folder(
    prompt: str | None,
    *,
    image: Path | None,
    pipeline: str,
    prior: str | Source,
    seed: int,
    out: Path,
    device: str | None,
    overrides: dict,
    best_of: int = 1,
    script: Path | None = None,
    start: Path | None = None,
) -> Iterator[Event]:
    """The best of `best_of` seeds with its files in `out`; ends in `Result(cloud, report)`."""
    for event in best(
        prompt, count=best_of, image=image, pipeline=pipeline, prior=prior, seed=seed, device=device,
        overrides=overrides, out=out, script=script, start=start,
    ):  # fmt: skip
        yield Result(event.asset.cloud, event.report) if isinstance(event, Result) else event

"""One asset with its files: understanding, prior, pipeline and mesh, wired together and measured stage by stage."""

import dataclasses
import importlib
import inspect
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from maquette import __version__, io
from maquette.apps.override import overridden
from maquette.apps.prior import Source
from maquette.core import BadInput, Camera, Event, Notice, Progress, Result, Unsupported, prepare_folder, turntable
from maquette.core.device import pick_device
from maquette.core.files import atomic_write
from maquette.core.inputs import check_prompt, check_seed
from maquette.core.memory import peak_bytes
from maquette.io.limits import read_file
from maquette.pipelines import PIPELINES
from maquette.priors.hub import commit_of
from maquette.representations import GaussianCloud, Mesh, examine

REFERENCE_FILL = 0.62  # of the frame: how large objects of unit size appear to the pocket prior
TURNTABLE_FRAMES, TURNTABLE_SIZE = 48, 256
FROM_PICTURES = ("im3d",)
CHOOSING = ("interactive3d",)
"""Pipelines that choose among first samples of words by an encoder."""
OF_POINTS = "gaussian-anything"
"""The pipeline that has weights of its own, and is done too soon to keep a state."""
MESH_VIEWS = 16
"""Cameras that color the mesh of a cloud that was not fitted to a turntable."""


@dataclass(frozen=True)
class Asset:
    """What was made: Gaussians, a textured mesh of them, and the report of the run."""

    cloud: GaussianCloud
    mesh: Mesh
    report: dict

    def save(self, path: str | Path) -> None:
        """Write Gaussians (.ply, .spz) or the mesh (.glb)."""
        from maquette.apps.convert import save

        save(self.mesh if Path(path).suffix.lower() == ".glb" else self.cloud, path)


def make(
    prompt: str | None,
    *,
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
    """Understand, load, run the pipeline, make the mesh, write the files; ends in `Result(Asset, report)`.

    A prior with the pocket prior's vocabulary is told what was understood, every other one the prompt as it is. With
    `out` the run keeps its state in `out/.state` until it is complete, so a killed run continues.
    """
    from maquette.priors.prompts import understand

    source = Source(prior) if isinstance(prior, str) else prior
    check_seed(seed)
    if pipeline not in PIPELINES:
        raise Unsupported(f"there is no pipeline {pipeline!r}", f"choose one of {', '.join(PIPELINES)}")
    if image is not None and pipeline not in FROM_PICTURES:
        raise Unsupported(f"{pipeline} makes things from words alone", "leave the picture out, or choose im3d")
    if not prompt and image is None:
        check_prompt(prompt or "")
    if pipeline == OF_POINTS and source.name != "pocket":
        raise Unsupported(f"{pipeline} has weights of its own, and asks no other prior", "give --weights FOLDER")
    module = importlib.import_module(PIPELINES[pipeline])
    if start is not None and "initial" not in inspect.signature(module.run).parameters:
        raise Unsupported(f"{pipeline} begins from no asset", "leave --start out, or choose ge3d, lucid, gsgen")
    begin = {} if start is None else {"initial": io.load_splats(start)}
    family = source.family()
    config = configured(overrides, pipeline, is_image_prior=not family.is_multiview)
    clock = _Clock()
    words, said = None, check_prompt(prompt) if prompt else ""
    if prompt and family.has_pocket_words:
        words = understand(said)
        said = words.understood
        if words.notice:
            yield Notice(words.notice)
    edits = {}
    if script is not None:
        from maquette.apps.interactions import scripted

        edits = yield from scripted(script, pipeline, has_pocket_words=family.has_pocket_words)
    picture = None if image is None else subject(image, out)
    if out is not None:
        prepare_folder(out)

    from maquette.priors.load import described, load_prior

    target = pick_device(device)
    yield Progress("load", 0, 1)
    dtype = None if source.dtype is None else getattr(torch, source.dtype)
    if pipeline == OF_POINTS:
        from maquette.priors.point_latent import load_point_latent

        options = {"cloud": None if config.cloud is None else io.load_points(config.cloud)}
        views = load_point_latent(config.weights, device=target, dtype=dtype)
    else:
        views = load_prior(
            source.name, revision=source.revision, is_offline=source.is_offline, device=target, dtype=dtype
        )
        options = _pictured(picture, target) if pipeline in FROM_PICTURES else edits
        options = options | begin | {"checkpoint": None if out is None else _state(out, source, start)}
    if pipeline in CHOOSING:
        from maquette.priors.encoders import load_encoder

        options = options | {"encoder": load_encoder(device=target)}
    yield Progress("load", 1, 1)
    loaded = views.described if pipeline == OF_POINTS else described(views)
    if source.name != "pocket":
        yield Notice(f"loaded {source.name}: {loaded}")
    clock.stop("load")
    for event in module.run(config, views, prompt=said, seed=seed, **options):
        if isinstance(event, Result):
            made, report = event.asset, event.report
        else:
            yield event
    clock.stop("pipeline")

    yield Progress("mesh", 0, 1)
    from maquette.apps.shapes import shapes_of

    fitted = turntable(report.get("views", MESH_VIEWS), report.get("elevation_deg", 15.0), size=config.resolution)
    cloud, mesh = shapes_of(made, fitted)
    yield Progress("mesh", 1, 1)
    clock.stop("mesh")
    report = report | depends_on(prompt, image, pipeline, source, seed, config, script, start) | {
        "understood": words.understood if words else None, "commit": commit_of(source.name, source.revision),
        "loaded": loaded, "device": str(target), "faces": len(mesh.faces),
    }  # fmt: skip
    if out is not None:
        yield Progress("files", 0, 1)
        _write(out, cloud, mesh, fitted if cloud is made else None)
        if pipeline == OF_POINTS:
            io.save_points(out / "points.ply", made.points)
            io.save_surfels(out / "surfels.ply", made.surfels)
        yield Progress("files", 1, 1)
        clock.stop("files")
    report["seconds"] = {"total": clock.total, **clock.stages, **report["seconds"]}
    report["peak_memory_mib"] = round(peak_bytes() / 2**20)
    if out is not None:
        with atomic_write(out / "run.json", "w") as file:
            file.write(json.dumps(report, indent=2, default=str) + "\n")
        if pipeline != OF_POINTS:
            for state in (out / ".state").iterdir():
                state.unlink()
            (out / ".state").rmdir()
    yield Result(Asset(cloud, mesh, report), report)


def configured(overrides: dict, pipeline: str = "im3d", *, is_image_prior: bool = False) -> Any:
    """The pipeline's configuration for `quality` and single values; raises BadInput for a wrong name or type.

    Priors over single images take the published numbers as their standard, and words for sides at any quality.
    """
    module = importlib.import_module(PIPELINES[pipeline])
    presets = {"standard": module.DEFAULT, "paper": module.PAPER, "tiny": module.TINY}
    if is_image_prior:
        if not hasattr(module.PAPER, "view_words"):
            raise Unsupported(
                f"{pipeline} draws sets of views with their cameras, and this prior knows single images",
                "choose --pipeline lucid or ge3d, which say the side in words",
            )
        tiny = dataclasses.replace(module.TINY, view_words=True, negative=module.PAPER.negative)
        presets = {"standard": module.PAPER, "paper": module.PAPER, "tiny": tiny}
    values = dict(overrides)
    quality = values.pop("quality", "standard")
    if quality not in presets:
        raise BadInput(f"there is no quality {quality!r}", f"choose one of {', '.join(presets)}")
    return overridden(presets[quality], values)


def depends_on(
    prompt: str | None,
    image: Path | None,
    pipeline: str,
    source: Source,
    seed: int,
    config: Any,
    script: Path | None = None,
    start: Path | None = None,
) -> dict[str, Any]:
    """What decides which asset is made, besides the machine: a part of the report."""
    cloud = getattr(config, "cloud", None)
    return {
        "prompt": prompt,
        "image": None if image is None else str(image),
        "image_hash": None if image is None else _hash(image.read_bytes()),
        "cloud_hash": None if cloud is None else _hash(read_file(cloud, "a PLY file of points")),
        "start_hash": None if start is None else _hash(read_file(start, "a file of Gaussians")),
        "pipeline": pipeline,
        "prior": source.name,
        "revision": source.revision,
        "dtype": source.dtype,
        "seed": seed,
        "config": dataclasses.asdict(config),
        "script": None if script is None else _edits(script),
        "versions": _versions(),
    }


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _edits(script: Path) -> list[dict]:
    from maquette.apps.interactions import as_json, read_script

    return as_json(read_script(script)[0])


def _pictured(picture: torch.Tensor | None, device: torch.device) -> dict:
    """What a pipeline that compares views, or starts from a picture, wants besides a prior."""
    from maquette.priors.encoders import load_elevation, load_encoder

    encoder = load_encoder(device=device)
    estimate = None if picture is None else load_elevation(encoder)
    return {"encoder": encoder, "image": picture, "estimate_elevation": estimate}


def subject(path: Path, out: Path | None) -> torch.Tensor:
    """The object of a picture, framed on white as the prior expects it: (128, 128, 4)."""
    picture = io.load_image(path)
    alpha = io.matte(picture)
    framed = io.frame_subject(picture, alpha, fill=REFERENCE_FILL)
    mask = io.frame_subject(alpha[..., None].expand(-1, -1, 3), alpha, fill=REFERENCE_FILL, background=(0.0, 0.0, 0.0))
    if out is not None:
        prepare_folder(out)
        io.save_image(out / "reference.png", torch.cat([framed, mask[..., :1]], dim=-1))
    return torch.cat([framed, mask[..., :1]], dim=-1)


def _state(out: Path, source: Source, start: Path | None = None) -> Path:
    """The folder of a run's state; `BadInput` where a run with another prior, or another start, was stopped."""
    folder = prepare_folder(out / ".state")
    begin = {} if start is None else {"start": _hash(start.read_bytes())}
    told = json.dumps({"prior": source.name, "revision": source.revision, "dtype": source.dtype, **begin})
    file = folder / "prior.json"
    if file.is_file() and file.read_text(encoding="utf-8") != told:
        raise BadInput(
            f"{out} holds a run that was stopped, with the prior {file.read_text(encoding='utf-8')}",
            "continue with that one, or choose another folder",
        )
    with atomic_write(file, "w") as opened:
        opened.write(told)
    return folder


@torch.no_grad()
def _write(out: Path, cloud: GaussianCloud, mesh: Mesh, fitted: Camera | None) -> None:
    """`fitted` are the views in which the mesh is compared with the cloud that it was made from."""
    from maquette.evaluation.baked import examine_baked
    from maquette.render import render_gaussians

    io.save_ply(out / "asset.ply", cloud)
    io.save_mesh_glb(out / "asset.glb", mesh)
    health = examine(mesh)
    if fitted is not None:
        health = examine_baked(mesh, fitted, render_gaussians(cloud, fitted, background=torch.ones(3)))
    io.save_health(out / "asset.glb", health)
    camera = turntable(TURNTABLE_FRAMES, 15.0, size=TURNTABLE_SIZE)
    frames = render_gaussians(cloud, camera, background=torch.ones(3)).color.clamp(0, 1)
    io.save_video(out / "turntable.mp4", frames, fps=16.0)
    sheet = io.contact_sheet(frames[:: TURNTABLE_FRAMES // 8], columns=4)
    io.save_image(out / "preview.png", sheet)


class _Clock:
    """Wall-clock seconds between the calls of `stop`."""

    def __init__(self) -> None:
        self.first = self.last = time.perf_counter()
        self.stages: dict[str, float] = {}

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.stages[stage] = round(now - self.last, 3)
        self.last = now

    @property
    def total(self) -> float:
        return round(self.last - self.first, 3)


def _versions() -> dict[str, str]:
    return {"maquette": __version__, "torch": torch.__version__, "python": platform.python_version()}

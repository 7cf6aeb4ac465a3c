"""DreamFusion, Magic3D and ProlificDreamer with the pocket prior on the same prompts: a table and a contact sheet.

    python benchmarks/methods/fields.py prompts.jsonl --prompts 4 --out out/fields

Every asset is made by a `maquette generate` of its own, so that its memory is its own; what is finished is kept, and
one that was stopped continues, so the same command goes on. What is looked at are the meshes of the files, as the next
program would see them. Writes `fields.md`, `fields.json` and `sheet-1.png`.
"""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette import __version__
from maquette.apps.convert import load
from maquette.apps.evaluate import weights_hash
from maquette.apps.make import configured
from maquette.apps.prompt_file import read_prompts
from maquette.core import Streams, prepare_folder, turntable
from maquette.core.files import atomic_write
from maquette.evaluation import saturation
from maquette.evaluation.report import SheetRow, markdown_table, spread, write_json, write_sheets
from maquette.evaluation.text import similarity
from maquette.priors import Encoder
from maquette.priors.prompts import understand
from maquette.priors.sampling import ViewSampler
from maquette.render import render_mesh

PIPELINES = ("dreamfusion", "magic3d", "prolificdreamer")
VIEWS, ELEVATION_DEG, VIEW_PX = 8, 15.0, 128
DRAWN, DRAWN_STEPS = {"guidance": 4.0, "rescale": 0.5}, 20
HEADER = ["method", "prompt", "similarity", "saturation", "process seconds", "evaluations", "memory, MiB", "faces"]
NOTES = """Similarity: cosine of eight views of the mesh with the prompt, by a judge that guides nothing. Saturation:
(max - min) / max of the object's own color, 0 gray, 1 pure. Both are means over the views, and in the rows of means, ±
the deviation over prompts. Process seconds are those of all threads of one `maquette generate`, with mesh and files;
with > in front, of its last piece. Memory: its peak. "drawn": eight views by the prior, without any 3D.
"""


@dataclass(frozen=True)
class Row:
    """One asset, or what the prior draws."""

    method: str
    prompt: str
    similarity: float
    saturation: float
    views: Float[Tensor, "views size size 3"]
    cost: dict | None = None
    """Process seconds, whether an earlier process had begun it, evaluations, peak memory, faces."""

    def cells(self) -> list[str]:
        """Of the table."""
        told = [self.method, self.prompt, f"{self.similarity:.3f}", f"{self.saturation:.3f}"]
        if self.cost is None:
            return [*told, "", "", "", ""]
        seconds = f"{'> ' if self.cost['continued'] else ''}{self.cost['process_seconds']:.0f}"
        return [*told, seconds, *(str(self.cost[name]) for name in ("evaluations", "peak_memory_mib", "faces"))]


def make(pipeline: str, prompt: str, folder: Path, seed: int, quality: str) -> str | None:
    """Make one asset in a process of its own unless it is there; returns what went wrong."""
    record = folder / "cost.json"
    if record.is_file():
        return None
    continued, before = (folder / ".state").is_dir(), _process_seconds()
    command = [sys.executable, "-m", "maquette", "generate", prompt, "--pipeline", pipeline, "--quality", quality]
    done = subprocess.run([*command, "--seed", str(seed), "--out", str(folder)], capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip() or done.stdout.strip()).replace("\n", " ")[-300:]
    report = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    cost = {name: report[name] for name in ("evaluations", "peak_memory_mib", "faces")}
    write_json(record, {"process_seconds": _process_seconds() - before, "continued": continued, **cost})
    return None


def _process_seconds() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seen(
    method: str, prompt: str, color: Tensor, alpha: Tensor, judge: Encoder, cost: dict | None = None
) -> Row:  # fmt: skip
    """Pictures on white, measured."""
    with torch.no_grad():
        words = judge.embed_text([prompt]).expand(len(color), -1)
        likeness = similarity(judge.embed_image(color), words).mean().item()
    return Row(method, prompt, likeness, saturation(color, alpha).mean().item(), color, cost)


def drawn(prompt: str, prior, seed: int) -> tuple[Tensor, Tensor]:
    """Color and coverage of what the prior draws from the same cameras."""
    camera = turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX)
    sampler = ViewSampler(prior, prior.condition(understand(prompt).understood), camera, VIEW_PX, DRAWN)
    noise = torch.randn(VIEWS, *prior.latent_shape, generator=Streams(seed).generator("drawn"))
    steps = sampler.views("draw", noise, 1.0, DRAWN_STEPS, {})
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value[..., :3], end.value[..., 3]


def mean_row(method: str, rows: Sequence[Row]) -> list[str]:
    """Over prompts; of memory the most."""
    likeness, colors = (spread([getattr(row, name) for row in rows]) for name in ("similarity", "saturation"))
    told = [f"**{method}**", f"mean of {len(rows)}", *(f"{x['mean']:.3f} ± {x['std']:.3f}" for x in (likeness, colors))]
    costs = [row.cost for row in rows if row.cost is not None]
    if not costs:
        return [*told, "", "", "", ""]
    means = [sum(cost[name] for cost in costs) / len(costs) for name in ("process_seconds", "evaluations", "faces")]
    most = max(cost["peak_memory_mib"] for cost in costs)
    return [*told, f"{means[0]:.0f}", f"{means[1]:.0f}", str(most), f"{means[2]:.0f}"]


def main() -> None:
    """Read the command line, make everything, measure it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="prompts: a line each, or .jsonl")
    parser.add_argument("--prompts", type=int, default=4, help="only the first so many (4)")
    parser.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=PIPELINES)
    parser.add_argument("--out", type=Path, default=Path("out/fields"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", default="standard", help="as in maquette generate")
    given = parser.parse_args()
    prompts = [one if isinstance(one, str) else one["prompt"] for one in read_prompts(given.file)[: given.prompts]]
    out, weights = prepare_folder(given.out), weights_hash("multiview")

    def folder_of(pipeline: str, prompt: str) -> Path:
        """Another one whenever anything that the asset depends on changes."""
        config = configured({"quality": given.quality}, pipeline)
        key = repr((__version__, weights, config, given.seed, prompt)).encode()
        words = "-".join(re.findall(r"[a-z0-9]+", prompt.lower()))[:40]
        return out / pipeline / f"{words}-{blake2b(key, digest_size=4).hexdigest()}"

    # Before anything is loaded here: a process inherits the peak of the one that it was forked from.
    failed = {}
    for prompt in prompts:
        for pipeline in given.pipelines:
            print(f"{prompt}, {pipeline} ...", flush=True)
            wrong = make(pipeline, prompt, folder_of(pipeline, prompt), given.seed, given.quality)
            if wrong is not None:
                failed[pipeline, prompt] = wrong
                print(f"  failed: {wrong}", flush=True)

    from maquette.priors.encoders import load_judge
    from maquette.priors.multiview import load_multiview

    judge, prior, white = load_judge(), load_multiview(), torch.ones(3)
    rows: dict[str, list[Row]] = {name: [] for name in (*given.pipelines, "drawn")}
    for prompt in prompts:
        for pipeline in given.pipelines:
            if (pipeline, prompt) in failed:
                continue
            folder = folder_of(pipeline, prompt)
            view = render_mesh(
                load(folder / "asset.glb"), turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX), background=white
            )
            cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
            rows[pipeline].append(seen(pipeline, prompt, view.color.clamp(0, 1), view.alpha, judge, cost))
        rows["drawn"].append(seen("drawn", prompt, *drawn(prompt, prior, given.seed), judge))

    each = [row for prompt in prompts for own in rows.values() for row in own if row.prompt == prompt]
    cells = [mean_row(name, own) for name, own in rows.items() if own] + [row.cells() for row in each]
    cells += [[pipeline, prompt, "failed", *[""] * (len(HEADER) - 3)] for pipeline, prompt in failed]
    labels = [f"{row.prompt} - {row.method} - {row.similarity:.2f} - saturation {row.saturation:.2f}" for row in each]
    write_sheets(out, [SheetRow(row.views, label) for row, label in zip(each, labels, strict=True)], columns=1)
    about = (
        f"{len(prompts)} prompts, seed {given.seed}, quality {given.quality}, maquette {__version__} at {_commit()}, "
        f"weights {weights}, torch {torch.__version__}, {os.cpu_count()} cores ({platform.machine()}).\n"
        f"Command: `python benchmarks/methods/fields.py PROMPTS --prompts {len(prompts)} --quality {given.quality}`\n"
    )
    write_json(out / "fields.json", {
        "about": about, "rows": [dict(zip(HEADER, row, strict=True)) for row in cells],
        "failed": {f"{pipeline}, {prompt}": wrong for (pipeline, prompt), wrong in failed.items()},
    })  # fmt: skip
    with atomic_write(out / "fields.md", "w") as file:
        file.write(f"{about}\n{markdown_table(HEADER, cells)}\n{NOTES}")
    print("\n" + (out / "fields.md").read_text(encoding="utf-8"))


def _commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return told.stdout.strip() or "no commit"


if __name__ == "__main__":
    main()

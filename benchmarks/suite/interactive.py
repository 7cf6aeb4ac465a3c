"""Scripted sessions: what edits do to generated things, as before/after sheets and numbers, without a person.

    python benchmarks/suite/interactive.py sessions [--out DIR] [--only recolor,limb]
    python benchmarks/suite/interactive.py precision prompts.jsonl --prompts 50

`sessions` runs the five scripts beside this file: it generates the thing (and others that are pasted), opens a session,
does every edit, and writes `NAME.png` (above before, below after), the session itself and `sessions.md`, a table of
what changed and of what changed outside. `precision` compares plain generation with generation and one correction, the
same for all prompts, by R-Precision (Interactive3D, arXiv 2404.16510, table 1). The correction is one click on
"regenerate": everything goes on becoming the prompt, in shape and color, over a range of times that may change much.
Who sees that it did not help presses undo; here the encoder that may guide looks, and keeps the better of the two. The
judge, which scores, never chooses. What is finished is not made again, so a run that was stopped continues.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import torch

from maquette import __version__
from maquette.apps.follow import follow
from maquette.apps.make import configured, make
from maquette.core import Event, Result, prepare_folder, turntable
from maquette.core.files import atomic_write
from maquette.edit import Paste, Regenerate, Session, Sources, from_json
from maquette.edit.edit import changing
from maquette.edit.scene import ALL, Scene
from maquette.evaluation import evaluate_prompts
from maquette.evaluation.report import markdown_table, write_json
from maquette.io import contact_sheet, load_splats, save_image, save_splats
from maquette.priors import Encoder
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud, state_hash

SCRIPTS = Path(__file__).parent / "scripts"
VIEWS, SIZE = 6, 160
HEADER = ["script", "edit", "rows", "changed", "added", "removed", "rows outside", "pixels outside", "evaluations", "s"]


def correction(prompt: str) -> Regenerate:
    """What `precision` does to every thing: it goes on becoming the prompt, shape and colors, in a few seconds."""
    return Regenerate(ALL, prompt, steps=100, times=(0.2, 0.7))


def asset(prompt: str, out: Path, quality: str, seed: int) -> GaussianCloud:
    """What im3d makes of a prompt, made now or before."""
    kept = out / "assets" / f"{'-'.join(prompt.split())}-{quality}-{seed}.ply"
    if not kept.is_file():
        events = make(
            prompt, image=None, pipeline="im3d", prior="pocket", seed=seed, device="cpu",
            overrides={"quality": quality}, out=None,
        )  # fmt: skip
        prepare_folder(kept.parent)
        save_splats(kept, follow(events, as_json=False).asset.cloud)
    return load_splats(kept)


def session(name: str, script: dict, out: Path, quality: str, seed: int) -> list[list[object]]:
    """Do a script in a new session; the rows of the table. Writes the sheet."""
    first = asset(script["prompt"], out, quality, seed)
    others = {name: asset(prompt, out, quality, seed) for name, prompt in script.get("others", {}).items()}
    folder = out / f"{name}.mq"
    shutil.rmtree(folder, ignore_errors=True)
    rows = []
    with Session.create(folder, first, seed=seed) as opened:
        for values in script["edits"]:
            if values["kind"] == "paste":
                values = values | {"cloud": state_hash(others[values["cloud"]])}
            edit = from_json(values)
            if isinstance(edit, Paste):
                opened.keep(next(cloud for cloud in others.values() if state_hash(cloud) == edit.cloud))

            def events(edit=edit) -> Iterator[Event]:
                report = yield from opened.doing(edit)
                yield Result(report)

            done = follow(events(), as_json=False).asset
            rows.append([
                name, type(edit).__name__, done.rows, done.changed, done.added, done.removed, done.outside_changed,
                done.pixels_outside, done.evaluations, f"{done.seconds:.1f}",
            ])  # fmt: skip
        after = opened.scene.cloud
        start = opened.hash
        count = opened.done
        opened.undo(count)
        assert state_hash(opened.scene.cloud) == state_hash(first), "undo did not lead back to the start"
        opened.redo(count)
        assert opened.hash == start, "redo did not lead to the same state"
    save_image(out / f"{name}.png", contact_sheet(torch.cat([look(first), look(after)]), columns=VIEWS))
    return rows


@torch.no_grad()
def look(cloud: GaussianCloud) -> torch.Tensor:
    """From all around, on white."""
    camera = turntable(VIEWS, 15.0, radius=2.35, size=SIZE)
    return render_gaussians(cloud, camera, background=torch.ones(3)).color.clamp(0, 1)


def sessions(given: argparse.Namespace) -> None:
    """The five scripts, their sheets and their table."""
    out, rows = prepare_folder(given.out), []
    wanted = given.only.split(",") if given.only else sorted(path.stem for path in SCRIPTS.glob("*.json"))
    for name in wanted:
        script = json.loads((SCRIPTS / f"{name}.json").read_text(encoding="utf-8"))
        print(f"{name}: {script['title']}", flush=True)
        rows += session(name, script, out, given.quality, given.seed)
    text = f"{circumstances('sessions', given)}\n{markdown_table(HEADER, rows)}"
    with atomic_write(out / "sessions.md", "w") as file:
        file.write(text)
    print(text)


def precision(given: argparse.Namespace) -> None:
    """Plain generation against generation and one correction, judged by an encoder that neither was made with."""
    from maquette.apps.evaluate import weights_hash
    from maquette.apps.prompt_file import read_prompts
    from maquette.pipelines import im3d
    from maquette.priors.encoders import load_encoder, load_judge
    from maquette.priors.multiview import load_multiview
    from maquette.priors.prompts import understand

    config, prior, encoder, judge = (
        configured({"quality": given.quality}),
        load_multiview(),
        load_encoder(),
        load_judge(),
    )
    prompts, kept = read_prompts(given.file)[: given.prompts], given.out / "plain"

    def plain(prompt: str, folder: Path) -> Iterator[Event]:
        for event in im3d.run(config, prior, encoder, prompt=understand(prompt).understood, seed=given.seed):
            if isinstance(event, Result):
                save_splats(prepare_folder(kept) / f"{'-'.join(prompt.split())}.ply", event.asset)
            yield event

    def corrected(prompt: str, folder: Path) -> Iterator[Event]:
        before = Scene(load_splats(kept / f"{'-'.join(prompt.split())}.ply"))
        words = understand(prompt).understood
        change, report = yield from changing(correction(words), before, Sources(prior=prior, seed=given.seed))
        old, new = (likeness(scene.cloud, encoder, words) for scene in (before, change.scene))
        now = change.scene if new > old else before
        yield Result(now.cloud, report.lasting() | {"guide": {"before": old, "after": new}, "is_kept": new > old})

    identity = {"version": __version__, "config": repr(config), "weights": weights_hash("multiview", "encoder")}
    rows, reports = [], {}
    for name, make_one in (("plain", plain), ("with one correction", corrected)):
        events = evaluate_prompts(
            prompts, prepare_folder(given.out / name.replace(" ", "-")), make=make_one, judge=judge, seed=given.seed,
            identity=identity | {"correction": repr(correction("it")) if name != "plain" else ""},
        )  # fmt: skip
        reports[name] = follow(events, as_json=False).report
        judged = reports[name]["judge"]
        rows.append([
            name, f"{judged['r_precision']['object']:.2f}", f"{judged['r_precision']['view']:.2f}",
            f"{100 * judged['text_similarity']['mean']:.1f}", f"{reports[name]['seconds']['median']:.1f}",
            len(reports[name]["failed"]),
        ])  # fmt: skip
    records = [json.loads((given.out / "with-one-correction" / row["folder"] / "evaluation.json").read_text())
               for row in reports["with one correction"]["items"] if row["seconds"] is not None]  # fmt: skip
    count = sum(record["report"]["is_kept"] for record in records)
    table = markdown_table(
        ["", "R-Precision", "of single views", "text similarity x 100", "s (median)", "failed"], rows
    )
    table += f"\nThe correction was kept for {count} of {len(records)}; the others were undone.\n"
    write_json(given.out / "precision.json", reports)
    with atomic_write(given.out / "precision.md", "w") as file:
        file.write(f"{circumstances('precision', given)}\n{table}")
    print(table)


@torch.no_grad()
def likeness(cloud: GaussianCloud, encoder: Encoder, words: str) -> float:
    """Mean cosine of eight views with the words, as `maquette generate --best-of` has it."""
    camera = turntable(8, 15.0, size=128)
    views = render_gaussians(cloud, camera, background=torch.ones(3)).color.clamp(0, 1)
    return float((encoder.embed_image(views) @ encoder.embed_text([words])[0]).mean())


def circumstances(what: str, given: argparse.Namespace) -> str:
    """What one has to know before the numbers."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=SCRIPTS, capture_output=True, text=True)
    return (
        f"maquette {__version__} at {told.stdout.strip() or 'no commit'}, torch {torch.__version__}, {os.cpu_count()} "
        f"cores ({platform.machine()}), quality {given.quality}, seed {given.seed}.\n"
        f"Command: `python benchmarks/suite/interactive.py {what}`\n"
    )


def main() -> None:
    """Read the command line and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("sessions", help="the five scripts")
    one.add_argument("--only", default="", help="names of scripts with commas")
    one.set_defaults(run=sessions)
    two = verbs.add_parser("precision", help="plain against corrected")
    two.add_argument("file", type=Path, help="prompts: a line each, or .jsonl")
    two.add_argument("--prompts", type=int, default=50, help="only the first so many (50)")
    two.set_defaults(run=precision)
    for verb in (one, two):
        verb.add_argument("--out", type=Path, default=Path("out/interactive"))
        verb.add_argument("--quality", default="standard", help="as in maquette generate")
        verb.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()

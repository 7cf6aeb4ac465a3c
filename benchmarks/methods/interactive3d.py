"""The ablations of Interactive3D (arXiv 2404.16510, figures 4, 5 and 7) at our scale, as numbers and pictures.

    python benchmarks/methods/interactive3d.py knight.ply --whole "a knight" --words "a helmet" [--out DIR]

Three questions about one thing (a file with Gaussians), and a part of it, everything above `--above`:

- rigid loss: the part is dragged sideways under words; how much do distances to the source change without eq. 6?
- interactive loss: the part regenerates in equal steps, seen from near and alone, or only as part of the whole.
- hash refinement: the part's own table; a table over everything; no table, the base learns itself.

Likeness is the cosine (x 100) of views of the part alone with the words, by an encoder that guides nothing.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Streams, prepare_folder, turntable
from maquette.core.files import atomic_write
from maquette.edit import GuidedDrag, HalfSpace, Refine, Scene, Select, apply
from maquette.edit.edit import Sources, changing, finished
from maquette.edit.guided import Interactive
from maquette.edit.refine import BASE, FINEST, LOG2_ENTRIES, distilled, look, part_cells, samples_across, teach
from maquette.edit.regenerate import descended
from maquette.edit.zoom import around, zoomed
from maquette.evaluation.report import markdown_table
from maquette.guidance import Wording
from maquette.io import contact_sheet, load_splats, save_image
from maquette.kernels.hashgrid import GridShape
from maquette.priors import Encoder, MultiviewPrior
from maquette.render import render_gaussians
from maquette.training.gaussians_to_field import FieldFit

SIZE = 128
PART = "part"


def rigid(scene: Scene, prior: MultiviewPrior, whole: str, steps: int, seed: int) -> list[list[object]]:
    """Mean change of the distances to the source (eq. 6), in per cent of the mean distance, with and without it."""
    rows = scene.parts[PART]
    home = scene.cloud.means[rows]
    source = home.median(dim=0).values
    target = source + torch.tensor([0.25, 0.0, 0.0])
    table = []
    for name, weight in (("with", GuidedDrag.rigid_weight), ("without", 0.0)):
        wish = GuidedDrag(
            tuple(source.tolist()), (tuple(target.tolist()),), 10.0, whole, "rigid", PART, steps, 0, rigid_weight=weight
        )
        change, report = finished(changing(wish, scene, Sources(prior=prior, seed=seed)))
        away = (change.scene.cloud.means[: len(rows)][rows] - target).norm(dim=-1)
        before = (home - source).norm(dim=-1)
        share = float((away - before).abs().mean() / before.mean())
        table.append([name, f"{100 * share:.1f} %", report.outside_changed, report.evaluations])
    return table


def interactive(
    scene: Scene, prior: MultiviewPrior, judge: Encoder, words: str, whole: str, steps: int, seed: int
) -> tuple[list[list[object]], list[Tensor]]:
    """Likeness of the part after equal steps: seen from near, or always as a part of the whole."""
    rows = scene.parts[PART]
    part, whole_words = Wording(prior.condition(words)), Wording(prior.condition(whole))
    nothing, rest = scene.cloud.select(slice(0, 0)), scene.cloud.select(~rows)
    losses = {
        "with": Interactive(prior, part, nothing, rest, whole_words, (0.3, 0.7)),
        "without": Interactive(prior, None, nothing, rest, part, (0.3, 0.7)),
    }
    pictures = [views(scene)]
    table = [["before", likeness(pictures[0], judge, words), ""]]
    for name, loss in losses.items():
        before = prior.evaluations
        now = finished(descended(loss, scene, rows, steps, Streams(seed))).scene
        pictures.append(views(now))
        table.append([name, likeness(pictures[-1], judge, words), prior.evaluations - before])
    return table, pictures


def refinement(
    scene: Scene, prior: MultiviewPrior, judge: Encoder, words: str, steps: int, fit: int, seed: int
) -> tuple[list[list[object]], list[Tensor]]:
    """Likeness of the part, and how far everything else has moved, by what learns."""
    rows = scene.parts[PART]
    ball, table, pictures = around(scene.cloud.select(rows)), [], []
    wish = Refine(PART, words, steps=steps)
    for name in ("full", "no part-specific mapping", "no new tables"):
        field, occupancy = finished(distilled(scene.cloud, replace(FieldFit(), steps=fit), seed))
        cells = part_cells(scene.cloud, rows, occupancy)
        own, other = replace(occupancy, mask=cells), replace(occupancy, mask=occupancy.mask & ~cells)
        samples, camera = samples_across(ball, occupancy), turntable(4, 15.0, size=SIZE)
        before = look(field, camera, other, samples)[0]
        first = on_white(look(field, zoomed(camera, ball), own, samples))
        if name == "no new tables":
            field.requires_grad_(True)
            learners = [{"params": list(field.parameters()), "lr": 2e-3}]
        else:
            where = cells if name == "full" else torch.ones_like(cells)
            grid = GridShape(12, BASE, FINEST, LOG2_ENTRIES)
            residual = field.add_part(where, grid, generator=Streams(seed).generator("part"))
            learners = [{"params": list(residual.parameters()), "lr": 5e-3}]
        finished(teach(field, learners, occupancy, own, ball, wish, prior, Streams(seed)))
        seen = on_white(look(field, zoomed(camera, ball), own, samples))
        elsewhere = float((look(field, camera, other, samples)[0] - before).abs().mean()) * 255
        if not table:
            table.append(["before", likeness(first, judge, words), "0"])
            pictures.append(first)
        table.append([name, likeness(seen, judge, words), f"{elsewhere:.3g}"])
        pictures.append(seen)
    return table, pictures


@torch.no_grad()
def views(scene: Scene) -> Float[Tensor, "4 size size 3"]:
    """The part alone, from near."""
    cloud = scene.cloud.select(scene.parts[PART])
    camera = zoomed(turntable(4, 15.0, size=SIZE), around(cloud))
    return render_gaussians(cloud, camera, background=torch.ones(3)).color.clamp(0, 1)


def on_white(seen: tuple[Tensor, Tensor]) -> Tensor:
    """Premultiplied color with coverage as a picture."""
    return (seen[0] + (1 - seen[1])[..., None]).clamp(0, 1)


@torch.no_grad()
def likeness(pictures: Tensor, judge: Encoder, words: str) -> str:
    """Mean cosine with the words, x 100."""
    return f"{100 * float((judge.embed_image(pictures) @ judge.embed_text([words])[0]).mean()):.1f}"


def main() -> None:
    """Read the command line, answer the three questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="Gaussians: .ply, .spz or .glb")
    parser.add_argument("--whole", required=True, help="what the thing is")
    parser.add_argument("--words", required=True, help="what the part is to become")
    parser.add_argument("--above", type=float, default=0.2, help="the part is what lies above this height (0.2)")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--fit", type=int, default=300, help="steps from Gaussians to the field")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/interactive3d"))
    given = parser.parse_args()

    from maquette.priors.encoders import load_judge
    from maquette.priors.multiview import load_multiview

    prior, judge, out = load_multiview(), load_judge(), prepare_folder(given.out)
    scene, _ = apply(Select(PART, HalfSpace((0, given.above, 0), (0, 1, 0))), Scene(load_splats(given.file)))
    one = rigid(scene, prior, given.whole, max(2, given.steps // 3), given.seed)
    two, near = interactive(scene, prior, judge, given.words, given.whole, given.steps, given.seed)
    three, fields = refinement(scene, prior, judge, given.words, given.steps, given.fit, given.seed)
    save_image(out / "interactive-loss.png", contact_sheet(torch.cat(near), columns=4))
    save_image(out / "hash-refinement.png", contact_sheet(torch.cat(fields), columns=4))
    text = "\n".join(
        [
            f"{given.whole}, above {given.above:g} as {given.words!r}, {given.steps} steps, seed {given.seed}\n",
            markdown_table(["rigid loss", "distances to the source change by", "rows outside", "evaluations"], one),
            markdown_table(["interactive loss", "likeness of the part", "evaluations"], two),
            markdown_table(["hash refinement", "likeness of the part", "elsewhere, levels of 255"], three),
        ]
    )
    with atomic_write(out / "ablations.md", "w") as file:
        file.write(text)
    print(text)


if __name__ == "__main__":
    main()

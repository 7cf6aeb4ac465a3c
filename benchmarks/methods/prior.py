"""What the shipped prior can do beyond the words: consistency, pictures to 3D, diversity, memory. One table.

    python benchmarks/methods/prior.py DATA prompts.jsonl --prompts 20 --objects 20

Makes an asset of each prompt (twice, with two seeds) and of one picture of each held-out object of the asset folder
DATA. Writes `prior.md`, `prior.json`, `image-*.png` (picture, made, true) and `memory-*.png` (sample, nearest by shape,
nearest by look). Takes about 25 seconds a prompt and 12 an object on two cores. What is made is kept in `--out`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, Camera, Preview, Result, prepare_folder, turntable
from maquette.core.files import atomic_write
from maquette.data.shards import read_index, read_mesh
from maquette.data.views import render_views
from maquette.evaluation import chamfer, psnr, reprojection, silhouette_iou, surface_points
from maquette.evaluation.memory import Nearest, library, nearest_known
from maquette.evaluation.report import SheetRow, markdown_table, spread, write_json, write_sheets
from maquette.guidance import perceptual
from maquette.io import load_ply, save_ply
from maquette.io.image import load_image, save_image
from maquette.pipelines import im3d
from maquette.priors import Encoder
from maquette.priors.encoders import load_elevation, load_encoder, load_judge
from maquette.priors.multiview import load_multiview
from maquette.render import Rendering, render_gaussians
from maquette.representations import GaussianCloud, gaussians_to_mesh

WHITE, ELEVATION_DEG, SIZE, POINTS = torch.ones(3), 15.0, 128, 1024
CAMERA = turntable(16, ELEVATION_DEG, size=SIZE)
SHOWN = slice(None, None, 4)  # of the sixteen views, in pictures


@dataclass(frozen=True)
class Made:
    """A fitted cloud, the sixteen views that it was fitted to, and where it was seen from."""

    cloud: GaussianCloud
    drawn: Float[Tensor, "16 side side 3"]
    elevation_deg: float

    def seen(self, camera: Camera = CAMERA) -> Rendering:
        """The cloud on white."""
        with torch.no_grad():
            return render_gaussians(self.cloud, camera, background=WHITE)


class Maker:
    """Makes assets with the shipped prior, and keeps them."""

    def __init__(self, out: Path):
        self.prior, self.encoder, self.out = load_multiview(), load_encoder(), out
        self.estimate = load_elevation(self.encoder)

    def make(self, name: str, *, prompt: str = "", picture: Tensor | None = None, seed: int = 0) -> Made:
        """From words or from a picture (side, side, 4)."""
        folder = prepare_folder(self.out / "made" / f"{name}-{seed}".replace(" ", "-"))
        if not (folder / "elevation.txt").is_file():
            options = {} if picture is None else {"image": picture, "estimate_elevation": self.estimate}
            for event in im3d.run(im3d.DEFAULT, self.prior, self.encoder, prompt=prompt, seed=seed, **options):
                if isinstance(event, Preview) and event.step == 0:
                    grid = event.images.unflatten(0, (4, 4)).movedim(1, 2).flatten(2, 3).flatten(0, 1)
                    save_image(folder / "drawn.png", grid)
                if isinstance(event, Result):
                    save_ply(folder / "asset.ply", event.asset)
                    with atomic_write(folder / "elevation.txt", "w") as file:
                        file.write(str(event.report["elevation_deg"]))
        grid = load_image(folder / "drawn.png")[..., :3].unflatten(0, (4, -1)).unflatten(2, (4, -1))
        drawn = grid.movedim(2, 1).flatten(0, 1)
        return Made(load_ply(folder / "asset.ply"), drawn, float((folder / "elevation.txt").read_text()))


def consistency(made: Made) -> dict[str, float]:
    """Do the drawn views agree with each other (by the depth of what was fitted), and with the fit?"""
    seen = made.seen()
    as_drawn = Rendering(color=made.drawn, depth=seen.depth, alpha=seen.alpha)
    row = {"PSNR of drawn against fitted views": psnr(made.drawn, seen.color).mean().item()}
    try:
        drawn, fitted = reprojection(as_drawn, CAMERA), reprojection(seen, CAMERA)
    except BadInput:  # so thin or foggy that no pixel is found again
        return row | {"pixels found again in the next view": 0.0}
    return row | {
        "pixels found again in the next view": fitted.shared,
        "drawn views, reprojection difference": drawn.difference,
        "fitted views, reprojection difference": fitted.difference,
    }


def true_views(mesh) -> Float[Tensor, "16 side side 4"]:
    """A held-out object from all sides, on white."""
    return torch.from_numpy(render_views(mesh, CAMERA).rgba).float() / 255


def picture_to_3d(made: Made, truth: Tensor, judge: Encoder) -> dict[str, float]:
    """The fifteen views that the picture does not show, against those of the true object."""
    others, found = truth[1:], made.seen()
    answers = {
        "the fitted object": (found.color[1:], found.alpha[1:]),
        "the drawn views": (made.drawn[1:], None),
        "the picture repeated": (truth[:1, ..., :3].expand_as(others[..., :3]), truth[:1, ..., 3].expand(15, -1, -1)),
    }
    with torch.no_grad():
        wanted = judge.features(others[..., :3])
        wanted_look = judge.embed_image(others[..., :3])
        rows = {}
        for name, (color, alpha) in answers.items():
            rows[f"{name}: PSNR"] = psnr(color, others[..., :3]).mean().item()
            rows[f"{name}: perceptual"] = perceptual(judge.features(color), wanted).mean().item()
            rows[f"{name}: similarity"] = (judge.embed_image(color) * wanted_look).sum(-1).mean().item()
            if alpha is not None:
                rows[f"{name}: silhouette IoU"] = silhouette_iou(alpha, others[..., 3]).mean().item()
    rows["elevation, degrees wrong"] = abs(made.elevation_deg - ELEVATION_DEG)
    return rows


def points_of(made: Made) -> Float[Tensor, "points 3"]:
    """Points on the surface of the asset."""
    return surface_points(gaussians_to_mesh(made.cloud, views=CAMERA), POINTS, torch.Generator().manual_seed(0))


def means(rows: list[dict[str, float]]) -> list[list[str]]:
    """A line of a table for each number: mean and standard deviation over the assets that have it."""
    lines = []
    for name in dict.fromkeys(name for row in rows for name in row):
        found = spread([row[name] for row in rows if name in row])
        lines.append([name, f"{found['mean']:.3f} ± {found['std']:.3f} of {found['count']}"])
    return lines


def main() -> None:
    """Make, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the asset folder")
    parser.add_argument("file", type=Path, help="prompts: a line each, or .jsonl")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("out/prior"))
    given = parser.parse_args()

    from maquette.apps.prompt_file import read_prompts
    from maquette.priors.prompts import understand

    out, judge = prepare_folder(given.out), load_judge()
    maker = Maker(out)
    asked = [item if isinstance(item, str) else item["prompt"] for item in read_prompts(given.file)]
    step = max(len(asked) // given.prompts, 1)
    prompts = asked[::step][: given.prompts]
    texts, both = [], []
    for prompt in prompts:
        words = understand(prompt).understood
        both.append([maker.make(prompt, prompt=words, seed=seed) for seed in (0, 1)])
        texts.append(consistency(both[-1][0]))
        print(prompt, {name: round(value, 3) for name, value in texts[-1].items()}, flush=True)

    shapes = [[points_of(made) for made in pair] for pair in both]
    diversity = [
        {
            "Chamfer, two seeds of one prompt": chamfer(*shapes[i]),
            "Chamfer, two prompts": chamfer(shapes[i][0], shapes[(i + 1) % len(shapes)][0]),
            "similarity of the looks of two seeds": similarity_of(pair, judge),
        }
        for i, pair in enumerate(both)
    ]

    pictures, rows = [], []
    held_out = read_index(given.data, split="val")
    for row in held_out[:: max(len(held_out) // given.objects, 1)][: given.objects]:
        truth = true_views(read_mesh(row, given.data))
        made = maker.make(row["id"], picture=truth[0])
        pictures.append(picture_to_3d(made, truth, judge))
        shown = torch.cat([truth[:1, ..., :3], made.seen().color[SHOWN], truth[SHOWN, ..., :3]])
        rows.append(SheetRow(shown.clamp(0, 1), row["captions"][0]))
        print(row["captions"][0], {name: round(value, 3) for name, value in pictures[-1].items()}, flush=True)
    write_sheets(out, rows, name="image", columns=1, view_px=96)

    trained = read_index(given.data, split="train")
    known = library([read_mesh(row, given.data) for row in trained], judge)
    memory, rows = [], []
    for prompt, pair, points in zip(prompts, both, shapes, strict=True):
        seen = pair[0].seen().color.clamp(0, 1)
        found = nearest_known(points[0], seen[SHOWN], known, judge)
        memory.append(memory_row(found, trained, prompt))
        beside = [
            true_views(read_mesh(trained[i], given.data))[SHOWN, ..., :3] for i in (found.by_shape, found.by_look)
        ]
        rows.append(SheetRow(torch.cat([seen[SHOWN], *beside]), f"{prompt}: {memory[-1]['by look']}"))
    write_sheets(out, rows, name="memory", columns=1, view_px=96)

    header = ["measure", "mean ± standard deviation"]
    table = f"{len(prompts)} prompts, {len(pictures)} pictures of held-out objects.\n\n" + markdown_table(
        header, [*means(texts), *means(pictures), *means(diversity)]
    )
    closest = [[row["prompt"], row["by shape"], f"{row['Chamfer']:.3f}", row["by look"], f"{row['cosine']:.2f}"]
               for row in memory]  # fmt: skip
    table += "\n" + markdown_table(["prompt", "nearest by shape", "Chamfer", "nearest by look", "cosine"], closest)
    with atomic_write(out / "prior.md", "w") as file:
        file.write(table)
    write_json(out / "prior.json", {"text": texts, "picture": pictures, "diversity": diversity, "memory": memory})
    print(table)


def similarity_of(pair: list[Made], judge: Encoder) -> float:
    """Cosine of the mean look of two assets."""
    with torch.no_grad():
        one, two = (torch.nn.functional.normalize(judge.embed_image(m.seen().color).mean(0), dim=0) for m in pair)
    return float(one @ two)


def memory_row(found: Nearest, trained: list[dict], prompt: str) -> dict:
    """What a reader wants to know of the nearest training objects."""
    return {
        "prompt": prompt, "by shape": trained[found.by_shape]["captions"][0], "Chamfer": found.distance,
        "by look": trained[found.by_look]["captions"][0], "cosine": found.likeness,
    }  # fmt: skip


if __name__ == "__main__":
    main()

"""How far sets of assets are from real ones: FID, KID, P-FID, P-KID, coverage, matching. One table.

    python benchmarks/methods/distances.py DATA --made out/evaluate

First real assets against real assets, which is the bound: training objects of the asset folder DATA against as many
others, and against those held out. Then every folder that `maquette evaluate` wrote against those held out. Writes
`distances.md`, `distances.json` and `sheet-1.png` with fronts of each set. Takes some minutes on two cores.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, prepare_folder, turntable
from maquette.core.files import atomic_write
from maquette.core.seed import Streams
from maquette.data.shards import read_index, read_mesh
from maquette.data.views import render_views
from maquette.evaluation import Assets, Network, distances, look_at, surface_points
from maquette.evaluation.report import SheetRow, markdown_table, write_json, write_sheets
from maquette.evaluation.run import ACROSS, ELEVATION_DEG, VIEW_PX, VIEWS
from maquette.io import load_ply
from maquette.io.image import load_image
from maquette.io.meshes import load_mesh
from maquette.priors.encoders import load_judge, load_point_encoder
from maquette.representations import Mesh, gaussians_to_mesh

POINTS, SHOWN = 1024, 12
CAMERA = turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX)  # those of `maquette evaluate`


def real_assets(rows: Sequence[dict], data: Path, draw: torch.Generator) -> Assets:
    """Objects of the data, all their surfaces with them: also those that no view sees."""
    views, points = [], []
    for row in rows:
        item = read_mesh(row, data)
        views.append(torch.from_numpy(render_views(item, CAMERA).rgba[..., :3]).float() / 255)
        mesh = Mesh(torch.from_numpy(item.vertices), torch.from_numpy(item.faces.astype(np.int64)))
        points.append(surface_points(mesh, POINTS, draw))
    return Assets(torch.stack(views), torch.stack(points))


def made_assets(folder: Path, most: int, draw: torch.Generator) -> Assets:
    """Finished assets of a folder of `maquette evaluate`: the renders that were scored, and points on the mesh."""
    homes = sorted(path.parent for path in (folder / "assets").glob("*/views.png"))
    if not homes:
        raise BadInput(f"{folder} holds no finished assets", "give a folder that `maquette evaluate --out` wrote")
    homes = [homes[i] for i in torch.randperm(len(homes), generator=draw)[:most].tolist()]
    views = torch.stack([load_views(home / "views.png") for home in homes])
    return Assets(views, torch.stack([surface_points(load_shape(home), POINTS, draw) for home in homes]))


def load_views(path: Path) -> Float[Tensor, "views height width 3"]:
    """The views of an asset from their grid."""
    rows = load_image(path)[..., :3].unflatten(0, (VIEWS // ACROSS, -1)).unflatten(2, (ACROSS, -1))
    return rows.movedim(2, 1).flatten(0, 1)


def load_shape(home: Path) -> Mesh:
    """The mesh of an asset, made from its Gaussians if there is none."""
    given = home / "asset.glb"
    return load_mesh(given) if given.is_file() else gaussians_to_mesh(load_ply(home / "asset.ply"), views=CAMERA)


def line(name: str, row: dict) -> list[str]:
    """A row of the table: KIDs times 100, coverage in percent, matching times 1000."""
    kids = [f"{100 * row[key]['mean']:.3f} ± {100 * row[key]['deviation']:.3f}" for key in ("kid", "p_kid")]
    counts = " and ".join(map(str, row["objects"]))
    frechet = [f"{row[key]:.3f}" + ("*" if key in row["singular"] else "") for key in ("fid", "p_fid")]
    rest = [f"{100 * row['coverage']:.1f}", f"{1000 * row['mmd']:.1f}"]
    return [name, counts, frechet[0], kids[0], frechet[1], kids[1], *rest]


def main() -> None:
    """Look, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the asset folder")
    parser.add_argument("--made", type=Path, nargs="*", default=[], help="folders of `maquette evaluate`")
    parser.add_argument("--objects", type=int, default=154, help="of each set, at most")
    parser.add_argument("--points", type=Path, help="another point encoder, as its recipe saves it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/distances"))
    given = parser.parse_args()

    out, streams = prepare_folder(given.out), Streams(given.seed)
    pictures = Network("pocket judge", load_judge().embed_image)
    point_encoder = load_point_encoder() if given.points is None else load_point_encoder(given.points)
    shapes = Network("pocket points" if given.points is None else str(given.points), point_encoder.embed)

    known, held_out = (read_index(given.data, split=split) for split in ("train", "val"))
    order = torch.randperm(len(known), generator=streams.generator("training objects")).tolist()
    held_out = [held_out[i] for i in torch.randperm(len(held_out), generator=streams.generator("held out objects"))]
    held_out = held_out[: given.objects]
    count = min(len(held_out), len(known) // 2)
    sets = {
        "training": [known[i] for i in order[:count]],
        "training, others": [known[i] for i in order[count : 2 * count]],
        "held out": held_out,
    }
    seen, shown = {}, []
    for name, rows in sets.items():
        assets = real_assets(rows, given.data, streams.generator(name))
        seen[name] = look_at(assets, pictures, shapes)
        shown.append(SheetRow(assets.views[:SHOWN, 0], name))
        print(f"{name}: {len(assets)} objects", flush=True)
    for folder in given.made:
        assets = made_assets(folder, given.objects, streams.generator(f"made/{folder.name}"))
        seen[folder.name] = look_at(assets, pictures, shapes)
        shown.append(SheetRow(assets.views[:SHOWN, 0], folder.name))
        print(f"{folder.name}: {len(assets)} assets", flush=True)
    write_sheets(out, shown, columns=1, view_px=VIEW_PX)

    rows = {}
    pairs = [("training, others", "training"), ("training", "held out")]
    for made, real in pairs + [(folder.name, "held out") for folder in given.made]:
        rows[f"{made} against {real}"] = row = distances(seen[made], seen[real], seed=given.seed)
        print(f"{made} against {real}", row, flush=True)
    header = ["sets", "objects", "FID", "KID x 100", "P-FID", "P-KID x 100", "coverage %", "matching x 1000"]
    table = markdown_table(header, [line(name, row) for name, row in rows.items()])
    networks = f"Pictures by {pictures.name}, points by {shapes.name}. * fewer samples than features.\n\n"
    with atomic_write(out / "distances.md", "w") as file:
        file.write(networks + table)
    write_json(out / "distances.json", rows)
    print(table)


if __name__ == "__main__":
    main()

"""Real assets through splats to meshes and back through other people's readers.

    python benchmarks/suite/meshing.py --data FOLDER [--split val] [--count 10] [--out benchmarks/results]

For assets spread over a split of the asset folder: draw 32 views, fit Gaussians to them, make a mesh of at most --faces
faces with a texture, write it as .glb, read that file with trimesh and with pygltflib, and draw what they read from
eight directions that the fit has not seen. PSNR is against the asset itself, on white. `cpu` are seconds of processor
time of all threads, which a busy machine does not change. Writes meshing.md and meshing.png, prints as it goes.
"""

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pygltflib
import torch
import trimesh
from PIL import Image

from maquette.core import Camera, Constant, Exponential, Streams, orbit, prepare_folder
from maquette.data.shards import read_index, read_mesh
from maquette.data.views import render_views
from maquette.evaluation import examine_baked, psnr
from maquette.io import contact_sheet, save_image, save_mesh_glb
from maquette.render import render_gaussians, render_mesh
from maquette.representations import GaussianCloud, Health, Mesh, from_points, gaussians_to_mesh
from maquette.representations.hull import hull_points
from maquette.training import optim
from maquette.training.gaussians_to_field import views_all_around
from maquette.training.refit import Refit, refit

VIEWS, SIZE, POINTS, STEPS = 32, 160, 4000, 400
HALF_SIZE = 0.6
JUDGES = orbit(torch.arange(8) * 45.0 + 20, torch.tensor([15.0, -20.0, 40.0, 5.0] * 2), size=SIZE)
WHITE = torch.ones(3)
FIT = Refit(
    steps=STEPS, batch=2,
    rates=optim.Rates(
        means=Exponential(1e-3, 1e-4, STEPS), log_scales=Constant(5e-3), quats=Constant(5e-3),
        logit_opacities=Constant(2e-2), sh=Constant(1e-2),
    ),
)  # fmt: skip


class Row(NamedTuple):
    """What came of one asset."""

    name: str
    gaussians: int
    splat_db: float
    trimesh_db: float
    pygltflib_db: float
    health: Health
    fit_cpu: float
    mesh_cpu: float


def fitted(color: torch.Tensor, alpha: torch.Tensor, camera: Camera) -> GaussianCloud:
    """Gaussians that show the pictures: `color` is on white."""
    draw = Streams(0)
    straight = color - (1 - alpha[..., None])  # premultiplied, as the fit wants it
    rgba = torch.cat([straight / alpha[..., None].clamp(min=1e-3), alpha[..., None]], dim=-1).clamp(0, 1)
    start = from_points(*hull_points(rgba, camera, POINTS, draw.generator("hull")), opacity=0.3)
    steps = refit(start, camera, straight, alpha, FIT, draw)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value[0]


def by_trimesh(path: Path) -> Mesh:
    """The mesh as trimesh reads it, which turns v around."""
    (part,) = trimesh.load_scene(path, process=False).geometry.values()
    picture = np.asarray(part.visual.material.baseColorTexture.convert("RGB"), np.float32) / 255
    uv = torch.from_numpy(np.asarray(part.visual.uv, np.float32)) * torch.tensor([1, -1]) + torch.tensor([0, 1])
    vertices, faces = np.asarray(part.vertices, np.float32), np.asarray(part.faces, np.int64)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces), uv=uv, texture=torch.from_numpy(picture))


def by_pygltflib(path: Path) -> Mesh:
    """The mesh as the bytes behind pygltflib's accessors say."""
    document = pygltflib.GLTF2().load(str(path))
    binary = document.binary_blob()
    kinds = {5123: "<u2", 5125: "<u4", 5126: "<f4"}

    def view(index: int) -> bytes:
        at = document.bufferViews[index]
        return binary[at.byteOffset : at.byteOffset + at.byteLength]

    def rows(index: int) -> torch.Tensor:
        accessor = document.accessors[index]
        flat = np.frombuffer(view(accessor.bufferView), kinds[accessor.componentType])
        return torch.from_numpy(flat.reshape(accessor.count, -1).astype(np.float64))

    (primitive,) = document.meshes[0].primitives
    surface = document.materials[primitive.material].pbrMetallicRoughness
    image = document.images[document.textures[surface.baseColorTexture.index].source]
    picture = np.asarray(Image.open(io.BytesIO(view(image.bufferView))).convert("RGB"), np.float32) / 255
    return Mesh(
        rows(primitive.attributes.POSITION).float(), rows(primitive.indices).long().reshape(-1, 3),
        uv=rows(primitive.attributes.TEXCOORD_0).float(), texture=torch.from_numpy(picture),
    )  # fmt: skip


def measured(row: dict, data: Path, faces: int, texture: int, folder: Path) -> tuple[Row, torch.Tensor]:
    """One asset, and three pictures of it: itself, its splats, its mesh."""
    asset = read_mesh(row, data)
    camera = views_all_around(VIEWS, SIZE, HALF_SIZE)

    def seen(at: Camera) -> tuple[torch.Tensor, torch.Tensor]:
        rgba = torch.from_numpy(render_views(asset, at).rgba).float() / 255
        return rgba[..., :3], rgba[..., 3]

    began = time.process_time()
    cloud = fitted(*seen(camera), camera)
    fit_cpu, began = time.process_time() - began, time.process_time()
    mesh = gaussians_to_mesh(cloud, views=camera, faces=faces, texture_size=texture)
    mesh_cpu = time.process_time() - began
    path = folder / f"{asset.key}.glb"
    save_mesh_glb(path, mesh)
    truth, _ = seen(JUDGES)
    splats = render_gaussians(cloud, JUDGES, background=WHITE)
    drawn = [render_mesh(read(path), JUDGES, background=WHITE).color for read in (by_trimesh, by_pygltflib)]
    scores = [float(psnr(picture.clamp(0, 1), truth).mean()) for picture in (splats.color, *drawn)]
    health = examine_baked(mesh, JUDGES, splats, budget=faces)
    result = Row(asset.captions[0], len(cloud), *scores, health, fit_cpu, mesh_cpu)
    return result, torch.stack([truth[0], splats.color[0].clamp(0, 1), drawn[0][0]])


def line(row: Row) -> str:
    """A row of the table."""
    health = row.health
    sound = "yes" if health.is_sound else "no"
    return (
        f"| {row.name} | {row.gaussians:,} | {row.splat_db:.1f} | {row.trimesh_db:.1f} | {row.pygltflib_db:.1f} "
        f"| {health.bake_psnr_db:.1f} / {health.bake_psnr_inside_db:.1f} | {health.faces:,} | {sound} "
        f"| {health.components} | {health.uv_overlap:.2%} | {health.texels_per_unit[1]:.0f} "
        f"| {row.fit_cpu:.0f} | {row.mesh_cpu:.0f} |"
    )


COLUMNS = (
    "asset", "Gaussians", "splats, dB", "mesh by trimesh, dB", "by pygltflib, dB", "bake, dB: all / inside", "faces",
    "sound", "components", "uv overlap", "texels a unit", "fit, cpu s", "mesh, cpu s",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--faces", type=int, default=5000)
    parser.add_argument("--texture", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    prepare_folder(chosen.out)
    index = read_index(chosen.data, split=chosen.split)
    rows = index[:: max(1, len(index) // chosen.count)][: chosen.count]
    done, pictures = [], []
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            result, shown = measured(row, chosen.data, chosen.faces, chosen.texture, Path(folder))
            print(line(result), flush=True)
            done.append(result)
            pictures.append(shown)
    numbers = np.array([[r.splat_db, r.trimesh_db, r.health.bake_psnr_inside_db, r.fit_cpu, r.mesh_cpu] for r in done])
    mean = numbers.mean(0)
    summary = (
        f"Means: splats {mean[0]:.1f} dB, mesh {mean[1]:.1f} dB, bake inside {mean[2]:.1f} dB, fit {mean[3]:.0f} s, "
        f"mesh {mean[4]:.0f} s of processor time; {sum(r.health.is_sound for r in done)} of {len(done)} sound."
    )
    print(summary)
    command = f"python benchmarks/suite/meshing.py --data FOLDER --split {chosen.split} --count {chosen.count}"
    text = [f"`{command} --faces {chosen.faces} --texture {chosen.texture}`", "", HEAD, *map(line, done), "", summary]
    (chosen.out / "meshing.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    labels = [label for row in done for label in (row.name, "splats", f"mesh, {row.health.faces} faces")]
    save_image(chosen.out / "meshing.png", contact_sheet(torch.cat(pictures), columns=6, labels=labels))


if __name__ == "__main__":
    main()

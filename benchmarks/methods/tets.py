"""A sphere, a torus and a box from their silhouettes and normals: how near DMTet comes, and at what cost.

    python benchmarks/methods/tets.py [--out benchmarks/results]

Targets are 24 pictures of 96 px from all around of a mesh with a formula: coverage and normals, no depth and no
distance. Fits start from the visual hull of the silhouettes (150 steps), or from a ball of radius 0.5 around the shape
(250 steps, larger learning rates, more weight on contradictions), which cannot open the hole of a torus. Chamfer is the
mean of both mean distances between 20,000 points of each surface, in thousandths of a world unit; two draws of the same
surface are as far apart as "itself" says, which no fit can beat. The volume is compared with its formula. Seconds are
processor time of one thread for steps of 2 pictures on a grid of 32 cells; shapes are 0.8 to 0.9 wide, a cell 0.0375.
"""

import argparse
import math
import os
import platform
import time
from pathlib import Path

import torch
import trimesh

from maquette.core.camera import Camera, look_at
from maquette.core.event import Result
from maquette.core.seed import Streams
from maquette.evaluation import chamfer, surface_points
from maquette.io import contact_sheet, save_image
from maquette.render.surface import render_surface
from maquette.representations import sdf_grid
from maquette.representations.mesh import Mesh
from maquette.representations.tets import grid_to_mesh
from maquette.training.views_to_tets import TetFit, views_to_tets

VIEWS, SIZE, POINTS = 24, 96, 20_000
FAR = TetFit(steps=250, rate=(5e-2, 5e-3), sign_weight=(0.2, 0.01))
"""For a start that is several cells away, and leaves inner walls behind on its way."""
SHAPES = {
    "sphere": (lambda p: sdf_grid.sphere(p, 0.4), 4 / 3 * math.pi * 0.4**3),
    "torus": (lambda p: sdf_grid.torus(p, 0.32, 0.12), 2 * math.pi**2 * 0.32 * 0.12**2),
    "box": (lambda p: sdf_grid.box(p, (0.4, 0.25, 0.3)), 0.8 * 0.5 * 0.6),
}


def all_around() -> Camera:
    """Cameras on a Fibonacci sphere."""
    index = torch.arange(VIEWS)
    height = 1 - (2 * index + 1) / VIEWS
    angle = index * math.pi * (3 - math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    eye = 2.2 * torch.stack([ring * angle.sin(), height, ring * angle.cos()], dim=-1)
    return look_at(eye, torch.zeros(3), size=SIZE)


def row(name: str, what: str, mesh: Mesh, truth: Mesh, volume: float, seconds: float | None = None) -> str:
    """Measure one surface."""
    draw = Streams(0)
    points = [surface_points(one, POINTS, draw.generator(which)) for one, which in ((mesh, "a"), (truth, "b"))]
    solid = trimesh.Trimesh(mesh.vertices.double().numpy(), mesh.faces.numpy(), process=False)
    parts = len(solid.split(only_watertight=False))
    line = (
        f"| {name} | {what} | {1000 * chamfer(*points):.2f} | {100 * (solid.volume / volume - 1):+.1f} % "
        f"| {'yes' if solid.is_watertight else 'no'} | {solid.euler_number} | {parts} | {len(mesh.faces):,} "
        f"| {'' if seconds is None else f'{seconds:.1f}'} |"
    )
    print(line, flush=True)
    return line


def fit(camera: Camera, truth: Mesh, start: sdf_grid.SdfGrid | None) -> tuple[Mesh, float]:
    """The surface that pictures of `truth` make, and the processor seconds it took."""
    with torch.no_grad():
        target = render_surface(truth, camera)
    before = time.process_time()
    config = TetFit() if start is None else FAR
    for event in views_to_tets(camera, target.alpha, target.normal, config, start=start):
        last = event
    seconds = time.process_time() - before
    assert isinstance(last, Result)
    return detached(last.asset.mesh()), seconds


def detached(mesh: Mesh) -> Mesh:
    """Without gradients."""
    return Mesh(mesh.vertices.detach(), mesh.faces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for tets.md and tets.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    camera, cells = all_around(), TetFit().cells
    step = 2 * TetFit().half_size / cells
    ball = sdf_grid.sample(lambda p: sdf_grid.sphere(p, 0.5).clamp(-step, step), resolution=cells)
    rows, pictures, labels = [], [], []
    for name, (distance, volume) in SHAPES.items():
        truth = grid_to_mesh(sdf_grid.sample(distance, resolution=96))
        rows.append(row(name, "itself", truth, truth, volume))
        with torch.no_grad():
            hull = sdf_grid.from_silhouettes(render_surface(truth, camera).alpha, camera, resolution=cells)
        rows.append(row(name, "hull", grid_to_mesh(hull), truth, volume))
        shown = [truth, grid_to_mesh(hull)]
        for what, start in (("fit from the hull", None), ("fit from a ball", ball)):
            mesh, seconds = fit(camera, truth, start)
            rows.append(row(name, what, mesh, truth, volume, seconds))
            shown.append(mesh)
        view = look_at(torch.tensor([[1.1, 1.2, 1.5]]), torch.zeros(3), size=224, fov_deg=36.0)
        with torch.no_grad():
            seen = [render_surface(one, view, smooth=False).normal for one in shown]
            pictures += [(normal + 1) / 2 for normal in seen]
        labels += [f"{name}: truth", "hull of 24 silhouettes", "fit from the hull", "fit from a ball"]
    if given.out is None:
        return
    given.out.mkdir(parents=True, exist_ok=True)
    save_image(given.out / "tets.png", contact_sheet(torch.cat(pictures).clamp(0, 1), 4, labels))
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = (line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line)
    columns = "| shape | surface | Chamfer, 1/1000 | volume | watertight | Euler | parts | faces | cpu s |"
    (given.out / "tets.md").write_text(
        "# Surfaces from silhouettes and normals\n\n"
        "Command: `python benchmarks/methods/tets.py --out benchmarks/results`\n\n"
        f"Machine: one thread of {next(named, platform.machine())}, torch {torch.__version__}, load average "
        f"{os.getloadavg()[0]:.1f} while measuring.\n\n"
        f"Method: {__doc__.split(chr(10) * 2, 2)[2].strip()}\n\n{columns}\n"
        f"{'|---' * 9}|\n" + "\n".join(rows) + "\n\nNormals as colors, flat faces: ![normals](tets.png)\n"
    )


if __name__ == "__main__":
    main()

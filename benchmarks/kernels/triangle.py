"""What gradients of triangles cost: beside the z-buffer that has none, against pixels, faces and cameras.

    python benchmarks/kernels/triangle.py [--out benchmarks/results]

The thing is a torus of radii 0.3 and 0.13 by marching tetrahedra, seen from an orbit; 8 channels are interpolated and
blended, as `render_surface` does. Milliseconds of processor time of one thread, best of five calls. `floor` is the
least that any such pass moves: every pixel of 8 float32 channels is read and written once by numpy. `z-buffer` is
`rasterize`, which has no gradient; the rest comes on top of it. `reference` is plain torch and counted once, on the
smallest case, because it tries every face at every pixel.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from maquette.core.camera import Camera, orbit
from maquette.kernels.triangle import antialias, interpolate, rasterize
from maquette.render.surface import render_surface
from maquette.representations import sdf_grid
from maquette.representations.mesh import Mesh
from maquette.representations.tets import TetField, grid_to_mesh

REPEATS, CHANNELS = 5, 8
COLUMNS = (
    "pixels", "cameras", "faces", "floor", "z-buffer", "interpolate", "its backward", "antialias", "its backward",
    "all, per pixel ns",
)  # fmt: skip


def best(function: Callable[[], object]) -> float:
    """The least processor milliseconds of several calls, after one to warm up."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def line(*values: object) -> str:
    """A row of a table."""
    row = "".join(f"| {value:.2f} " if isinstance(value, float) else f"| {value} " for value in values) + "|"
    print(row, flush=True)
    return row


def torus(cells: int) -> Mesh:
    """A torus on a grid of so many cells."""
    return grid_to_mesh(sdf_grid.sample(lambda p: sdf_grid.torus(p, 0.3, 0.13), resolution=cells))


def costs(mesh: Mesh, camera: Camera, backend: str) -> tuple[float, ...]:
    """Forward and backward of both operations, and the z-buffer before them."""
    lens = {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}
    size = {"height": camera.height, "width": camera.width}
    index, depth, _ = rasterize(mesh.vertices, mesh.faces, **lens, **size)
    z_buffer = best(lambda: rasterize(mesh.vertices, mesh.faces, **lens, **size, backend=backend))
    vertices = mesh.vertices.clone().requires_grad_()
    attributes = torch.randn(len(vertices), CHANNELS).requires_grad_()
    images = torch.randn(*index.shape, CHANNELS).requires_grad_()
    found = [z_buffer]
    for first, operation in (
        (attributes, lambda: interpolate(attributes, vertices, mesh.faces, index, **lens, backend=backend)),
        (images, lambda: antialias(images, vertices, mesh.faces, index, depth, **lens, backend=backend)),
    ):
        image = operation()
        upstream = torch.randn_like(image)
        found.append(best(operation))
        found.append(best(lambda x=first, y=image, up=upstream: torch.autograd.grad(y, [x, vertices], up, True)))
    return tuple(found)


def measured(cells: int, size: int, cameras: int, backend: str = "cpu") -> str:
    """One row."""
    mesh = torus(cells)
    camera = orbit(torch.linspace(0, 300, cameras), 30.0, size=size)
    values = np.zeros((cameras, size, size, CHANNELS), np.float32)
    floor = best(lambda: values + np.float32(1))
    found = costs(mesh, camera, backend)
    name = f"{size} x {size}" + (", reference" if backend == "reference" else "")
    return line(name, cameras, f"{len(mesh.faces):,}", floor, *found, 1e6 * sum(found) / (cameras * size * size))


def steps(cells: int, size: int) -> str:
    """A whole step of DMTet: surface, two pictures of normals, backward; and the picture alone without gradients."""
    field = TetField(sdf_grid.sample(lambda p: sdf_grid.torus(p, 0.3, 0.13), resolution=cells))
    camera = orbit(torch.tensor([0.0, 120.0]), 30.0, size=size)
    mesh = field.mesh()
    surface = best(field.mesh)
    picture = best(lambda: render_surface(mesh, camera))
    with torch.no_grad():
        still = Mesh(mesh.vertices.detach(), mesh.faces)
        plain = best(lambda: render_surface(still, camera))

    def whole() -> None:
        render_surface(field.mesh(), camera).normal.sum().backward()

    return line(cells, f"{size} x {size}", f"{len(mesh.faces):,}", surface, picture, plain, best(whole))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for triangle.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables = {}
    rows = [measured(32, size, 1) for size in (64, 128, 256, 512)]
    rows += [measured(cells, 128, 1) for cells in (16, 64, 96)] + [measured(32, 128, 4)]
    rows += [measured(8, 32, 1), measured(8, 32, 1, "reference")]
    tables[f"Operations, ms\n\n| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"] = rows
    columns = (
        "cells",
        "pixels",
        "faces",
        "surface",
        "2 pictures",
        "the same without gradients",
        "whole step, backward",
    )
    tables[f"Steps of DMTet, ms\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|"] = [
        steps(cells, size) for cells, size in ((16, 64), (32, 64), (32, 128), (64, 128), (64, 512))
    ]
    if given.out is None:
        return
    given.out.mkdir(parents=True, exist_ok=True)
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = (row.split(":")[1].strip() for row in cpuinfo.splitlines() if "model name" in row)
    (given.out / "triangle.md").write_text(
        "# Triangles with gradients\n\nCommand: `python benchmarks/kernels/triangle.py --out benchmarks/results`\n\n"
        f"Machine: one thread of {next(named, platform.machine())}, torch {torch.__version__}, load average "
        f"{os.getloadavg()[0]:.1f} while measuring.\n\nMethod: {__doc__.split(chr(10) * 2, 2)[2].strip()}\n"
        + "".join(f"\n## {title}\n" + "\n".join(rows) + "\n" for title, rows in tables.items())
    )


if __name__ == "__main__":
    main()

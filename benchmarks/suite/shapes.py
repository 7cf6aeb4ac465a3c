"""A sphere, a torus and a box through every representation and back to a mesh, against their formulas.

    python benchmarks/suite/shapes.py [--out benchmarks/results]

Each shape is put into a representation by the shortest honest way (formulas where it takes distances, pictures where it
takes pictures), then made a mesh again. Chamfer is the mean of both mean distances between 100,000 points of each
surface, in thousandths of a world unit; the shapes are 0.8 to 0.9 wide, and two draws of the same surface are as far
apart as "itself" says. The volume is what the mesh encloses. `cpu` counts seconds of processor time of all threads.
Writes shapes.md, prints as it goes.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from meshing import SIZE, VIEWS, fitted

from maquette.core import Event, Result, Streams, prepare_folder
from maquette.data.procedural import box, revolved
from maquette.evaluation import chamfer, surface_points
from maquette.render import Rendering, render_field, render_mesh
from maquette.render.surfels import render_surfels
from maquette.representations import (
    Health,
    Mesh,
    TetField,
    clean_mesh,
    examine,
    field_to_mesh,
    gaussians_to_mesh,
    sdf_grid,
)
from maquette.representations.tets import grid_to_mesh
from maquette.representations.tsdf import fuse, fused_mesh
from maquette.training.fit_surfels import fit_surfels
from maquette.training.gaussians_to_field import gaussians_to_field, views_all_around

RADIUS, MAJOR, MINOR, HALF = 0.4, 0.3, 0.13, (0.4, 0.25, 0.3)
POINTS, FACES, TEXTURE, CELLS = 100_000, 5000, 256, 64
CAMERA = views_all_around(VIEWS, SIZE, 0.6)


@dataclass(frozen=True)
class Shape:
    """A closed surface: finely triangulated, as distances, and its volume."""

    name: str
    mesh: Mesh
    distance: Callable[[torch.Tensor], torch.Tensor]
    volume: float


def shapes() -> list[Shape]:
    """The three."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 97)
    turn = np.linspace(-np.pi, np.pi, 97)
    ball = revolved(RADIUS * np.stack([np.cos(angle), np.sin(angle)], 1), sides=192)
    ring = revolved(np.stack([MAJOR + MINOR * np.cos(turn), MINOR * np.sin(turn)], 1), sides=192)
    block = box(tuple(-side for side in HALF), HALF)
    return [
        Shape("sphere", _mesh(*ball), partial(sdf_grid.sphere, radius=RADIUS), 4 / 3 * math.pi * RADIUS**3),
        Shape(
            "torus", _mesh(*ring), partial(sdf_grid.torus, major=MAJOR, minor=MINOR), 2 * math.pi**2 * MAJOR * MINOR**2
        ),
        Shape("box", _mesh(*block), partial(sdf_grid.box, half_sides=HALF), 8 * math.prod(HALF)),
    ]


def _mesh(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces.astype(np.int64)))


def seen(shape: Shape) -> Rendering:
    """What the cameras see, on white, in a pattern of colors: plain sides look the same wherever they are."""
    fine = grid_to_mesh(sdf_grid.sample(shape.distance, resolution=128))
    at = fine.vertices
    colors = 0.5 + 0.3 * torch.sin(18 * at) + 0.2 * torch.sin(31 * at.roll(1, -1))
    return render_mesh(Mesh(at, fine.faces, colors), CAMERA, background=torch.ones(3))


def last_result(events: Iterator[Event]) -> Result:
    """What a stream of events ends in."""
    *_, last = events
    assert isinstance(last, Result)
    return last


def through_mesh(shape: Shape, _: dict) -> Mesh:
    """Cleaned, decimated, unwrapped and painted."""
    return clean_mesh(shape.mesh, faces=FACES, texture_size=TEXTURE)[0]


def through_gaussians(shape: Shape, kept: dict) -> Mesh:
    """Pictures, fitted splats, the level of their density that the silhouettes ask for."""
    pictures = seen(shape)
    kept["cloud"] = fitted(pictures.color, pictures.alpha, CAMERA)
    return gaussians_to_mesh(kept["cloud"], views=CAMERA, faces=FACES, texture_size=TEXTURE)


def through_field(shape: Shape, kept: dict) -> Mesh:
    """A hash field distilled from those splats."""
    field, occupancy = last_result(gaussians_to_field(kept["cloud"])).asset
    alpha = render_field(field, CAMERA, occupancy=occupancy).alpha
    half_size = field.shape.half_size

    def within(points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        density, color = field(points, directions)
        return torch.where(occupancy.is_occupied(points), density, 0.0), color

    return field_to_mesh(
        within, half_size=half_size, views=CAMERA, alpha=alpha, faces=FACES, texture_size=TEXTURE
    )  # fmt: skip


def through_surfels(shape: Shape, _: dict) -> Mesh:
    """Pictures, fitted surfels, their median depths fused."""
    pictures = seen(shape)
    straight = (pictures.color - (1 - pictures.alpha[..., None])) / pictures.alpha[..., None].clamp(min=1e-3)
    rgba = torch.cat([straight.clamp(0, 1), pictures.alpha[..., None]], dim=-1)
    surfels = last_result(fit_surfels(rgba, CAMERA)).asset
    with torch.no_grad():
        drawn = render_surfels(surfels, CAMERA)
    return fused_mesh(fuse(drawn.median_depth, drawn.alpha, CAMERA))


def through_depth_maps(shape: Shape, _: dict) -> Mesh:
    """The depth maps themselves, fused."""
    pictures = seen(shape)
    return fused_mesh(fuse(pictures.depth, pictures.alpha, CAMERA))


def through_sdf(shape: Shape, _: dict) -> Mesh:
    """Distances on a grid, marched."""
    return grid_to_mesh(sdf_grid.sample(shape.distance, resolution=CELLS))


def through_tets(shape: Shape, _: dict) -> Mesh:
    """DMTet that starts from those distances."""
    with torch.no_grad():
        return TetField(sdf_grid.sample(shape.distance, resolution=CELLS)).mesh()


WAYS = {
    "mesh, cleaned": through_mesh,
    "Gaussians": through_gaussians,
    "field, distilled from them": through_field,
    "surfels, fused": through_surfels,
    "depth maps, fused": through_depth_maps,
    f"SDF, {CELLS} cells": through_sdf,
    f"tetrahedra, {CELLS} cells": through_tets,
}
COLUMNS = ("shape", "through", "Chamfer, 1/1000", "volume error", "watertight", "other faults", "faces", "cpu s")


def line(*values: object) -> str:
    """A row of the table."""
    return f"| {' | '.join(map(str, values))} |"


def faults(health: Health) -> str:
    """What keeps a mesh from being sound besides open borders."""
    names = ("crowded_edges", "bow_ties", "flipped_faces", "inside_out", "degenerate_faces", "duplicate_faces")
    counts = {name: getattr(health, name) for name in names}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def measured(shape: Shape) -> list[str]:
    """The rows of one shape."""
    draw = Streams(0)
    truth = surface_points(shape.mesh, POINTS, draw.generator("truth"))
    again = surface_points(shape.mesh, POINTS, draw.generator("again"))
    rows = [line(shape.name, "itself", f"{1000 * chamfer(truth, again):.2f}", "", "yes", "", len(shape.mesh.faces), "")]
    print(rows[0], flush=True)
    kept: dict = {}
    for name, way in WAYS.items():
        began = time.process_time()
        mesh = way(shape, kept)
        cpu = time.process_time() - began
        health = examine(mesh)
        volume = "" if health.volume is None else f"{100 * (health.volume / shape.volume - 1):+.2f} %"
        points = surface_points(mesh, POINTS, draw.generator(name))
        rows.append(
            line(
                shape.name, name, f"{1000 * chamfer(truth, points):.2f}", volume,
                "yes" if health.is_watertight else "no", faults(health), health.faces, f"{cpu:.1f}",
            )
        )  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    head = f"{line(*COLUMNS)}\n{'|---' * len(COLUMNS)}|"
    print(head, flush=True)
    rows = [row for shape in shapes() for row in measured(shape)]
    text = ["`python benchmarks/suite/shapes.py`", "", head, *rows]
    (prepare_folder(chosen.out) / "shapes.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

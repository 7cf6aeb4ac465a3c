"""How much memory the descent of a radiance field takes, said before it starts. For the CPU; the prior is not counted.

What backward needs is counted as the renderer keeps it, number by number, for the case that no cell is empty yet: so
it is when a descent begins, and later it takes less. This module knows no prior and no guidance.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from maquette.core import BadInput, Camera, Notice
from maquette.render.field import WAVE, rays_at_once
from maquette.representations.field import FieldShape

COARSE = 24
"""Pixels along the side of the pictures in which steps are counted; larger ones have as many for each pixel."""
FINDING = 72
"""Bytes for each step while it is decided which steps lie in occupied cells: positions, cells and indices."""
FOUND = 8
"""Bytes that each of the found steps keeps: its distance and its width."""
HOLES = 1.4
"""What is taken of the system, over what is asked for: freed blocks that are too small for the next (measured)."""


def parameter_bytes(shape: FieldShape) -> int:
    """The table and both networks, float32."""
    hidden, inputs = shape.hidden, shape.features + 16 * shape.sees_direction
    density = hidden * (shape.grid.width + 1 + shape.features)
    return 4 * (2 * shape.grid.entries + density + hidden * (inputs + hidden + 3))


def steps_inside(camera: Camera, half_size: float, samples: int) -> tuple[Int[Tensor, " rays"], float]:
    """The steps of each ray of a coarse picture inside of the cube, and how many real rays each of them stands for."""
    coarse = camera.resized(min(COARSE, camera.height), min(COARSE, camera.width))
    origins, directions = (side.reshape(-1, 3) for side in coarse.rays())
    slope = torch.where(directions.abs() > 1e-12, directions, 1e-12)
    walls = torch.stack([-half_size - origins, half_size - origins]) / slope
    inside = walls.amax(0).amin(-1) - walls.amin(0).amax(-1).clamp(min=0)
    counts = (inside.clamp(min=0) * (samples / (2 * 3**0.5 * half_size))).ceil().long()
    return counts, camera.height * camera.width / (coarse.height * coarse.width)


def march_bytes(shape: FieldShape, camera: Camera, *, samples: int, normals: bool, gradients: bool = True) -> int:
    """The most that drawing a field asks for at once, with what `backward` needs if `gradients`; no cell is empty.

    Of points: codes, hidden layers, answers; with `normals` those of four more points, and of light. Of the cells of
    waves, in which rays stand side by side: weights and what they weigh. Beyond the kept numbers, the gradients of the
    largest wave are there at a time.
    """
    counts, times = steps_inside(camera, shape.half_size, samples)
    points, cells = _waves(counts)
    total, all_cells = sum(points) * times, sum(cells) * times
    rays = len(camera) * camera.height * camera.width
    share = min(rays_at_once(samples) / rays, 1.0)  # of the rays, in one group
    width, hidden, colors = shape.grid.width, shape.hidden, 7 if normals else 4
    inputs = shape.features + 16 * shape.sees_direction
    answers = 1 if shape.blob else 1 + shape.features  # without a blob, the density is a view of all answers
    a_point = 4 * (3 + width + 3 * hidden + inputs + answers + 4) + 1
    if normals:
        a_point += 4 * (4 * (3 + width + hidden + answers) + 21) + 4
    a_cell = 4 * (3 + colors) + 2
    around = 4 if normals else 1
    passing = max(
        point * around * 4 * (2 * hidden + 2) + cell * 4 * colors for point, cell in zip(points, cells, strict=True)
    )
    kept = total * a_point + all_cells * a_cell if gradients else 0
    finding = FINDING * rays * int(counts.max())
    return round(FOUND * total + share * max(kept + passing * times, finding))


def step_bytes(
    shape: FieldShape, camera: Camera, *, samples: int, normals: bool, particles: int = 1, saves: bool = False
) -> int:
    """The most that a step of Adam down the gradient of one of `particles` takes; with `saves`, or its checkpoint.

    Adam keeps two moments of everything. While gradients are made, that of the table is there three times: what the
    waves have added up, what the present wave adds, and their sum. A checkpoint is three copies of all of it (values,
    bytes, file).
    """
    own = parameter_bytes(shape)
    drawing = march_bytes(shape, camera, samples=samples, normals=normals) + 3 * own
    return round(HOLES * (3 * particles * own + max(drawing, own + 9 * particles * own if saves else 0)))


def promise(needed: int, available: int) -> Notice:
    """What a person should read before the first step. Raises BadInput if so much is not there."""
    if needed > available:
        raise BadInput(
            f"this run needs about {_said(needed)} besides the prior, and {_said(available)} are available",
            "lower the resolution, the views or the samples a ray, the networks' width, or the size of the hash table",
        )
    return Notice(f"this run takes at most about {_said(needed)} of memory besides the prior")


def _waves(counts: Tensor) -> tuple[list[int], list[int]]:
    """Points that each wave asks for, and its cells: rays that go on, times its width."""
    points, cells, rank, width = [0], [0], 0, WAVE
    while (counts > rank).any():
        points.append(int((counts - rank).clamp(0, width).sum()))
        cells.append(int((counts > rank).sum()) * width)
        rank, width = rank + width, 2 * width
    return points, cells


def _said(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

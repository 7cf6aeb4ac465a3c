"""How long a hash field takes: its encoding beside plain torch, and whole images against table, samples and pixels.

    python benchmarks/kernels/field.py [--out benchmarks/results] [--cloud asset.ply]

Every number is the best of several repeats of a whole call from Python: `wall` as the clock shows it with all threads,
`cpu` the processor time of all threads together. On a machine that has other work, `wall` grows with that work and
`cpu` hardly does; with two idle cores `wall` comes to a little over half of `cpu`. Backward gives the gradients of the
table and all weights. The field is a solid ball of radius 0.45 that it has learned point by point, so that its
occupancy grid and its early stops are those of an object; with --cloud, a distilled cloud is measured too.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from maquette.core.camera import orbit
from maquette.core.event import Result
from maquette.core.seed import Streams
from maquette.evaluation.image import psnr
from maquette.io import load_splats
from maquette.kernels.hashgrid import GridShape, encode
from maquette.render.field import march, render_field
from maquette.render.gaussians import render_gaussians
from maquette.representations.field import POCKET, FieldShape, HashField
from maquette.representations.occupancy import OccupancyGrid, update
from maquette.training.gaussians_to_field import FieldFit, gaussians_to_field

REPEATS = 3


def best(function: Callable[[], object]) -> tuple[float, float]:
    """The least wall and processor milliseconds of several calls, after one to warm up."""
    function()
    walls, cpus = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return 1e3 * min(walls), 1e3 * min(cpus)


def cells(*values: object) -> str:
    """A row of a table."""
    row = "".join(f"| {value:.1f} " if isinstance(value, float) else f"| {value} " for value in values) + "|"
    print(row, flush=True)
    return row


def encoding(shape: GridShape, points: int, backend: str) -> str:
    """Forward and backward through the encoding alone."""
    draw = torch.Generator().manual_seed(0)
    where = torch.rand(points, 3, generator=draw)
    table = torch.randn(shape.entries, 2, generator=draw).requires_grad_()
    weights = torch.randn(points, shape.width, generator=draw)
    codes = encode(where, table, shape, backend=backend)
    forward = best(lambda: encode(where, table, shape, backend=backend))
    backward = best(lambda: torch.autograd.grad(codes, table, weights, retain_graph=True))
    name = f"{shape.levels} levels to {shape.finest}, 2^{shape.log2_entries}"
    return cells(backend, name, f"{points:,}", *forward, *backward)


def ball(shape: FieldShape, samples: int) -> tuple[HashField, OccupancyGrid]:
    """A field that has learned a solid ball, and its occupancy."""
    field = HashField(shape, generator=Streams(0).generator("field"))
    draw = Streams(0).generator("points")
    optimizer = torch.optim.Adam(field.parameters(), 1e-2, betas=(0.9, 0.99), eps=1e-15)
    for _ in range(40):
        points = (torch.rand(4096, 3, generator=draw) * 2 - 1) * shape.half_size
        density, _ = field(points, torch.nn.functional.normalize(points, dim=-1))
        wanted = torch.sigmoid((0.45 - points.norm(dim=-1)) / 0.01) * 12 - 6  # e^-6 to e^6 per world unit
        loss = (density.clamp(min=1e-6).log() - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    step = 2 * 3**0.5 * shape.half_size / samples
    grid = OccupancyGrid.full(64, shape.half_size)
    return field, update(grid, field.density, step=step, generator=draw, every_cell=True)


def images(field: HashField, occupancy: OccupancyGrid, size: int, samples: int, note: str) -> str:
    """Forward and backward of one image."""
    camera = orbit(30.0, 15.0, size=size)
    forward = best(lambda: render_field(field, camera, occupancy=occupancy, samples=samples))
    drawn = render_field(field, camera, occupancy=occupancy, samples=samples)
    weights = torch.randn_like(drawn.color)
    leaves = list(field.parameters())
    backward = best(lambda: torch.autograd.grad(drawn.color, leaves, weights, retain_graph=True))
    rays = (side.reshape(-1, 3) for side in camera.rays())
    with torch.no_grad():
        asked = march(field, *rays, occupancy=occupancy, samples=samples).asked
    return cells(note, f"{size} px", samples, f"{asked:,} of {size * size * samples:,}", *forward, *backward)


def distilled(path: Path) -> tuple[list[str], HashField, OccupancyGrid]:
    """Distil a cloud and compare it with its Gaussians from eight views that the fit has not seen."""
    cloud = load_splats(path)
    wall, cpu = time.perf_counter(), time.process_time()
    for event in gaussians_to_field(cloud):
        last = event
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert isinstance(last, Result)
    field, occupancy = last.asset
    angles = torch.tensor([[20, 10], [75, 25], [130, 0], [190, 15], [250, -15], [310, 40], [45, 70], [160, -60]])
    camera = orbit(*angles.float().T, size=128)
    white = torch.ones(3)
    with torch.no_grad():
        drawn = render_field(field, camera, occupancy=occupancy, background=white).color
        quality = psnr(drawn, render_gaussians(cloud, camera, background=white).color)
    row = cells(f"{len(cloud):,}", FieldFit().steps, wall, cpu, float(quality.mean()), float(quality.min()))
    return [row], field.requires_grad_(), occupancy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for field.md")
    parser.add_argument("--cloud", type=Path, help="Gaussians to distil")
    given = parser.parse_args()
    timed = "forward wall ms | forward cpu ms | backward wall ms | backward cpu ms |"
    paper, pocket = GridShape(), POCKET.grid
    tables = {}
    tables[f"Encoding\n\n| backend | grid | points | {timed}\n{'|---' * 7}|"] = [
        encoding(pocket, 10_000, "cpu"),
        encoding(pocket, 10_000, "reference"),
        encoding(paper, 10_000, "cpu"),
    ]
    rows = []
    field, occupancy = ball(POCKET, 64)
    whole = OccupancyGrid.full(64, POCKET.half_size)
    rows.append(images(field, occupancy, 64, 64, "the budget: 150 ms wall in all on two idle cores"))
    rows.append(images(field, whole, 64, 64, "without the occupancy grid"))
    rows += [images(field, occupancy, 64, samples, "against samples") for samples in (32, 128, 256)]
    rows += [images(field, occupancy, size, 64, "against pixels") for size in (32, 128)]
    for log2_entries in (12, 17, 19):
        shape = replace(POCKET, grid=replace(pocket, log2_entries=log2_entries))
        rows.append(images(*ball(shape, 64), 64, 64, f"table of 2^{log2_entries} a level"))
    rows.append(images(*ball(FieldShape(), 64), 64, 64, "the paper's grid and networks"))
    fits = []
    if given.cloud is not None:
        fits, field, occupancy = distilled(given.cloud)
        rows.append(images(field, occupancy, 64, 64, "the distilled cloud"))
    tables[f"Images\n\n| case | image | samples | points asked | {timed}\n{'|---' * 8}|"] = rows
    if fits:
        columns = "| Gaussians | steps | wall s | cpu s | mean PSNR dB | least PSNR dB |"
        tables[f"Distilling\n\nAgainst the Gaussians, from eight other views.\n\n{columns}\n{'|---' * 6}|"] = fits
    if given.out is None:
        return
    given.out.mkdir(parents=True, exist_ok=True)
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line), platform.machine()
    )
    method = __doc__.split("\n\n", 2)[2].strip()
    (given.out / "field.md").write_text(
        f"# Hash fields on the CPU\n\nCommand: `python benchmarks/kernels/field.py --out benchmarks/results --cloud "
        f"asset.ply`\n\nMachine: {os.cpu_count()} cores of {model}, torch {torch.__version__}, threads: "
        f"{torch.get_num_threads()}, load average {os.getloadavg()[0]:.1f} while measuring.\n\nMethod: {method}\n"
        + "".join(f"\n## {title}\n" + "\n".join(rows) + "\n" for title, rows in tables.items())
    )


if __name__ == "__main__":
    main()

"""How long splatting takes: against Gaussians, against pixels, in a typical fit, and beside the plain-torch reference.

    python benchmarks/kernels/splat.py [--out benchmarks/results]

Every number is the best of many repeats, and is the time of a whole call from Python: `wall` as the clock shows it with
all threads, `cpu` the processor time of all threads together. On a machine that has other work, `wall` grows with that
work and `cpu` hardly does; with two idle cores `wall` comes to a little over half of `cpu`. With --out it writes the
table and a plot.
"""

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from maquette.core.camera import turntable
from maquette.kernels.splat3d import rasterize

COLD = """
import time, torch
from maquette.core.camera import turntable
from maquette.render import render_gaussians
from maquette.representations import from_points
cloud = from_points(torch.rand(99, 3) - 0.5, torch.rand(99, 3)).map(lambda raw: raw.requires_grad_())
start = time.process_time()
drawn = render_gaussians(cloud, turntable(2, size=32))
middle = time.process_time()
drawn.color.sum().backward()
print(middle - start, time.process_time() - middle)
"""


@dataclass(frozen=True)
class Row:
    """One measured setting; milliseconds."""

    gaussians: int
    size: int
    cameras: int
    forward_wall: float
    backward_wall: float
    forward_cpu: float
    backward_cpu: float
    note: str = ""

    def cells(self) -> str:
        times = (self.forward_wall, self.backward_wall, self.forward_cpu, self.backward_cpu)
        scene = f"| {self.gaussians:,} | {self.cameras} x {self.size} px "
        return scene + "".join(f"| {value:.1f} " for value in times) + f"| {self.note} |"


def best(function: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Best wall and processor milliseconds of at least 5 calls that take `seconds` together, after one to warm up."""
    function()
    walls, cpus, until = [], [], time.perf_counter() + seconds
    while len(walls) < 5 or time.perf_counter() < until:
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return 1e3 * min(walls), 1e3 * min(cpus)


def measure(n: int, size: int, cameras: int, *, backend: str = "cpu", seconds: float = 3.0, note: str = "") -> Row:
    """A shell of `n` Gaussians that fills most of the image; widths shrink with the spacing, as in a fitted object."""
    draw = torch.Generator().manual_seed(0)
    width = 1.2 / math.sqrt(n)
    parameters = [
        torch.nn.functional.normalize(torch.randn(n, 3, generator=draw), dim=-1) * 0.5,
        torch.randn(n, 4, generator=draw),
        (torch.randn(n, 3, generator=draw) * 0.3).exp() * width,
        torch.rand(n, generator=draw) * 0.65 + 0.3,
        torch.randn(n, 1, 3, generator=draw),
    ]
    parameters = [tensor.requires_grad_() for tensor in parameters]
    camera = turntable(cameras, radius=1.6, size=size)
    view = {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}
    view |= {"height": size, "width": size, "background": torch.ones(3), "backend": backend}
    probe = torch.zeros(cameras, n, 2, requires_grad=True)

    def forward():
        return rasterize(*parameters, **view, screen_probe=probe)

    images = forward()[:3]
    weights = [torch.randn_like(image) for image in images]
    leaves = [*parameters, probe]

    def backward():
        return torch.autograd.grad(images, leaves, weights, retain_graph=True)

    forward_wall, forward_cpu = best(forward, seconds / 2)
    backward_wall, backward_cpu = best(backward, seconds / 2)
    row = Row(n, size, cameras, forward_wall, backward_wall, forward_cpu, backward_cpu, note)
    print(row.cells(), flush=True)
    return row


def cold_start() -> str:
    """Processor seconds that a newcomer's first call spends compiling, in a fresh process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        results = [
            subprocess.run(
                [sys.executable, "-c", COLD], env=environment, capture_output=True, text=True, check=True
            ).stdout
            for _ in range(2)
        ]
    (forward, backward), (again, and_back) = ([float(word) for word in result.split()] for result in results)
    return (
        f"First call ever: {forward:.1f} s forward and {backward:.1f} s backward, nearly all of it compiling; "
        f"first call of a later process, from the cache on disk: {again:.2f} s and {and_back:.2f} s (processor time)."
    )


def plot(path: Path, against_gaussians: list[Row], against_pixels: list[Row]) -> None:
    """Two panels with plain axes from zero, so that a cost in proportion, plus a fixed part, is a straight line."""
    panel, margin = 420, 70
    sheet = Image.new("RGB", (2 * (panel + margin) + margin, panel + 2 * margin), "white")
    pen = ImageDraw.Draw(sheet)
    panels = (
        ("Gaussians (1 camera of 512 x 512 pixels)", [row.gaussians for row in against_gaussians], against_gaussians),
        ("pixels (1 camera, 20,000 Gaussians)", [row.size**2 for row in against_pixels], against_pixels),
    )
    top_ms = max(row.backward_cpu for row in (*against_gaussians, *against_pixels)) * 1.05
    for index, (title, values, rows) in enumerate(panels):
        left = margin + index * (panel + margin)

        def place(value, milliseconds, left=left, most=values[-1]):
            return left + value / most * panel, margin + panel * (1 - milliseconds / top_ms)

        pen.rectangle((left, margin, left + panel, margin + panel), outline="black")
        pen.text((left, margin + panel + 30), title, fill="black")
        for milliseconds in range(0, int(top_ms), 20):
            pen.line((place(0, milliseconds), place(values[-1], milliseconds)), fill="#dddddd")
            pen.text((left - 45, place(0, milliseconds)[1] - 6), f"{milliseconds} ms", fill="black")
        for value in (values[-1] // 4, values[-1] // 2, values[-1]):
            pen.text((place(value, 0)[0] - 25, margin + panel + 8), f"{value:,}", fill="black")
        for line, color, name in ((0, "#1f77b4", "forward"), (1, "#d62728", "backward")):
            times = [row.backward_cpu if line else row.forward_cpu for row in rows]
            points = [place(value, milliseconds) for value, milliseconds in zip(values, times, strict=True)]
            pen.line(points, fill=color, width=3)
            for x, y in points:
                pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
            pen.text((left + 12, margin + 10 + 16 * line), f"{name}, processor time", fill=color)
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for splat.md and splat.png")
    out = parser.parse_args().out
    header = (
        "| Gaussians | images | forward wall ms | backward wall ms | forward cpu ms | backward cpu ms | |\n"
        + "|---" * 7
    )
    print(header + "|")
    main_rows = [
        measure(10_000, 128, 4, note="a step of a typical fit", seconds=8),
        measure(50_000, 512, 1, note="the budget: 15 and 45 ms wall on two idle cores", seconds=8),
        measure(1_000, 64, 1),
        measure(1_000, 64, 1, backend="reference", note="plain torch, same images"),
    ]
    against_gaussians = [measure(n, 512, 1) for n in (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)]
    against_pixels = [measure(20_000, size, 1) for size in (128, 256, 512, 1024)]
    cold = cold_start()
    print(cold)
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    plot(out / "splat.png", against_gaussians, against_pixels)
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line), platform.machine()
    )
    features = "with AVX-512" if "avx512f" in cpuinfo else "without AVX-512"
    tables = [
        "\n".join([f"## {title}", "", header + "|", *(row.cells() for row in rows)])
        for title, rows in (
            ("Main cases", main_rows),
            ("Against Gaussians", against_gaussians),
            ("Against pixels", against_pixels),
        )
    ]
    load = os.getloadavg()[0]
    method = __doc__.split("\n\n", 2)[2].strip()
    (out / "splat.md").write_text(
        f"# Splatting on the CPU\n\nCommand: `python benchmarks/kernels/splat.py --out benchmarks/results`\n\n"
        f"Machine: {os.cpu_count()} cores of {model} {features}, torch {torch.__version__}, "
        f"threads: {torch.get_num_threads()}, load average {load:.1f} while measuring.\n\n"
        f"Method: {method}\n\n" + "\n\n".join(tables) + f"\n\n## Compiling\n\n{cold}\n\n![plot](splat.png)\n"
    )


if __name__ == "__main__":
    main()

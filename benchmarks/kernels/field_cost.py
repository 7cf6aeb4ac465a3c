"""Time and memory of one step of a field's descent, against its hash table, samples a ray and resolution; a plot.

    python benchmarks/kernels/field_cost.py [--out benchmarks/results]

A step draws two lit views with normals, goes back to the table and the networks, and lets Adam change them; no prior.
The field and its ball are those of `dreamfusion.DEFAULT`, with a grid to 192 cells so that the table has something to
hold; 32 px, 64 samples, 2^15 entries a level where nothing else is said. `full` asks in every cell, as a descent does
at its beginning; `object` only within a ball of radius 0.35, a tenth of the cells. Seconds are processor time on one
thread, the median of three steps after one to warm up. Peaks are resident memory of a process of its own for each row,
beyond what it had before; `predicted` is what a run would say before it starts. Writes field_cost.md and .png.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from maquette.core import Camera, Streams, turntable
from maquette.core.memory import peak_bytes
from maquette.io import save_image
from maquette.io.plot import Line, legend, line_plot
from maquette.kernels.hashgrid import GridShape
from maquette.pipelines.dreamfusion import DEFAULT, TINY
from maquette.render.shading import Shading
from maquette.training.field_budget import step_bytes
from maquette.training.volume import Volume, look

REPEATS = 3
BASE = {"log2_entries": 15, "samples": 64, "resolution": 32}
SWEEPS = {"log2_entries": (12, 15, 18, 20), "samples": (16, 32, 64, 128), "resolution": (16, 24, 32, 48)}
AXES = {"log2_entries": "log2 of the entries a level", "samples": "samples a ray", "resolution": "resolution, px"}
VIEWS, RADIUS = 2, 0.35


def measured(log2_entries: int, samples: int, resolution: int, full: bool) -> tuple[float, float, float]:
    """Seconds of a step; peak and predicted bytes. For a process that has done nothing like it."""
    draw, shading = Streams(0), Shading("lambertian", torch.ones(VIEWS, 3))

    def step(volume: Volume, adam: torch.optim.Adam, camera: Camera, samples: int) -> float:
        began = time.process_time()
        adam.zero_grad()
        look(volume, camera, samples=samples, shading=shading).images.square().mean().backward()
        adam.step()
        return time.process_time() - began

    small = Volume(TINY.shape, learned_background=False, generator=draw.generator("field"))
    # Loads what is compiled, and libraries: a child that was forked has none of their pages.
    step(small, torch.optim.Adam(small.parameters(), 1e-5), turntable(VIEWS, 15.0, size=8), 8)
    before = peak_bytes()
    shape = replace(DEFAULT.shape, grid=GridShape(levels=8, base=16, finest=192, log2_entries=log2_entries))
    volume = Volume(shape, learned_background=False, generator=draw.generator("field"))
    if not full:
        middle = (torch.arange(len(volume.mask)) + 0.5) / len(volume.mask) * 2 - 1
        squares = (middle * shape.half_size).square()
        volume.mask = squares[:, None, None] + squares[:, None] + squares < RADIUS**2
    adam, camera = torch.optim.Adam(volume.parameters(), 1e-5), turntable(VIEWS, 15.0, size=resolution)
    seconds = [step(volume, adam, camera, samples) for _ in range(REPEATS + 1)]
    peak = peak_bytes() - before
    predicted = step_bytes(shape, camera, samples=samples, normals=True)
    return statistics.median(seconds[1:]), float(peak), float(predicted)


def row(pool: multiprocessing.context.ForkContext, case: dict[str, int], full: bool) -> tuple[float, float, float]:
    """`measured`, in a process that is forked before this one has drawn anything."""
    with pool.Pool(1) as one:
        seconds, peak, predicted = one.apply(measured, (*(case[name] for name in SWEEPS), full))
    print(
        case,
        "full" if full else "object",
        f"{seconds:.2f} s, {peak / 1e6:.0f} MB, {predicted / 1e6:.0f} MB",
        flush=True,
    )
    return seconds, peak, predicted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    pool, known, upper, lower = multiprocessing.get_context("fork"), {}, [], []
    for name, values in SWEEPS.items():
        for full in (True, False):
            for value in values:
                case = BASE | {name: value}
                if (*case.values(), full) not in known:
                    known[*case.values(), full] = row(pool, case, full)
        found = {full: [known[*(BASE | {name: value}).values(), full] for value in values] for full in (True, False)}
        lines = [Line(("object", "full")[full], values, [one[0] for one in found[full]]) for full in (True, False)]
        upper.append(line_plot(lines, title="processor seconds a step", x_label=AXES[name]))
        lines = [
            Line(("object", "full")[full], values, [one[1] / 1e6 for one in found[full]]) for full in (True, False)
        ]
        lines.append(Line("predicted", values, [one[2] / 1e6 for one in found[True]]))
        lower.append(line_plot(lines, title="peak memory, MB", x_label=AXES[name]))
    picture = torch.cat([torch.cat(upper, 1), torch.cat(lower, 1)])
    names = legend(["every cell occupied", "a ball of radius 0.35", "predicted, every cell"], picture.shape[1])
    save_image(given.out / "field_cost.png", torch.cat([names, picture]))
    head = [*AXES.values(), "cells", "s a step", "peak MB", "predicted MB"]
    head[0] = "log2 entries"
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    table += [
        f"| {' | '.join(map(str, case[:3]))} | {'full' if case[3] else 'object'} | {one[0]:.2f} | {one[1] / 1e6:.0f} | "
        f"{one[2] / 1e6:.0f} |"
        for case, one in known.items()
    ]
    machine = (
        f"{os.cpu_count()} cores, torch {torch.__version__}, load average {os.getloadavg()[0]:.1f} while measuring"
    )
    method = __doc__.split("\n\n", 2)[2].strip()
    text = ["# Cost of a step of a field's descent", "", "Command: `python benchmarks/kernels/field_cost.py`", "",
            f"Machine: {machine}.", "", f"Method: {method}", "", "![plots](field_cost.png)", "", *table]  # fmt: skip
    (given.out / "field_cost.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What surfels cost beside Gaussians: the same discs through both splatting kernels, one call after the other.

    python benchmarks/kernels/surfels.py [--out benchmarks/results]

Each disc is a surfel and a Gaussian of the same two widths whose third is a hundredth of them. Processor time of whole
calls from Python, the best of many, the two kernels taking turns so that other work on the machine meets both.
"pairs" counts pairs of a splat and a pixel of the blocks of 4 x 4 that it changes; per pair of the surfels, in their
forward and backward pass. The last row is the floor: discs as large as the image and too faint to end it, where nearly
all time goes into the innermost loop.
"""

import argparse
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from maquette.core.camera import turntable
from maquette.kernels import splat2d, splat3d

FLOOR = 200
SCENES = ((1000, 64, 16), (2000, 64, 8), (2000, 128, 8), (8000, 128, 8), (50_000, 512, 1), (FLOOR, 128, 8))
"""Surfels, pixels on a side, cameras."""
HEAD = """| surfels | cameras x px | pairs | ms forward 3D, 2D | ms backward | ratio of each, of both | ns a pair |
|--:|--:|--:|--:|--:|--:|--:|"""


def discs(n: int) -> tuple[torch.Tensor, ...]:
    """Means, quats, two scales, opacities and colors on a sphere; widths shrink with the spacing, as in a fit."""
    draw = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(n, 3, generator=draw), dim=-1)
    # The shortest turn from +z to the normal, so that discs lie on the sphere as they do after a fit.
    quats = torch.stack([1 + means[:, 2], -means[:, 1], means[:, 0], torch.zeros(n)], dim=-1)
    scales = (torch.randn(n, 2, generator=draw) * 0.3).exp() * (1.2 / math.sqrt(n))
    if n == FLOOR:
        ahead = torch.tensor([1.0, 0, 0, 0]).repeat(n, 1)
        return means * 0.1, ahead, torch.full((n, 2), 9.0), torch.full((n,), 0.01), torch.rand(n, 3, generator=draw)
    return (
        means * 0.5,
        quats,
        scales,
        torch.rand(n, generator=draw) * 0.65 + 0.3,
        torch.rand(n, 3, generator=draw),
    )


def turns(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """Best processor milliseconds of each function, called in turn, after one call each to warm up."""
    best = [math.inf] * len(functions)
    for function in functions:
        function()
    until, rounds = time.perf_counter() + seconds, 0
    while rounds < 5 or time.perf_counter() < until:
        for k, function in enumerate(functions):
            start = time.process_time()
            function()
            best[k] = min(best[k], 1e3 * (time.process_time() - start))
        rounds += 1
    return best


def pairs_of(color: torch.Tensor) -> int:
    """Pairs in the blocks of 4 x 4 pixels that a splat changed, as the kernel kept them for its backward pass."""
    kept = color.grad_fn
    first, count = kept.lists.tile_first[:-1], kept.lists.tile_first.diff()
    _, _, _, masks, visited = kept.kept
    place = torch.arange(len(masks)) - torch.repeat_interleave(first, count)
    masks = masks[place < torch.repeat_interleave(visited, count)]
    return 16 * int(sum(((masks >> bit) & 1).sum() for bit in range(16)))


def measure(n: int, size: int, cameras: int, seconds: float) -> str:
    """One row of the table."""
    flat = tuple(tensor.requires_grad_() for tensor in discs(n))
    means, quats, scales, opacities, colors = (tensor.detach() for tensor in flat)
    thick = torch.cat([scales, scales.amin(-1, keepdim=True) / 100], dim=-1)
    solid = tuple(
        tensor.requires_grad_()
        for tensor in (means, quats, thick, opacities, ((colors - 0.5) / 0.28209479177387814)[:, None])
    )
    camera = turntable(cameras, radius=1.6, size=size)
    view = {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}
    view |= {"height": size, "width": size, "background": torch.ones(3), "backend": "cpu"}
    drawn = [splat3d.rasterize(*solid, **view)[:3], splat2d.rasterize(*flat, **view)]
    weights = [[torch.randn_like(image) for image in images] for images in drawn]
    times = turns(
        [
            lambda: splat3d.rasterize(*solid, **view),
            lambda: splat2d.rasterize(*flat, **view),
            lambda: torch.autograd.grad(drawn[0], solid, weights[0], retain_graph=True),
            lambda: torch.autograd.grad(drawn[1], flat, weights[1], retain_graph=True),
        ],
        seconds,
    )
    pairs = pairs_of(drawn[1].color)
    forward, backward, both = times[1] / times[0], times[3] / times[2], (times[1] + times[3]) / (times[0] + times[2])
    nanoseconds = 1e6 * times[1] / pairs, 1e6 * times[3] / pairs
    return (
        f"| {n:,} | {cameras} x {size} | {pairs / 1e6:.2f} M | {times[0]:.2f}, {times[1]:.2f} | "
        f"{times[2]:.2f}, {times[3]:.2f} | {forward:.2f}, {backward:.2f}, {both:.2f} | "
        f"{nanoseconds[0]:.2f}, {nanoseconds[1]:.2f} |"
    )


def main() -> None:
    """Print the table; write it where --out says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, help="folder for surfel_cost.md")
    options.add_argument("--seconds", type=float, default=6.0, help="for each row")
    options = options.parse_args()
    print(HEAD)
    rows = []
    for scene in SCENES:
        rows.append(measure(*scene, options.seconds))
        print(rows[-1], flush=True)
    if options.out:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), other work on the machine"
        text = [
            "# Surfels beside Gaussians", "", f"`python {' '.join(sys.argv[:1])}` at {commit}; {machine}.", "",
            __doc__.split("\n\n", 2)[2].strip(), "", HEAD, *rows, "",
        ]  # fmt: skip
        (options.out / "surfel_cost.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Surfels on shapes that are known: depth, normals and fused surfaces of a sphere, a torus and a box.

    python benchmarks/methods/surfels.py [--out benchmarks/results] [--pictures FOLDER]

Each shape is seen from 24 directions at 96 px, without light, in a pattern of colors. Surfels and Gaussians start from
the same visual hull and are fitted to the same pictures with coverage alone, surfels once more to depth and normals
too. Errors are those of 8 other views, over the pixels that both the shape and the fit cover by more than half: of the
expected and the median depth in world units; the angle of the blended normals; the angle of the normals of the expected
depth. Surfaces are fused from expected or median depth, or cut from the density at the level that fits the silhouettes
(of surfels, as Gaussians half as thick as they are wide). Chamfer distances are from 20,000 points of each mesh to
20,000 of the true surface; two such sets of the true surface itself are 0.005 apart.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from maquette.core import BadInput, Camera, Result
from maquette.evaluation.geometry import chamfer, surface_points
from maquette.guidance.surface import depth_normals
from maquette.render import Rendering, render_gaussians
from maquette.render.surfels import render_surfels
from maquette.representations import GaussianCloud, isosurface, sdf_grid
from maquette.representations.mesh import Mesh
from maquette.representations.sdf_grid import Distance, sample
from maquette.representations.surfels import SurfelCloud, gaussians_from_surfels
from maquette.representations.tets import grid_to_mesh
from maquette.representations.tsdf import fuse, fused_mesh
from maquette.training import optim
from maquette.training.fit_surfels import SurfelFit, fit_surfels, hull_surfels
from maquette.training.gaussians_to_field import views_all_around

SHAPES = {
    "sphere": lambda points: sdf_grid.sphere(points, 0.4),
    "torus": lambda points: sdf_grid.torus(points, 0.32, 0.14),
    "box": lambda points: sdf_grid.box(points, (0.3, 0.25, 0.35)),
}
REACH = 0.45
"""World units that the cameras' distance is made for: the shapes fill the pictures."""
SIZE, TRAINED, HELD_OUT, POINTS, CELLS = 96, 24, 8, 20_000, 96


def truth(distance: Distance, camera: Camera) -> Rendering:
    """Sphere tracing: pattern of colors, coverage of 0 or 1, depth, and normals as the gradient of the distance."""
    origins, directions = (part.reshape(-1, 3) for part in camera.rays())
    along = torch.zeros(len(origins))
    for _ in range(96):
        along = along + distance(origins + directions * along[:, None])
    points = (origins + directions * along[:, None]).requires_grad_()
    left = distance(points)
    (normal,) = torch.autograd.grad(left.sum(), points)
    is_hit = (left.abs() < 1e-3)[:, None]
    color = 0.5 + 0.3 * torch.sin(points.detach() * 18) + 0.2 * torch.sin(points.detach().roll(1, -1) * 31)
    axis = camera.world_from_camera[:, None, None, :3, 2].expand(-1, camera.height, camera.width, 3).reshape(-1, 3)
    depth = (along * (directions * axis).sum(-1))[:, None]
    shape = (len(camera), camera.height, camera.width)
    color, alpha, depth, normal = (
        torch.where(is_hit, image, 0.0).reshape(*shape, -1) for image in (color, is_hit.float(), depth, normal)
    )
    return Rendering(color, alpha[..., 0], depth[..., 0], normal)


def fitted_gaussians(start: SurfelCloud, rgba: torch.Tensor, camera: Camera, config: SurfelFit) -> GaussianCloud:
    """The same pictures, start, steps and views for Gaussians, which begin half as thick as they are wide."""
    cloud = optim.leaves(gaussians_from_surfels(start, thin=0.5))
    adam, draw = optim.start(cloud), torch.Generator().manual_seed(0)
    for _ in range(config.steps):
        chosen = torch.randperm(len(camera), generator=draw)[: config.views]
        background = torch.rand(3, generator=draw)
        seen = render_gaussians(cloud, camera[chosen], background=background)
        target, alpha = rgba[chosen, ..., :3], rgba[chosen, ..., 3]
        loss = (seen.color - torch.lerp(background, target, alpha[..., None])).abs().mean()
        (loss + config.alpha_weight * (seen.alpha - alpha).abs().mean()).backward()
        adam = optim.descend(optim.DREAMGAUSSIAN, cloud, adam)
    return cloud.detach()


def angle_deg(a: torch.Tensor, b: torch.Tensor, where: torch.Tensor) -> float:
    """Mean angle between vectors of any length, over the pixels where both have one."""
    a, b = a[where], b[where]
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    cosine = ((a * b).sum(-1)[lengths > 0] / lengths[lengths > 0]).clamp(-1, 1)
    return torch.rad2deg(cosine.acos()).mean().item()


def errors(seen: Rendering, true: Rendering, camera: Camera) -> list[str]:
    """Expected depth, median depth, blended normals, normals of the expected depth."""
    where = (seen.alpha > 0.5) & (true.alpha > 0.5)
    maps = (seen.depth, seen.median_depth)
    off = ["-" if depth is None else f"{(depth - true.depth)[where].abs().mean().item():.4f}" for depth in maps]
    of_depth = depth_normals(torch.where(seen.alpha > 0.5, seen.depth, 0.0), camera)
    known = where & (of_depth != 0).any(-1)
    angles = angle_deg(seen.normal, true.normal, where), angle_deg(of_depth, true.normal, known)
    return [*off, *(f"{angle:.1f}" for angle in angles)]


def distance_of(make: Callable[[], Mesh], real: torch.Tensor) -> str:
    """The Chamfer distance of what a function makes, or a dash if nothing can be made."""
    try:
        mesh = make()
    except BadInput:
        return "-"
    return f"{chamfer(surface_points(mesh, POINTS, torch.Generator().manual_seed(0)), real):.4f}"


def fused(depth: torch.Tensor, alpha: torch.Tensor, camera: Camera) -> Mesh:
    """The surface of the depth maps of the views that were fitted."""
    return fused_mesh(fuse(depth, alpha, camera, resolution=CELLS))


def density_mesh(cloud: GaussianCloud, camera: Camera) -> Mesh:
    """The isosurface of the density, at the level that agrees best with the silhouettes."""
    grid = isosurface.density_grid(cloud, CELLS)
    level = isosurface.silhouette_level(grid, camera, render_gaussians(cloud, camera).alpha)
    vertices, faces = isosurface.isosurface(grid, level)
    return Mesh(torch.from_numpy(vertices).float(), torch.from_numpy(faces).long())


def study(name: str, distance: Distance, pictures: Path | None) -> list[str]:
    """Three rows of the table."""
    camera, other = views_all_around(TRAINED, SIZE, REACH), views_all_around(HELD_OUT, SIZE, REACH)
    given, true = truth(distance, camera), truth(distance, other)
    rgba = torch.cat([given.color, given.alpha[..., None]], dim=-1)
    real_mesh = grid_to_mesh(sample(distance, resolution=128, half_size=0.6))
    real = surface_points(real_mesh, POINTS, torch.Generator().manual_seed(1))
    config, rows, shown = SurfelFit(), [], [true]
    for label, maps in (("color", {}), ("color, depth, normals", {"depth": given.depth, "normal": given.normal})):
        start = time.process_time()
        *_, result = fit_surfels(rgba, camera, config=config, **maps)
        assert isinstance(result, Result)
        seconds = time.process_time() - start
        seen, around = render_surfels(result.asset, other), render_surfels(result.asset, camera)
        shown.append(seen)
        cells = errors(seen, true, other)
        thick = gaussians_from_surfels(result.asset, thin=0.5)
        cells.append(distance_of(lambda a=around: fused(a.depth, a.alpha, camera), real))
        cells.append(distance_of(lambda a=around: fused(a.median_depth, a.alpha, camera), real))
        cells.append(distance_of(lambda cloud=thick: density_mesh(cloud, camera), real))
        rows.append(f"| {name} | surfels from {label} | {' | '.join(cells)} | {seconds:.0f} |")
        print(rows[-1], flush=True)
    start = time.process_time()
    cloud = fitted_gaussians(hull_surfels(rgba[..., 3], camera, config.surfels), rgba, camera, config)
    seconds = time.process_time() - start
    seen, around = render_gaussians(cloud, other, normals=True), render_gaussians(cloud, camera)
    cells = errors(seen, true, other)
    cells += [distance_of(lambda: fused(around.depth, around.alpha, camera), real), "-"]
    cells.append(distance_of(lambda: density_mesh(cloud, camera), real))
    rows.append(f"| {name} | Gaussians from color | {' | '.join(cells)} | {seconds:.0f} |")
    print(rows[-1], flush=True)
    if pictures is not None:
        save_sheet(pictures / f"surfels-{name}.png", [*shown, seen])
    return rows


def save_sheet(path: Path, columns: list[Rendering]) -> None:
    """A view of the truth and of each fit: color, normals; normals are shown as (n + 1) / 2, over white."""
    strips = []
    for seen in columns:
        white = (1 - seen.alpha[2])[..., None]
        normal = (seen.normal[2] + seen.alpha[2][..., None]) / 2
        strips.append(torch.cat([seen.color[2] + white, normal + white]))
    picture = (torch.cat(strips, dim=1).clamp(0, 1) * 255).byte().numpy()
    Image.fromarray(picture).resize((picture.shape[1] * 2, picture.shape[0] * 2), Image.NEAREST).save(path)


HEAD = """| shape | fit | depth | median | normal deg | of depth | Chamfer: fused | of median | density | processor s |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"""


def main() -> None:
    """Print the table; write it where --out says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, help="folder for surfels.md")
    options.add_argument("--pictures", type=Path, help="folder for a picture of each shape")
    options.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    options = options.parse_args()
    print(HEAD)
    rows = [row for name in options.shapes for row in study(name, SHAPES[name], options.pictures)]
    if options.out:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        text = [
            "# Surfels on known shapes",
            "",
            f"`python {sys.argv[0]}` at {commit}, one thread of a busy machine.",
            "",
        ]
        text += [__doc__.split("\n\n", 2)[2].strip(), "", HEAD, *rows, ""]
        (options.out / "surfels.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Files to assets and back, chosen by the endings of their names; and pictures of what a file holds."""

from pathlib import Path

import torch

from maquette.core import BadInput, Camera, turntable
from maquette.render import Rendering
from maquette.representations import GaussianCloud, Mesh

SPLAT_ENDINGS = (".ply", ".spz")
"""Files that hold Gaussians only; .glb holds Gaussians or a mesh."""


def load(path: str | Path) -> GaussianCloud | Mesh:
    """The asset in a .ply, .spz or .glb file. Raises BadInput for any other file, and for one that is broken."""
    from maquette import io

    path = Path(path)
    match _ending(path):
        case ".ply":
            return io.load_ply(path)
        case ".spz":
            return io.load_spz(path)
        case _:
            return io.load_splats_glb(path) if io.holds_splats(path) else io.load_mesh_glb(path)


def save(asset: GaussianCloud | Mesh, path: str | Path) -> None:
    """Write an asset as .ply or .spz (Gaussians) or .glb (either), whole or not at all."""
    from maquette import io

    path = Path(path)
    match asset, _ending(path):
        case GaussianCloud(), ".ply":
            io.save_ply(path, asset)
        case GaussianCloud(), ".spz":
            io.save_spz(path, asset)
        case GaussianCloud(), _:
            io.save_splats_glb(path, asset)
        case Mesh(), ".glb":
            io.save_mesh_glb(path, asset)
        case _:
            raise BadInput(f"{path} cannot hold a mesh; expected the ending .glb", "choose another name")


def convert_file(source: Path, target: Path) -> Path:
    """Read `source`, write `target`, and return it. Nothing is written when the source is broken."""
    _ending(target)  # a name that we cannot write is refused before a long read
    save(load(source), target)
    return target


def draw(asset: GaussianCloud | Mesh, camera: Camera, background: torch.Tensor) -> Rendering:
    """Pictures of either kind of asset."""
    if isinstance(asset, GaussianCloud):
        from maquette.render import render_gaussians

        with torch.no_grad():
            return render_gaussians(asset, camera, background=background)
    from maquette.render.mesh import render_mesh

    return render_mesh(asset, camera, background=background)


def render_turntable(source: Path, target: Path, *, num_views: int, size: int, elevation_deg: float) -> None:
    """Draw the asset in `source` from all around, on white, as an .mp4 video or a .png sheet."""
    if target.suffix.lower() not in (".mp4", ".png"):
        raise BadInput(f"{target} is neither .mp4 nor .png", "choose one of these endings")
    if not (1 <= num_views <= 1000 and 8 <= size <= 4096):
        raise BadInput(
            f"{num_views} views of {size} pixels; expected 1 to 1000 views of 8 to 4096", "choose other numbers"
        )
    from maquette import io

    camera = turntable(num_views, elevation_deg, size=size)
    images = draw(load(source), camera, torch.ones(3)).color
    if target.suffix.lower() == ".mp4":
        io.save_video(target, images, fps=max(1.0, num_views / 4))  # once around in four seconds
    else:
        io.save_image(target, io.contact_sheet(images, columns=round(num_views**0.5)))


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in (*SPLAT_ENDINGS, ".glb"):
        raise BadInput(f"{path} ends in {ending or 'nothing'}; expected .ply, .spz or .glb", "choose one of these")
    return ending

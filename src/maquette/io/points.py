"""Bare points in PLY files: positions and nothing else, in our axes. Gaussians and surfels give their centres."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.files import atomic_write
from maquette.io.axes import HALF_TURNS
from maquette.io.limits import MAX_VERTICES, read_file, refused
from maquette.io.ply_header import parse_header, read_element

_KIND = "a PLY file of points"


def save_points(path: str | Path, points: Float[Tensor, "points 3"]) -> None:
    """Write float32 x, y, z, little-endian; reading them back gives the same bits."""
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [*(f"property float {axis}" for axis in "xyz"), "end_header", ""]
    with atomic_write(path) as file:
        file.write("\n".join(lines).encode("ascii"))
        file.write(points.detach().cpu().numpy().astype("<f4").tobytes())


def load_points(path: str | Path) -> Float[Tensor, "points 3"]:
    """Positions of the vertices of any plain PLY file, +Y up and the front towards +Z; NaN is left to the caller.

    Files of Gaussians or surfels, which have rotations, are turned from their own axes. Raises BadInput for what is no
    PLY file with x, y and z, and for more than `MAX_VERTICES` rows.
    """
    with refused(path, _KIND):
        data = read_file(path, _KIND)
        header = parse_header(data, path)
        counts = [element.count for element in header.elements if element.name == "vertex"]
        if len(counts) != 1 or counts[0] > MAX_VERTICES:
            raise BadInput(
                f"{path} declares {counts or 'no'} rows of 'vertex'; expected one element of at most {MAX_VERTICES}",
                "thin the cloud, or check which file this is",
            )
        names = header.properties("vertex")
        if not names >= set("xyz"):
            raise BadInput(f"{path} has no x, y and z; its vertices have {', '.join(sorted(names))}", "export points")
        rows = read_element(data, header, "vertex", path)
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite
            points = np.stack([rows[axis].astype(np.float32) for axis in "xyz"], axis=1)
    signs = HALF_TURNS["RDF" if "rot_0" in names else "LUF"]
    return torch.from_numpy(points) * torch.tensor(signs, dtype=torch.float32) + 0.0

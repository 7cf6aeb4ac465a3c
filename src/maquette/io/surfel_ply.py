"""Surfel PLY files as 2D Gaussian Splatting (Huang et al. 2024) writes them: those of 3DGS with two scales."""

from pathlib import Path

import numpy as np
import torch

from maquette.core.errors import BadInput, Unsupported
from maquette.core.files import atomic_write
from maquette.io.axes import checked, half_turn
from maquette.io.limits import MAX_GAUSSIANS, read_file, refused
from maquette.io.ply import _from_rows
from maquette.io.ply_header import parse_header, read_element
from maquette.representations.surfels import SurfelCloud, gaussians_from_surfels

_KIND = "a surfel PLY file"


def save_surfels(path: str | Path, surfels: SurfelCloud) -> None:
    """Write raw values, float32, little-endian; reading them back gives the same bits.

    A half turn between axes may turn a disc around: normals keep their line and not their sign. Viewers of 3D
    Gaussians want a third scale: give them `gaussians_from_surfels`. Raises BadInput for what `load_surfels` refuses.
    """
    turned = half_turn(checked(gaussians_from_surfels(surfels.detach().to("cpu").to(torch.float32)), path), "RDF")
    rest = turned.sh[:, 1:].transpose(1, 2).flatten(1)  # channel-major: all of red, then green, then blue
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3))]
    names += [f"f_rest_{i}" for i in range(rest.shape[1])]
    names += ["opacity", "scale_0", "scale_1", *(f"rot_{i}" for i in range(4))]
    columns = [turned.means, torch.zeros_like(turned.means), turned.sh[:, 0], rest]
    columns += [turned.logit_opacities[:, None], turned.log_scales[:, :2], turned.quats]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(surfels)}"]
    lines += [*(f"property float {name}" for name in names), "end_header", ""]
    with atomic_write(path) as file:
        file.write("\n".join(lines).encode("ascii"))
        file.write(torch.cat(columns, dim=1).numpy().astype("<f4").tobytes())


def load_surfels(path: str | Path) -> SurfelCloud:
    """Read a PLY file of surfels into our axes (LUF): by property name, any order and byte order, binary or ASCII.

    Raises BadInput for what is no such file, as `load_ply` does, and Unsupported for 3D Gaussians (three scales).
    """
    with refused(path, _KIND):
        data = read_file(path, _KIND)
        header = parse_header(data, path)
        counts = [element.count for element in header.elements if element.name == "vertex"]
        if len(counts) != 1 or counts[0] > MAX_GAUSSIANS:
            raise BadInput(
                f"{path} declares {counts or 'no'} rows of 'vertex'; expected one element of at most {MAX_GAUSSIANS}",
                "check which file this is",
            )
        if "scale_2" in header.properties("vertex"):
            raise Unsupported(f"{path} holds 3D Gaussians (three scales)", "load_ply, then surfels_from_gaussians")
        rows = read_element(data, header, "vertex", path)
        padded = np.zeros(len(rows), [*((name, "f4") for name in rows.dtype.names), ("scale_2", "f4")])
        for name in rows.dtype.names:
            padded[name] = rows[name]
        if "scale_0" in rows.dtype.names:
            padded["scale_2"] = padded["scale_0"]
        cloud = half_turn(checked(_from_rows(padded, path), path), "RDF")
        return SurfelCloud(cloud.means, cloud.log_scales[:, :2].clone(), cloud.quats, cloud.logit_opacities, cloud.sh)

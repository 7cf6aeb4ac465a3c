"""Gaussian PLY files in the layout of 3D Gaussian Splatting (Kerbl et al. 2023): raw values, RDF axes.

The plain layout is read and written here, by property name: little-endian, big-endian and ASCII, any order, extra
properties ignored. gsply, which reads only the first of these, decodes the compressed layout of PlayCanvas and
SuperSplat, after the header and the size have been checked.
"""

from pathlib import Path

import numpy as np
import torch

from maquette.core.errors import BadInput, Unsupported
from maquette.core.files import atomic_write
from maquette.io.axes import checked, half_turn
from maquette.io.limits import MAX_GAUSSIANS, read_file, refused
from maquette.io.ply_header import Header, parse_header, read_element
from maquette.representations.gaussians import GaussianCloud

_KIND = "a Gaussian PLY file"
_COEFFICIENTS = {0: 1, 9: 4, 24: 9, 45: 16}  # number of f_rest properties -> SH coefficients of a channel
_PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
_BOUNDS = [f"{end}_{of}{axis}" for of in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
_BOUNDS += [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]


def save_ply(path: str | Path, cloud: GaussianCloud) -> None:
    """Write the raw 3DGS layout that every splat viewer reads: float32, little-endian, with (zero) normals.

    Reading it back gives the same bits. The file appears complete or not at all. Raises BadInput for a cloud that
    `load_ply` would refuse.
    """
    turned = half_turn(checked(cloud.detach().to("cpu"), path), "RDF")
    rest = turned.sh[:, 1:].transpose(1, 2).flatten(1)  # channel-major: all of red, then green, then blue
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3))]
    names += [f"f_rest_{i}" for i in range(rest.shape[1])]
    names += ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    columns = [turned.means, torch.zeros_like(turned.means), turned.sh[:, 0], rest]
    columns += [turned.logit_opacities[:, None], turned.log_scales, turned.quats]
    rows = torch.cat(columns, dim=1).numpy().astype("<f4")
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
    lines += [*(f"property float {name}" for name in names), "end_header", ""]
    with atomic_write(path) as file:
        file.write("\n".join(lines).encode("ascii"))
        file.write(rows.tobytes())


def load_ply(path: str | Path) -> GaussianCloud:
    """Read a Gaussian PLY file, plain or compressed, into our axes (LUF).

    Raises BadInput for what is no such file: broken or endless header, counts that the bytes do not bear out, missing
    properties, NaN, point clouds, values that are activated instead of raw. Raises Unsupported for surfels (2DGS).
    """
    with refused(path, _KIND):
        data = read_file(path, _KIND)
        header = parse_header(data, path)
        counts = [element.count for element in header.elements if element.name == "vertex"]
        if len(counts) != 1:
            raise BadInput(f"{path} has {len(counts)} 'vertex' elements; expected 1", "check which file this is")
        if counts[0] > MAX_GAUSSIANS:
            raise BadInput(f"{path} declares {counts[0]} Gaussians; at most {MAX_GAUSSIANS} fit", "make it smaller")
        if header.properties("vertex") >= set(_PACKED):
            cloud = _decode_compressed(data, header, path)
        else:
            cloud = _from_rows(read_element(data, header, "vertex", path), path)
        return half_turn(checked(cloud, path), "RDF")


def _from_rows(rows: np.ndarray, path: str | Path) -> GaussianCloud:
    there = set(rows.dtype.names)
    num_rest = sum(name.startswith("f_rest_") for name in there)
    if {"scale_0", "scale_1"} <= there and "scale_2" not in there:
        raise Unsupported(f"{path} holds surfels (2DGS: two scales)", "convert it to 3D Gaussians in a splat editor")
    if num_rest not in _COEFFICIENTS:
        raise BadInput(f"{path} has {num_rest} f_rest properties; expected 0, 9, 24 or 45", "export SH degree 0 to 3")
    groups = {"means": ["x", "y", "z"], "log_scales": [f"scale_{i}" for i in range(3)], "opacity": ["opacity"]}
    groups |= {"quats": [f"rot_{i}" for i in range(4)], "dc": [f"f_dc_{i}" for i in range(3)]}
    groups |= {"rest": [f"f_rest_{i}" for i in range(num_rest)]}
    missing = [name for names in groups.values() for name in names if name not in there]
    if missing:
        raise BadInput(
            f"{path} lacks {', '.join(missing[:8])}: it is a point cloud or a mesh, not Gaussians",
            "give a Gaussian splat file (it has scale_0..2, rot_0..3, opacity and f_dc_0..2)",
        )
    table = {}
    for group, names in groups.items():
        columns = np.empty((len(rows), len(names)), np.float32)
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite and are counted by `checked`
            for i, name in enumerate(names):
                columns[:, i] = rows[name]
        table[group] = torch.from_numpy(columns)
    rest = table["rest"].unflatten(1, (3, _COEFFICIENTS[num_rest] - 1)).transpose(1, 2)
    sh = torch.cat([table["dc"][:, None], rest], dim=1)
    _refuse_activated(table["log_scales"], table["opacity"], path)
    return GaussianCloud(table["means"], table["log_scales"], table["quats"], table["opacity"][:, 0], sh)


def _refuse_activated(log_scales: torch.Tensor, opacity: torch.Tensor, path: str | Path) -> None:
    """Sizes stored where logarithms belong make huge Gaussians; viewers have frozen machines over such files."""
    has_sizes = len(opacity) >= 16 and bool((log_scales > 0).all()) and bool(log_scales.median() < 1)
    if has_sizes and bool(((opacity >= 0) & (opacity <= 1)).all()):
        raise BadInput(
            f"{path} seems to hold activated values: all scales are positive and all opacities in [0, 1]",
            "export raw values (log-scales and logit-opacities), as 3DGS training writes them",
        )


def _decode_compressed(data: bytes, header: Header, path: str | Path) -> GaussianCloud:
    """256 Gaussians a chunk, quantised between the chunk's bounds. gsply checks none of what is checked here."""
    tables = [element for element in header.elements if element.properties]  # gsplat writes an empty "sh" at degree 0
    layout = [(table.name, set(table.properties.values())) for table in tables]
    plain = [("chunk", {"f4"}), ("vertex", {"u4"})]
    names = [list(table.properties) for table in tables[:2]]
    if header.byte_order != "<" or layout not in (plain, [*plain, ("sh", {"u1"})]) or names != [_BOUNDS, _PACKED]:
        raise Unsupported(f"{path} is an unusual kind of compressed PLY", "decompress it in a splat editor")
    chunks, vertices, *others = tables
    if chunks.count != -(-vertices.count // 256) or any(other.count != vertices.count for other in others):
        counts = ", ".join(f"{table.count} of {table.name}" for table in tables)
        raise BadInput(f"{path} declares {counts}; these do not fit together", "export it again")
    if others and len(others[0].properties) not in _COEFFICIENTS:
        raise BadInput(f"{path} has {len(others[0].properties)} SH bytes; expected 9, 24 or 45", "export it again")
    for table in tables:
        read_element(data, header, table.name, path)

    import gsply

    lines = ["ply", "format binary_little_endian 1.0"]  # gsply gets the header as we understood it, without comments
    for table, kind in zip(tables, ("float", "uint", "uchar"), strict=False):
        lines += [f"element {table.name} {table.count}", *(f"property {kind} {name}" for name in table.properties)]
    found = gsply.decompress_from_bytes("\n".join([*lines, "end_header", ""]).encode("ascii") + data[header.body :])
    sh = np.concatenate([found.sh0[:, None], found.shN], axis=1)
    arrays = (found.means, found.scales, found.quats, found.opacities, sh)
    return GaussianCloud(*(torch.from_numpy(np.array(array, dtype=np.float32)) for array in arrays))

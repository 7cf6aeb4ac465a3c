"""Multiresolution hash encoding (Müller et al. 2022, arXiv 2201.05989): points of the unit cube become features.

`reference.py` is the specification in plain torch, `cpu.py` its fast twin. Knows tensors, not fields or scenes.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.kernels.hashgrid.reference import FEATURES, GridShape

__all__ = ["FEATURES", "GridShape", "encode"]


def encode(
    points: Float[Tensor, "points 3"],
    table: Float[Tensor, "entries 2"],
    shape: GridShape,
    *,
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> Float[Tensor, "points features"]:
    """Two features a level for every point, coarse levels first, from a `table` of `shape.entries` rows.

    Points outside [0, 1]^3 count as the nearest point of the cube. Gradients reach the table and the points, once:
    what needs the gradient of a gradient takes finite differences or the reference. The encoding is continuous, its
    slope jumps between cells. "auto" is "cpu" for float32 on the CPU, else "reference", which also serves CUDA.

    Raises BadInput if the table does not have the rows that the shape asks for.
    """
    if len(table) != shape.entries:
        raise BadInput(f"the table has {len(table)} rows; expected {shape.entries} for {shape}", "use shape.entries")
    if backend == "auto":
        is_plain = points.dtype == table.dtype == torch.float32 and not points.is_cuda
        backend = "cpu" if is_plain else "reference"
    if backend == "reference":
        from maquette.kernels.hashgrid import reference

        return reference.encode(points, table, shape)
    from maquette.kernels.hashgrid import cpu

    return cpu.encode(points, table, shape)

"""Puts arrays and pictures into one .glb file, in the form that the Khronos validator asks for. pygltflib keeps the
structure. This module does not know meshes or Gaussians.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch
from jaxtyping import Bool
from torch import Tensor

from maquette import __version__
from maquette.core.files import atomic_write

VERTICES, INDICES = 34962, 34963  # targets of buffer views
_COMPONENTS = {"f4": gltf.FLOAT, "u1": gltf.UNSIGNED_BYTE, "u2": gltf.UNSIGNED_SHORT, "u4": gltf.UNSIGNED_INT}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def by_membership(
    parts: Mapping[str, Bool[Tensor, " rows"]], count: int
) -> list[tuple[tuple[str, ...], Bool[Tensor, " rows"]]]:
    """Rows (or faces) cut into pieces that belong to the same parts, with the names; first those that are in none.

    Every row is in one piece, so that nothing is drawn twice however parts overlap.
    """
    names = sorted(parts)
    if not names or count == 0:
        return [((), torch.ones(count, dtype=torch.bool))]
    kinds, which = torch.unique(torch.stack([parts[name] for name in names]), dim=1, return_inverse=True)
    return [
        (tuple(name for name, is_in in zip(names, kind, strict=True) if is_in), which == i)
        for i, kind in enumerate(kinds.T.tolist())
    ]


class GlbWriter:
    """Collects buffer views and accessors, and writes the file once at the end."""

    def __init__(self):
        self.document = gltf.GLTF2(asset=gltf.Asset(version="2.0", generator=f"maquette {__version__}"))
        self._binary = bytearray()

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        """A buffer view of its own, which pygltflib aligns to 4 bytes when it writes the file; its index."""
        view = gltf.BufferView(buffer=0, byteOffset=len(self._binary), byteLength=len(data), target=target)
        self.document.bufferViews.append(view)
        self._binary.extend(data)
        return len(self.document.bufferViews) - 1

    def add_array(
        self, rows: np.ndarray, target: int = VERTICES, *, has_bounds: bool = False, is_normalized: bool = False
    ) -> int:
        """An accessor for (count, components) of float32 or an unsigned type; its index.

        Rows of vertex data must be multiples of 4 bytes long, as glTF asks. `has_bounds` writes the exact min and max.
        """
        kind = rows.dtype.newbyteorder("=").str[1:]
        assert target == INDICES or rows.itemsize * rows.shape[1] % 4 == 0
        accessor = gltf.Accessor(
            bufferView=self.add_bytes(rows.astype(f"<{kind}").tobytes(), target),
            componentType=_COMPONENTS[kind],
            count=len(rows),
            type=_TYPES[rows.shape[1]],
            normalized=is_normalized,
        )
        if has_bounds:
            accessor.min, accessor.max = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        self.document.accessors.append(accessor)
        return len(self.document.accessors) - 1

    def add_texture(self, png: bytes, *, repeats: bool) -> int:
        """A texture from the bytes of a PNG file; its index."""
        document, wrap = self.document, gltf.REPEAT if repeats else gltf.CLAMP_TO_EDGE
        document.images.append(gltf.Image(name="color", mimeType="image/png", bufferView=self.add_bytes(png)))
        sampler = gltf.Sampler(magFilter=gltf.LINEAR, minFilter=gltf.LINEAR_MIPMAP_LINEAR, wrapS=wrap, wrapT=wrap)
        document.samplers.append(sampler)
        document.textures.append(gltf.Texture(sampler=len(document.samplers) - 1, source=len(document.images) - 1))
        return len(document.textures) - 1

    def add_object(self, primitive: gltf.Primitive, name: str = "object") -> None:
        """A mesh of one primitive and the node that shows it."""
        self.document.meshes.append(gltf.Mesh(name=name, primitives=[primitive]))
        self.document.nodes.append(gltf.Node(name=name, mesh=len(self.document.meshes) - 1))

    def write(self, path: str | Path) -> None:
        """All nodes in one scene, in one file, whole or not at all."""
        self.document.scenes = [gltf.Scene(nodes=list(range(len(self.document.nodes))))]
        self.document.scene = 0
        self.document.buffers = [gltf.Buffer(byteLength=len(self._binary))]
        self.document.set_binary_blob(bytes(self._binary))
        with atomic_write(path) as file:
            file.writelines(self.document.save_to_bytes())

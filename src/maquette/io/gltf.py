"""glTF 2.0 files out of meshes and Gaussians: one .glb each, nothing outside of it, clean for the Khronos validator.

Our axes are those of glTF (+Y up, front +Z), so nothing is turned. Inside we keep sRGB colors; glTF wants textures in
sRGB and vertex colors in linear light. The readers live in `gltf_mesh` and `gltf_splats`.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from maquette.core.color import srgb_to_linear
from maquette.core.errors import BadInput
from maquette.core.rotation import normalize
from maquette.io.axes import checked
from maquette.io.glb_writer import INDICES, GlbWriter, by_membership
from maquette.io.gltf_mesh import load_mesh_glb
from maquette.io.gltf_splats import EXTENSION, PARTS, SEMANTICS, load_splats_glb, sh_semantic
from maquette.io.image import to_bytes
from maquette.representations.gaussians import GaussianCloud
from maquette.representations.mesh import Mesh

__all__ = ["load_mesh_glb", "load_splats_glb", "save_mesh_glb", "save_splats_glb"]

_ROUGHNESS = 0.9
_POINTS, _TRIANGLES = 0, 4


def save_mesh_glb(path: str | Path, mesh: Mesh, parts: Mapping[str, Bool[Tensor, " faces"]] | None = None) -> None:
    """Write a mesh: positions, unit normals, and its texture (PNG inside) or colors on a rough, metal-free material.

    A mesh with face colors gets three vertices of its own for each face, and is flat. Vertex colors keep 16 bits.
    Named `parts` become nodes; faces that several share become a node with the names of all, and the vertices are
    common to all nodes. The file appears complete or not at all. Raises BadInput for an empty mesh and for NaN.
    """
    mesh = mesh.to("cpu")
    if len(mesh.faces) == 0:
        raise BadInput(f"the mesh for {path} has no faces", "check what made it")
    if not all(bool(values.isfinite().all()) for values in vars(mesh).values() if values is not None):
        raise BadInput(f"the mesh for {path} has NaN or infinite values", "check what made it")
    if mesh.texture is None and mesh.face_colors is not None:
        mesh = _with_faces_apart(mesh)

    writer = GlbWriter()
    attributes = gltf.Attributes(
        POSITION=writer.add_array(_floats(mesh.vertices), has_bounds=True),
        NORMAL=writer.add_array(_floats(mesh.vertex_normals() if mesh.face_colors is None else _flat_normals(mesh))),
    )
    surface = gltf.PbrMetallicRoughness(metallicFactor=0.0, roughnessFactor=_ROUGHNESS)
    if mesh.texture is not None:
        attributes.TEXCOORD_0 = writer.add_array(_floats(mesh.uv))
        repeats = float(mesh.uv.min()) < 0 or float(mesh.uv.max()) > 1
        png = io.BytesIO()
        Image.fromarray(to_bytes(mesh.texture, path)).save(png, "PNG")
        surface.baseColorTexture = gltf.TextureInfo(index=writer.add_texture(png.getvalue(), repeats=repeats))
    elif mesh.vertex_colors is not None:
        linear = srgb_to_linear(mesh.vertex_colors.float().clamp(0, 1))
        attributes.COLOR_0 = writer.add_array(
            _shorts(torch.cat([linear, torch.ones(len(linear), 1)], dim=1)), is_normalized=True
        )
    writer.document.materials = [gltf.Material(name="surface", pbrMetallicRoughness=surface, doubleSided=True)]
    # The largest value of an index type is not a valid index: it would restart the primitive.
    index_type = np.uint16 if len(mesh.vertices) <= 65_535 else np.uint32
    for names, faces in by_membership(parts or {}, len(mesh.faces)):
        indices = writer.add_array(mesh.faces[faces].numpy().astype(index_type).reshape(-1, 1), INDICES)
        primitive = gltf.Primitive(attributes=attributes, indices=indices, material=0, mode=_TRIANGLES)
        _add_part(writer, primitive, names)
    writer.write(path)


def save_splats_glb(
    path: str | Path, cloud: GaussianCloud, parts: Mapping[str, Bool[Tensor, " gaussians"]] | None = None
) -> None:
    """Write Gaussians with KHR_gaussian_splatting (release candidate of 2026-07-17), beside a fallback of points.

    The extension wants activated values (standard deviations, opacities) and unit quaternions xyzw; SH stay raw.
    Viewers that do not know it show `COLOR_0` as points. Named `parts` become nodes as in `save_mesh_glb`, with their
    rows one node after the other; `load_splat_parts` reads them back. The file appears complete or not at all. Raises
    BadInput for a cloud that cannot be rendered.
    """
    cloud = checked(cloud.detach().to("cpu"), path)
    writer = GlbWriter()
    writer.document.extensionsUsed = [EXTENSION]
    for names, rows in by_membership(parts or {}, len(cloud)):
        _add_part(writer, _splats(writer, cloud.select(rows)), names)
    writer.write(path)


def _add_part(writer: GlbWriter, primitive: gltf.Primitive, names: tuple[str, ...]) -> None:
    if names:
        primitive.extras = {PARTS: list(names)}
    writer.add_object(primitive, " + ".join(names) or "object")


def _splats(writer: GlbWriter, cloud: GaussianCloud) -> gltf.Primitive:
    rotation = normalize(cloud.quats.double()).roll(-1, dims=1)
    values = {"ROTATION": rotation, "SCALE": cloud.scales, "OPACITY": cloud.opacities[:, None]}
    attributes = gltf.Attributes(POSITION=writer.add_array(_floats(cloud.means), has_bounds=True))
    for name, rows in values.items():
        setattr(attributes, SEMANTICS[name], writer.add_array(_floats(rows)))
    for coefficient in range(cloud.sh.shape[1]):
        setattr(attributes, sh_semantic(coefficient), writer.add_array(_floats(cloud.sh[:, coefficient])))
    fallback = torch.cat([srgb_to_linear(cloud.rgb.clamp(0, 1)), cloud.opacities[:, None]], dim=1)
    attributes.COLOR_0 = writer.add_array(_shorts(fallback), is_normalized=True)
    splatting = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
    }
    return gltf.Primitive(attributes=attributes, mode=_POINTS, extensions={EXTENSION: splatting})


def _with_faces_apart(mesh: Mesh) -> Mesh:
    corners = mesh.faces.reshape(-1)
    colors = mesh.face_colors.repeat_interleave(3, dim=0)
    return Mesh(mesh.vertices[corners], torch.arange(len(corners)).reshape(-1, 3), colors, face_colors=mesh.face_colors)


def _flat_normals(mesh: Mesh) -> Float[Tensor, "vertices 3"]:
    normals = mesh.face_normals()
    has_area = (normals != 0).any(dim=1, keepdim=True)
    return torch.where(has_area, normals, normals.new_tensor([0.0, 1.0, 0.0])).repeat_interleave(3, dim=0)


def _floats(values: Tensor) -> np.ndarray:
    return values.detach().numpy().astype(np.float32)


def _shorts(values: Tensor) -> np.ndarray:
    """[0, 1] in 16 bits; rows of four, because glTF aligns rows to 4 bytes."""
    return (values * 65_535).round().numpy().astype(np.uint16)

"""Gaussians out of glTF 2.0 files with KHR_gaussian_splatting (release candidate, text of 2026-07-17).

The file carries activated values, glTF's axes and quaternions xyzw; spherical harmonics are raw, as ours.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from maquette.core.errors import BadInput, Unsupported
from maquette.core.rotation import matrix_to_quat, normalize, quat_multiply
from maquette.io.axes import checked
from maquette.io.glb import KIND, Document, open_document
from maquette.io.limits import MAX_GAUSSIANS, refused
from maquette.representations.gaussians import GaussianCloud

EXTENSION = "KHR_gaussian_splatting"
SEMANTICS = {name: f"{EXTENSION}:{name}" for name in ("ROTATION", "SCALE", "OPACITY")}
PARTS = "maquette_parts"
"""The extra of a primitive that lists the named parts it belongs to."""
_AGAIN = "export the Gaussians again"


def sh_semantic(coefficient: int) -> str:
    """The attribute of one spherical harmonic, counted from 0 over all degrees, m ascending."""
    degree = int(coefficient**0.5)
    return f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{coefficient - degree**2}"


def load_splats_glb(path: str | Path) -> GaussianCloud:
    """Read all Gaussians of a .glb or .gltf file as one cloud in world space.

    Raises BadInput for broken files (as `load_mesh_glb`), files without Gaussians, and values that the extension rules
    out: missing attributes, incomplete SH degrees, negative scales, opacities outside [0, 1], zero quaternions.
    Raises Unsupported for compressed Gaussians, and for nodes that shear them, or turn SH above degree 0.
    """
    return load_splat_parts(path)[0]


def load_splat_parts(path: str | Path) -> tuple[GaussianCloud, dict[str, Bool[Tensor, " gaussians"]]]:
    """`load_splats_glb`, and the named parts that `save_splats_glb` has written, as masks of the rows."""
    with refused(path, KIND), np.errstate(all="ignore"):  # what overflows is found by asking whether it is finite
        document = open_document(path)
        drawn = [(world, p) for world, p in document.primitives() if EXTENSION in p.get("extensions", {})]
        if not drawn:
            raise BadInput(f"{path} has no primitive with {EXTENSION}", "give a file with Gaussians, or read its mesh")
        if sum(document.num_rows(p["attributes"]["POSITION"]) for _, p in drawn) > MAX_GAUSSIANS:
            raise BadInput(f"{path} draws more than {MAX_GAUSSIANS} Gaussians", "make it smaller")
        clouds = [_placed(_read_cloud(document, primitive), world, path) for world, primitive in drawn]
        names = [_part_names(primitive, path) for _, primitive in drawn]
        return checked(GaussianCloud.cat(clouds), path), _masks(names, [len(cloud) for cloud in clouds])


def _part_names(primitive: dict, path: str | Path) -> list[str]:
    extras = primitive.get("extras")
    names = extras.get(PARTS, []) if isinstance(extras, dict) else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{path} names its parts {str(names)[:80]}; expected a list of texts", _AGAIN)
    return names


def _masks(names: list[list[str]], sizes: list[int]) -> dict[str, Tensor]:
    """Each part's rows of the joined cloud."""
    return {
        part: torch.cat([torch.full((size,), part in own) for own, size in zip(names, sizes, strict=True)])
        for part in sorted({part for own in names for part in own})
    }


def _read_cloud(document: Document, primitive: dict) -> GaussianCloud:
    attributes, further = primitive["attributes"], primitive["extensions"][EXTENSION].get("extensions")
    if further:
        names = ", ".join(map(str, further))[:100]
        raise Unsupported(f"{document.path} has Gaussians compressed with {names} (a draft)", "export without it")
    required = {"POSITION": 3, SEMANTICS["ROTATION"]: 4, SEMANTICS["SCALE"]: 3, SEMANTICS["OPACITY"]: 1}
    num_sh = next(k for k in range(17) if sh_semantic(k) not in attributes)
    if num_sh not in (1, 4, 9, 16) or any(sh_semantic(k) in attributes for k in range(num_sh, 16)):
        raise BadInput(f"{document.path} has incomplete SH degrees ({num_sh} coefficients without a gap)", _AGAIN)
    required |= {sh_semantic(k): 3 for k in range(num_sh)}
    missing = sorted(set(required) - set(attributes))
    if missing or primitive.get("mode", 4) != 0:
        raise BadInput(f"{document.path}: Gaussians need mode 0 and {', '.join(missing) or 'nothing else'}", _AGAIN)
    tables = {name: document.accessor(attributes[name]) for name in required}
    shapes = {table.shape[0] for table in tables.values()}
    if len(shapes) != 1 or any(tables[name].shape[1] != width for name, width in required.items()):
        raise BadInput(f"{document.path} has Gaussian attributes of unequal length or of a wrong type", _AGAIN)
    position, rotation, scale, opacity = (tables[name].astype(np.float64) for name in list(required)[:4])
    if (scale < 0).any() or (opacity < 0).any() or (opacity > 1).any():
        raise BadInput(f"{document.path} has negative scales, or opacities outside [0, 1]", _AGAIN)
    opacity = opacity[:, 0].clip(1e-6, 1 - 1e-6)  # keeps the logit finite
    sh = np.stack([tables[sh_semantic(k)] for k in range(num_sh)], axis=1)
    arrays = (position, np.log(scale.clip(1e-12)), np.roll(rotation, 1, axis=1), np.log(opacity / (1 - opacity)), sh)
    return GaussianCloud(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def _placed(cloud: GaussianCloud, world: np.ndarray, path: str | Path) -> GaussianCloud:
    """The cloud moved, turned and scaled evenly by its node."""
    if (world == np.eye(4)).all():
        return cloud
    size = float(np.cbrt(np.linalg.det(world[:3, :3])))
    rotation = world[:3, :3] / size if size > 0 else np.zeros((3, 3))
    is_turned = not np.allclose(rotation, np.eye(3), atol=1e-6)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or (is_turned and cloud.sh.shape[1] > 1):
        raise Unsupported(
            f"{path} has Gaussians under a node that mirrors, shears or (with SH) turns them",
            "apply the transforms and export again",
        )
    means = cloud.means.double().numpy() @ world[:3, :3].T + world[:3, 3]
    turn = matrix_to_quat(torch.from_numpy(rotation)).float()
    return replace(
        cloud,
        means=torch.from_numpy(means.astype(np.float32)),
        log_scales=cloud.log_scales + float(np.log(size)),
        quats=quat_multiply(turn.expand(len(cloud), 4), normalize(cloud.quats)) if is_turned else cloud.quats,
    )

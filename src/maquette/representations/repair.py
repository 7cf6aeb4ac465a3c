"""Making a triangle mesh sound: one vertex a place, no useless faces, no crowded edges, no small holes, outward faces.

It keeps every place and moves none, and it says what it did. Numpy; knows no colors, so who wants colors asks the
mesh as it came (see `surface`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from maquette.core.errors import BadInput
from maquette.representations import topology
from maquette.representations.health import flat_faces
from maquette.representations.holes import close_holes, turn_caps
from maquette.representations.isosurface import untangle
from maquette.representations.mesh import Mesh

SAME = 1e-6
"""Vertices this close (of the mesh's size, per axis, on a grid) are one."""
CRUMB = 1e-5
"""Pieces with less than this share of the surface go."""
APART = 1e-3
"""Vertices of different fans at one place are moved this share of the way to their neighbours."""


@dataclass(frozen=True)
class Repairs:
    """How much of what was mended, and what could not be."""

    welded_vertices: int = 0
    collapsed_faces: int = 0
    """With two corners at one place, or without height on an edge that has two faces besides."""
    duplicate_faces: int = 0
    small_pieces: int = 0
    turned_faces: int = 0
    parted_vertices: int = 0
    """Copies made where surfaces touched."""
    filled_holes: int = 0
    cut_slivers: int = 0
    """Faces without height that were cut out of their neighbours."""
    open_borders: int = 0
    """Left open: too large, too long, or spanned already."""
    one_sided_faces: int = 0
    """Cut open where neighbours disagree: no turning makes them agree."""

    def done(self) -> list[str]:
        """What was mended, in words; nothing for a mesh that was sound."""
        return self._said(
            welded_vertices="vertices joined with others at the same place",
            collapsed_faces="collapsed faces dropped",
            duplicate_faces="duplicate faces dropped",
            small_pieces="tiny pieces dropped",
            turned_faces="faces turned outward",
            parted_vertices="vertices parted where surfaces touched",
            filled_holes="holes filled",
            cut_slivers="faces without height cut out",
        )

    def left(self) -> list[str]:
        """What could not be mended, in words."""
        return self._said(
            open_borders="borders larger than a hole",
            one_sided_faces="faces of one-sided sheets, cut open where sides disagree",
        )

    def _said(self, **words: str) -> list[str]:
        return [f"{text}: {getattr(self, name)}" for name, text in words.items() if getattr(self, name)]


def repair(mesh: Mesh) -> tuple[Mesh, Repairs]:
    """A mesh of the same surface without colors, as sound as it can be made, and what was done.

    In this order: vertices at one place are welded; collapsed and duplicate faces (a face and its other side, too) and
    tiny pieces go; neighbours are made to agree on sides; edges of three faces and bow ties are cut, so that surfaces
    come apart there; small holes are filled and slivers cut out; closed pieces are turned outward, and so are open ones
    that bulge. What is open by design stays open. Raises BadInput if no face is left, and for NaN.
    """
    vertices, faces = mesh.vertices.cpu().numpy().astype(np.float64), mesh.faces.cpu().numpy().astype(np.int64)
    if not np.isfinite(vertices).all():
        raise BadInput("the mesh has NaN or infinite vertices; expected finite ones", "export it again")
    done = {}
    vertices, faces, done["welded_vertices"] = _welded(vertices, faces)
    is_whole = (faces != np.roll(faces, 1, axis=1)).all(1)
    faces, done["collapsed_faces"] = faces[is_whole], int((~is_whole).sum())
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    done["duplicate_faces"], faces = len(faces) - len(first), faces[np.sort(first)]
    if len(faces) == 0:
        raise BadInput("all faces of the mesh are degenerate; expected at least one with an area", "export it again")
    is_idle = _idle(vertices, faces)
    faces, done["collapsed_faces"] = faces[~is_idle], done["collapsed_faces"] + int(is_idle.sum())
    faces, done["small_pieces"] = _without_crumbs(vertices, faces)

    sides = topology.sides(faces, topology.edges(faces))
    faces = np.where(sides.turn[:, None], faces[:, ::-1], faces)
    count = len(np.unique(faces))
    vertices, faces = untangle(*_without_crowds(*untangle(vertices, faces, flake=1)), flake=1)
    done["parted_vertices"] = len(vertices) - count
    faces, done["filled_holes"], done["open_borders"] = close_holes(vertices, faces)
    faces, done["cut_slivers"] = turn_caps(vertices, faces)
    faces, num_outward = _outward(vertices, faces)
    done["turned_faces"] = int(sides.turn.sum()) + num_outward
    done["one_sided_faces"] = int(sides.is_one_sided.sum())
    vertices = part(vertices, faces)
    return Mesh(torch.from_numpy(vertices).float(), torch.from_numpy(faces)), Repairs(**done)


def part(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Vertices that stand at one place move a little towards their own neighbours.

    Files do not say which of the vertices at a place are one; readers weld them, and surfaces that only touch would
    grow together again.
    """
    vertices = vertices.astype(np.float32).astype(np.float64)  # the places that a file keeps
    _, place, count = np.unique(vertices, axis=0, return_inverse=True, return_counts=True)
    shared = count[place.reshape(-1)] > 1
    if not shared.any():
        return vertices
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    sums, degree = np.zeros_like(vertices), np.zeros(len(vertices))
    for one, other in ((start, end), (end, start)):
        np.add.at(sums, one, vertices[other])
        np.add.at(degree, one, 1)
    mean = sums / np.maximum(degree, 1)[:, None]
    moved = vertices + APART * (mean - vertices)
    return np.where((shared & (degree > 0))[:, None], moved, vertices)


def _welded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Used vertices only, one for each place; how many were doubles."""
    used, faces = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], faces.reshape(-1, 3)
    size = max(float(np.ptp(vertices, axis=0).max()), 1e-30) if len(vertices) else 1.0
    grid = np.rint((vertices - vertices.min(0, initial=0)) / (SAME * size)).astype(np.int64)
    _, first, place = np.unique(grid, axis=0, return_index=True, return_inverse=True)
    return vertices[first], place.reshape(-1)[faces].reshape(-1, 3), len(vertices) - len(first)


def _idle(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces without height that are not needed to close a T-junction: an edge of theirs has faces enough."""
    found = topology.edges(faces)
    is_crowded = (found.faces[found.edge] > 2).reshape(-1, 3).any(1)
    return is_crowded & flat_faces(vertices, faces)


def _without_crumbs(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, int]:
    piece = topology.pieces(faces, topology.edges(faces))
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.bincount(piece, np.linalg.norm(np.cross(b - a, c - a), axis=1))
    is_crumb = area < CRUMB * area.sum()
    return faces[~is_crumb[piece]], int(is_crumb.sum())


def _without_crowds(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges keep one face for each direction; the others get corners of their own.

    `untangle` leaves such edges in open surfaces whose sheets are joined elsewhere.
    """
    found = topology.edges(faces)
    crowded = np.nonzero(found.faces[found.edge] > 2)[0]
    _, first = np.unique(2 * found.edge[crowded] + (found.start < found.end)[crowded], return_index=True)
    surplus = np.unique(np.delete(crowded, first) // 3)
    corners = faces[surplus].ravel()
    faces = faces.copy()
    faces[surplus] = len(vertices) + np.arange(len(corners)).reshape(-1, 3)
    return np.concatenate([vertices, vertices[corners]]), faces


def _outward(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, int]:
    """Turn pieces that enclose a negative volume, measured from their own middle where they are open."""
    piece = topology.pieces(faces, topology.edges(faces))
    count = np.bincount(piece)
    corners = vertices[faces]
    middle = np.stack([np.bincount(piece, corners[..., axis].mean(1)) for axis in range(3)], axis=1) / count[:, None]
    local = corners - middle[piece][:, None]
    six = np.einsum("fi,fi->f", local[:, 0], np.cross(local[:, 1], local[:, 2]))
    double_area = np.linalg.norm(np.cross(local[:, 1] - local[:, 0], local[:, 2] - local[:, 0]), axis=1)
    volume, area = np.bincount(piece, six) / 6, np.bincount(piece, double_area) / 2
    is_inside_out = volume < -1e-3 * area**1.5  # flat sheets enclose nothing and have no outside
    turned = is_inside_out[piece]
    return np.where(turned[:, None], faces[:, ::-1], faces), int(turned.sum())

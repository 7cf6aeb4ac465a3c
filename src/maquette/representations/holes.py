"""Closing small holes in a triangle mesh: borders, and the smallest surface that spans them.

Knows places and faces (numpy), no colors. Expects a mesh without crowded edges or bow ties, as `untangle` leaves it.
"""

import numpy as np
from jaxtyping import Float, Int

from maquette.representations import topology
from maquette.representations.health import flat_faces

LONGEST = 96
"""Borders with more edges than this are left: the search takes their number cubed."""
LARGEST = 0.1
"""Holes larger than this share of their piece's area are openings, as of a cup or a leaf, and stay."""
SIDES = 1e-3
"""Weight of squared sides beside areas."""


def close_holes(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> tuple[Int[np.ndarray, "more 3"], int, int]:
    """The faces with those added that fill small holes; how many were filled, and how many are left open."""
    found = topology.edges(faces)
    piece = topology.pieces(faces, found)
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.bincount(piece, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)
    there = set(map(tuple, np.sort(np.stack([found.start, found.end], axis=1), axis=1).tolist()))
    added, num_open = [], 0
    loops = borders(found)
    for halves in loops:
        corners = found.start[halves][::-1]  # the new faces run along the border the other way
        patch, patch_area = _smallest(vertices[corners]) if len(halves) <= LONGEST else (None, np.inf)
        inner = _inner_edges(patch, corners) if patch is not None else set()
        if patch is None or patch_area > LARGEST * area[piece[halves[0] // 3]] or inner & there:
            num_open += 1
            continue
        there |= inner
        added.append(corners[patch])
    return np.concatenate([faces, *added]), len(added), num_open


def borders(found: topology.Edges) -> list[Int[np.ndarray, " halves"]]:
    """The half-edges of each border, in a row. Borders that meet in a vertex are left out: see `untangle`."""
    halves = np.nonzero(found.faces[found.edge] == 1)[0]
    begins, ends = found.start[halves], found.end[halves]
    order = np.argsort(begins, kind="stable")
    low, high = (np.searchsorted(begins[order], ends, side=side) for side in ("left", "right"))
    following = np.where(high - low == 1, np.append(order, -1)[low], -1)  # -1: the border goes on nowhere, or twice
    is_seen = np.zeros(len(halves), bool)
    loops = []
    for first in range(len(halves)):
        row, here = [], first
        while here >= 0 and not is_seen[here]:
            is_seen[here] = True
            row.append(here)
            here = following[here]
        if row and here == first:
            loops.append(halves[row])
    return loops


def _inner_edges(patch: np.ndarray, corners: np.ndarray) -> set[tuple[int, int]]:
    """The edges of a patch that are not on its border."""
    count = len(corners)
    pairs = np.sort(np.concatenate([patch[:, [0, 1]], patch[:, [1, 2]], patch[:, [2, 0]]]), axis=1)
    step = pairs[:, 1] - pairs[:, 0]
    return set(map(tuple, np.sort(corners[pairs[(step > 1) & (step < count - 1)]], axis=1).tolist()))


def _smallest(loop: np.ndarray) -> tuple[np.ndarray, float]:
    """Corners of the triangles of least total area that span a closed polygon (Barequet and Sharir 1995).

    cost[i, k] of the polygon i ... k is the least over j between of cost[i, j] + cost[j, k] + area(i, j, k), and a
    little for long sides, so that among equal surfaces the one with the better triangles wins.
    """
    count = len(loop)
    cost, split = np.zeros((count, count)), np.zeros((count, count), np.int64)
    for gap in range(2, count):
        for i in range(count - gap):
            k, between = i + gap, np.arange(i + 1, i + gap)
            one, other = loop[between] - loop[i], loop[k] - loop[between]
            area = np.linalg.norm(np.cross(one, other), axis=-1) / 2
            total = cost[i, between] + cost[between, k] + area + SIDES * ((one**2).sum(-1) + (other**2).sum(-1))
            best = int(np.argmin(total))
            cost[i, k], split[i, k] = total[best], between[best]
    triangles, todo = [], [(0, count - 1)]
    while todo:
        i, k = todo.pop()
        if k - i > 1:
            j = split[i, k]
            triangles.append((i, j, k))
            todo += [(i, j), (j, k)]
    triangles = np.array(triangles, np.int64)
    a, b, c = (loop[triangles[:, corner]] for corner in range(3))
    return triangles, float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def turn_caps(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> tuple[Int[np.ndarray, "faces 3"], int]:
    """Faces without height get one: the longest edge of each is flipped with the face beyond it; how many were.

    Such a face has its middle corner on its longest edge, so the neighbour is cut in two there and no place changes.
    Filling the slit of a T-junction makes such faces, and turning them closes it. Faces with a repeated corner, and
    those whose flip would add an edge twice, stay as they are.
    """
    faces = faces.copy()
    turned = 0
    flat = np.nonzero(flat_faces(vertices, faces))[0]
    for face in flat if len(flat) else ():
        corners = vertices[faces[face]]
        i = int(np.argmax(((corners - np.roll(corners, -1, axis=0)) ** 2).sum(1)))
        a, c, b = faces[face][i], faces[face][(i + 1) % 3], faces[face][(i + 2) % 3]  # b lies between a and c
        beyond = np.nonzero(((faces == c) & (np.roll(faces, -1, axis=1) == a)).any(1))[0]
        if len({a, b, c}) < 3 or len(beyond) != 1:
            continue
        d = next((v for v in faces[beyond[0]] if v not in (a, c)), b)
        if d == b or ((faces == b).any(1) & (faces == d).any(1)).any():
            continue
        faces[face], faces[beyond[0]] = (b, a, d), (c, b, d)
        turned += 1
    return faces, turned

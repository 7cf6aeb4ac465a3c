"""How triangles hang together: edges, fans of faces around vertices, connected pieces, consistent sides.

Indices in, indices out (numpy); no positions, no colors. What health measures and repair mends is counted here once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int


@dataclass(frozen=True)
class Edges:
    """The edges of triangles. Corner i of face f begins the half-edge 3 f + i."""

    start: Int[np.ndarray, " halves"]
    end: Int[np.ndarray, " halves"]
    edge: Int[np.ndarray, " halves"]
    """The edge, without direction, of each half-edge."""
    faces: Int[np.ndarray, " edges"]
    """How many faces an edge has: 1 at a border, 2 inside of a surface, more where surfaces meet."""
    balance: Int[np.ndarray, " edges"]
    """Half-edges that run from the lower to the higher vertex, minus those that run back: 0 inside."""


def edges(faces: Int[np.ndarray, "faces 3"]) -> Edges:
    """The edges of `faces`; a face with a repeated corner has edges that begin where they end."""
    start, end = faces.ravel().astype(np.int64), np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    key = np.minimum(start, end) * (int(faces.max(initial=0)) + 1) + np.maximum(start, end)
    _, edge, count = np.unique(key, return_inverse=True, return_counts=True)
    edge = edge.reshape(-1)
    runs = np.where(start < end, 1, -1)
    return Edges(start, end, edge, count, np.rint(np.bincount(edge, runs, len(count))).astype(np.int64))


def labels(one: np.ndarray, other: np.ndarray, count: int) -> Int[np.ndarray, " nodes"]:
    """Numbers of the connected pieces of a graph of `count` nodes with links one - other."""
    from scipy import sparse

    graph = sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    return sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)


def pieces(faces: Int[np.ndarray, "faces 3"], found: Edges) -> Int[np.ndarray, " faces"]:
    """The number of the piece that each face belongs to: faces that share an edge, however many share it."""
    first = first_halves(found)
    return labels(np.arange(len(found.edge)) // 3, first[found.edge] // 3, len(faces))


def first_halves(found: Edges) -> Int[np.ndarray, " edges"]:
    """One half-edge of each edge: the first."""
    first = np.zeros(len(found.faces), np.int64)
    first[found.edge[::-1]] = np.arange(len(found.edge))[::-1]
    return first


def fans(faces: Int[np.ndarray, "faces 3"], found: Edges) -> Int[np.ndarray, " corners"]:
    """The number of the fan that each corner belongs to: corners at one vertex, linked through shared edges.

    A vertex with two fans is a bow tie: it can be cut in two without cutting an edge.
    """
    half = np.arange(faces.size)
    following = 3 * (half // 3) + (half + 1) % 3
    is_up = found.start < found.end
    lower, higher = np.where(is_up, half, following), np.where(is_up, following, half)
    first = first_halves(found)[found.edge]
    return labels(
        np.concatenate([lower, higher]), np.concatenate([lower[first], higher[first]]), faces.size
    )  # fmt: skip


@dataclass(frozen=True)
class Sides:
    """Which faces must be turned around so that neighbours agree on what is outside."""

    turn: Bool[np.ndarray, " faces"]
    """The fewer faces of each sheet; a sheet is what hangs together through edges with two faces."""
    sheet: Int[np.ndarray, " faces"]
    is_one_sided: Bool[np.ndarray, " faces"]
    """Sheets like a Moebius strip, where no turning helps."""


def sides(faces: Int[np.ndarray, "faces 3"], found: Edges) -> Sides:
    """Decide for every sheet at once, on a graph that has each face twice: as it is, and turned.

    Neighbours that agree link like with like, neighbours that do not link one as it is with the other turned. A sheet
    whose two copies are connected has one side only.
    """
    inner = np.nonzero(found.faces[found.edge] == 2)[0]
    inner = inner[np.argsort(found.edge[inner], kind="stable")]
    one, other = inner[::2] // 3, inner[1::2] // 3
    differs = (found.balance[found.edge[inner[::2]]] != 0).astype(np.int64)
    count = len(faces)
    copy = labels(
        np.concatenate([one, one + count]),
        np.concatenate([other + differs * count, other + (1 - differs) * count]),
        2 * count,
    )
    sheet = labels(one, other, count)
    as_is, turned = copy[:count], copy[count:]
    is_one_sided = as_is == turned
    # All faces of a sheet that bear the label of its first face agree; turn whichever group is the smaller.
    _, first = np.unique(sheet, return_index=True)
    differs_from_first = as_is != as_is[first[sheet]]
    share = np.bincount(sheet, differs_from_first) / np.bincount(sheet)
    turn = np.where(share[sheet] > 0.5, ~differs_from_first, differs_from_first)
    return Sides(turn & ~is_one_sided, sheet, is_one_sided)


def weld(
    faces: Int[np.ndarray, "faces 3"], place: Int[np.ndarray, " vertices"]
) -> tuple[Int[np.ndarray, "kept 3"], Int[np.ndarray, " vertices"]]:
    """Make one of vertices that share an edge and a place (-1 is none), and leave out the faces that lose a corner.

    Returns the faces, and for every vertex the one that stands for it. A closed surface stays closed, as what is left
    out takes its edges away in pairs. Where the rest would meet itself, at an edge of more than two faces, a bow tie or
    a face with a twin, the vertices stay as they are.
    """
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    is_one = (place[start] >= 0) & (place[start] == place[end])
    piece = labels(start[is_one], end[is_one], len(place))
    own = np.arange(len(place))
    stands_for = np.unique(piece, return_index=True)[1][piece]
    while True:
        kept = stands_for[faces]
        kept = kept[(kept != np.roll(kept, 1, axis=1)).all(axis=1)]
        undo = (stands_for != own) & np.isin(stands_for, _touching(kept))
        if not undo.any():
            return kept, stands_for
        stands_for = np.where(undo, own, stands_for)


def _touching(faces: np.ndarray) -> np.ndarray:
    """Vertices at which a surface meets itself."""
    found = edges(faces)
    crowded = np.concatenate([end[found.faces[found.edge] > 2] for end in (found.start, found.end)])
    at_fan = np.unique(np.stack([faces.ravel(), fans(faces, found)]), axis=1)[0]
    vertex, count = np.unique(at_fan, return_counts=True)
    _, face, copies = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.concatenate([crowded, vertex[count > 1], faces[copies[face.reshape(-1)] > 1].ravel()])

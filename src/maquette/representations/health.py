"""What is right and what is wrong with a triangle mesh, in numbers, as an engine or a printer would find it.

Vertices at one and the same place count as one, so seams of an atlas are no holes. This module repairs nothing.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from maquette.kernels.bake import coverage
from maquette.representations import topology
from maquette.representations.mesh import Mesh

FLAT = 1e-6
"""Faces lower than this share of the mesh's size are degenerate."""
OVERLAP_PX = 1024
"""The atlas is drawn this large to see what overlaps, whatever the size of the texture."""


@dataclass(frozen=True)
class Health:
    """The findings about one mesh. Shares are in [0, 1]; what was not measured is None."""

    faces: int
    vertices: int
    """Different places that faces use."""
    budget: int | None
    """How many faces were allowed."""
    components: int
    """Pieces that share edges."""
    is_watertight: bool
    """Every edge has exactly two faces."""
    is_manifold: bool
    """No edge has more than two faces and no vertex more than one fan of them."""
    is_wound_consistently: bool
    """Neighbours agree on what is outside."""
    border_edges: int
    """Edges with one face: around holes, and around sheets that never were closed."""
    crowded_edges: int
    """Edges with three faces or more."""
    bow_ties: int
    """Vertices with several fans of faces."""
    flipped_faces: int
    """Faces to be turned so that neighbours agree."""
    one_sided_faces: int
    """Faces of sheets like a Moebius strip, which no turning makes agree."""
    inside_out: int
    """Closed components that enclose a negative volume."""
    degenerate_faces: int
    duplicate_faces: int
    """Faces with the same three corners as an earlier one."""
    euler_characteristic: int
    """Vertices - edges + faces: 2 for each ball, 0 for each ring."""
    volume: float | None
    """World units cubed; only of what is watertight and wound consistently."""
    uv_overlap: float | None
    """Share of the used atlas that belongs to several faces."""
    uv_outside: float | None
    """Share of faces with a corner outside of [0, 1]."""
    texels_per_unit: tuple[float, float, float] | None
    """Least, median and most texels along a world unit, over the faces."""
    bake_psnr_db: float | None = None
    """Pictures of the mesh against those of its source, on white."""
    bake_psnr_inside_db: float | None = None
    """The same where both are solid: colors without silhouettes."""

    @property
    def is_sound(self) -> bool:
        """Watertight, manifold, wound outward, and within the budget: nothing that an engine would complain about."""
        is_within = self.budget is None or self.faces <= self.budget
        is_outward = self.is_wound_consistently and self.inside_out == 0
        return self.is_watertight and self.is_manifold and is_outward and self.degenerate_faces == 0 and is_within

    def to_json(self) -> dict:
        """Plain values by name, `is_sound` among them; an infinite PSNR, of equal pictures, as 99."""
        values = asdict(self) | {"is_sound": self.is_sound}
        return {name: 99.0 if value == float("inf") else value for name, value in values.items()}


def examine(mesh: Mesh, *, budget: int | None = None) -> Health:
    """Look a mesh over; `budget` is how many faces it was allowed."""
    mesh = mesh.to("cpu")
    vertices, places = np.unique(mesh.vertices.numpy().astype(np.float64), axis=0, return_inverse=True)
    all_faces = places.reshape(-1)[mesh.faces.numpy()].reshape(-1, 3)
    is_flat = flat_faces(vertices, all_faces)
    has_corners = _distinct(all_faces)
    different = np.unique(np.sort(all_faces[has_corners], axis=1), axis=0)
    faces = all_faces[has_corners]
    found = topology.edges(faces)
    piece = topology.pieces(faces, found)
    corner_fans = np.unique(np.stack([faces.ravel(), topology.fans(faces, found)]), axis=1)[0]
    sides = topology.sides(faces, found)
    used = np.unique(faces)

    is_closed_edge = found.faces == 2
    is_consistent = bool((found.balance[is_closed_edge] == 0).all()) and not sides.is_one_sided.any()
    is_watertight = len(faces) > 0 and bool(is_closed_edge.all())
    inside_out = _closed_volumes(vertices, faces, piece, found) < 0
    overlap, outside = _atlas(mesh)
    return Health(
        faces=len(all_faces), vertices=len(used), budget=budget, components=int(piece.max(initial=-1)) + 1,
        is_watertight=is_watertight,
        is_manifold=bool((found.faces <= 2).all()) and len(corner_fans) == len(used),
        is_wound_consistently=is_consistent,
        border_edges=int((found.faces == 1).sum()), crowded_edges=int((found.faces > 2).sum()),
        bow_ties=int((np.unique(corner_fans, return_counts=True)[1] > 1).sum()),
        flipped_faces=int(sides.turn.sum()), one_sided_faces=int(sides.is_one_sided.sum()),
        inside_out=int(inside_out.sum()), degenerate_faces=int(is_flat.sum()),
        duplicate_faces=int(has_corners.sum()) - len(different),
        euler_characteristic=len(used) - len(found.faces) + len(faces),
        volume=float(six_volumes(vertices, faces).sum() / 6) if is_watertight and is_consistent else None,
        uv_overlap=overlap, uv_outside=outside, texels_per_unit=_texel_density(mesh),
    )  # fmt: skip


def flat_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Which faces have a repeated corner, or a height below FLAT of the mesh's size."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    doubled_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    longest = np.sqrt(np.max([((p - q) ** 2).sum(1) for p, q in ((a, b), (b, c), (c, a))], axis=0))
    size = np.ptp(vertices, axis=0).max() if len(vertices) else 0.0
    return (doubled_area <= FLAT * size * longest) | ~_distinct(faces)


def six_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Six times the signed volume between each face and the origin."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return np.einsum("fi,fi->f", a, np.cross(b, c))


def table(health: Health) -> str:
    """The findings as a short table for a terminal."""
    tight = "yes" if health.is_watertight else f"no: {health.border_edges} open edges"
    manifold = "yes" if health.is_manifold else f"no: {health.crowded_edges} edges, {health.bow_ties} vertices"
    wrong = health.flipped_faces + health.one_sided_faces
    wound = "yes" if health.is_wound_consistently else f"no: {wrong} faces"
    rows = {
        "faces": f"{health.faces:,}" + (f" of at most {health.budget:,}" if health.budget else ""),
        "watertight": tight,
        "manifold": manifold,
        "wound alike": wound + (f", {health.inside_out} components inside out" if health.inside_out else ""),
        "components": f"{health.components}, Euler characteristic {health.euler_characteristic}",
        "bad faces": f"{health.degenerate_faces} degenerate, {health.duplicate_faces} duplicate",
    }
    if health.uv_overlap is not None:
        outside = f", {health.uv_outside:.1%} of faces outside" if health.uv_outside else ""
        rows["uv overlap"] = f"{health.uv_overlap:.2%}{outside}"
    if health.texels_per_unit is not None:
        rows["texels a unit"] = "{:.0f} to {:.0f}, median {:.0f}".format(
            *(health.texels_per_unit[i] for i in (0, 2, 1))
        )
    if health.bake_psnr_db is not None:
        rows["bake"] = f"{health.bake_psnr_db:.1f} dB, {health.bake_psnr_inside_db:.1f} dB inside"
    return "\n".join(f"  {name:<14}{value}" for name, value in rows.items())


def _distinct(faces: np.ndarray) -> np.ndarray:
    return (faces != np.roll(faces, 1, axis=1)).all(axis=1)


def _closed_volumes(vertices: np.ndarray, faces: np.ndarray, piece: np.ndarray, found: topology.Edges) -> np.ndarray:
    """Six times the volume of each piece, 0 for those with a border."""
    is_whole = np.ones(int(piece.max(initial=-1)) + 1, bool)
    is_whole[piece[np.nonzero(found.faces[found.edge] != 2)[0] // 3]] = False
    return np.bincount(piece, six_volumes(vertices, faces), len(is_whole)) * is_whole


def _atlas(mesh: Mesh) -> tuple[float | None, float | None]:
    if mesh.uv is None or len(mesh.faces) == 0:
        return None, None
    count = coverage(mesh.uv, mesh.faces, OVERLAP_PX)
    corners = mesh.uv[mesh.faces]
    outside = ((corners < 0) | (corners > 1)).any(-1).any(-1).float().mean()
    return float((count > 1).sum() / (count > 0).sum().clamp(min=1)), float(outside)


def _texel_density(mesh: Mesh) -> tuple[float, float, float] | None:
    if mesh.texture is None or len(mesh.faces) == 0:
        return None
    height, width, _ = mesh.texture.shape
    edge_a, edge_b = (mesh.vertices[mesh.faces[:, i]] - mesh.vertices[mesh.faces[:, 0]] for i in (1, 2))
    area = torch.linalg.vector_norm(torch.linalg.cross(edge_a, edge_b), dim=-1)
    flat_a, flat_b = (mesh.uv[mesh.faces[:, i]] - mesh.uv[mesh.faces[:, 0]] for i in (1, 2))
    texels = (flat_a[:, 0] * flat_b[:, 1] - flat_a[:, 1] * flat_b[:, 0]).abs() * width * height
    has_area = area > 1e-9 * area.max()
    if not has_area.any():
        return None
    density = (texels[has_area] / area[has_area]).sqrt()
    return float(density.min()), float(density.median()), float(density.max())

"""From a cloud of Gaussians to a closed surface: density grid, level, marching cubes, cleaning, smoothing, decimation.

This module does not know colors. Why a density and not fused depth maps: see `gaussians_to_mesh`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.kernels.density import evaluate
from maquette.representations.gaussians import GaussianCloud

FAINT = 0.02
"""Gaussians less opaque than this are fog that no surface is made of."""
LEVELS = np.geomspace(0.1, 1.0, 25)
"""Densities that may become the surface. Above the last, a sheet of opaque discs breaks up between the grid points."""
NUM_RAYS = 12_000
"""Pixels that are asked which of them."""
SOFTEN = 0.4
"""Standard deviation of the blur of the density in cells, so that nothing slips through between grid points."""
CRUMB = 0.003
"""Separate parts with less than this share of the Gaussians of the largest part are dropped: lost ones, not a stem."""
HOLLOW = 64
"""Cells that must be left of a hollow once its walls have been thickened to close gaps; windows leave less."""
FLAKE = 8
"""Closed surfaces with fewer faces are leftovers of edge collapses."""
CLOSE = 3
"""Hollow shells are filled through gaps up to twice this many cells wide."""


@dataclass(frozen=True)
class DensityGrid:
    """Density at origin + step * (x, y, z) in world units, with empty margins on all sides."""

    density: Float[Tensor, "x y z"]
    origin: Float[Tensor, " 3"]
    step: float
    centers: Float[np.ndarray, "gaussians 3"]
    """Of the Gaussians that it was made from."""


def density_grid(cloud: GaussianCloud, resolution: int) -> DensityGrid:
    """The density around all that is solid in the cloud; the longest side of that box takes `resolution` cells.

    Coarse grids find the box first, so a lost Gaussian far away does not cost resolution.
    """
    cloud = cloud.detach().to("cpu").to(torch.float32)
    cloud = cloud.select(cloud.opacities > FAINT)
    if len(cloud) == 0:
        raise BadInput("the cloud has no visible Gaussians; expected at least one", "check the file or the fit")
    reach = 2 * cloud.scales.amax(-1, keepdim=True)
    low, high = (cloud.means - reach).amin(0), (cloud.means + reach).amax(0)
    if not (torch.isfinite(high - low).all() and (high > low).any()):
        raise BadInput("the cloud has no finite extent; expected finite means and positive scales", "drop such rows")
    for _ in range(4):
        before = float((high - low).max())
        low, high = _box_of_the_solid(_sample(cloud, low, high, resolution // 2))
        if float((high - low).max()) > 0.7 * before:
            break
    return _sample(cloud, low, high, resolution)


def _sample(cloud: GaussianCloud, low: Tensor, high: Tensor, resolution: int) -> DensityGrid:
    step = float((high - low).max()) / resolution
    margin = CLOSE + 2
    origin = low - margin * step
    shape = tuple(int(side) + 2 * margin + 1 for side in torch.ceil((high - low) / step))
    scales = (cloud.scales.square() + (SOFTEN * step) ** 2).sqrt()
    density = evaluate(cloud.means, cloud.quats, scales, cloud.opacities, origin=origin, step=step, shape=shape)
    for axis in range(3):  # closed at the border whatever reaches over it
        density.select(axis, 0).zero_()
        density.select(axis, -1).zero_()
    return DensityGrid(density, origin, step, cloud.means.numpy())


def _box_of_the_solid(grid: DensityGrid) -> tuple[Tensor, Tensor]:
    """The corners of a box, two cells wider than what is above the lowest level, crumbs left aside."""

    density = grid.density.numpy()
    if density.max() <= LEVELS[0]:
        raise BadInput(
            f"the Gaussians are too faint for a surface: density {density.max():.3f}, expected {LEVELS[0]}",
            "fit longer, or drop what is transparent",
        )
    filled = density > LEVELS[0]
    where = np.argwhere(filled & ~crumbs(grid, filled))
    first, last = torch.from_numpy(where.min(0)), torch.from_numpy(where.max(0))
    return grid.origin + (first - 2) * grid.step, grid.origin + (last + 2) * grid.step


def crumbs(grid: DensityGrid, solid: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The cells of parts that hold few Gaussians; counted and not weighed, because a leaf weighs next to nothing.

    Of a grid without Gaussians, parts with few cells.
    """
    from scipy import ndimage

    labels, count = ndimage.label(solid, ndimage.generate_binary_structure(3, 3))
    near = ndimage.maximum_filter(labels, 3)  # the cell of a flat Gaussian may itself not be solid
    cells = np.rint((grid.centers - grid.origin.numpy()) / grid.step)
    cells = cells[((cells >= 0) & (cells < labels.shape)).all(1)].astype(np.int64)
    members = np.bincount(near[tuple(cells.T)] if len(grid.centers) else labels.ravel(), minlength=count + 1)
    members[0] = 0
    return solid & (members < CRUMB * members.max())[labels]


def silhouette_level(
    grid: DensityGrid,
    camera: Camera,
    alpha: Float[Tensor, "cameras height width"],
    *,
    levels: Float[np.ndarray, " levels"] = LEVELS,
) -> float:
    """The density, one of `levels`, whose surface covers, seen from the cameras, what `alpha` covers (over one half).

    A ray meets the surface of level L if the greatest density along it is at least L, so one march along the rays
    judges all levels at once; the one with the fewest wrong pixels wins. Only pixels near silhouettes have a say.
    """
    from scipy import ndimage

    covered = alpha > 0.5
    near = torch.nn.functional.max_pool2d(covered[:, None].float(), 5, 1, 2) > 0
    inner = torch.nn.functional.max_pool2d((~covered)[:, None].float(), 5, 1, 2) == 0
    chosen = torch.nonzero((near & ~inner)[:, 0].reshape(-1))[:, 0]
    chosen = chosen[:: max(1, len(chosen) // NUM_RAYS)]
    origins, directions = (part.reshape(-1, 3)[chosen].numpy() for part in camera.rays())
    is_covered = covered.reshape(-1)[chosen].numpy()

    extent = (np.array(grid.density.shape) - 1) * grid.step
    low, radius = grid.origin.numpy(), np.linalg.norm(extent) / 2
    middle = np.einsum("ri,ri->r", low + extent / 2 - origins, directions)  # of the way through the ball of the grid
    along = np.arange(-radius, radius, grid.step)
    wrong = np.zeros(len(levels), np.int64)
    for start in range(0, len(chosen), 256):  # few rays at once: their points stay in the cache
        rays = slice(start, start + 256)
        points = origins[rays, None] + (middle[rays, None] + along)[..., None] * directions[rays, None]
        places = np.moveaxis((points - low) / grid.step, -1, 0)
        highest = ndimage.map_coordinates(grid.density.numpy(), places, order=1).max(1)
        wrong += ((highest[:, None] >= levels) != is_covered[rays, None]).sum(0)
    return float(levels[np.argmin(wrong)])


def hollows(dense: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The insides of shells, also of shells with small gaps: what is enclosed once gaps are closed.

    Closing alone would also fill slits and notches; here only that counts which the closed shell seals on all sides.
    """
    from scipy import ndimage

    closed = ndimage.binary_dilation(dense, iterations=CLOSE)
    labels, _ = ndimage.label(ndimage.binary_fill_holes(closed) & ~closed)
    is_large = np.bincount(labels.ravel()) >= HOLLOW
    is_large[0] = False
    return ndimage.binary_dilation(is_large[labels], iterations=CLOSE) & ~dense if is_large.any() else closed & False


def isosurface(grid: DensityGrid, level: float) -> tuple[Float[np.ndarray, "vertices 3"], np.ndarray]:
    """Closed surface at `level` by marching cubes (Lewiner 2003), faces outward, hollows filled, crumbs dropped.

    Raises BadInput if nothing in the grid is as dense as `level`.
    """
    from scipy import ndimage
    from skimage.measure import marching_cubes

    density = grid.density.numpy()
    solid = density >= level
    if not solid.any():
        raise BadInput(
            f"nothing is as dense as {level:.3g}; the densest point has {density.max():.3g}",
            "choose a lower level or leave it to us",
        )
    filled = ndimage.binary_fill_holes(solid | hollows(density >= level / 3))
    # The logarithm of a Gaussian tail is smooth, so linear interpolation between grid points finds the surface well.
    height = np.log(np.maximum(density, level / 20) / level)
    height[filled & ~solid] = np.log(20)
    height[crumbs(grid, filled)] = -np.log(20)
    vertices, faces, _, _ = marching_cubes(height, 0.0)
    vertices = vertices.astype(np.float64) * grid.step + grid.origin.numpy()
    return vertices, outward(vertices, faces)


def outward(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces, turned around if they enclose a negative volume."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    is_inside_out = np.einsum("fi,fi->", a, np.cross(b, c)) < 0
    return faces[:, ::-1].copy() if is_inside_out else faces


def taubin_smooth(
    vertices: Float[np.ndarray, "vertices 3"], faces: np.ndarray, *, rounds: int
) -> Float[np.ndarray, "vertices 3"]:
    """Smooth without shrinking: one step towards the neighbours' mean, one back out (Taubin 1995)."""
    from scipy import sparse

    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    links = sparse.coo_array((np.ones(len(start)), (start, end)), shape=(len(vertices), len(vertices))).tocsr()
    links = links + links.T
    mean = sparse.diags_array(1 / np.maximum(links.sum(1), 1)) @ links
    for _ in range(rounds):
        for factor in (0.5, -0.53):
            vertices = vertices + factor * (mean @ vertices - vertices)
    return vertices


def decimate(
    vertices: np.ndarray, faces: np.ndarray, budget: int, *, flake: int = FLAKE
) -> tuple[np.ndarray, np.ndarray]:
    """At most `budget` faces (quadric edge collapse, Garland and Heckbert 1997), untangled."""
    import fast_simplification

    for aggressiveness in (3, 7):  # the gentler one folds less but may stop before it reaches the budget
        if len(faces) > budget:
            vertices, faces = fast_simplification.simplify(
                vertices.astype(np.float32), faces.astype(np.int32), target_count=budget, agg=aggressiveness
            )
    vertices, faces = untangle(vertices, faces, flake=flake)
    if len(faces) == 0:
        raise BadInput(f"nothing is left of the surface with {budget} faces", "allow more faces")
    return vertices, faces


def untangle(vertices: np.ndarray, faces: np.ndarray, *, flake: int = FLAKE) -> tuple[np.ndarray, np.ndarray]:
    """Make each edge belong to two faces again where edge collapses have pinched a closed surface.

    Faces that lie upon each other cancel. Then each vertex is doubled for every fan of faces that hangs together around
    it, so surfaces that touch in a point or along an edge come apart; pieces with fewer faces than `flake` (than an
    octahedron) go.
    """
    _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    side = np.where((faces < np.roll(faces, -1, axis=1)).sum(1) == 2, 1, -1)  # even or odd order of the corners
    surplus = np.bincount(group.ravel(), side)[group.ravel()] * side > 0
    _, first = np.unique(group.ravel()[surplus], return_index=True)
    faces = faces[np.nonzero(surplus)[0][first]]
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()  # the edge that begins at each corner
    following = np.roll(np.arange(faces.size).reshape(-1, 3), -1, axis=1).ravel()
    edge = np.minimum(start, end).astype(np.int64) * len(vertices) + np.maximum(start, end)
    _, group, count = np.unique(edge, return_inverse=True, return_counts=True)

    def fans(usable: np.ndarray, preference: np.ndarray) -> np.ndarray:
        """Number the fans: two faces on an edge that run along it in opposite directions hang together."""
        upwards = np.nonzero(usable & (start < end))[0]
        downwards = np.nonzero(usable & (start > end))[0]
        upwards = upwards[np.lexsort((preference[upwards], edge[upwards]))]
        downwards = downwards[np.lexsort((preference[following[downwards]], edge[downwards]))]
        _, one, other = np.intersect1d(_numbered(edge[upwards]), _numbered(edge[downwards]), return_indices=True)
        one, other = upwards[one], downwards[other]
        return _components(np.concatenate([one, following[one]]), np.concatenate([following[other], other]), faces.size)

    proper = fans(count[group] == 2, np.zeros(faces.size))
    fan = fans(np.ones(faces.size, bool), proper)  # at a pinched edge, faces of one proper fan belong together
    num_fans = int(fan.max(initial=-1)) + 1
    source = np.zeros(num_fans, np.int64)
    source[fan] = start
    part = _components(fan, fan[following], num_fans)[fan[::3]]
    kept = fan.reshape(-1, 3)[np.bincount(part)[part] >= flake]
    used, renumbered = np.unique(kept, return_inverse=True)
    return vertices[source[used]], renumbered.reshape(-1, 3)


def _numbered(edges: np.ndarray) -> np.ndarray:
    """Distinct numbers for sorted edges: the i-th occurrence of an edge gets the same number in any list."""
    first = np.searchsorted(edges, edges)
    return edges * 16 + np.minimum(np.arange(len(edges)) - first, 15)


def _components(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    """Labels of the connected parts of a graph with `count` nodes."""
    from scipy import sparse

    graph = sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    return sparse.csgraph.connected_components(graph, directed=False)[1]

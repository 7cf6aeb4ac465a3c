"""Pictures of radiance fields: marches along rays, skips empty cells and stops early. Any function of points will do.

Knows no hash tables and no losses. Emission and absorption as in NeRF (Mildenhall et al. 2020, eq. 3): a step of length
w through density d has alpha = 1 - exp(-d w), and what is behind it shines through with exp(-d w).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from maquette.core.camera import Camera
from maquette.core.errors import BadInput, NonFinite
from maquette.core.rotation import normalize
from maquette.render.rendering import Rendering
from maquette.representations.occupancy import OccupancyGrid

Field = Callable[
    [Float[Tensor, "points 3"], Float[Tensor, "points 3"]], tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]
]
"""World points and unit directions of view to density (per world unit, not negative) and sRGB."""
Density = Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]
Shade = Callable[
    [Float[Tensor, "points 3"], Float[Tensor, "points 3"], Float[Tensor, "points 3"], Int[Tensor, " points"]],
    Float[Tensor, "points 3"],
]
"""The field's colors, unit normals, world points and the numbers of their rays to the colors that are seen."""
LIMIT = -math.log(1e-4)
"""The optical depth at which a ray ends: less than 1e-4 comes through, as with Gaussians."""
WAVE = 4
"""Samples of each ray that the field is asked for at once; later waves take twice as many as the one before."""
STEPS_AT_ONCE = 4_194_304
"""Rays are marched in groups of so many steps at most. Where there is more than one group, backward marches each again,
so that only one is in memory at a time."""
TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


class Marched(NamedTuple):
    """What a bundle of rays meets."""

    color: Float[Tensor, "rays 3"]
    """sRGB times coverage: nothing is behind it yet."""
    alpha: Float[Tensor, " rays"]
    distance: Float[Tensor, " rays"]
    """Expected distance along the ray in world units; 0 where alpha is 0."""
    normal: Float[Tensor, "rays 3"] | None
    """Times coverage."""
    asked: int
    """Points at which the field was evaluated for color."""
    turned_away: Float[Tensor, " rays"] | None = None
    """With normals n: the sum of max(0, n . direction)^2 weighted by visibility, which counts as constant: matter that
    one sees and that faces away (Ref-NeRF, arXiv 2112.03907, eq. 11)."""


def render_field(
    field: Field,
    camera: Camera,
    *,
    occupancy: OccupancyGrid,
    background: Float[Tensor, " 3"]
    | Float[Tensor, "cameras 3"]
    | Float[Tensor, "cameras height width 3"]
    | None = None,
    samples: int = 128,
    normals: bool = False,
    generator: torch.Generator | None = None,
) -> Rendering:
    """March a field from every camera, differentiably in whatever `field` uses; black behind it by default.

    See `march` for the other arguments, and what it raises. Cameras are constants.
    """
    origins, directions = camera.rays()
    flat = march(
        field, origins.reshape(-1, 3), directions.reshape(-1, 3),
        occupancy=occupancy, samples=samples, normals=normals, generator=generator,
    )  # fmt: skip
    image = origins.shape[:3]
    if background is None:
        background = origins.new_zeros(3)
    if background.ndim == 2:
        background = background[:, None, None]
    alpha = flat.alpha.view(image)
    along_axis = (directions * camera.world_from_camera[:, None, None, :3, 2]).sum(-1)
    return Rendering(
        color=flat.color.view(*image, 3) + (1 - alpha)[..., None] * background,
        alpha=alpha,
        depth=flat.distance.view(image) * along_axis,
        normal=None if flat.normal is None else flat.normal.view(*image, 3),
    )


def march(
    field: Field,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    *,
    occupancy: OccupancyGrid,
    samples: int = 128,
    normals: bool = False,
    density: Density | None = None,
    shade: Shade | None = None,
    generator: torch.Generator | None = None,
) -> Marched:
    """Follow rays (unit `directions`) through the cube of `occupancy` in steps of its diagonal / `samples`.

    The field is asked in the middle of each step, or with a `generator` at a random place of it, one place for all
    steps of a ray; steps whose place lies in an empty cell are skipped, as if the density were 0 there. A ray ends when
    less than 1e-4 comes through. `normals` are minus the direction of the density's slope, by differences over half a
    step at four more points, and differentiable; `density`, the field's density alone, makes them cheaper. `shade`
    lights every point before the colors are added up, and so needs normals too.

    Raises NonFinite if the field answers with NaN, infinity or a negative density.
    """
    if samples < 1:
        raise BadInput(f"samples is {samples}; expected 1 or more along the diagonal of the cube", "the default is 128")
    step = 2 * math.sqrt(3) * occupancy.half_size / samples
    normals = normals or shade is not None
    asked = _Asked(field, density or (lambda points: field(points, torch.zeros_like(points))[0]), shade)
    size = rays_at_once(samples)
    if len(origins) > size and torch.is_grad_enabled():
        along = partial(checkpoint, _march, use_reentrant=False, preserve_rng_state=False)
    else:
        along = _march
    parts = []
    for first in range(0, len(origins), size):
        group = origins[first : first + size].detach(), directions[first : first + size].detach()
        found = _occupied(*group, occupancy, step, generator)
        parts.append(along(asked, *group, first, found, step, normals))
    if len(parts) == 1:
        return parts[0]
    none = origins[:0]
    parts = parts or [Marched(none, none[:, 0], none[:, 0], none, 0, none[:, 0])]
    color, alpha, distance, normal, count, turned_away = zip(*parts, strict=True)
    return Marched(
        torch.cat(color), torch.cat(alpha), torch.cat(distance), torch.cat(normal) if normals else None, sum(count),
        torch.cat(turned_away) if normals else None,
    )  # fmt: skip


def rays_at_once(samples: int) -> int:
    """How many rays of so many steps are marched together."""
    return max(STEPS_AT_ONCE // samples, 1)


class _Asked(NamedTuple):
    """The functions of the thing that is drawn."""

    field: Field
    density: Density
    shade: Shade | None


class _Samples(NamedTuple):
    """The steps that lie in occupied cells, ray by ray and front to back."""

    distance: Tensor
    width: Tensor
    first: Tensor
    """Where each ray's steps start."""
    count: Tensor


def _march(
    asked: _Asked, origins: Tensor, directions: Tensor, first_ray: int, found: _Samples, step: float, normals: bool
) -> Marched:  # fmt: skip
    rays = origins.shape[0]
    depth = origins.new_zeros(rays)  # optical depth so far
    sums = origins.new_zeros(rays, 7 if normals else 4)  # color, distance and normal, times weight
    turned_away = origins.new_zeros(rays)
    rank, width, count = 0, WAVE, 0
    alive = (found.count > 0).nonzero()[:, 0]
    while len(alive):
        place = rank + torch.arange(width, device=alive.device)
        inside = place < found.count[alive, None]
        at = (found.first[alive, None] + place)[inside]
        ray = alive[:, None].expand(inside.shape)[inside]
        points = origins[ray] + found.distance[at, None] * directions[ray]
        density, color = asked.field(points, directions[ray])
        _check(density, color)
        count += len(points)
        seen = [color, found.distance[at, None]]
        if normals:
            normal = _normal(asked.density, points, step / 2)
            if asked.shade is not None:
                seen[0] = asked.shade(color, normal, points, first_ray + ray)
            seen.append(normal)

        thick = torch.zeros_like(inside, dtype=density.dtype).masked_scatter(inside, density * found.width[at])
        before = depth[alive, None].detach() + thick.detach().cumsum(1) - thick.detach()
        thick = torch.where(before < LIMIT, thick, 0.0)  # whatever the waves, a ray ends at the same step
        behind = depth[alive, None] + thick.cumsum(1)
        weight = (thick - behind).exp() - (-behind).exp()  # T_i (1 - exp(-d w))
        spread = inside[..., None].expand(*inside.shape, sums.shape[1])
        values = torch.zeros_like(spread, dtype=density.dtype).masked_scatter(spread, torch.cat(seen, dim=-1))
        sums = sums.index_add(0, alive, (weight[..., None] * values).sum(1))
        depth = depth.index_add(0, alive, thick.sum(1))
        if normals:
            away = (normal * directions[ray]).sum(-1).clamp(min=0).square()
            away = torch.zeros_like(weight).masked_scatter(inside, away) * weight.detach()
            turned_away = turned_away.index_add(0, alive, away.sum(1))
        rank, width = rank + width, 2 * width
        alive = alive[(found.count[alive] > rank) & (depth.detach()[alive] < LIMIT)]
    alpha = -torch.expm1(-depth)
    safe = torch.where(alpha > 0, alpha, 1.0)
    normal, turned_away = (sums[:, 4:], turned_away) if normals else (None, None)
    return Marched(sums[:, :3], alpha, sums[:, 3] / safe, normal, count, turned_away)


def _occupied(
    origins: Tensor, directions: Tensor, occupancy: OccupancyGrid, step: float, generator: torch.Generator | None
) -> _Samples:
    """Cut each ray's way through the cube into steps, the last one shorter, and keep those in occupied cells."""
    slope = torch.where(directions.abs() > 1e-12, directions, 1e-12)
    one, other = (-occupancy.half_size - origins) / slope, (occupancy.half_size - origins) / slope
    near = torch.minimum(one, other).amax(-1).clamp(min=0)
    far = torch.maximum(one, other).amin(-1)
    hit = (far > near).nonzero()[:, 0]
    first = torch.zeros(len(origins), dtype=torch.long, device=origins.device)
    count = torch.zeros_like(first)
    most = math.ceil(float((far - near).max().clamp(min=0)) / step) if len(hit) else 0
    place = torch.full((len(hit), 1), 0.5, dtype=origins.dtype, device=origins.device)
    if generator is not None:
        place = torch.rand(len(hit), 1, generator=generator, dtype=origins.dtype).to(origins.device)
    near, far = near[hit, None], far[hit, None]
    start = near + step * torch.arange(most, dtype=origins.dtype, device=origins.device)
    width = (far - start).clamp(max=step)
    distance = start + place * width
    points = origins[hit, None] + distance[..., None] * directions[hit, None]
    keep = occupancy.is_occupied(points) & (width > 0)
    count[hit] = keep.sum(1)
    first[hit] = count[hit].cumsum(0) - count[hit]
    return _Samples(distance[keep], width[keep], first, count)


def _normal(density: Density, points: Tensor, reach: float) -> Tensor:
    """Against the slope of the density, by four differences at the corners of a tetrahedron; 0 where it is flat."""
    corners = points.new_tensor(TETRAHEDRON)
    around = density((points + reach * corners[:, None]).view(-1, 3)).view(4, -1, 1)
    return normalize(-(around * corners[:, None]).sum(0))


def _check(density: Tensor, color: Tensor) -> None:
    with torch.no_grad():
        is_fine = len(density) == 0 or (
            float(density.amin()) >= 0 and math.isfinite(float(density.sum() + color.sum()))
        )
    if not is_fine:
        raise NonFinite(
            "the field answered with NaN, infinity or a negative density; expected finite densities of 0 or more",
            "lower the learning rate, or check the function",
        )

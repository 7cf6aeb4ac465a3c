"""The specification in plain torch: every face is tried at every pixel, every edge at every line. Slow and obvious.

Works in the float type of `vertices`, so that double precision can judge the fast twins.
"""

import torch
from jaxtyping import Float, Int32, Integer
from torch import Tensor

from maquette.kernels.triangle.edges import Edges, sorted_edges

NEAR = 1e-3
"""A face with a vertex nearer than this (world units along the camera axis) is dropped whole: nothing is clipped."""


def rasterize(
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    height: int,
    width: int,
) -> tuple[
    Int32[Tensor, "cameras height width"],
    Float[Tensor, "cameras height width"],
    Float[Tensor, "cameras height width 3"],
]:
    """The face nearest to the camera at each pixel centre (-1: none), its depth, and where on it the pixel lies.

    A point p of a triangle with corners a, b, c has the screen-space weights E(b, c) / A, E(c, a) / A, E(a, b) / A,
    where E(q, r) is twice the signed area of (p, q, r) and A that of (a, b, c) (Pineda 1988); it lies inside when none
    is negative, whatever the winding. 1 / depth is linear on the screen, so weights divided by depth and normalised
    are the perspective-correct barycentric coordinates. Of faces at equal depth the first wins.
    """
    rows = torch.arange(height, dtype=vertices.dtype) + 0.5
    columns = torch.arange(width, dtype=vertices.dtype) + 0.5
    pixel = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], dim=-1)
    images = []
    for view, focal, center in zip(camera_from_world, focal_px, center_px, strict=True):
        camera_space = vertices @ view[:3, :3].T + view[:3, 3]
        depth = camera_space[:, 2]
        screen = camera_space[:, :2] / depth[:, None] * focal + center
        a, b, c = screen[faces.long()].unbind(1)  # (faces, 2) each
        inverse_depth = 1 / depth[faces.long()]  # (faces, 3)
        area = doubled_area(a, b, c)
        usable = (depth[faces.long()] >= NEAR).all(1) & (area != 0)

        p = pixel[:, :, None]  # (height, width, 1, 2) against (faces, 2)
        weights = torch.stack([doubled_area(p, b, c), doubled_area(p, c, a), doubled_area(p, a, b)], -1) / area[:, None]
        weights = weights * inverse_depth
        nearness = weights.sum(-1)  # 1 / depth of the point (height, width, faces)
        nearness = torch.where(usable & (weights >= 0).all(-1), nearness, 0.0)
        nearness = torch.cat([torch.zeros(height, width, 1, dtype=vertices.dtype), nearness], dim=-1)  # 0: background
        nearest, slot = nearness.max(-1)  # the first of equals
        seen = slot > 0
        weights = torch.cat([torch.zeros(height, width, 1, 3, dtype=vertices.dtype), weights], dim=2)
        weights = weights.take_along_dim(slot[..., None, None], dim=2)[:, :, 0]
        safe = torch.where(seen, nearest, 1.0)
        barycentric = torch.where(seen[..., None], weights / safe[..., None], 0.0)
        images.append((slot.int() - 1, torch.where(seen, 1 / safe, 0.0), barycentric))
    if not images:
        empty = vertices.new_zeros(0, height, width)
        return empty.int(), empty, vertices.new_zeros(0, height, width, 3)
    index, depth, barycentric = (torch.stack(parts) for parts in zip(*images, strict=True))
    return index, depth, barycentric


def doubled_area(
    a: Float[Tensor, "*#shape 2"], b: Float[Tensor, "*#shape 2"], c: Float[Tensor, "*#shape 2"]
) -> Float[Tensor, "*shape"]:
    """Twice the signed area of the triangle a, b, c."""
    ab, ac = b - a, c - a
    return ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]


def interpolate(
    attributes: Float[Tensor, "vertices channels"],
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    index: Integer[Tensor, "cameras height width"],
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
) -> Float[Tensor, "cameras height width channels"]:
    """Attributes of the vertices where each pixel's ray meets the plane of the face that it sees; 0 where none.

    In camera axes let q = (x, y) - z ray be what a corner lies beside the ray (ray_x, ray_y, 1). The coordinates of
    the point are q_b x q_c : q_c x q_a : q_a x q_b, which needs no division by depth and no screen.
    """
    view, row, column = (index >= 0).nonzero(as_tuple=True)
    corners = faces[index[view, row, column].long()].long()  # (pixels, 3)
    rotation, shift = camera_from_world[view, None, :3, :3], camera_from_world[view, None, :3, 3]
    camera_space = (rotation @ vertices[corners][..., None])[..., 0] + shift
    pixel = torch.stack([column, row], dim=-1).to(vertices) + 0.5
    ray = (pixel - center_px[view]) / focal_px[view]
    q = camera_space[..., :2] - camera_space[..., 2:] * ray[:, None]
    following, last = q.roll(-1, dims=1), q.roll(-2, dims=1)
    weights = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]
    total = weights.sum(1, keepdim=True)
    weights = torch.where(total == 0, 1 / 3, weights / torch.where(total == 0, 1.0, total))
    values = (attributes[corners] * weights[..., None]).sum(1)
    image = attributes.new_zeros(*index.shape, attributes.shape[1])
    return image.index_put((view, row, column), values)


def antialias(
    images: Float[Tensor, "cameras height width channels"],
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    index: Integer[Tensor, "cameras height width"],
    depth: Float[Tensor, "cameras height width"],
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
) -> Float[Tensor, "cameras height width channels"]:
    """Blend neighbouring pixels where a silhouette passes between their centres (Laine et al. 2020, section 3.6).

    If it passes at t from the centre of the pixel inside (0) to that of the pixel outside (1), then for t > 1/2 the
    outer pixel takes the share t - 1/2 of the inner color, else the inner one the share 1/2 - t of the outer color:
    the exact coverage of a half-plane with an upright edge, and the right sum over a row for any straight edge.
    """
    edges, blended = sorted_edges(faces.long()), []
    for k, image in enumerate(images):
        camera_space = vertices @ camera_from_world[k, :3, :3].T + camera_from_world[k, :3, 3]
        z = camera_space[:, 2]
        in_front = z >= NEAR
        screen = camera_space[:, :2] / torch.where(in_front, z, 1.0)[:, None] * focal_px[k] + center_px[k]
        for axis in (0, 1):  # pairs side by side, then pairs one above the other, as if the picture were transposed
            turn = (1, 0) if axis else (0, 1)
            shown, far = index[k].permute(turn), torch.where(index[k] < 0, torch.inf, depth[k]).permute(turn)
            crossing = _crossings(screen[:, list(turn)].detach(), z.detach(), in_front, edges, shown, far, axis)
            line, left, is_left_inside, edge = crossing
            a, b = screen[:, list(turn)][edges.ends[edge]].unbind(1)
            share = (line + 0.5 - a[:, 1]) / (b[:, 1] - a[:, 1])
            across = a[:, 0] + share * (b[:, 0] - a[:, 0])
            inside, outside = torch.where(is_left_inside, left, left + 1), torch.where(is_left_inside, left + 1, left)
            t = torch.where(is_left_inside, across - (left + 0.5), left + 1.5 - across)
            target, source = torch.where(t > 0.5, outside, inside), torch.where(t > 0.5, inside, outside)
            upright = images[k].permute(*turn, 2)
            change = (t - 0.5).abs()[:, None] * (upright[line, source] - upright[line, target])
            delta = torch.zeros_like(upright).index_put((line, target), change, accumulate=True)
            image = image + delta.permute(*turn, 2)
        blended.append(image)
    return torch.stack(blended) if blended else images


def _crossings(
    screen: Tensor, z: Tensor, in_front: Tensor, edges: Edges, index: Tensor, depth: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where silhouettes pass between pixels `left` and `left + 1` of a line: line, left, is_left_inside and edge.

    A silhouette is an edge all of whose faces lie on one side of it on the screen: a rim, or a fold between a face
    seen from the front and one seen from behind. Here count those closer to the upright than to the line. It must lie
    in front of what the outer pixel sees, and the inner pixel must see something nearer than the outer one does. Of
    several silhouettes between two pixels the outermost counts, of equals the first.
    """
    a, b = screen[edges.ends].unbind(1)
    run = b - a
    owner = torch.repeat_interleave(torch.arange(len(a), device=a.device), edges.first.diff())
    to_corner = screen[edges.opposite] - a[owner]
    turn = run[owner, 0] * to_corner[:, 1] - run[owner, 1] * to_corner[:, 0]
    side = turn.sign() * in_front[edges.opposite]
    none = torch.zeros(len(a), dtype=side.dtype, device=side.device)
    low = none.scatter_reduce(0, owner, side, "amin")
    high = none.scatter_reduce(0, owner, side, "amax")  # both start from 0, so edges without a side are left out
    upright = run[:, 1].abs() > run[:, 0].abs() if axis else run[:, 1].abs() >= run[:, 0].abs()
    usable = (low * high == 0) & (low != high) & in_front[edges.ends].all(1) & upright
    is_left_inside = (low + high) * run[:, 1].sign() > 0

    height, width = index.shape
    centre = torch.arange(height, dtype=screen.dtype, device=screen.device) + 0.5
    top, bottom = torch.minimum(a[:, 1], b[:, 1]), torch.maximum(a[:, 1], b[:, 1])
    edge, line = (usable[:, None] & (top[:, None] <= centre) & (centre < bottom[:, None])).nonzero(as_tuple=True)
    share = (centre[line] - a[edge, 1]) / run[edge, 1]
    across = a[edge, 0] + share * run[edge, 0]
    left = (across - 0.5).floor().long()
    z_edge = 1 / ((1 - share) / z[edges.ends[edge, 0]] + share / z[edges.ends[edge, 1]])
    kept = (left >= 0) & (left < width - 1)
    edge, line, across, left, z_edge = (x[kept] for x in (edge, line, across, left, z_edge))
    is_left_inside = is_left_inside[edge]
    inside, outside = torch.where(is_left_inside, left, left + 1), torch.where(is_left_inside, left + 1, left)
    kept = (index[line, inside] != index[line, outside]) & (depth[line, inside] < depth[line, outside])
    kept &= z_edge < depth[line, outside]
    t = torch.where(is_left_inside, across - (left + 0.5), left + 1.5 - across)

    line, left, t, is_left_inside, edge = (x[kept] for x in (line, left, t, is_left_inside, edge))
    order = torch.argsort(-t, stable=True)
    order = order[torch.argsort((line * width + left)[order], stable=True)]
    _, count = torch.unique_consecutive((line * width + left)[order], return_counts=True)
    chosen = order[count.cumsum(0) - count]
    return line[chosen], left[chosen], is_left_inside[chosen], edge[chosen]

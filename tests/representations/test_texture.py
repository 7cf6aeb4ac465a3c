"""UV atlas and baking: charts do not overlap, and a known color field comes back through the pictures of it."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage, sparse

from maquette.core import BadInput, orbit
from maquette.render.mesh import render_mesh
from maquette.representations.mesh import Mesh
from maquette.representations.surface import sample_texture
from maquette.representations.texture import bake, paint, texels, unwrap


def box(low=(-0.4, -0.3, -0.2), high=(0.4, 0.3, 0.2)):
    low, high = torch.tensor(low), torch.tensor(high)
    corners = torch.tensor(list(product((0.0, 1.0), repeat=3))) * (high - low) + low
    faces = torch.tensor([
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ])  # fmt: skip
    return Mesh(corners, faces)


AROUND = orbit(torch.arange(12) * 30.0, torch.tensor([50.0, 0.0, -50.0] * 4), size=160)


def picture(mesh, camera=AROUND):
    seen = render_mesh(mesh, camera, supersample=2)
    return seen.color / seen.alpha.clamp(min=1e-3)[..., None], seen.alpha


def overlap(mesh, size=512):
    """Area of all charts beyond the area that they cover together, as a share of the texture."""
    a, b, c = mesh.uv[mesh.faces].unbind(1)
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs() / 2
    return float(areas.sum() - texels(mesh, size).inside.float().mean())


def test_charts_lie_in_the_square_do_not_overlap_and_keep_the_surface():
    mesh = box()
    flat = unwrap(mesh, 256)
    assert flat.uv.min() >= 0
    assert flat.uv.max() <= 1
    assert abs(overlap(flat)) < 0.005
    assert texels(flat, 256).inside.float().mean() > 0.3
    assert torch.equal(flat.vertices[flat.faces], mesh.vertices[mesh.faces])  # face by face, only vertices were doubled
    assert overlap(Mesh(mesh.vertices, mesh.faces, uv=torch.rand(8, 2))) > 0.1  # the measure itself sees overlaps


def test_charts_keep_their_distance():
    size = 64
    flat = unwrap(box(), size)
    links = torch.cat([flat.faces[:, [0, 1]], flat.faces[:, [1, 2]]]).T.numpy()
    graph = sparse.coo_array((np.ones(links.shape[1]), tuple(links)), shape=(len(flat.vertices),) * 2)
    count, chart = sparse.csgraph.connected_components(graph, directed=False)
    assert count >= 3
    seen = render_mesh(  # the atlas as a picture of itself, each chart in its own gray
        Mesh(torch.cat([flat.uv - 0.5, torch.zeros(len(flat.uv), 1)], -1), flat.faces,
             vertex_colors=torch.from_numpy(chart + 1.0).float()[:, None].expand(-1, 3)),
        orbit(0.0, 0.0, radius=100.0, fov_deg=math.degrees(2 * math.atan(0.005)), size=size), supersample=1,
    ).color[0, :, :, 0].round().numpy()  # fmt: skip
    farthest, nearest = ndimage.maximum_filter(seen, 3), ndimage.minimum_filter(np.where(seen, seen, 99), 3)
    assert np.array_equal(np.unique(seen), np.arange(count + 1))
    assert (farthest == nearest)[farthest > 0].all()  # within one texel of each chart there is no other


def test_colors_of_vertices_go_along_to_the_doubled_ones():
    mesh = box()
    mesh = Mesh(mesh.vertices, mesh.faces, vertex_colors=mesh.vertices + 0.5)
    flat = unwrap(mesh, 64)
    assert len(flat.vertices) > len(mesh.vertices)
    assert torch.equal(flat.vertex_colors, flat.vertices + 0.5)


def test_texels_know_their_place():
    flat = unwrap(box(), 128)
    target = texels(flat, 128)
    rows, columns = torch.nonzero(target.inside, as_tuple=True)
    uv = torch.stack([(columns + 0.5) / 128, (rows + 0.5) / 128], dim=-1)
    on_side = ((target.points.abs() - torch.tensor([0.4, 0.3, 0.2])).abs() < 1e-5).any(-1)
    assert on_side.all()
    corner = flat.faces[0, 0]
    nearest = (uv - flat.uv[corner]).norm(dim=-1).argmin()
    assert (target.points[nearest] - flat.vertices[corner]).norm() < 0.03


def test_a_color_field_comes_back():
    mesh = box()
    painted = unwrap(Mesh(mesh.vertices, mesh.faces, vertex_colors=mesh.vertices + 0.5), 256)
    baked = bake(painted, AROUND, *picture(painted), size=256)
    target = texels(baked, 256)
    error = (baked.texture[target.inside] - (target.points + 0.5)).abs()
    assert error.mean() < 2 / 255
    assert error.quantile(0.99) < 8 / 255  # pixels that cross an edge
    unseen_from_here = orbit(15.0, 75.0, size=160)
    again, truth = render_mesh(baked, unseen_from_here).color, render_mesh(
        Mesh(mesh.vertices, mesh.faces, vertex_colors=mesh.vertices + 0.5), unseen_from_here
    ).color  # fmt: skip
    assert (again - truth).abs().mean() < 1 / 255


def test_charts_are_padded_against_bilinear_lookups():
    mesh = box()
    painted = unwrap(Mesh(mesh.vertices, mesh.faces, vertex_colors=torch.ones(8, 3)), 64)
    baked = bake(painted, AROUND, *picture(painted), size=64)
    assert (baked.texture > 0.99).all()
    assert (sample_texture(baked.texture, baked.uv) > 0.99).all()


def test_one_does_not_paint_through_another():
    front, back = box((-0.4, -0.4, 0.2), (0.4, 0.4, 0.3)), box((-0.2, -0.2, -0.3), (0.2, 0.2, -0.2))
    both = Mesh(torch.cat([front.vertices, back.vertices]), torch.cat([front.faces, back.faces + 8]))
    red, blue = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1])
    colored = Mesh(both.vertices, both.faces, face_colors=torch.stack([red, blue]).repeat_interleave(12, 0))
    flat = unwrap(both, 128)
    camera = orbit(torch.tensor([0.0, 180.0]), 0.0, size=160)
    baked = bake(flat, camera, *picture(colored, camera), size=128)
    target = texels(baked, 128)
    colors = baked.texture[target.inside]
    is_back = (target.points[:, 2] + 0.3).abs() < 1e-4
    is_inner = (target.points[:, 2] + 0.2).abs() < 1e-4  # faces the front camera, hidden by the red box
    assert torch.allclose(colors[is_back].mean(0), blue, atol=0.05)  # its outermost pixels show both
    assert torch.allclose(colors[is_inner].mean(0), blue, atol=0.1)  # from its neighbours, not from the red one


def test_cameras_that_see_nothing_are_refused():
    away = orbit(0.0, 0.0, radius=0.01, size=32)  # inside of the box
    flat = unwrap(box(), 32)
    with pytest.raises(BadInput, match="no view"):
        bake(flat, away, torch.ones(1, 32, 32, 3), torch.ones(1, 32, 32), size=32)


def test_a_painted_function_comes_back_at_every_corner_also_of_charts_thinner_than_a_texel(shapes):
    flat = unwrap(shapes.torus(around=48, across=24), 48)  # 2304 faces on 2304 texels
    painted = paint(flat, lambda points, normals: points + 0.5, size=48)
    error = (sample_texture(painted.texture, painted.uv) - (flat.vertices + 0.5)).abs().amax(-1)
    assert error.max() < 0.06  # an edge is 0.03 to 0.06 long, a texel about as much
    assert flat.uv.min() >= 0.5 / 48 and flat.uv.max() <= 1 - 0.5 / 48  # no lookup reaches the other side


def test_paint_faces_outward_and_refuses_nan(shapes):
    flat = unwrap(shapes.ball(8), 64)
    painted = paint(flat, lambda points, normals: (normals + 1) / 2, size=64)
    seen = sample_texture(painted.texture, painted.uv)
    assert (seen - (flat.vertices / 0.4 + 1) / 2).abs().max() < 0.1
    with pytest.raises(BadInput, match="NaN"):
        paint(flat, lambda points, normals: points / 0, size=64)

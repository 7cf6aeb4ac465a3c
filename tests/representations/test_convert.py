"""Clouds of known shapes become the meshes of those shapes, with their colors on the right sides."""

import math

import numpy as np
import pytest
import torch

from maquette.core import BadInput, matrix_to_quat, normalize, orbit
from maquette.render.gaussians import render_gaussians
from maquette.render.mesh import render_mesh
from maquette.representations.convert import clean_mesh, field_to_mesh, gaussians_to_mesh
from maquette.representations.gaussians import SH_C0, GaussianCloud
from maquette.representations.mesh import Mesh
from maquette.representations.surface import sample_texture
from maquette.representations.texture import texels

SMALL = {"resolution": 64, "faces": 4000, "texture_size": 256}
AROUND = orbit(torch.arange(12) * 30.0, torch.tensor([50.0, 0.0, -50.0] * 4), size=256)


def discs(points, normals, colors, width):
    """Flat opaque Gaussians on a surface, `width` wide."""
    n = len(points)
    tangent = normalize(torch.linalg.cross(normals, normals.roll(1, 1) + torch.tensor([0.1, 0.2, 0.3])))
    frame = torch.stack([tangent, torch.linalg.cross(normals, tangent), normals], dim=-1)
    scales = torch.tensor([width, width, width / 8]).log().expand(n, 3)
    sh = ((colors - 0.5) / SH_C0)[:, None]
    return GaussianCloud(points, scales, matrix_to_quat(frame), torch.full((n,), 3.0), sh)


def sphere(count=3000, radius=0.4):
    index = torch.arange(count) + 0.5
    angle, y = index * math.pi * (3 - math.sqrt(5)), 1 - 2 * index / count
    ring = (1 - y.square()).sqrt()
    normals = torch.stack([ring * angle.sin(), y, ring * angle.cos()], dim=-1)
    return discs(radius * normals, normals, (normals + 1) / 2, 0.7 * radius * math.sqrt(4 * math.pi / count))


def torus(large=0.33, small=0.13):
    u, v = torch.meshgrid(torch.arange(90) * (math.tau / 90), torch.arange(36) * (math.tau / 36), indexing="ij")
    u, v = u.reshape(-1), v.reshape(-1)
    normals = torch.stack([v.cos() * u.sin(), v.sin(), v.cos() * u.cos()], dim=-1)
    middle = large * torch.stack([u.sin(), torch.zeros_like(u), u.cos()], dim=-1)
    return discs(middle + small * normals, normals, torch.full((len(u), 3), 0.5), 0.018)


SIDES = torch.tensor([
    [0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1], [0.1, 0.9, 0.9], [0.9, 0.1, 0.9]
])  # fmt: skip
"""Colors of -X, +X, -Y, +Y, -Z, +Z."""


def boxes(*corners, spacing=0.012, colors=SIDES):
    """Axis-aligned boxes (low, high), each side in its color: a cloud of discs, and the mesh that it is about."""
    parts, vertices, faces, face_colors = [], [], [], []
    for low, high in corners:
        low, high = torch.tensor(low), torch.tensor(high)
        for side in range(6):
            axis, (first, second) = side // 2, [a for a in range(3) if a != side // 2]
            edges = [torch.arange(low[a] + spacing / 2, high[a], spacing) for a in (first, second)]
            s, t = (part.reshape(-1) for part in torch.meshgrid(*edges, indexing="ij"))
            at = (low, high)[side % 2][axis]
            points = torch.zeros(len(s), 3)
            points[:, axis], points[:, first], points[:, second] = at, s, t
            normals = torch.zeros(len(s), 3)
            normals[:, axis] = 2 * (side % 2) - 1
            parts.append(discs(points, normals, colors[side].expand(len(s), 3), 0.7 * spacing))
            quad = torch.zeros(4, 3)
            quad[:, axis] = at
            quad[:, first] = torch.stack([low[first], high[first], high[first], low[first]])
            quad[:, second] = torch.stack([low[second], low[second], high[second], high[second]])
            start = 4 * len(vertices)
            vertices.append(quad)
            faces.append(torch.tensor([[0, 1, 2], [0, 2, 3]]) + start)
            face_colors.append(colors[side].expand(2, 3))
    mesh = Mesh(torch.cat(vertices), torch.cat(faces), face_colors=torch.cat(face_colors))
    return GaussianCloud.cat(parts), mesh


def welded(mesh):
    """Vertices and faces without the doubles along seams of the atlas."""
    vertices, index = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    return vertices.numpy().astype(np.float64), index[mesh.faces].numpy()


def volume(mesh):
    a, b, c = mesh.vertices[mesh.faces].double().unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum()) / 6


def is_closed(mesh):
    _, faces = welded(mesh)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there, counts = np.unique(edges, axis=0, return_counts=True)
    back = np.unique(edges[:, ::-1], axis=0)
    return bool((counts == 1).all()) and np.array_equal(there, back)


def number_of_parts_and_holes(mesh):
    from scipy import sparse

    vertices, faces = welded(mesh)
    links = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sparse.coo_array((np.ones(len(links)), links.T), shape=(len(vertices),) * 2)
    parts, _ = sparse.csgraph.connected_components(graph, directed=False)
    euler = len(vertices) - 3 * len(faces) // 2 + len(faces)
    return parts, parts - euler // 2


def likeness(one, other):
    """Intersection over union of two coverages."""
    return (torch.minimum(one, other).sum() / torch.maximum(one, other).sum()).item()


@pytest.fixture(scope="module")
def ball():
    return gaussians_to_mesh(sphere(), views=AROUND, **SMALL)


@pytest.fixture(scope="module")
def painted_box():
    cloud, truth = boxes(((-0.4, -0.25, -0.15), (0.4, 0.25, 0.15)))
    return cloud, truth, gaussians_to_mesh(cloud, views=AROUND, **SMALL)


def test_a_hollow_sphere_of_gaussians_is_a_full_ball(ball):
    camera = orbit(0.0, 0.0, size=512)
    covered_px = (render_gaussians(sphere(), camera).alpha > 0.5).sum().item()
    tangent = math.sqrt(covered_px / math.pi) / camera.focal_px[0, 0].item()
    shown = 2.2 * tangent / math.sqrt(1 + tangent**2)  # the radius of the ball with this outline
    radius, cell = ball.vertices.norm(dim=-1), 0.8 / 64
    assert shown == pytest.approx(0.405, abs=0.003)
    assert radius.mean().item() == pytest.approx(shown, abs=0.4 * cell)
    assert radius.std().item() < 0.1 * cell
    assert volume(ball) == pytest.approx(4 / 3 * math.pi * radius.mean().item() ** 3, rel=0.01)
    assert is_closed(ball)
    assert number_of_parts_and_holes(ball) == (1, 0)
    assert 3000 < len(ball.faces) <= 4000


def test_every_face_looks_outward(ball):
    assert (ball.face_normals() * ball.vertices[ball.faces].mean(1)).sum(-1).min() > 0.3


def test_a_torus_keeps_its_hole():
    ring = gaussians_to_mesh(torus(), views=AROUND, resolution=48, faces=2000, texture_size=64)
    assert is_closed(ring)
    assert number_of_parts_and_holes(ring) == (1, 1)
    camera = orbit(torch.tensor([0.0, 30.0]), torch.tensor([80.0, 20.0]))
    assert likeness(render_mesh(ring, camera).alpha, render_gaussians(torus(), camera).alpha) > 0.95


def test_the_atlas_does_not_overlap(ball):
    a, b, c = ball.uv[ball.faces].unbind(1)
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs() / 2
    assert ball.uv.min() >= 0
    assert ball.uv.max() <= 1
    assert areas.sum().item() == pytest.approx(texels(ball, 1024).inside.float().mean().item(), abs=0.004)
    assert ball.texture.shape == (256, 256, 3)


def test_each_side_of_a_box_has_its_color_where_uv_says(painted_box):
    _, _, mesh = painted_box
    middle, normal = mesh.vertices[mesh.faces].mean(1), mesh.face_normals()
    uv = mesh.uv[mesh.faces].mean(1)
    seen = mesh.texture[(uv[:, 1] * 256).long(), (uv[:, 0] * 256).long()]  # row 0 is v = 0: the upper left corner
    half = torch.tensor([0.4, 0.25, 0.15])
    for side in range(6):
        axis, sign = side // 2, 2 * (side % 2) - 1
        others = [a for a in range(3) if a != axis]
        on_it = (normal[:, axis] * sign > 0.9) & (middle[:, others].abs() < half[others] - 0.03).all(-1)
        assert on_it.sum() > 10
        assert (seen[on_it] - SIDES[side]).abs().quantile(0.9) < 0.04


def test_the_baked_box_looks_like_the_box(painted_box):
    _, truth, mesh = painted_box
    camera = orbit(torch.tensor([25.0, 115.0, 205.0, 295.0, 40.0, 200.0]), torch.tensor([20.0, 20, 20, 20, -60, 70]))
    ours, theirs = render_mesh(mesh, camera), render_mesh(truth, camera)
    assert likeness(ours.alpha, theirs.alpha) > 0.94  # the discs reach over the edges by a third of a cell
    solid = torch.minimum(ours.alpha, theirs.alpha) > 0.99
    error = (ours.color - theirs.color)[solid]
    assert -10 * math.log10(error.square().mean()) > 20  # edges between sides, rounded by a cell
    assert error.abs().median() < 0.01


def test_thin_legs_survive_and_stand_where_they_stood():
    legs = [((x, -0.5, z), (x + 0.024, 0.1, z + 0.024)) for x in (-0.3, 0.276) for z in (-0.3, 0.276)]
    cloud, truth = boxes(((-0.3, 0.1, -0.3), (0.3, 0.14, 0.3)), *legs, spacing=0.008)
    table = gaussians_to_mesh(cloud, views=AROUND, resolution=64, faces=4000, texture_size=64)
    assert is_closed(table)
    assert number_of_parts_and_holes(table)[0] == 1
    for (x, _, z), _ in legs:
        near = ((table.vertices[:, [0, 2]] - torch.tensor([x + 0.012, z + 0.012])).abs() < 0.035).all(-1)
        heights = table.vertices[near, 1].sort().values
        assert heights[0] < -0.48
        assert heights.diff().max() < 0.1
    camera = orbit(torch.tensor([20.0, 110.0]), torch.tensor([10.0, -25.0]))
    assert likeness(render_mesh(table, camera).alpha, render_mesh(truth, camera).alpha) > 0.75


def test_given_images_paint_and_unseen_sides_take_from_their_neighbours(painted_box):
    cloud, _, _ = painted_box
    front = orbit(0.0, 0.0, size=96)
    orange = torch.tensor([1.0, 0.5, 0.1])
    mesh = gaussians_to_mesh(cloud, views=front, images=orange.expand(1, 96, 96, 3), **SMALL)
    assert (mesh.texture - orange).abs().max() < 0.02  # also at the back, which is green and blue in the cloud
    assert volume(mesh) == pytest.approx(0.8 * 0.5 * 0.3, rel=0.25)  # one small silhouette


def test_the_same_cloud_gives_the_same_bytes(ball):
    again = gaussians_to_mesh(sphere(), views=AROUND, **SMALL)
    for name, tensor in vars(ball).items():
        assert tensor is getattr(again, name) or torch.equal(tensor, getattr(again, name)), name


def test_place_and_size_of_the_cloud_do_not_matter():
    cloud = sphere()
    shift = torch.tensor([5.0, -7.0, 20.0])
    moved = GaussianCloud(
        cloud.means * 30 + shift, cloud.log_scales + math.log(30), cloud.quats, cloud.logit_opacities, cloud.sh
    )
    for given, size, place in ((cloud, 1, torch.zeros(3)), (moved, 30, shift)):  # seen from all around by itself
        mesh = gaussians_to_mesh(given, **SMALL)
        around = (mesh.vertices - place) / size
        assert around.norm(dim=-1).mean().item() == pytest.approx(0.4, abs=1.2 * 0.8 / 64)
        painted = sample_texture(mesh.texture, mesh.uv)
        assert (painted - (normalize(around) + 1) / 2).abs().mean() < 0.02


def test_what_cannot_become_a_mesh_is_refused():
    cloud = sphere(200)
    nothing = cloud.select(slice(0, 0))
    with pytest.raises(BadInput, match="no visible"):
        gaussians_to_mesh(nothing)
    with pytest.raises(BadInput, match="expected at least 8"):
        gaussians_to_mesh(cloud, resolution=1)
    for wrong in ({"images": torch.zeros(1, 8, 8, 3)}, {"images": torch.zeros(1, 8, 8, 3), "views": orbit(0.0, 0.0)}):
        with pytest.raises(BadInput, match="do not belong"):
            gaussians_to_mesh(cloud, **wrong)
    with pytest.raises(BadInput, match="dense"):
        gaussians_to_mesh(cloud, level=99.0, resolution=16)


def soft_ball(points, directions):
    """A ball of radius 0.4, soft outside and noisy inside, and a crumb; red on the right, blue for straight looks."""
    distance = points.norm(dim=-1)
    density = 200 * torch.sigmoid((0.4 - distance) / 0.01)
    density = torch.where((distance < 0.3) & (torch.sin(200 * points).prod(-1) > 0), 0.0, density)
    density = torch.where((points - 0.45).norm(dim=-1) < 0.02, 200.0, density)
    is_met_straight = (directions * normalize(points)).sum(-1) < -0.8
    return density, torch.stack([points[:, 0] > 0, torch.ones(len(points)), is_met_straight], dim=-1).float()


def radius_at(depth):
    """Where a ray to the middle of the ball has met so much: 200 * 0.01 * softplus((0.4 - r) / 0.01)."""
    return 0.4 - 0.01 * math.log(math.exp(depth / 2) - 1)


def test_a_field_becomes_a_mesh_in_its_own_colors():
    mesh = field_to_mesh(soft_ball, half_size=0.5, **SMALL)
    assert is_closed(mesh) and number_of_parts_and_holes(mesh) == (1, 0)  # no crumb, no hollows
    radius = mesh.vertices.norm(dim=-1)
    assert radius.mean().item() == pytest.approx(radius_at(0.3), abs=0.005) and radius.std() < 0.003
    seen = sample_texture(mesh.texture, mesh.uv)
    is_right, is_left = mesh.vertices[:, 0] > 0.02, mesh.vertices[:, 0] < -0.02
    assert (seen[is_right, 0] > 0.99).all() and (seen[is_left, 0] < 0.01).all()
    assert (mesh.texture[..., 1:] == 1).all()  # looked at from outside, and nothing between charts is left black


def test_silhouettes_find_the_depth_of_a_field():
    origins, directions = AROUND.rays()
    passes_by = torch.linalg.cross(origins, directions).norm(dim=-1)
    for wanted in (0.43, 0.405):
        mesh = field_to_mesh(soft_ball, half_size=0.5, views=AROUND, alpha=(passes_by < wanted).float(), **SMALL)
        assert mesh.vertices.norm(dim=-1).mean().item() == pytest.approx(wanted, abs=0.005)


def test_fields_without_a_surface_are_refused():
    def nan(points, directions):
        return torch.full_like(points[:, 0], math.nan), points

    def thin(points, directions):
        return torch.full_like(points[:, 0], 0.1), points

    with pytest.raises(BadInput, match="NaN or infinity at 262,144 of 262,144"):
        field_to_mesh(nan, half_size=0.5, **SMALL)
    with pytest.raises(BadInput, match=r"nothing is as dense as 0\.3; the densest point has 0\.0"):
        field_to_mesh(thin, half_size=0.5, **SMALL)
    with pytest.raises(BadInput, match="coverage"):
        field_to_mesh(soft_ball, half_size=0.5, views=AROUND, **SMALL)


def test_any_mesh_becomes_a_clean_one_in_its_colors(painted_box):
    _, truth, _ = painted_box  # six sides that share no vertex, each in its color
    mesh, done = clean_mesh(truth, faces=64, texture_size=256)
    assert done.welded_vertices == 16 and is_closed(mesh) and volume(mesh) == pytest.approx(0.8 * 0.5 * 0.3, rel=1e-4)
    camera = orbit(torch.tensor([25.0, 115.0, 205.0, 295.0]), torch.tensor([20.0, 20, -60, 70]))
    error = render_mesh(mesh, camera).color - render_mesh(truth, camera).color
    assert -10 * math.log10(error.square().mean()) > 38


def test_a_mesh_with_too_many_faces_is_brought_within_the_budget(shapes):
    ball = shapes.ball(64)
    mesh, done = clean_mesh(ball, faces=1000, texture_size=64)
    assert len(ball.faces) > 16_000 >= 1000 >= len(mesh.faces) > 700
    assert is_closed(mesh) and not done.done()
    assert mesh.vertices.norm(dim=-1).mean().item() == pytest.approx(0.4, abs=0.004)
    assert (mesh.texture == 1).all()  # white, as a mesh without colors is


@pytest.mark.slow
def test_a_million_faces_in(shapes):
    ball = shapes.ball(500)
    assert len(ball.faces) > 900_000
    mesh, _ = clean_mesh(ball, faces=5000, texture_size=256)
    assert is_closed(mesh) and len(mesh.faces) <= 5000
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.01)


@pytest.mark.parametrize("wrong", [{"faces": 1_000_000}, {"faces": 3}, {"texture_size": 0}, {"texture_size": 100_000}])
def test_budgets_out_of_range_are_refused_before_any_work(wrong, shapes):
    for convert in (
        lambda: gaussians_to_mesh(sphere(50), **wrong),
        lambda: clean_mesh(shapes.cube(), **wrong),
        lambda: field_to_mesh(soft_ball, half_size=0.5, **wrong),
    ):
        with pytest.raises(BadInput, match="expected at least 8, 64, 8, at most 200000 faces and 8192 texels"):
            convert()

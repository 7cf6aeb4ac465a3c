"""Pictures of meshes: colors from the right place, coverage, depth and normals of shapes that we know."""

import math

import pytest
import torch

from maquette.core import BadInput, look_at, orbit, turntable
from maquette.render.mesh import AMBIENT, KEY, SKY, render_mesh
from maquette.representations.mesh import Mesh
from maquette.representations.surface import sample_texture

CORNERS = torch.tensor([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UV = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])  # glTF: (0, 0) is the upper left corner of the picture


def ball(rings=32, segments=64):
    polar, around = torch.linspace(0, math.pi, rings + 1), torch.arange(segments) * (2 * math.pi / segments)
    p, a = torch.meshgrid(polar, around, indexing="ij")
    vertices = 0.5 * torch.stack([p.sin() * a.sin(), p.cos(), p.sin() * a.cos()], dim=-1).reshape(-1, 3)
    i, j = (part.reshape(-1) for part in torch.meshgrid(torch.arange(rings), torch.arange(segments), indexing="ij"))
    right = (j + 1) % segments
    corner, next_one = i * segments + j, i * segments + right
    lower = torch.stack([corner, corner + segments, next_one + segments], dim=1)
    faces = torch.cat([lower, torch.stack([corner, next_one + segments, next_one], dim=1)])
    return Mesh(vertices, faces)


def test_the_upper_left_texel_is_seen_at_the_upper_left():
    texture = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]])
    plate = Mesh(CORNERS, FACES, uv=UV, texture=texture)
    seen = render_mesh(plate, orbit(0.0, 0.0, size=40)).color[0]
    for row, column, color in ((15, 15, texture[0, 0]), (15, 24, texture[0, 1]), (24, 15, texture[1, 0])):
        assert torch.allclose(seen[row, column], color, atol=0.35)
        assert seen[row, column].argmax() == color.argmax()
    from_behind = render_mesh(plate, orbit(180.0, 0.0, size=40)).color[0]
    assert torch.allclose(from_behind.flip(1), seen, atol=1e-4)  # both sides show, the back one mirrored


def test_texture_lookup_is_bilinear_between_texel_centres_and_repeats():
    texture = torch.rand(3, 5, 3)
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
    uv = torch.stack([(columns + 0.5) / 5, (rows + 0.5) / 3], dim=-1).reshape(-1, 2)
    assert torch.allclose(sample_texture(texture, uv), texture.reshape(-1, 3), atol=1e-5)
    assert torch.allclose(sample_texture(texture, uv + torch.tensor([2.0, -3.0])), texture.reshape(-1, 3), atol=1e-4)
    between = sample_texture(texture, torch.tensor([[0.2, 0.5]]))  # halfway between columns 0 and 1 of row 1
    assert torch.allclose(between[0], (texture[1, 0] + texture[1, 1]) / 2, atol=1e-5)


def test_vertex_colors_are_interpolated_in_perspective():
    torch.manual_seed(0)
    vertices = torch.rand(60, 3) - 0.5
    soup = Mesh(vertices, torch.arange(60).reshape(20, 3), vertex_colors=vertices + 0.5)  # color tells the place
    camera = orbit(torch.tensor([10.0, 140.0]), torch.tensor([20.0, -50.0]), radius=1.3, size=48)
    seen = render_mesh(soup, camera, supersample=1)
    origins, directions = camera.rays()
    along = directions @ camera.world_from_camera[:, None, :3, 2:3]  # the ray's share of the camera axis
    places = origins + directions * (seen.depth[..., None] / along)
    hit = seen.alpha > 0
    assert hit.float().mean() > 0.2
    assert torch.allclose(seen.color[hit], places[hit] + 0.5, atol=2e-3)


def test_first_texture_then_faces_then_vertices_then_white():
    camera = orbit(0.0, 0.0, size=16)
    red, green, blue = torch.eye(3)
    full = {
        "texture": red.expand(2, 2, 3), "uv": UV, "face_colors": green.expand(2, 3), "vertex_colors": blue.expand(4, 3)
    }  # fmt: skip
    for dropped, color in (
        ([], red),
        (["texture"], green),
        (["face_colors"], blue),
        (["vertex_colors"], torch.ones(3)),
    ):
        for name in dropped:
            del full[name]
        assert torch.allclose(render_mesh(Mesh(CORNERS, FACES, **full), camera).color[0, 8, 8], color)


def test_a_ball_has_the_coverage_depth_and_normals_of_a_ball():
    camera = orbit(torch.tensor([0.0, 77.0]), torch.tensor([0.0, 40.0]), size=64)
    seen = render_mesh(ball(), camera, supersample=4)
    radius_px = camera.focal_px[0, 0].item() * 0.5 / math.sqrt(2.2**2 - 0.5**2)  # of the tangent cone
    assert seen.alpha.sum((1, 2)).tolist() == pytest.approx([math.pi * radius_px**2] * 2, rel=0.01)
    middle = seen.depth[:, 31:33, 31:33]
    assert torch.allclose(middle, torch.tensor(1.7), atol=3e-3)
    assert (seen.depth[seen.alpha == 0] == 0).all()
    towards = torch.nn.functional.normalize(camera.position, dim=-1)
    assert torch.allclose(seen.normal[:, 32, 32], towards, atol=0.06)
    assert (seen.normal.norm(dim=-1) <= seen.alpha + 1e-5).all()
    _, directions = camera.rays()
    assert ((seen.normal * directions).sum(-1) <= 1e-6).all()


def test_edges_mix_with_the_background_by_coverage():
    torch.manual_seed(0)
    background = torch.tensor([0.2, 0.4, 0.9])
    seen = render_mesh(ball(), orbit(0.0, 0.0, size=32), background=background, supersample=3)
    expected = seen.alpha[..., None] * torch.ones(3) + (1 - seen.alpha)[..., None] * background
    assert torch.allclose(seen.color, expected, atol=1e-5)
    assert ((seen.alpha > 0) & (seen.alpha < 1)).any()
    assert torch.equal(render_mesh(ball(), orbit(0.0, 0.0, size=8)).color[0, 0, 0], torch.zeros(3))


def test_light_from_above_front():
    gray = Mesh(CORNERS, FACES, face_colors=torch.full((2, 3), 0.5))
    camera = orbit(0.0, 0.0, size=8)
    lit = render_mesh(gray, camera, light=torch.tensor([0.0, 0.0, 7.0])).color[0, 4, 4]
    assert torch.allclose(lit, torch.full((3,), 0.5 * (AMBIENT + SKY / 2 + KEY)), atol=1e-5)
    unlit = render_mesh(gray, camera, light=torch.tensor([0.0, 0.0, -1.0])).color[0, 4, 4]
    assert torch.allclose(unlit, torch.full((3,), 0.5 * (AMBIENT + SKY / 2)), atol=1e-5)
    floor = Mesh(CORNERS[:, [0, 2, 1]], FACES.flip(1), face_colors=torch.full((2, 3), 0.5))
    from_above = look_at(torch.tensor([[0.0, 2.0, 0.1]]), torch.zeros(3), size=8)
    lit = render_mesh(floor, from_above, light=torch.tensor([1.0, 0.0, 0.0])).color[0, 4, 4]
    assert torch.allclose(lit, torch.full((3,), 0.5 * (AMBIENT + SKY)), atol=1e-5)


def test_groups_of_cameras_draw_what_one_camera_draws(monkeypatch):
    from maquette.render import mesh as module

    camera = turntable(5, size=16)
    together = render_mesh(ball(), camera)
    monkeypatch.setattr(module, "SAMPLES_AT_ONCE", 2 * 32 * 32)
    for name, one in vars(render_mesh(ball(), camera)).items():
        if one is not None:
            assert torch.equal(one, getattr(together, name))


def test_nothing_to_see():
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    seen = render_mesh(empty, orbit(0.0, 0.0, size=8), background=torch.ones(3))
    assert torch.equal(seen.color, torch.ones(1, 8, 8, 3))
    assert not seen.alpha.any()
    assert render_mesh(empty, turntable(3, size=8)[[]]).color.shape == (0, 8, 8, 3)
    with pytest.raises(BadInput, match="supersample"):
        render_mesh(empty, orbit(0.0, 0.0, size=8), supersample=0)

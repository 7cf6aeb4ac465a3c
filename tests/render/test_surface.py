"""Pictures of meshes with gradients: like those of `render_mesh`, and every way in which a vertex moves a picture."""

import math

import pytest
import torch

from maquette.core import orbit, turntable
from maquette.render.mesh import render_mesh
from maquette.render.shading import Shading, lambertian, sample_shading
from maquette.render.surface import render_surface, vertex_normals
from maquette.representations import sdf_grid
from maquette.representations.mesh import Mesh
from maquette.representations.sdf_grid import sample
from maquette.representations.tets import TetField, grid_to_mesh


@pytest.fixture(scope="module")
def ball():
    return grid_to_mesh(sample(lambda p: sdf_grid.sphere(p, 0.4), resolution=24))


def test_pictures_are_those_of_the_supersampled_renderer(ball):
    colored = Mesh(ball.vertices, ball.faces, vertex_colors=(ball.vertices + 0.5).clamp(0, 1))
    camera = turntable(2, size=64)
    background = torch.tensor([0.2, 0.9, 0.4])
    ours = render_surface(colored, camera, background=background, smooth=False)
    theirs = render_mesh(colored, camera, background=background, supersample=4)
    for name, tolerance in (("color", 0.01), ("alpha", 0.01), ("normal", 0.02)):
        assert (getattr(ours, name) - getattr(theirs, name)).abs().mean() < tolerance
    inner = theirs.alpha == 1
    assert torch.allclose(ours.depth[inner], theirs.depth[inner], atol=0.02)
    assert (ours.alpha - theirs.alpha).abs().max() < 0.3  # coverage is right to a ramp, not to a corner
    hard = render_mesh(colored, camera, background=background, supersample=1)
    assert (ours.alpha - theirs.alpha).square().mean() < (hard.alpha - theirs.alpha).square().mean() / 4


def test_a_ball_has_its_own_normals_depth_and_points(ball):
    camera = orbit(40.0, 20.0, size=48)
    asked = []

    def color(points):
        asked.append(points)
        return points + 0.5

    seen = render_surface(ball, camera, color=color)
    assert (asked[0].norm(dim=-1) - 0.4).abs().max() < 5e-3
    inner = seen.alpha[0] == 1
    normal = seen.normal[0][inner]
    assert (normal.norm(dim=-1) - 1).abs().max() < 1e-4
    point = seen.color[0][inner] - 0.5
    assert ((normal * point).sum(-1) / point.norm(dim=-1)).mean() > 0.999
    assert seen.depth[0, 24, 24] == pytest.approx(2.2 - 0.4, abs=5e-3)
    assert seen.depth[0, 0, 0] == 0


@pytest.mark.parametrize("what", ["alpha", "color", "depth", "normal"])
def test_a_step_along_the_gradient_changes_the_picture_as_it_says(what):
    """Finite differences of whole pictures, visibility drawn anew, for a surface that learns; in double precision."""
    field = TetField(sample(lambda p: sdf_grid.torus(p, 0.3, 0.13), resolution=10, dtype=torch.float64))
    camera = orbit(torch.tensor([15.0, 100.0]), torch.tensor([30.0, 65.0]), size=24).to(torch.float64)
    lamp = Shading("lambertian", torch.tensor([[1.0, 2, 2], [2.0, 1, 0]]).double(), ambient=0.2, diffuse=0.8)
    weights = torch.randn(2, 24, 24, 3, generator=torch.Generator().manual_seed(0)).double()

    def value():
        seen = render_surface(field.mesh(), camera, color=lambda p: (4 * p).sin(), shade=lamp)
        image = getattr(seen, what)
        return (image * (weights if image.ndim == 4 else weights[..., 0])).sum()

    gradients = torch.autograd.grad(value(), [field.sdf, field.offsets])
    direction = [torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double() for x in gradients]
    predicted = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert abs(predicted) > 1e-3
    step, slope = 1e-7, 0.0
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, d in zip((field.sdf, field.offsets), direction, strict=True):
                parameter += sign * step * d
            slope += sign * float(value()) / (2 * step)
            for parameter, d in zip((field.sdf, field.offsets), direction, strict=True):
                parameter -= sign * step * d
    assert slope == pytest.approx(predicted, rel=2e-3)


def test_silhouettes_alone_make_a_ball_grow():
    """Its area in the picture, d alpha / d r: the circumference of its disc."""
    vertices = grid_to_mesh(sample(lambda p: sdf_grid.sphere(p, 0.3), resolution=16)).vertices.requires_grad_()
    faces = grid_to_mesh(sample(lambda p: sdf_grid.sphere(p, 0.3), resolution=16)).faces
    camera = orbit(10.0, 30.0, size=96)
    render_surface(Mesh(vertices, faces), camera).alpha.sum().backward()
    growth = float((vertices.grad * vertices.detach()).sum()) / 0.3
    focal = float(camera.focal_px[0, 0])
    radius = focal * 0.3 / math.sqrt(2.2**2 - 0.3**2)
    slope = focal * 2.2**2 / (2.2**2 - 0.3**2) ** 1.5
    assert growth == pytest.approx(2 * math.pi * radius * slope, rel=0.05)


def test_backgrounds_of_every_shape(ball):
    camera = turntable(2, size=16)
    for background in (torch.rand(3), torch.rand(2, 3), torch.rand(2, 16, 16, 3)):
        seen = render_surface(ball, camera, background=background)
        expected = (
            background if background.ndim == 1 else background[:, None, None] if background.ndim == 2 else background
        )
        assert torch.allclose(seen.color[:, 0, 0], expected.expand(2, 16, 16, 3)[:, 0, 0])


def test_gradients_reach_colors_of_vertices_and_textures():
    corners = torch.tensor([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    camera = orbit(0.0, 0.0, size=16)
    texture = torch.rand(4, 4, 3).requires_grad_()
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    render_surface(Mesh(corners, faces, uv=uv, texture=texture), camera).color.sum().backward()
    assert (texture.grad > 0).all()


def test_nothing_to_see_is_the_background():
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    seen = render_surface(empty, turntable(2, size=8), background=torch.ones(3), color=lambda p: p)
    assert torch.equal(seen.color, torch.ones(2, 8, 8, 3))
    assert not seen.alpha.any() and not seen.depth.any() and not seen.normal.any()


def test_normals_of_vertices_are_those_of_the_mesh(ball):
    assert torch.allclose(vertex_normals(ball), ball.vertex_normals(), atol=1e-4)


def test_light_falls_by_the_cosine():
    albedo, normal = torch.tensor([[0.5, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0]])
    point = torch.tensor([[0.0, 0.0, 1.0]])
    for angle in (0.0, 60.0, 120.0):
        lamp = point + 3 * torch.tensor([[math.sin(math.radians(angle)), 0, math.cos(math.radians(angle))]])
        lit = lambertian(albedo, normal, point, lamp, ambient=0.1, diffuse=0.9)
        assert torch.allclose(lit, albedo * (0.1 + 0.9 * max(0.0, math.cos(math.radians(angle)))), atol=1e-6)


def test_kinds_of_shading():
    albedo, normals, points = torch.rand(3, 5, 3)
    normals = torch.nn.functional.normalize(normals - 0.5, dim=-1)
    view = torch.tensor([0, 0, 1, 1, 1])
    lamps = torch.tensor([[3.0, 0, 0], [0, 3.0, 0]])

    def shown(kind):
        return Shading(kind, lamps, ambient=0.3, diffuse=0.7)(albedo, normals, points, view)

    assert torch.equal(shown("albedo"), albedo)
    assert torch.allclose(shown("normal"), normals / 2 + 0.5)
    assert torch.allclose(shown("lambertian"), albedo * shown("textureless"))
    one = Shading("textureless", lamps[:1], 0.3, 0.7)(albedo[:2], normals[:2], points[:2], view[:2])
    assert torch.allclose(shown("textureless")[:2], one)
    images = torch.rand(2, 4, 4, 3)
    lit = Shading("lambertian", lamps)(images, images, images, torch.arange(2)[:, None, None])
    assert lit.shape == images.shape


def test_draws_of_shading_have_their_shares_and_lamps_their_places():
    generator = torch.Generator().manual_seed(0)
    camera = turntable(4, size=8)
    draws = [sample_shading(generator, camera, soft=True, around="axis") for _ in range(600)]
    shares = [sum(one.kind == kind for one in draws) / 600 for kind in ("albedo", "textureless", "lambertian")]
    assert shares == pytest.approx([0.25, 0.375, 0.375], abs=0.05)
    assert sum(one.diffuse for one in draws) / 600 == pytest.approx(0.5, abs=0.05)
    lamps = torch.stack([one.lamps for one in draws])
    assert lamps.norm(dim=-1).min() >= 0.8 - 1e-5 and lamps.norm(dim=-1).max() <= 1.5 + 1e-5
    towards = torch.nn.functional.normalize(camera.position, dim=-1)
    cosine = (torch.nn.functional.normalize(lamps, dim=-1) * towards).sum(-1)
    assert cosine.min() >= 0.5 - 1e-5  # at most 60 degrees off the axis
    one, other = (sample_shading(torch.Generator().manual_seed(3), camera) for _ in range(2))
    assert torch.equal(one.lamps, other.lamps) and one.kind == other.kind

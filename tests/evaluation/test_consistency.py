"""A painted sphere that is cast in closed form agrees with itself, and paint that follows the eye does not."""

import math

import pytest
import torch
import torch.nn.functional as F

from maquette.core import Camera, orbit, turntable
from maquette.core.errors import BadInput
from maquette.evaluation.consistency import claimed, janus_by_reference, janus_by_text, reprojection
from maquette.render.rendering import Rendering

RADIUS = 0.4


def sphere(camera: Camera, paint, center=(0.0, 0.0, 0.0), radius=RADIUS) -> Rendering:
    """A sphere whose color is `paint(normals (views, h, w, 3), view numbers)`, on white, and its exact depth."""
    origin, direction = camera.rays()
    towards = origin - torch.tensor(center, dtype=torch.float64)
    along = (towards * direction).sum(-1)
    root = along.square() - towards.square().sum(-1) + radius**2
    distance = -along - root.clamp(min=0).sqrt()
    hit = root > 0
    normal = (towards + distance[..., None] * direction) / radius
    views = torch.arange(len(camera))[:, None, None].expand(hit.shape)
    color = torch.where(hit[..., None], paint(normal, views), 1.0)
    forward = camera.world_from_camera[:, :3, 2]
    depth = torch.where(hit, distance * torch.einsum("chwi,ci->chw", direction, forward), 0.0)
    return Rendering(color, hit.double(), depth)


def texture(normal, views):
    return 0.5 + 0.4 * torch.sin(5 * normal)


CAMERA = turntable(12, 10.0, size=96).to(torch.float64)


def test_a_painted_sphere_is_consistent():
    found = reprojection(sphere(CAMERA, texture), CAMERA)
    assert found.difference < 2e-3, "bilinear sampling, and nothing else"
    # Of the disk that one camera sees, the next, 30 degrees on, sees about all but a lune.
    assert 0.6 < found.shared < 0.95


def test_paint_that_changes_with_the_view_differs_by_exactly_that():
    def tinted(normal, views):
        return texture(normal, views) + 0.03 * (views % 2)[..., None]

    found = reprojection(sphere(CAMERA, tinted), CAMERA)
    assert found.difference == pytest.approx(0.03, abs=2e-3)
    same = reprojection(sphere(CAMERA, tinted), CAMERA, pairs=[(0, 2), (3, 1)])
    assert same.difference < 4e-3


def test_paint_that_turns_with_the_eye_does_not_agree():
    def followed(normal, views):
        right = torch.einsum("cij,chwi->chwj", CAMERA.world_from_camera[:, :3, :3], normal)  # in the camera's axes
        return texture(right, views)

    honest, janus = (reprojection(sphere(CAMERA, paint), CAMERA) for paint in (texture, followed))
    assert janus.difference > 50 * honest.difference
    assert janus.shared == honest.shared, "the shape is the same"


def test_a_place_behind_something_is_not_compared():
    """Two views from opposite sides see nothing in common but the rim; so do views of which one is blocked."""
    opposite = orbit(torch.tensor([0.0, 180.0]), 0.0, size=96).to(torch.float64)
    with pytest.raises(BadInput, match="found again"):
        reprojection(sphere(opposite, texture), opposite)
    camera = orbit(torch.tensor([0.0, 40.0]), 0.0, size=96).to(torch.float64)
    whole = sphere(camera, texture)
    middle = camera.position[1] * 0.5
    screen = sphere(camera[1], lambda normal, views: torch.zeros_like(normal), middle.tolist(), 0.6)
    blocked = [torch.cat([a[:1], b]) for a, b in zip(
        (whole.color, whole.alpha, whole.depth), (screen.color, screen.alpha, screen.depth), strict=True)]  # fmt: skip
    with pytest.raises(BadInput, match="found again"):
        reprojection(Rendering(*blocked), camera, pairs=[(0, 1)])


def test_the_same_place_twice_is_the_same_picture():
    camera = orbit(torch.tensor([20.0, 20.0], dtype=torch.float64), 15.0, size=64)
    found = reprojection(sphere(camera, texture), camera)
    assert found.difference < 1e-9, "every pixel lands on its own centre"
    assert found.shared == 1.0


def test_wrong_depth_is_found_out():
    seen = sphere(CAMERA, texture)
    deeper = Rendering(seen.color, seen.alpha, torch.where(seen.alpha > 0, seen.depth * 1.1, 0.0))
    assert reprojection(deeper, CAMERA).shared < 0.6 * reprojection(seen, CAMERA).shared


class Compass:
    """An `Encoder` that sees the side in the color of a picture; its vectors are mostly always the same."""

    def embed_image(self, images):
        return F.normalize(torch.cat([torch.full((len(images), 1), 20.0), images.mean(dim=(1, 2)) - 0.5], dim=1), dim=1)

    def embed_text(self, texts):
        sides = {"front": 0.0, "side": 90.0, "back": 180.0}
        angle = [math.radians(sides[text.split(", ")[1].removesuffix(" view")]) for text in texts]
        rows = [[20.0, math.cos(a) / 2, abs(math.sin(a)) / 2, 0.0] for a in angle]
        return F.normalize(torch.tensor(rows), dim=1)

    def features(self, images):
        return [images.movedim(-1, 1)]


def pictures(*azimuths: float, signed: bool = True) -> torch.Tensor:
    """Pictures whose color says where they were taken; on a thing with two equal sides if not `signed`."""
    angle = torch.tensor(azimuths).deg2rad()
    side = angle.sin() if signed else angle.sin().abs()
    color = torch.stack([angle.cos(), side, torch.zeros_like(side)], dim=1) / 2 + 0.5
    return color[:, None, None].expand(-1, 8, 8, -1)


ROUND = [k * 30.0 for k in range(12)]


def test_an_honest_turntable_has_one_front():
    front = [azimuth for azimuth, is_claimed in zip(
        ROUND, janus_by_reference(pictures(*ROUND), pictures(0, 90, 180, 270), Compass()).tolist(), strict=True
    ) if is_claimed]  # fmt: skip
    assert front == [0.0, 30.0, 330.0], "nearer to the front than to either side"
    by_text = janus_by_text(pictures(*ROUND, signed=False), "a cat", Compass())
    assert by_text.nonzero()[:, 0].tolist() == [0, 1, 11]


def test_fronts_everywhere_and_nowhere():
    reference = pictures(0, 90, 180, 270)
    everywhere = pictures(*[10.0 * (-1) ** k for k in range(8)])
    assert janus_by_reference(everywhere, reference, Compass()).float().mean().item() == 1.0
    assert janus_by_text(everywhere, "a cat", Compass()).all()
    assert not janus_by_reference(pictures(100, 180, 200, 260), reference, Compass()).any()
    pale = 0.5 + 0.1 * (pictures(270) - 0.5)
    assert not janus_by_reference(pale, reference, Compass()).any(), "a side remains one in faint colors"
    assert janus_by_reference(0.5 + 0.1 * (pictures(0) - 0.5), reference, Compass()).all()


def test_claims_by_hand():
    claimants = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, -3.0]])
    views = torch.tensor([[2.0, 1.0], [1.0, 2.0], [-1.0, 0.1], [5.0, -4.0], [1.0, 1.0]])
    assert claimed(views, claimants).tolist() == [True, False, False, True, False], "lengths do not count"
    with pytest.raises(BadInput, match="no rival"):
        claimed(views, claimants[:1])

"""Surfels that start on the hull of a ball and end on the ball; same seed, same bytes; what is refused."""

import pytest
import torch

from maquette.core import BadInput, Result, Scalar, orbit
from maquette.render.surfels import render_surfels
from maquette.training.fit_surfels import SurfelFit, fit_surfels, hull_surfels

TINY = SurfelFit(surfels=300, steps=60, views=4)


def ball_views(radius=0.35, size=32):
    """Twelve views of a ball colored by its normal: rgba, depth, normal, cameras."""
    azimuth = torch.tensor([0.0, 60, 120, 180, 240, 300, 30, 90, 150, 210, 270, 330])
    camera = orbit(azimuth, torch.tensor([30.0] * 6 + [-30.0] * 6), size=size)
    origins, directions = camera.rays()
    middle = (origins * directions).sum(-1)
    below = middle.square() - origins.square().sum(-1) + radius**2
    is_hit = below > 0
    along = -middle - below.clamp(min=0).sqrt()
    normal = torch.where(is_hit[..., None], (origins + along[..., None] * directions) / radius, 0.0)
    depth = torch.where(is_hit, along * (directions * camera.world_from_camera[:, None, None, :3, 2]).sum(-1), 0.0)
    return torch.cat([(normal + 1) / 2, is_hit[..., None].float()], dim=-1), depth, normal, camera


def errors(surfels, depth, normal, camera):
    seen = render_surfels(surfels, camera)
    where = (seen.alpha > 0.5) & (depth > 0)
    cosine = (torch.nn.functional.normalize(seen.normal, dim=-1) * normal).sum(-1)
    return (seen.depth - depth)[where].abs().mean().item(), cosine[where].clamp(-1, 1).acos().mean().item()


def test_a_fit_finds_the_ball():
    rgba, depth, normal, camera = ball_views()
    events = list(fit_surfels(rgba, camera, depth=depth, normal=normal, config=TINY))
    start = errors(hull_surfels(rgba[..., 3], camera, TINY.surfels), depth, normal, camera)
    end = errors(events[-1].asset, depth, normal, camera)
    assert end[0] < 0.75 * start[0]
    assert end[1] < 0.85 * start[1]  # sixty steps of three hundred discs
    losses = [event.value for event in events if isinstance(event, Scalar)]
    assert losses[-1] < 0.8 * losses[0]
    assert isinstance(events[-1], Result)
    assert len(events[-1].asset) == TINY.surfels


def test_the_same_seed_gives_the_same_bytes():
    rgba, _, _, camera = ball_views()
    config = SurfelFit(surfels=100, steps=8, views=3)
    one, two, other = ((*_,) for _ in (fit_surfels(rgba, camera, config=config, seed=s) for s in (1, 1, 2)))
    assert all(
        torch.equal(a, b) for a, b in zip(*(run[-1].asset.tensors().values() for run in (one, two)), strict=True)
    )
    assert not torch.equal(one[-1].asset.means, other[-1].asset.means)


def test_what_does_not_fit_is_refused():
    rgba, _, _, camera = ball_views(size=16)
    with pytest.raises(BadInput, match="one image per camera"):
        next(fit_surfels(rgba, camera[:5]))
    rgba[..., 3] = 0
    with pytest.raises(BadInput, match="both signs"):
        next(fit_surfels(rgba, camera))

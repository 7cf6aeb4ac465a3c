import math

import numpy as np
import pytest
import torch

from maquette.core.camera import turntable
from maquette.core.errors import BadInput
from maquette.data.posed import PosedSizes, draw_posed
from maquette.data.procedural import procedural_mesh
from maquette.models.gaussian_vae import GaussianVae, Posterior, patch_positions
from maquette.models.posed_views import pack_views
from maquette.models.surfel_decoder import BASE_SHARE, REACH, Level
from maquette.render.surfels import render_surfels

SMALL = {"latent_channels": 3, "width": 32, "heads": 2, "view_depth": 1, "decoder_depth": 2, "level_widths": (32, 16)}


def _vae(**options) -> GaussianVae:
    torch.manual_seed(0)
    return GaussianVae(**SMALL, **options).eval()


def _shaken() -> GaussianVae:
    """Gates that start at zero would hide everything."""
    model = _vae()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model


def _input(objects=2, views=3, points=10, size=16):
    draw = torch.Generator().manual_seed(1)
    camera = turntable(views, 10.0, size=size)
    packed = []
    for _ in range(objects):
        color, normal = torch.rand(2, views, size, size, 3, generator=draw).unbind()
        depth = 1.9 + 0.5 * torch.rand(views, size, size, generator=draw)
        packed.append(pack_views(color, depth * (depth > 2.0), normal - 0.5, camera))
    return torch.stack(packed), torch.rand(objects, points, 3, generator=draw) - 0.5


@pytest.mark.parametrize("points", [7, 12])
def test_sizes_for_any_number_of_points(points):
    model, (views, where) = _vae(splits=(3, 2)), _input(points=points)
    posterior = model.encode(views, where)
    assert posterior.mean.shape == posterior.log_variance.shape == (2, points, 3)
    levels = model.decode(where, posterior.sample(torch.Generator().manual_seed(0)))
    assert [level.means.shape[1] for level in levels] == [points, 3 * points, 6 * points]
    assert len(levels[2].cloud(1)) == 6 * points


@torch.no_grad()
def test_points_and_views_are_sets():
    model, (views, where) = _shaken(), _input()
    features = model.encode(views, where).mean
    turned = model.encode(views[:, [2, 0, 1]], where).mean
    torch.testing.assert_close(turned, features, atol=1e-4, rtol=1e-4)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model.encode(views, where[:, order]).mean, features[:, order], atol=1e-4, rtol=1e-4)
    levels, moved = model.decode(where, features), model.decode(where[:, order], features[:, order])
    for level, other in zip(levels, moved, strict=True):
        kin = level.means.shape[1] // 10  # children of one parent lie together and keep their order
        rows = (order[:, None] * kin + torch.arange(kin)).flatten()
        torch.testing.assert_close(other.means, level.means[:, rows], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.raw, level.raw[:, rows], atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_objects_of_a_batch_do_not_see_each_other_and_points_of_one_do():
    model, (views, where) = _shaken(), _input()
    features = model.encode(views, where).mean
    changed = views.clone()
    changed[0, 1] += 0.5
    again = model.encode(changed, where).mean
    assert torch.equal(again[1], features[1]) and (again[0] - features[0]).abs().max() > 1e-4
    moved = where.clone()
    moved[0, 0] += 0.1
    level, other = model.decode(where, features)[0], model.decode(moved, features)[0]
    assert torch.equal(level.raw[1], other.raw[1]) and (level.raw[0, 5] - other.raw[0, 5]).abs().max() > 1e-6


@torch.no_grad()
def test_a_fresh_read_out_looks_near_its_points():
    """Another color on one half of a box changes the features of that half more than those of the other."""
    sizes = PosedSizes(inputs=4, targets=1, pixels=32, points=40)
    posed = draw_posed(procedural_mesh(0), np.random.default_rng(0), sizes)
    views, model = posed.views[None], _vae(splits=(2, 2))
    changed = views.clone()
    changed[:, :, 0][views[:, :, 12] > 0.2] += 0.5
    apart = (model.encode(changed, posed.points[None]).mean - model.encode(views, posed.points[None]).mean)[0].norm(
        dim=1
    )
    right, left = (apart[sign * posed.points[:, 0] > 0.3].mean() for sign in (1, -1))
    assert right > 2 * left > 0


@torch.no_grad()
def test_children_do_not_look_at_other_parents():
    model = _shaken()
    tokens, raw = torch.randn(1, 4, 32), torch.randn(1, 4, 13)
    upsampler = model.decoder.upsamplers[0]
    _, before = upsampler(tokens, Level(torch.zeros(1, 4, 3), raw))
    tokens[0, 2] += 1.0
    _, after = upsampler(tokens, Level(torch.zeros(1, 4, 3), raw))
    is_same = (before.raw == after.raw).all(-1)[0]
    assert is_same.tolist() == [True] * 8 + [False] * 4 + [True] * 4


@torch.no_grad()
def test_reach_and_activations_are_bounded():
    model, (_, where) = _shaken(), _input(points=6)
    for parameter in model.decoder.parameters():
        parameter.mul_(20)
    levels = model.decode(where, torch.randn(2, 6, 3) * 9)
    assert (levels[0].means - where).abs().max() <= BASE_SHARE * REACH + 1e-6
    for parent, level in zip(levels, levels[1:], strict=False):
        apart = level.means - parent.means.repeat_interleave(4, dim=1)
        assert 0.1 * REACH < apart.abs().max() <= REACH + 1e-6
    cloud = levels[-1].cloud(0)
    assert all(torch.isfinite(part).all() for part in cloud.tensors().values())
    assert cloud.rgb.min() >= -1e-6 and cloud.rgb.max() <= 1 + 1e-6


def test_what_a_fresh_decoder_draws():
    model, (_, where) = _vae(), _input(points=16)
    base, _, fine = model.decode(where, torch.zeros(2, 16, 3))
    assert torch.equal(base.means, where)
    cloud = base.cloud(0)
    torch.testing.assert_close(cloud.scales, torch.full((16, 2), 0.5 / math.sqrt(16)))
    torch.testing.assert_close(cloud.opacities, torch.full((16,), 0.5))
    torch.testing.assert_close(cloud.rgb, torch.full((16, 3), 0.5))
    assert len(torch.unique(fine.means[0], dim=0)) == 256  # no child lies on another
    torch.testing.assert_close(fine.cloud(0).scales.mean(), torch.tensor(0.5 / 16), rtol=0.1, atol=0)


def test_gradients_of_a_picture_reach_every_weight():
    model, (views, where) = _shaken(), _input(objects=1)
    posterior = model.encode(views, where)
    levels = model.decode(where, posterior.sample(torch.Generator().manual_seed(0)))
    seen = [render_surfels(level.cloud(0), turntable(2, size=16)) for level in levels]
    sum(picture.color.square().mean() + picture.normal.square().mean() for picture in seen).backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert still == []


def test_the_divergence_in_closed_form():
    zeros = torch.zeros(2, 5, 4)
    assert torch.equal(Posterior(zeros, zeros).divergence(), torch.zeros(2))
    torch.testing.assert_close(Posterior(zeros + 1, zeros).divergence(), torch.full((2,), 10.0))  # 20 numbers, 1/2 each
    wide = Posterior(zeros.double() + 0.3, zeros.double() + math.log(4.0))
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(0.3, 2.0), normal(0.0, 1.0)) * 20
    torch.testing.assert_close(wide.divergence(), exact.double().expand(2), rtol=1e-6, atol=0)
    draws = Posterior(torch.full((1, 400, 50), 0.3), torch.full((1, 400, 50), math.log(4.0)))
    drawn = draws.sample(torch.Generator().manual_seed(0))
    assert drawn.mean() == pytest.approx(0.3, abs=0.05) and drawn.std() == pytest.approx(2.0, abs=0.05)


def test_patches_know_the_mean_of_what_they_see():
    views = torch.zeros(1, 15, 8, 16)
    views[0, 12:, 2, 3] = torch.tensor([0.1, 0.2, 0.3])
    views[0, 12:, 5, 5] = torch.tensor([0.3, 0.0, -0.1])
    torch.testing.assert_close(patch_positions(views, 8), torch.tensor([[[0.2, 0.1, 0.1], [0.0, 0.0, 0.0]]]))


def test_weights_survive_a_round_trip(tmp_path):
    model, (views, where) = _shaken(), _input()
    model.save_pretrained(tmp_path)
    again = GaussianVae.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    with torch.no_grad():
        assert torch.equal(again.encode(views, where).mean, model.encode(views, where).mean)


def test_sizes_that_do_not_fit():
    _, where = _input()
    with pytest.raises(BadInput, match="multiples of 8"):
        _vae().encode(torch.zeros(2, 1, 15, 12, 16), where)
    with pytest.raises(BadInput, match="one each"):
        GaussianVae(splits=(2,), level_widths=(8, 8))

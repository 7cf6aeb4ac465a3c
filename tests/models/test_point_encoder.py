"""The point encoder: what must not matter to it, and its two kinds of neighbours against brute force."""

import pytest
import torch

from maquette.models.point_encoder import PointEncoder, farthest, nearest_few, unit_ball


@pytest.fixture(scope="module")
def net() -> PointEncoder:
    torch.manual_seed(0)
    net = PointEncoder(["ball", "box", "cone"], centres=(32, 8), neighbours=6, widths=(16, 16, 32), features=12)
    net.train()(cloud(8))  # running statistics that are not those of the beginning
    return net.eval()


def cloud(count: int = 3, points: int = 200, seed: int = 0) -> torch.Tensor:
    stretched = torch.tensor([1.0, 2.0, 0.5]) * torch.randn(
        count, points, 3, generator=torch.Generator().manual_seed(seed)
    )
    return 0.2 * stretched


def test_the_order_of_points_their_place_and_size_do_not_matter(net):
    clouds = cloud()
    features = net.embed(clouds)
    assert features.shape == (3, 12) and net(clouds).shape == (3, 3)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(net.embed(clouds[:, order]), features, atol=1e-4)
    assert torch.allclose(net.embed(7 * clouds + torch.tensor([1.0, -2.0, 3.0])), features, atol=1e-3)
    assert not torch.allclose(net.embed(clouds * torch.tensor([1.0, 1.0, 3.0])), features, atol=1e-2)


def test_batch_mates_do_not_matter(net):
    clouds = cloud()
    assert torch.allclose(net.embed(clouds)[1:2], net.embed(clouds[1:2]), atol=1e-5)


def test_features_are_taken_before_the_activation(net):
    assert (net.embed(cloud()) < 0).any()


def test_every_weight_learns():
    torch.manual_seed(0)
    net = PointEncoder(["ball", "box"], centres=(32, 8), neighbours=6, widths=(16, 16, 32), features=12)
    net(cloud(6)).square().sum().backward()
    assert [name for name, weight in net.named_parameters() if not weight.grad.abs().max() > 0] == []


def test_unit_ball():
    ball = unit_ball(cloud() + 5)
    assert torch.allclose(ball.mean(dim=1), torch.zeros(3, 3), atol=1e-6)
    assert torch.allclose(ball.norm(dim=-1).amax(dim=1), torch.ones(3))
    assert torch.isfinite(unit_ball(torch.ones(1, 5, 3))).all(), "all points in one place"


def test_farthest_points_against_the_definition():
    clouds = cloud(2, 50)
    taken = farthest(clouds, 10)
    assert torch.equal(taken[:, 0], torch.stack([one[one.norm(dim=-1).argmax()] for one in clouds]))
    for one, found in zip(clouds, taken, strict=True):
        for k in range(1, 10):
            gap = torch.cdist(one, found[:k]).amin(dim=1)
            assert torch.equal(found[k], one[gap.argmax()])
    assert torch.equal(farthest(clouds, 4), taken[:, :4])


def test_nearest_points_against_the_definition():
    clouds = cloud(2, 50)
    found = nearest_few(clouds, clouds[:, :4], 5).sort(dim=-1).values
    expected = torch.cdist(clouds[:, :4], clouds).argsort(dim=-1)[..., :5].sort(dim=-1).values
    assert torch.equal(found, expected)
    assert (found == torch.arange(4)[None, :, None]).any(dim=-1).all(), "a centre is near itself"


def test_the_shipped_weights_load():
    from maquette.priors.encoders import load_point_encoder

    net = load_point_encoder()
    features = net.embed(cloud())
    assert features.shape == (3, 128) and torch.isfinite(features).all() and not features.requires_grad
    assert net(cloud()).shape == (3, len(net.config.categories))

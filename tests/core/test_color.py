import torch

from maquette.core import PALETTE, linear_to_srgb, srgb_to_linear


def test_known_values_of_the_standard():
    srgb = torch.tensor([0.0, 0.04045, 0.5, 1.0])
    expected = torch.tensor([0.0, 0.0031308, 0.2140411, 1.0])
    assert torch.allclose(srgb_to_linear(srgb), expected, atol=1e-6)
    assert torch.allclose(linear_to_srgb(expected), srgb, atol=1e-5)


def test_all_bytes_survive_a_round_trip():
    levels = torch.arange(256) / 255
    assert torch.equal((linear_to_srgb(srgb_to_linear(levels)) * 255).round(), torch.arange(256.0))


def test_gradients_are_finite_everywhere_and_right_away_from_the_knee():
    for curve in (srgb_to_linear, linear_to_srgb):
        ends = torch.tensor([-0.5, 0.0, 1.0], requires_grad=True)  # a network's output may leave the range
        curve(ends).sum().backward()
        assert torch.isfinite(ends.grad).all()
        inside = torch.tensor([0.001, 0.02, 0.3], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(curve, inside)


def test_palette_words_are_in_range_and_far_enough_apart_to_be_told_apart():
    assert len(PALETTE) == 13
    colors = torch.tensor(list(PALETTE.values()))
    assert ((colors >= 0) & (colors <= 1)).all()
    distances = torch.pdist(colors)
    assert distances.min() > 0.15

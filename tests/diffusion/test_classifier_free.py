import torch

from maquette.diffusion import guide


def test_scale_one_is_conditional_and_zero_unconditional():
    c, u = torch.randn(2, 16, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(guide(c, u, 1.0), c)
    assert torch.equal(guide(c, u, 0.0), u)
    torch.testing.assert_close(guide(c, u, 7.5) - u, 7.5 * (c - u))


def test_rescale_restores_the_spread_and_keeps_the_direction():
    c, u = torch.randn(2, 16, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    plain, full, half = guide(c, u, 7.5), guide(c, u, 7.5, rescale=1.0), guide(c, u, 7.5, rescale=0.5)
    assert plain.std() > 3 * c.std()
    torch.testing.assert_close(full.std(), c.std())
    torch.testing.assert_close(half, (full + plain) / 2)
    torch.testing.assert_close(full / plain, (c.std() / plain.std()).expand_as(full))  # one factor for all views

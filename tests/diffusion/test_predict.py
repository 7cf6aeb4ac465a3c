import pytest
import torch

from maquette.diffusion import eps_from_v, eps_from_x0, v_from_eps, v_from_x0, x0_from_eps, x0_from_v


def triple(alpha_bar, dtype=torch.float64):
    draw = torch.Generator().manual_seed(3)
    x0, eps = torch.randn(2, 4, 3, 5, 5, generator=draw, dtype=torch.float64)
    a, s = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return [value.to(dtype) for value in (x0, eps, a * eps - s * x0, a * x0 + s * eps)]


@pytest.mark.parametrize(
    "alpha_bar", [1e-4, 0.0047, 0.5, 0.9991, torch.tensor([0.1, 0.2, 0.5, 0.9])[:, None, None, None]]
)
def test_all_six_conversions_agree_with_the_definitions(alpha_bar):
    x0, eps, v, z = triple(alpha_bar)
    for got, wanted in [
        (x0_from_eps(z, eps, alpha_bar), x0),
        (x0_from_v(z, v, alpha_bar), x0),
        (eps_from_x0(z, x0, alpha_bar), eps),
        (eps_from_v(z, v, alpha_bar), eps),
        (v_from_eps(z, eps, alpha_bar), v),
        (v_from_x0(z, x0, alpha_bar), v),
    ]:
        # alpha_bar given as float32 tensor is itself 1e-8 off; the division by sqrt(1e-4) costs two digits more
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6 if isinstance(alpha_bar, torch.Tensor) else 1e-12)


def test_half_precision_is_computed_and_returned_in_float32():
    _, _, v, z = triple(0.3, torch.bfloat16)
    got = x0_from_v(z, v, 0.3)
    assert got.dtype == torch.float32
    assert torch.equal(got, x0_from_v(z.float(), v.float(), 0.3))


def test_the_ends_work_where_they_are_defined_and_are_refused_where_not():
    z, other = torch.ones(2, 3), torch.full((2, 3), 2.0)
    assert torch.equal(x0_from_v(z, other, 0.0), -other)
    assert torch.equal(eps_from_v(z, other, 1.0), other)
    for convert, alpha_bar in [(x0_from_eps, 0.0), (v_from_eps, 0.0), (eps_from_x0, 1.0), (v_from_x0, 1.0)]:
        with pytest.raises(ValueError, match="alpha_bar"):
            convert(z, other, alpha_bar)

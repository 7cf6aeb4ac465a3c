"""Golden values of the basis and of turned coefficients."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.kernels.splat3d.spherical_harmonics import rotate_sh, sh_basis, sh_to_color

RAMP = (torch.arange(16, dtype=torch.float64) + 1)[None, :, None].expand(1, 16, 3) * 0.01


def test_basis_along_a_known_direction():
    direction = torch.tensor([[1.0, 2.0, -2.0]], dtype=torch.float64) / 3
    expected = torch.tensor(
        [0.28209479, -0.32573501, -0.32573501, -0.1628675, 0.24278854, 0.48557708, 0.10513052, 0.24278854,
         -0.18209141, 0.04370693, -0.42823873, -0.37240769, 0.19349884, -0.18620384, 0.32117905, 0.24038813],
        dtype=torch.float64,
    )  # fmt: skip
    torch.testing.assert_close(sh_basis(direction, 16)[0], expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(sh_to_color(RAMP, direction)[0, 0].item(), 0.52998832, atol=1e-8, rtol=0)


def test_basis_is_orthonormal():
    draw = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=draw, dtype=torch.float64), dim=-1)
    basis = sh_basis(direction, 16)
    gram = 4 * torch.pi * basis.T @ basis / len(direction)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=0.02, rtol=0)  # Monte Carlo


@pytest.mark.parametrize(
    ("quat", "expected"),
    [
        ((0.5**0.5, 0, 0, 0.5**0.5), (.01, .04, .03, -.02, -.05, .08, .07, -.06, -.09,
                                      -.16, -.11, .14, .13, -.12, -.15, .10)),
        ((0.8, 0.2, -0.4, 0.4), (.01, .0504, -.014, .0128, .111022, -.008322, -.013828, -.001242, -.113631,
                                 -.078393, .000305, -.010311, -.05489, -.010838, -.001637, -.334238)),
    ],
)  # fmt: skip
def test_turned_coefficients(quat, expected):
    rotation = quat_to_matrix(torch.tensor(quat, dtype=torch.float64))
    turned = rotate_sh(RAMP, rotation)[0, :, 1]
    torch.testing.assert_close(turned, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_turned_colors_are_the_old_ones_elsewhere():
    draw = torch.Generator().manual_seed(1)
    sh = torch.randn(5, 16, 3, generator=draw, dtype=torch.float64) * 0.1
    rotation = quat_to_matrix(torch.randn(4, generator=draw, dtype=torch.float64))
    direction = torch.nn.functional.normalize(torch.randn(5, 3, generator=draw, dtype=torch.float64), dim=-1)
    new = sh_to_color(rotate_sh(sh, rotation), direction @ rotation.T)
    torch.testing.assert_close(new, sh_to_color(sh, direction), atol=1e-12, rtol=0)


def test_odd_count_is_refused():
    with pytest.raises(BadInput, match="1, 4, 9 or 16"):
        sh_basis(torch.tensor([[0.0, 0.0, 1.0]]), 5)

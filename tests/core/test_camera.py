import pytest
import torch

from maquette.core import orbit


def test_azimuth_0_sees_the_front_and_azimuth_90_stands_at_plus_x():
    cameras = orbit(torch.tensor([0.0, 90.0, 180.0, 270.0]), 0.0, radius=2.0)
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 0, -2], [-2, 0, 0]])
    assert torch.allclose(cameras.position, expected, atol=1e-6)
    # Of two points in front of and behind the centre, the front camera is nearer to the one at +Z.
    _, depth = cameras[0].project(torch.tensor([[0.0, 0, 0.5], [0.0, 0, -0.5]]))
    assert depth.tolist() == [[pytest.approx(1.5), pytest.approx(2.5)]]

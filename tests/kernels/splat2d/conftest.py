"""Scenes that several tests draw: random discs in a ball, and cameras with images of any shape."""

import pytest
import torch

from maquette.core.camera import turntable


def _surfels(n, *, seed=0, dtype=torch.float32, size=0.05, radius=0.4):
    draw = torch.Generator().manual_seed(seed)
    normal = {"generator": draw, "dtype": torch.float64}
    direction = torch.nn.functional.normalize(torch.randn(n, 3, **normal), dim=-1)
    surfels = {
        "means": direction * radius * torch.rand(n, 1, **normal).sqrt(),
        "quats": torch.randn(n, 4, **normal),
        "scales": (torch.randn(n, 2, **normal) * 0.4).exp() * size,
        "opacities": torch.rand(n, **normal) * 0.65 + 0.3,
        "colors": torch.rand(n, 3, **normal),
    }
    return {name: tensor.to(dtype) for name, tensor in surfels.items()}


def _view(cameras=2, height=32, width=32, dtype=torch.float32, **options):
    camera = turntable(cameras, size=height, **options).to(dtype)
    return {
        "camera_from_world": camera.camera_from_world,
        "focal_px": camera.focal_px,
        "center_px": camera.center_px * torch.tensor([width / height, 1.0], dtype=dtype),
        "height": height,
        "width": width,
        "background": torch.tensor([0.2, 0.5, 0.9], dtype=dtype),
    }


@pytest.fixture
def make_surfels():
    return _surfels


@pytest.fixture
def make_view():
    return _view

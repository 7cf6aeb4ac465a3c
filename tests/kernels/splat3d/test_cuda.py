"""The adapter to gsplat: parity where there is a GPU."""

import pytest
import torch

from maquette.kernels.splat3d import rasterize


@pytest.mark.gpu
def test_parity_with_the_reference(make_cloud, make_view):
    pytest.importorskip("gsplat")
    cloud, view = make_cloud(200, coefficients=4), make_view(2, 48, 64)
    results = {}
    for backend, device in (("cuda", "cuda"), ("reference", "cpu")):
        moved = {name: tensor.to(device).requires_grad_() for name, tensor in cloud.items()}
        probe = torch.zeros(2, 200, 2, device=device, requires_grad=True)
        drawn = rasterize(**moved, **view, screen_probe=probe, normals=True, backend=backend)
        (drawn.color.square().sum() + drawn.depth.sum() + drawn.normal.square().sum()).backward()
        results[backend] = [*drawn[:4], *(tensor.grad for tensor in moved.values()), probe.grad]
    for a, b in zip(results["cuda"], results["reference"], strict=True):
        assert ((a.cpu() - b).norm() / b.norm()).item() < 2e-3

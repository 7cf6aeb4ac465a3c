"""The adapter to gsplat: parity where there is a GPU."""

import pytest

from maquette.kernels.splat2d import rasterize


@pytest.mark.gpu
def test_parity_with_the_reference(make_surfels, make_view):
    pytest.importorskip("gsplat")
    surfels, view = make_surfels(200), make_view(2, 48, 64)
    results = {}
    for backend, device in (("cuda", "cuda"), ("reference", "cpu")):
        moved = {name: tensor.to(device).requires_grad_() for name, tensor in surfels.items()}
        drawn = rasterize(**moved, **view, backend=backend)
        (drawn.color.square().sum() + drawn.normal.square().sum()).backward()
        results[backend] = [drawn.color, drawn.alpha, drawn.normal, *(tensor.grad for tensor in moved.values())]
    for a, b in zip(results["cuda"], results["reference"], strict=True):
        assert ((a.cpu() - b).norm() / b.norm()).item() < 2e-2  # its tiles cut the tails of discs at three deviations

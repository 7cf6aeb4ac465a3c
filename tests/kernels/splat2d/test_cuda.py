"""The adapter to gsplat: parity where there is a GPU, a clear error where there is no gsplat."""

import importlib.util

import pytest

from maquette.core.errors import MissingExtra
from maquette.kernels.splat2d import rasterize


@pytest.mark.skipif(importlib.util.find_spec("gsplat") is not None, reason="gsplat is installed")
def test_missing_gsplat_names_the_extra(make_surfels, make_view):
    with pytest.raises(MissingExtra, match=r"maquette\[cuda\]"):
        rasterize(**make_surfels(3), **make_view(), backend="cuda")


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

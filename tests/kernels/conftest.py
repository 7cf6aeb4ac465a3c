"""Random splats in a ball and cameras with images of any shape; and each kind of splat as a test asks it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from maquette.core.camera import turntable
from maquette.kernels import splat2d, splat3d

Splats = dict[str, Tensor]


def _ball(n: int, seed: int, size: float, radius: float, axes: int, color: Callable[..., Splats], dtype) -> Splats:
    normal = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    direction = torch.nn.functional.normalize(torch.randn(n, 3, **normal), dim=-1)
    splats = {
        "means": direction * radius * torch.rand(n, 1, **normal).sqrt(),
        "quats": torch.randn(n, 4, **normal),
        "scales": (torch.randn(n, axes, **normal) * 0.4).exp() * size,
        "opacities": torch.rand(n, **normal) * 0.65 + 0.3,
    } | color(normal)
    return {name: tensor.to(dtype) for name, tensor in splats.items()}


def _cloud(n, *, seed=0, dtype=torch.float32, coefficients=1, size=0.03, radius=0.4) -> Splats:
    def harmonics(normal) -> Splats:
        return {"sh": torch.randn(n, coefficients, 3, **normal) * 0.5}

    return _ball(n, seed, size, radius, 3, harmonics, dtype)


def _surfels(n, *, seed=0, dtype=torch.float32, size=0.05, radius=0.4) -> Splats:
    def plain(normal) -> Splats:
        return {"colors": torch.rand(n, 3, **normal)}

    return _ball(n, seed, size, radius, 2, plain, dtype)


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


@dataclass(frozen=True)
class Kind:
    """One of the two kernels, and how exact its twins are."""

    rasterize: Callable
    make: Callable[..., Splats]
    names: tuple[str, ...]
    """Of the images that have gradients: the first of those that are drawn."""
    leaves: Callable[..., Splats]
    """What else has gradients, for `draw`."""
    options: dict[str, bool]
    tolerance: Callable[[str, Tensor], Tensor]
    most_wrong: float
    """The share of pixels where rounding moves an alpha across 1/255 or an end."""
    close: float
    """Relative, of the finite differences."""
    largest: int
    """Power of ten that no number may exceed."""

    def draw(self, splats: Splats, view: dict, backend: str, dtype: torch.dtype, used: Sequence[int] | None = None):
        """Images and gradients of a loss that looks at all of them, or at those `used`, as doubles."""
        leaves = splats | self.leaves(view, splats)
        leaves = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in leaves.items()}
        images = self.rasterize(**leaves, **view, **self.options, backend=backend)
        used = range(len(self.names)) if used is None else used
        weights = self.weights([images[k] for k in used], [self.names[k] for k in used])
        sum((images[k] * weight.to(dtype)).sum() for k, weight in zip(used, weights, strict=True)).backward()
        grads = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}
        return [image.detach().double() for image in images], {name: grad.double() for name, grad in grads.items()}

    def weights(self, images: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
        """What the loss of `draw` weighs each pixel with."""
        random = torch.Generator().manual_seed(3)
        scales = [1e4 if name == "distortion" else 1.0 for name in names]  # it is tiny
        return [
            scale * torch.randn(image.shape, generator=random, dtype=torch.float64)
            for image, scale in zip(images, scales, strict=True)
        ]

    def assert_twins(self, splats: Splats, view: dict, used: Sequence[int] | None = None, close: float = 2e-3):
        """Equal up to float32, but for a few pixels."""
        fast, fast_grads = self.draw(splats, view, "cpu", torch.float32, used)
        slow, slow_grads = self.draw(splats, view, "reference", torch.float64, used)
        for name, a, b in zip((*self.names, "radii")[: len(fast)], fast, slow, strict=True):
            assert torch.isfinite(a).all(), name
            wrong = (a - b).abs() > self.tolerance(name, b)
            assert wrong.double().mean() < self.most_wrong if wrong.numel() else True, name
        for name, grad in fast_grads.items():
            assert torch.isfinite(grad).all(), name
            error = (grad - slow_grads[name]).norm() / slow_grads[name].norm().clamp(min=1e-9)
            assert error < close, f"{name}: {error:.1e}"


def _of_gaussians(name: str, image: Tensor) -> Tensor:
    return 2e-4 * image.abs().clamp(min=1)


def _of_surfels(name: str, image: Tensor) -> Tensor:
    if name == "distortion":
        return 1e-3 * image.abs() + 1e-8
    # Depths of rays that graze a disc depend on its tilt so much that float32 shows.
    return (1e-3 if "depth" in name else 2e-4) * image.abs().clamp(min=1)


def _probe(view: dict, splats: Splats) -> Splats:
    return {"screen_probe": torch.zeros(len(view["focal_px"]), len(splats["means"]), 2)}


KINDS = {
    "gaussians": Kind(
        splat3d.rasterize, partial(_cloud, coefficients=4), ("color", "alpha", "depth", "normal"), _probe,
        {"normals": True}, _of_gaussians, most_wrong=2e-4, close=1e-3, largest=25,
    ),
    "surfels": Kind(
        splat2d.rasterize, _surfels, splat2d.Rasterized._fields, lambda view, splats: {}, {}, _of_surfels,
        most_wrong=1e-3, close=2e-3, largest=15,
    ),
}  # fmt: skip


@pytest.fixture(scope="session", params=list(KINDS))
def kind(request):
    return KINDS[request.param]


@pytest.fixture(scope="session")
def gaussians():
    return KINDS["gaussians"]


@pytest.fixture(scope="session")
def surfels():
    return KINDS["surfels"]


@pytest.fixture(scope="session")
def make_cloud():
    return _cloud


@pytest.fixture(scope="session")
def make_surfels():
    return _surfels


@pytest.fixture(scope="session")
def make_view():
    return _view

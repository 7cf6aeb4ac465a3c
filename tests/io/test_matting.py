"""Mattes against the masks that the pictures were painted with: backgrounds, noise, holes, edges, and refusals."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from maquette.core.errors import BadInput
from maquette.io.matting import frame_subject, matte

WIDTH, HEIGHT = 240, 180


def background(kind: str) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    y, x = y / HEIGHT, x / WIDTH
    if kind == "white":
        return np.full((HEIGHT, WIDTH, 3), 250.0)
    if kind == "blue":
        return np.full((HEIGHT, WIDTH, 3), (60.0, 90.0, 160.0))
    if kind == "gradient":
        return np.stack([200 - 60 * y + 20 * x, 205 - 60 * y, 215 - 60 * y], axis=-1)
    if kind == "vignette":
        return np.full((HEIGHT, WIDTH, 3), 220.0) * (1 - 0.7 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))[..., None]
    assert kind == "clutter"
    return np.random.default_rng(0).integers(0, 255, (9, 12, 3)).repeat(20, 0).repeat(20, 1).astype(float)


def painted(kind: str, shape: str) -> tuple[torch.Tensor, np.ndarray]:
    """A picture as a camera stores it (soft edges, noise, JPEG), and its true mask."""
    fine = Image.new("L", (WIDTH * 4, HEIGHT * 4), 0)
    draw, paint = ImageDraw.Draw(fine), np.full((HEIGHT, WIDTH, 3), (190.0, 60.0, 40.0))
    if shape == "apple":
        draw.ellipse([300, 200, 650, 550], fill=255)
        draw.rectangle([465, 140, 485, 225], fill=255)
        paint[65:85, 95:115] = (255, 235, 230)  # a highlight, nearly white
    elif shape == "ring":
        draw.ellipse([300, 200, 650, 550], fill=255)
        draw.ellipse([400, 300, 550, 450], fill=0)
    elif shape == "standing on the edge":
        draw.rectangle([400, 300, 600, 720], fill=255)
    elif shape == "two":
        draw.ellipse([300, 200, 650, 550], fill=255)
        draw.ellipse([800, 60, 860, 120], fill=255)
    mask = np.asarray(fine.resize((WIDTH, HEIGHT), Image.Resampling.BOX)) / 255
    mixed = background(kind) * (1 - mask[..., None]) + paint * mask[..., None]
    mixed += np.random.default_rng(1).normal(0, 2, mixed.shape)
    file = io.BytesIO()
    Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return torch.from_numpy(np.asarray(Image.open(file)).astype(np.float32) / 255), mask


@pytest.mark.parametrize("shape", ["apple", "ring", "standing on the edge"])
@pytest.mark.parametrize("kind", ["white", "blue", "gradient", "vignette"])
def test_the_matte_is_the_mask_that_was_painted(kind, shape):
    image, mask = painted(kind, shape)
    alpha = matte(image).numpy()
    assert alpha.shape == mask.shape
    assert 0 <= alpha.min() <= alpha.max() <= 1
    union = ((alpha > 0.5) | (mask > 0.5)).sum()
    assert ((alpha > 0.5) & (mask > 0.5)).sum() / union > 0.97
    assert np.abs(alpha - mask).mean() < 0.008
    is_edge = (alpha > 0.05) & (alpha < 0.95)
    assert is_edge.any()  # soft where the picture is


def test_only_the_largest_object_is_kept():
    image, mask = painted("white", "two")
    alpha = matte(image).numpy()
    assert alpha[:40, 195:].max() == 0  # the small one, up there
    assert alpha[90, 118] == 1
    assert mask[22, 207] == 1


def test_a_large_picture_gets_a_matte_of_its_own_size():
    image, mask = painted("gradient", "apple")
    large = torch.nn.functional.interpolate(image.permute(2, 0, 1)[None], scale_factor=5)[0].permute(1, 2, 0)
    alpha = matte(large)
    assert alpha.shape == (HEIGHT * 5, WIDTH * 5)
    assert float(alpha.mean()) == pytest.approx(mask.mean(), rel=0.03)


def test_alpha_that_is_there_is_used_as_it_is():
    alpha = torch.zeros(20, 30)
    alpha[5:15, 5:15] = 0.75
    image = torch.cat([torch.rand(20, 30, 3), alpha[..., None]], dim=-1)
    assert torch.equal(matte(image), alpha)


def blank(value: float) -> torch.Tensor:
    return torch.full((40, 50, 3), value) + 0.004 * torch.randn(40, 50, 3, generator=torch.Generator().manual_seed(0))


def with_alpha(alpha: float) -> torch.Tensor:
    return torch.cat([torch.rand(40, 50, 3), torch.full((40, 50, 1), alpha)], dim=-1)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (blank(0.9), "nothing stands out"),
        (with_alpha(0.2), "nothing stands out"),
        (with_alpha(0.9), "no background is left"),
        (painted("clutter", "apple")[0], "not plain"),
        (torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0)), "not plain"),
    ],
    ids=["plain", "faint alpha", "full alpha", "clutter", "noise"],
)
def test_empty_full_and_hopeless_mattes_are_refused(image, words):
    with pytest.raises(BadInput, match=words):
        matte(image)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("fill", [0.5, 0.8])
def test_the_object_is_centred_and_fills_the_square_as_asked(size, fill):
    image, alpha = torch.zeros(100, 160, 3), torch.zeros(100, 160)
    image[10:30, 90:150] = torch.tensor([1.0, 0, 0])  # 60 x 20, up on the right
    alpha[10:30, 90:150] = 1
    framed = frame_subject(image, alpha, size=size, fill=fill)
    assert framed.shape == (size, size, 3)
    is_red = framed[..., 1] < 0.5
    rows, columns = is_red.any(dim=1).nonzero()[:, 0], is_red.any(dim=0).nonzero()[:, 0]
    assert len(columns) / size == pytest.approx(fill, abs=2 / size)
    assert len(rows) / len(columns) == pytest.approx(1 / 3, abs=0.05)
    assert float(rows.float().mean()) == pytest.approx((size - 1) / 2, abs=1)
    assert float(columns.float().mean()) == pytest.approx((size - 1) / 2, abs=1)
    assert torch.equal(framed[0, 0], torch.ones(3))


def test_the_old_background_does_not_bleed_into_the_new_one():
    image, alpha = torch.zeros(64, 64, 3), torch.zeros(64, 64)
    image[..., 1] = 1  # a green wall
    image[16:48, 16:48] = torch.tensor([1.0, 0, 0])
    alpha[16:48, 16:48] = 1
    framed = frame_subject(image, alpha, size=37, background=(1.0, 0.0, 0.0))
    assert torch.allclose(framed, torch.tensor([1.0, 0, 0]).expand(37, 37, 3), atol=1e-5)


def test_an_object_on_the_edge_is_framed_too():
    image, alpha = torch.ones(50, 50, 3) * 0.2, torch.zeros(50, 50)
    alpha[:10, :40] = 1
    framed = frame_subject(image, alpha, size=50)
    assert float((framed[..., 0] < 0.5).float().mean()) == pytest.approx(0.8 * 0.2, abs=0.02)
    with pytest.raises(BadInput, match="empty"):
        frame_subject(image, alpha * 0.4)

from dataclasses import replace

import numpy as np
import pytest
import torch

from maquette.core import turntable
from maquette.guidance import color_loss, mask_loss, ms_ssim, perceptual
from maquette.priors.analytic import RandomPyramid, Solids


def pictures(side, count=2, seed=0, dtype=torch.float64):
    """Smooth blobs with a little texture, so that no structure term is near zero."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=draw, dtype=dtype)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0.05, 0.95)
    return (smooth + 0.03 * torch.randn(smooth.shape, generator=draw, dtype=dtype)).clamp(0, 1).movedim(1, -1)


def numpy_ms_ssim(a, b):
    """The definition, written out once more with loops: one image, one channel, double precision."""
    from scipy.ndimage import correlate1d

    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def blur(image):
        image = correlate1d(correlate1d(image, taps, axis=0), taps, axis=1)
        return image[5:-5, 5:-5]

    powers = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    scales = int(sum(min(a.shape) >= 10 * 2**j + 1 for j in range(5)))
    powers = powers[:scales] / powers[:scales].sum()
    result = 1.0
    for j in range(scales):
        mu_a, mu_b = blur(a), blur(b)
        var_a, var_b, cov = blur(a * a) - mu_a**2, blur(b * b) - mu_b**2, blur(a * b) - mu_a * mu_b
        value = (2 * cov + 0.03**2) / (var_a + var_b + 0.03**2)
        if j == scales - 1:
            value = value * (2 * mu_a * mu_b + 0.01**2) / (mu_a**2 + mu_b**2 + 0.01**2)
        result *= max(value.mean(), 0) ** powers[j]
        if a.shape[0] % 2:
            a, b = np.pad(a, ((1, 0), (1, 0)), mode="edge"), np.pad(b, ((1, 0), (1, 0)), mode="edge")
        half = a.shape[0] // 2
        a, b = (image.reshape(half, 2, half, 2).mean((1, 3)) for image in (a, b))
    return result


@pytest.mark.parametrize("side", [11, 40, 41, 64, 128, 161])
def test_ms_ssim_agrees_with_a_double_precision_twin_at_every_number_of_scales(side):
    a = pictures(side)
    b = (a.roll(1, 1) * 0.9 + 0.05).contiguous()
    wanted = [
        np.mean([numpy_ms_ssim(x[..., c], y[..., c]) for c in range(3)])
        for x, y in zip(a.numpy(), b.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ms_ssim(a, b).numpy(), wanted, rtol=1e-10)
    np.testing.assert_allclose(ms_ssim(a.float(), b.float()).numpy(), wanted, rtol=2e-4)


def test_ms_ssim_of_equal_images_is_one_and_of_shifted_brightness_less():
    a = pictures(64)
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(2, dtype=a.dtype))
    flat = torch.full((1, 48, 48, 3), 0.4, dtype=torch.float64)
    # Constant images have perfect structure, and only the coarsest of 3 scales sees the luminance.
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    wanted = luminance ** (0.3001 / (0.0448 + 0.2856 + 0.3001))
    assert ms_ssim(flat, flat + 0.2).item() == pytest.approx(wanted, rel=1e-9)
    with pytest.raises(ValueError, match="at least 11"):
        ms_ssim(a[:, :10], a[:, :10])


def test_gradients_are_right_and_finite_where_the_structure_is_opposite():
    a, b = pictures(12, 1), pictures(12, 1, seed=1)
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ms_ssim(x, b).sum(), (a,))
    opposite = (1 - b).requires_grad_()
    (gradient,) = torch.autograd.grad(ms_ssim(opposite, b).sum(), opposite)
    assert torch.isfinite(gradient).all()


def test_perceptual_closed_form_of_two_directions():
    # Channel vectors at 60 degrees everywhere, whatever their lengths: |u - v|^2 = 2 - 2 cos 60 = 1.
    a = torch.tensor([3.0, 0.0])[None, :, None, None].expand(1, 2, 4, 4)
    b = torch.tensor([0.5, 0.75**0.5])[None, :, None, None].expand(1, 2, 4, 4) * 7
    torch.testing.assert_close(perceptual([a, a], [b, a]), torch.tensor([0.5]))
    # With weights it is the weighted sum over layers: (1 - .5)^2 * 2 + .75 * 4
    weights = [torch.tensor([2.0, 4.0]), torch.tensor([9.0, 9.0])]
    torch.testing.assert_close(perceptual([a, a], [b, a], weights=weights), torch.tensor([3.5]))
    with pytest.raises(ValueError, match="same layers"):
        perceptual([a], [b, b])


def test_perceptual_is_per_image_zero_for_equal_and_finite_for_dead_features():
    encoder, images = RandomPyramid(), pictures(32, 2, dtype=torch.float32)
    changed = torch.stack([images[0], 1 - images[1]])
    first, second = perceptual(encoder.features(images), encoder.features(changed))
    assert first < 1e-12  # the convolution of a batch may round another way for each row
    assert 0.05 < second < 4
    dead = torch.zeros(1, 3, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(perceptual([dead], [torch.ones(1, 3, 2, 2)]).sum(), dead)
    assert torch.isfinite(gradient).all()


def test_blur_costs_less_in_pixels_than_in_features():
    # The reason for the perceptual loss (paper, figure 6): a blurred texture is close in L2, far in features; a texture
    # displaced by a pixel the other way round.
    draw = torch.Generator().manual_seed(0)
    texture = (torch.rand(1, 8, 8, 3, generator=draw) > 0.5).float()
    texture = texture.repeat_interleave(4, 1).repeat_interleave(4, 2)
    blurred = torch.nn.functional.avg_pool2d(texture.movedim(-1, 1), 9, 1, 4, count_include_pad=False).movedim(1, -1)
    moved = texture.roll((2, 2), (1, 2))
    encoder = RandomPyramid()
    features = encoder.features(texture)

    def ratio(loss):
        return (loss(blurred) / loss(moved)).item()

    in_pixels = ratio(lambda x: color_loss(x, texture))
    in_features = ratio(lambda x: perceptual(encoder.features(x), features))
    assert in_features > 1.3 * in_pixels


def test_what_disagrees_by_small_shifts_keeps_its_detail_in_features_and_loses_it_in_pixels():
    # Figure 6 of IM-3D in miniature: one picture that has to match eight displaced copies of another.
    draw, camera = torch.Generator().manual_seed(0), turntable(1, size=48)
    shifts = 1.5 * torch.randn(8, 2, generator=draw)
    targets = torch.cat(
        [Solids.toy().look(replace(camera, center_px=camera.center_px + shift))[..., :3] for shift in shifts]
    )
    encoder = RandomPyramid()
    features = encoder.features(targets)

    def matched(loss):
        picture = torch.full((1, 48, 48, 3), 0.7, requires_grad=True)
        adam = torch.optim.Adam([picture], 2e-2)
        for _ in range(150):
            adam.zero_grad()
            loss(picture).backward()
            adam.step()
        return detail(picture.detach().clamp(0, 1))

    def detail(images):
        down, right = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
        return (down.square().mean() + right.square().mean()).item()

    def as_in_the_paper(picture):
        copies = picture.expand(8, -1, -1, -1)
        maps = [x.expand(8, -1, -1, -1) for x in encoder.features(picture)]
        return (10 * perceptual(maps, features) + 0.2 * (1 - ms_ssim(copies, targets))).mean()

    by_pixels = matched(lambda picture: color_loss(picture.expand(8, -1, -1, -1), targets).mean())
    assert by_pixels < 0.5 * detail(targets)
    assert matched(as_in_the_paper) > 2 * by_pixels


def test_mask_and_color_losses_are_means_of_squares():
    half = torch.zeros(2, 4, 4)
    half[0, :2] = 0.5
    torch.testing.assert_close(mask_loss(half, torch.zeros(2, 4, 4)), torch.tensor([0.125, 0.0]))
    torch.testing.assert_close(
        color_loss(half[..., None].expand(-1, -1, -1, 3), torch.zeros(2, 4, 4, 3)), torch.tensor([0.125, 0.0])
    )

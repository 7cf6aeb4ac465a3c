import pytest
import torch

from maquette.models.autoencoder import BLANK, PocketAutoencoder, patches, principal_components


def blank(count=1, side=64):
    return torch.tensor(BLANK).view(1, 4, 1, 1).expand(count, 4, side, side)


def pictures(count=24, side=64, seed=0):
    """Random blobs on blank: smooth, so that few components hold most of them."""
    draw = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    center, radius = (
        torch.rand(count, 2, 1, 1, generator=draw) - 0.5,
        0.2 + 0.4 * torch.rand(count, 1, 1, generator=draw),
    )
    inside = torch.sigmoid((radius - torch.hypot(x - center[:, 0], y - center[:, 1])) * 12)[:, None]
    color = torch.cat([torch.rand(count, 3, 1, 1, generator=draw) * 2 - 1, torch.ones(count, 1, 1, 1)], dim=1)
    return blank(count, side) * (1 - inside) + color * inside


def fitted(images, count, patch=16):
    components, squares = principal_components(images, patch, count)
    model = PocketAutoencoder(patch=patch, latent_channels=count, width=8, depth=1, variances=squares.tolist())
    with torch.no_grad():
        model.analysis.weight.copy_(components)
        model.synthesis.weight.copy_(components.T)
    return model


def error(model, images):
    with torch.no_grad():
        return (model.decode(model.encode(images)) - images).square().mean().item()


def test_components_are_orthonormal_and_their_mean_squares_are_those_of_the_latents():
    images = pictures()
    components, squares = principal_components(images, 16, 40)
    torch.testing.assert_close(components @ components.T, torch.eye(40), atol=1e-4, rtol=0)
    latents = fitted(images, 40).encode(images)
    torch.testing.assert_close(latents.detach().square().mean((0, 2, 3)), squares, rtol=1e-2, atol=1e-4)
    assert (squares.diff() <= 1e-5).all()


def test_what_is_lost_is_the_sum_of_the_components_left_out():
    images = pictures()
    _, squares = principal_components(images, 16, 1024)
    for count in (2, 8, 24):
        assert error(fitted(images, count), images) == pytest.approx(squares[count:].sum().item() / 1024, rel=2e-2)


def test_a_patch_stays_in_its_place_and_blank_is_zero():
    images = blank(1).clone()
    images[:, :, 16:32, 32:48] = pictures(1, 16)
    latents = fitted(pictures(), 32).encode(images).detach()
    assert latents.shape == (1, 32, 4, 4)
    places = latents.square().sum(1)[0].nonzero().tolist()
    assert places == [[1, 2]]
    assert patches(images, 16)[0, 1, 2].view(4, 16, 16).equal((images - blank())[0, :, 16:32, 32:48])


def test_encoding_in_half_precision_agrees():
    """A strided convolution with so large a kernel does not: oneDNN's bf16 one returns other numbers altogether."""
    images, model = pictures(4, 128), PocketAutoencoder(latent_channels=16, width=8, depth=1)
    with torch.no_grad():
        exact = model.encode(images)
        rounded = model.bfloat16().encode(images.bfloat16()).float()
    assert (exact - rounded).abs().max() < 0.02 * exact.abs().max()


def test_it_survives_a_round_trip(tmp_path):
    model = fitted(pictures(), 8)
    model.save_pretrained(tmp_path)
    again = PocketAutoencoder.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    images = pictures(2, seed=1)
    with torch.no_grad():
        assert torch.equal(again.decode(again.encode(images)), model.decode(model.encode(images)))
    assert again.config.variances == model.config.variances


def test_thresholding_cuts_what_is_out_of_range_and_leaves_the_rest():
    images = pictures()
    model = fitted(images, 1024)  # all components: nothing else is lost
    with torch.no_grad():
        inside = model.encode(images)
        torch.testing.assert_close(model.threshold(inside), inside, atol=1e-3, rtol=0)
        far = blank(24) + 3 * (images - blank(24))
        torch.testing.assert_close(
            model.decode(model.threshold(model.encode(far))), far.clamp(-1, 1), atol=2e-3, rtol=0
        )

import pytest
import torch

from maquette.diffusion import scaled_linear
from maquette.models.dit import MultiviewTransformer


def _small(**options) -> MultiviewTransformer:
    torch.manual_seed(0)
    model = MultiviewTransformer(
        latent_channels=4, latent_size=4, width=64, depth=2, heads=2, text_width=32, **options
    ).eval()
    for parameter in model.parameters():  # zero-initialised gates would hide everything
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def _inputs(sets=2, views=3):
    draw = torch.Generator().manual_seed(1)
    mask = torch.ones(sets, 5, dtype=torch.bool)
    mask[:, 4] = False
    return {
        "latents": torch.randn(sets, views, 4, 4, 4, generator=draw),
        "timestep": torch.tensor([10.0, 900.0])[:sets],
        "text": torch.randn(sets, 5, 32, generator=draw),
        "mask": mask,
        "azimuth": torch.rand(sets, views, generator=draw) * 6,
        "elevation": torch.full((sets, views), 0.3),
    }


@pytest.mark.parametrize("patch", [1, 2])
def test_tokens_and_back_keep_every_number_in_its_place(patch):
    model = _small(patch=patch)
    latents = torch.randn(1, 2, 4, 4, 4)
    tokens = model._tokens(latents)
    model.leave = torch.nn.Identity()
    shape = (1, 2, 4, 4, 4)
    mean, deviation = tokens.mean(-1, keepdim=True), (tokens.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    width = tokens.shape[-1]
    zero = torch.zeros(1, width)
    back = model._images(tokens.flatten(1, 2), zero, zero, shape)  # normalises each token, which we undo
    expected = model._images(((tokens - mean) / deviation).flatten(1, 2), zero, zero, shape)
    assert torch.allclose(back, expected, atol=1e-3)
    first = latents[0, 0, :, :patch, :patch].flatten()
    assert torch.equal(tokens[0, 0, 0], first)


def test_views_are_a_set_and_their_order_does_not_matter():
    model, inputs = _small(), _inputs()
    order = torch.tensor([2, 0, 1])
    moved = inputs | {name: inputs[name][:, order] for name in ("latents", "azimuth", "elevation")}
    with torch.no_grad():
        assert torch.allclose(model(**inputs)[:, order], model(**moved), atol=1e-5)


def test_views_see_each_other_and_sets_do_not():
    model, inputs = _small(), _inputs()
    with torch.no_grad():
        before = model(**inputs)
        inputs["latents"] = inputs["latents"].clone()
        inputs["latents"][0, 2] += 1
        after = model(**inputs)
    assert (before[0, 0] - after[0, 0]).abs().max() > 1e-4
    assert torch.equal(before[1], after[1])


def test_masked_words_are_not_read():
    model, inputs = _small(), _inputs()
    with torch.no_grad():
        before = model(**inputs)
        inputs["text"] = inputs["text"].clone()
        inputs["text"][:, 4] = 50.0
        assert torch.equal(before, model(**inputs))
        inputs["text"][:, 1] += 1.0
        assert not torch.allclose(before, model(**inputs), atol=1e-4)


def test_the_camera_is_periodic_and_an_unknown_side_is_not_a_number():
    model, inputs = _small(), _inputs()
    with torch.no_grad():
        once = model(**inputs)
        around = model(**inputs | {"azimuth": inputs["azimuth"] + 2 * torch.pi})
        unknown = model(**inputs | {"azimuth": torch.full_like(inputs["azimuth"], torch.nan)})
    assert torch.allclose(once, around, atol=1e-3)
    assert torch.isfinite(unknown).all() and not torch.allclose(once, unknown, atol=1e-3)


def test_a_reference_changes_the_answer_and_gets_none_of_its_own():
    model, inputs = _small(), _inputs()
    reference = torch.randn(2, 1, 4, 4, 4)
    with torch.no_grad():
        plain, led = model(**inputs), model(**inputs, reference=reference)
        other = model(**inputs, reference=reference + 1)
    assert led.shape == plain.shape
    assert not torch.allclose(led, other, atol=1e-4)


def test_a_fresh_network_is_the_best_linear_denoiser():
    """What is known before anything is learned: channels of mean 0 and the given variances, no structure."""
    variances = [4.0, 1.0, 0.25, 0.01]
    fresh = MultiviewTransformer(
        latent_channels=4, latent_size=4, patch=1, width=64, depth=1, heads=1, text_width=32, variances=variances
    )
    inputs = _inputs(sets=3) | {"timestep": torch.tensor([10.0, 500.0, 999.0])}
    inputs = {name: value[[0, 1, 1]] if len(value) == 2 else value for name, value in inputs.items()}
    with torch.no_grad():
        v = fresh(**inputs)
    alpha_bar = scaled_linear(zero_terminal_snr=True)[[10, 500, 999]].float().view(-1, 1, 1, 1, 1)
    known = torch.tensor(variances).view(-1, 1, 1)
    wiener = alpha_bar.sqrt() * known / (alpha_bar * known + 1 - alpha_bar) * inputs["latents"]
    clean = alpha_bar.sqrt() * inputs["latents"] - (1 - alpha_bar).sqrt() * v
    torch.testing.assert_close(clean, wiener, rtol=1e-4, atol=1e-4)


def test_half_precision_keeps_the_noise_level():
    """1 - alpha_bar near 0 is lost when the table is rounded to bf16."""
    model, inputs = _small(patch=1, variances=[2.0, 1.0, 0.5, 0.5]), _inputs()
    inputs["timestep"] = torch.tensor([0.0, 3.0])
    with torch.no_grad():
        exact, rounded = model(**inputs), model.bfloat16()(**inputs)
    assert (exact - rounded).abs().max() < 0.1 * exact.abs().max()


def test_weights_survive_a_round_trip_in_half_precision(tmp_path):
    model = _small()
    model.half().save_pretrained(tmp_path)
    again = MultiviewTransformer.from_pretrained(tmp_path, torch_dtype=torch.float32, low_cpu_mem_usage=False)
    assert dict(again.config)["width"] == 64
    with torch.no_grad():
        assert torch.equal(again(**_inputs()), model.float()(**_inputs()))

"""Every recipe from nothing to a folder that the loaders take, on procedural shapes and a few steps."""

import numpy as np
import pytest
import torch

from maquette.core.camera import turntable
from maquette.core.errors import BadInput
from maquette.data.procedural import procedural_mesh
from maquette.data.sets import COMPOSED, PLAIN, RECOLORED, write_store
from maquette.priors.encoders import load_elevation, load_encoder
from maquette.priors.multiview import load_multiview, orbit_angles
from maquette.priors.protocol import Encoder, MultiviewPrior
from maquette.training.loop import LoopConfig
from maquette.training.recipes import RECIPES, autoencoder, denoiser, elevation, encoder, latents, load_recipe

STEPS = LoopConfig(steps=3, warmup=1, save_minutes=60)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for _ in write_store(folder / "views", procedural_mesh, 10, [PLAIN, RECOLORED, COMPOSED]):
        pass
    return folder


@pytest.fixture(scope="module")
def pipeline(runs):
    autoencoder.main(
        autoencoder.Config(views=runs / "views", out=runs / "autoencoder", batch=4, components_from=96, loop=STEPS)
    )
    model = runs / "autoencoder" / "model"
    latents.main(latents.Config(views=runs / "views", autoencoder=model))
    config = denoiser.Config(
        views=runs / "views", autoencoder=model, out=runs / "denoiser", width=64, depth=1, text_width=64,
        views_a_step=32, mix_steps=1, loop=STEPS,
    )  # fmt: skip
    denoiser.main(config)
    return runs / "denoiser" / "model"


def test_latents_have_the_variances_that_the_model_says(runs, pipeline):
    stored = np.load(runs / "views" / "latents.npy").astype(np.float32)
    assert stored.shape == (30, 16, 128, 4, 4)
    prior = load_multiview(pipeline)
    variances = np.array(prior.vae.config.variances)
    assert variances.mean() == pytest.approx(1, rel=1e-3)
    assert list(prior.transformer.config.variances) == list(prior.vae.config.variances)
    measured = (stored**2).mean((0, 1, 3, 4))
    assert np.allclose(measured[:8], variances[:8], rtol=0.4)  # measured on a part of the pictures


def test_the_trained_folder_is_a_prior(pipeline):
    prior = load_multiview(pipeline)
    assert isinstance(prior, MultiviewPrior)
    camera, condition = turntable(4), prior.condition("a red box")
    noise = torch.randn(4, *prior.latent_shape, generator=torch.Generator().manual_seed(0))
    guided = prior.denoise(noise, 0.9, condition, camera, guidance=2.0)
    assert prior.evaluations == 2
    with_words = prior.denoise(noise, 0.9, condition, camera, guidance=1.0)
    without = prior.denoise(noise, 0.9, condition, camera, guidance=0.0)
    assert prior.evaluations == 4
    expected = prior.vae.threshold((without + 2 * (with_words - without)).to(prior.vae.dtype)).float()
    assert (guided - expected).abs().max() < 0.02 * expected.abs().max()
    empty = prior.denoise(noise, 0.9, prior.condition(""), camera, guidance=1.0)
    assert torch.allclose(without, empty, atol=1e-2)


def test_learned_guidance_costs_one_pass_and_is_taught_what_two_passes_give(pipeline):
    prior, camera = load_multiview(pipeline), turntable(4)
    condition, noise = prior.condition("a red box"), torch.randn(4, *prior.latent_shape)
    assert tuple(prior.transformer.config.learned_guidance) == (4.0, 0.5)
    prior.denoise(noise, 0.6, condition, camera, guidance=4.0, rescale=0.5)
    assert prior.evaluations == 1
    wanted = prior.denoise(noise, 0.6, condition, camera, guidance=4.0 + 1e-9, rescale=0.5)
    assert prior.evaluations == 3
    azimuth, elevation = orbit_angles(camera)
    batch = {"mask": condition.mask, "azimuth": azimuth, "elevation": elevation, "reference": None}
    alpha_bar = prior.alphas_cumprod[599].float()
    taught = denoiser.guided(
        denoiser.Trainee(prior.transformer, prior.text_encoder), prior.vae, noise[None], torch.tensor([599]),
        condition.text, batch, prior.tokenizer, (4.0, 0.5), (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()),
    )[0]  # fmt: skip
    assert (taught - wanted).abs().max() < 0.03 * wanted.abs().max()
    torch.nn.init.normal_(prior.transformer.guided)
    answers = [prior.denoise(noise, 0.6, condition, camera, guidance=4.0, rescale=r) for r in (0.5, 0.25)]
    before = prior.denoise(noise, 0.6, condition, camera, guidance=4.0, rescale=0.25)
    assert torch.equal(answers[1], before) and not torch.equal(answers[0], wanted)


def test_encode_and_decode_keep_size_and_order(pipeline):
    prior = load_multiview(pipeline)
    images = torch.rand(3, 128, 128, 4)
    z = prior.encode(images)
    assert z.shape == (3, *prior.latent_shape)
    one = prior.encode(images[1:2])
    assert torch.allclose(z[1:2], one, atol=0.1)
    decoded = prior.decode(z)
    assert decoded.shape == images.shape and decoded.min() >= 0 and decoded.max() <= 1
    assert prior.encode(images[..., :3]).shape == z.shape  # coverage is found when it is missing


def test_a_reference_is_read(pipeline):
    prior, camera = load_multiview(pipeline), turntable(4)
    noise = torch.zeros(4, *prior.latent_shape)
    first, second = (
        prior.condition("a box", reference=picture, camera=camera[0])
        for picture in (torch.ones(128, 128, 3), torch.rand(128, 128, 3, generator=torch.Generator().manual_seed(1)))
    )
    answers = [prior.denoise(noise, 0.5, c, camera, guidance=1.0) for c in (first, second)]
    assert torch.isfinite(answers[0]).all() and answers[0].shape == noise.shape


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    with pytest.raises(BadInput, match="model_index"):
        load_multiview(tmp_path)


def test_the_encoder_and_the_elevation_regressor(runs):
    encoder.main(encoder.Config(views=runs / "views", out=runs / "encoder", batch=8, loop=STEPS))
    model = load_encoder(runs / "encoder" / "model")
    assert isinstance(model, Encoder)
    images = torch.rand(2, 128, 128, 3).requires_grad_()
    vectors = model.embed_image(images)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-4)
    assert torch.allclose(model.embed_text(["a red box"]).norm(dim=1), torch.ones(1), atol=1e-4)
    sum(m.mean() for m in model.features(images)).backward()
    assert images.grad.abs().max() > 0
    elevation.main(
        elevation.Config(
            views=runs / "views", encoder=runs / "encoder" / "model", out=runs / "elevation", pictures=64, steps=5
        )
    )
    degrees = load_elevation(model, runs / "elevation" / "model")(images.detach())
    assert 0 <= degrees <= 45


def test_recipes_are_found_by_name():
    for name in RECIPES:
        recipe = load_recipe(name)
        assert recipe.Config() == recipe.Config() and callable(recipe.main)
    with pytest.raises(BadInput, match="autoencoder"):
        load_recipe("alchemy")

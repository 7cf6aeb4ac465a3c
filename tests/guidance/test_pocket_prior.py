"""The same functions with a network: the shipped prior, in its own precision."""

import torch

from maquette.core import turntable
from maquette.guidance import Wording, ge3d, mvdream, sds, texts_by_view
from maquette.guidance.ge3d import balancing
from maquette.priors.multiview import load_multiview


def test_a_real_prior_pulls_in_float32_and_is_counted():
    prior, camera = load_multiview(), turntable(2, 15.0)
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(2, prior.image_size, prior.image_size, 4, generator=draw).requires_grad_()
    words = Wording(prior.condition("a red chair"), prior.condition("a blue sword"))
    latents = prior.encode(images)
    noise = torch.randn(latents.shape, generator=draw)

    together = mvdream(latents, prior, words, camera, 0.6, noise)
    assert prior.evaluations == 2
    alone = sds(latents, prior, [words, words], camera, 0.6, noise, scale=7.5)
    assert prior.evaluations == 2 + 4
    nodes = (0.001, 0.2, 0.4)
    edited = ge3d(latents, prior, words, camera, nodes, balancing(0, 10, pairs=2, width=3), noise)
    assert prior.evaluations == 2 + 4 + 2 + 4

    for push in (together, alone, edited):
        assert push.gradient.dtype == torch.float32 and push.gradient.shape == latents.shape
        assert torch.isfinite(push.gradient).all() and push.gradient_norm > 0
    # Down to the pixels, and the networks stay as they are.
    edited.loss.backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in prior.transformer.parameters())
    # Views that are denoised together know of each other.
    views = sds(latents, prior, words, camera, 0.6, noise, scale=7.5)
    assert (views.gradient - alone.gradient).norm() > 1e-2 * alone.gradient_norm

    texts = texts_by_view(prior, "a red chair")
    front, back = texts.at(camera)
    assert front.positive.text.shape == back.positive.text.shape and back.weights == (-1.0, -2.0)

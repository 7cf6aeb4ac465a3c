import pytest
import torch

from maquette.core import BadInput, NonFinite
from maquette.guidance import Wording, ism, sds
from maquette.guidance.distillation import noise_to_signal, pull, weight_of


def test_weights_by_name():
    assert weight_of("variance", 0.25) == 0.75
    assert weight_of("uniform", 0.25) == 1.0
    assert weight_of("fantasia3d", 0.25) == 0.375
    assert noise_to_signal(0.2) == 2.0


def test_finite_differences_of_the_loss_are_the_gradient(point):
    latents, gradient = point(0.5, -1.0).requires_grad_(), point(0.25, 3.0)
    assert torch.autograd.gradcheck(lambda z: pull(z, gradient, clean=z, t=0.5).loss, (latents,))
    pull(latents, gradient, clean=latents, t=0.5).loss.backward()
    assert torch.equal(latents.grad, gradient)


def test_no_number_and_no_signal_are_refused(standard, point, cameras):
    with pytest.raises(NonFinite, match=r"t = 0\.500"):
        pull(point(0.5), point(float("inf")), clean=point(0.5), t=0.5)
    standard.alphas_cumprod[-1] = 0.0  # schedules with zero terminal signal-to-noise ratio
    words = Wording(standard.condition("y"))
    with pytest.raises(BadInput, match="nothing of the signal"):
        ism(point(0.5), standard, words, cameras(), 1.0)
    with pytest.raises(ValueError, match="alpha_bar = 0"):
        sds(point(0.5), standard, words, cameras(), 1.0, point(0.3))
    assert torch.isfinite(ism(point(0.5), standard, words, cameras(), 0.98).gradient).all()

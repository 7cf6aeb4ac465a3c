import pytest
import torch

from maquette.diffusion import alpha_bar_at
from maquette.guidance import Wording, mvdream, sds

X, NOISE = (0.2, 0.5, -0.3, 0.8), (0.3, -0.1, 0.5, -0.7)


def test_published_values_of_a_set_of_four(standard, point, cameras, time):
    words = Wording(standard.condition("y"))
    push = mvdream(point(*X), standard, words, cameras(4), time(500), point(*NOISE))
    wanted = [20.154142, 22.222779, 21.204473, 26.219158]
    assert push.clean.flatten().tolist() == pytest.approx(wanted, abs=2e-6)
    assert push.gradient.square().sum().item() / 2 == pytest.approx(989.31144, abs=2e-5)
    plain = mvdream(point(*X), standard, words, cameras(4), time(500), point(*NOISE), rescale=0.0)
    assert plain.clean.flatten().tolist() == pytest.approx([40.195859, 44.321595, 42.290664, 52.29206], abs=6e-6)
    full = mvdream(point(*X), standard, words, cameras(4), time(500), point(*NOISE), rescale=1.0)
    assert (full.clean / plain.clean).flatten().tolist() == pytest.approx([0.0027969] * 4, abs=6e-8)


def test_without_rescaling_it_is_score_distillation_weighted_by_the_noise_to_signal_ratio(
    standard, point, cameras, time
):
    words = Wording(standard.condition("y"), standard.condition("negative"))
    alpha_bar = alpha_bar_at(standard.alphas_cumprod, time(300))
    push = mvdream(point(*X), standard, words, cameras(4), time(300), point(*NOISE), rescale=0.0)
    same = sds(point(*X), standard, words, cameras(4), time(300), point(*NOISE), scale=50.0, weighting="uniform")
    torch.testing.assert_close(push.gradient, ((1 - alpha_bar) / alpha_bar) ** 0.5 * same.gradient)


def test_the_set_is_rescaled_as_one(standard, point, cameras, time):
    # One factor for all views: their ratios stay. View by view there would be no spread to measure at all.
    words = Wording(standard.condition("y"))
    half, none = (
        mvdream(point(*X), standard, words, cameras(4), time(500), point(*NOISE), rescale=r).clean for r in (0.5, 0.0)
    )
    torch.testing.assert_close(half / half[0], none / none[0])

import pytest
import torch

from maquette.core import BadInput
from maquette.guidance import Wording, nfsd, sds


def test_published_value_above_the_small_times(standard, point, cameras, time):
    words = Wording(standard.condition("y"), standard.condition("negative"))
    got = nfsd(point(0.5), standard, words, cameras(), time(500), point(0.3), weighting="uniform")
    assert got.gradient.item() == pytest.approx(-4.0495319, abs=6e-8)
    assert standard.evaluations == 3
    with pytest.raises(BadInput, match="no negative text"):
        nfsd(point(0.5), standard, Wording(words.positive), cameras(), time(500), point(0.3))


def test_at_small_times_it_is_guidance_without_subtracting_the_noise(standard, point, cameras, time):
    latents, noise, words = point(0.5, -0.1), point(0.3, 0.8), Wording(standard.condition("y"))
    for level in (50, 199):  # entry 199 is the last below 200
        got, plain = (
            method(latents, standard, words, cameras(2), time(level), noise, scale=7.5, weighting="uniform")
            for method in (nfsd, sds)
        )
        torch.testing.assert_close(got.gradient, plain.gradient + noise)
    with pytest.raises(BadInput):
        nfsd(latents, standard, words, cameras(2), time(200), noise)

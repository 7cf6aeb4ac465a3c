from dataclasses import replace

import pytest
import torch

from maquette.core import orbit
from maquette.diffusion import guide
from maquette.diffusion.conditioning import blend_views, perp_neg
from maquette.guidance.wording import (
    Wording,
    blank_eps,
    conditional_eps,
    guided_eps,
    mixed,
    negative_eps,
    texts_by_view,
)
from maquette.priors import Condition
from maquette.priors.analytic import MixturePrior


def test_predictions_under_every_text_are_the_published_ones_and_are_counted(standard, point, cameras, time):
    z, camera = point(0.5180427), cameras()
    words = Wording(standard.condition("y"), standard.condition("negative"))
    assert conditional_eps(standard, z, time(500), words, camera).item() == pytest.approx(-0.0086722, abs=1e-7)
    assert blank_eps(standard, z, time(500), words, camera).item() == pytest.approx(0.4406919, abs=1e-7)
    assert negative_eps(standard, z, time(500), words, camera).item() == pytest.approx(1.1199932, abs=1e-7)
    assert negative_eps(standard, z, time(500), replace(words, negative=None), camera).item() == pytest.approx(
        0.4406919, abs=1e-7
    )
    assert standard.evaluations == 4
    guided_eps(standard, z, time(500), words, camera, 7.5)
    assert standard.evaluations == 6
    guided_eps(standard, z, time(500), Wording(words.positive), camera, 7.5)
    assert standard.evaluations == 8


def test_a_mixture_is_predicted_exactly(laws, point, cameras, time):
    prior = laws(y=([-1.0, 1.0], 0.2), blank=([0.0], 1.0))
    eps = conditional_eps(prior, point(0.2), time(300), Wording(prior.condition("y")), cameras())
    assert eps.item() == pytest.approx(-0.091275, abs=6e-7)


def test_perp_neg_reaches_the_prediction(laws, cameras, time):
    spread = {
        "y": torch.tensor([1.0, 0, 2, 0]), "n": torch.tensor([1.0, 1, 0, 0]), "blank": torch.zeros(4),
    }  # fmt: skip
    prior = laws(**{name: (means[None, :, None, None].double(), 0.3) for name, means in spread.items()})
    words = Wording(prior.condition("y"), None, (prior.condition("n"),), (-1.5,))
    z, camera = torch.full((1, 4, 1, 1), 0.2, dtype=torch.float64), cameras()
    eps = {name: conditional_eps(prior, z, time(400), Wording(prior.condition(name)), camera) for name in ("y", "n")}
    blank = blank_eps(prior, z, time(400), words, camera)
    got = guided_eps(prior, z, time(400), words, camera, 7.5)
    torch.testing.assert_close(got, perp_neg(blank, eps["y"], [eps["n"]], [-1.5], 7.5))
    assert (got - guide(eps["y"], blank, 7.5)).norm() > 0.1


class Embedder(MixturePrior):
    """A prior whose embedding says which view word it read."""

    def condition(self, prompt, *, reference=None, camera=None):
        views = ("front", "side", "back", "overhead")
        row = torch.tensor([[[float(f"{view} view" in prompt) for view in views]]])
        return Condition(prompt, row, torch.tensor([[prompt.startswith("a")]]))


EMBEDDER = Embedder(torch.zeros(1, 1, 1, 1), 1.0, ("grey",))


def test_texts_follow_the_cameras():
    texts = texts_by_view(EMBEDDER, "a cat", negative="blurry")
    azimuths = torch.tensor([0.0, -30.0, 90.0, 120.0, 180.0, 10.0])
    words = texts.at(orbit(azimuths, torch.tensor([15.0, 0, 0, 0, 0, 70.0])))
    shares = [word.positive.text[0, 0].tolist() for word in words]
    wanted = [[1, 0, 0, 0], [2 / 3, 1 / 3, 0, 0], [0, 1, 0, 0], [0, 2 / 3, 1 / 3, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    for share, want in zip(shares, wanted, strict=True):
        assert share == pytest.approx(want, abs=1e-6)
    assert {word.negative.prompt for word in words} == {"blurry"}
    # A weight of 0 costs no evaluation: only the side word at the front, nothing overhead.
    assert [[c.prompt for c in word.against] for word in words[::5]] == [["a cat, side view"], []]
    assert words[1].weights == pytest.approx([w for _, w in blend_views(-30).negative], abs=1e-5)
    assert words[3].against[1].prompt == "a cat, front view"


def test_mixed_conditions_keep_every_token_and_wordless_priors_their_condition():
    a, b = EMBEDDER.condition("a, front view"), EMBEDDER.condition("x, side view")
    both = mixed([(a, 0.25), (b, 0.75)])
    assert both.text.tolist() == [[[0.25, 0.75, 0, 0]]] and both.mask.tolist() == [[True]]
    wordless = Condition("a")
    assert mixed([(wordless, 0.5), (wordless, 0.5)]) is wordless

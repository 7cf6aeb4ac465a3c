"""An exact prior whose every text names its own distribution, for algebra in double precision."""

import pytest
import torch

from maquette.core import orbit
from maquette.diffusion import alpha_bar_at, guide, scaled_linear
from maquette.priors import Condition
from maquette.priors.analytic import mixture_x0


class NamedLaws:
    """Every element of the latents is drawn alone from the law of the text; "" is what is unconditional.

    A law is (means, std): a list of means of an even mixture, or one tensor shaped like a view.
    """

    latent_shape, image_size, device = (1, 1, 1), 1, torch.device("cpu")

    def __init__(self, **laws):
        self.laws, self.alphas_cumprod, self.evaluations = laws, scaled_linear(), 0

    def condition(self, prompt, *, reference=None, camera=None):
        return Condition(prompt, None, None, reference, camera)

    def encode(self, images):
        return images.movedim(-1, 1)

    def decode(self, latents):
        return latents.movedim(1, -1)

    def denoise(self, latents, t, condition, camera, *, guidance, rescale):
        self.evaluations += 1 if guidance in (0, 1) else 2
        conditional, blank = self._mean(latents, t, condition.prompt), self._mean(latents, t, "blank")
        return guide(conditional, blank, guidance, rescale=rescale)

    def _mean(self, latents, t, name):
        means, std = self.laws[name]
        if isinstance(means, torch.Tensor):
            means = means.expand_as(latents).reshape(-1, 1, 1)
        else:
            means = torch.tensor(means, dtype=latents.dtype)[None, :, None]
        alpha_bar, even = alpha_bar_at(self.alphas_cumprod, t), latents.new_zeros(means.shape[1])
        return mixture_x0(latents.reshape(-1, 1), alpha_bar, means.to(latents), std, even).reshape(latents.shape)


@pytest.fixture
def laws():
    """The class, to build priors from laws."""
    return NamedLaws


@pytest.fixture
def standard():
    """The laws of the single-point fixtures: y = N(1, .3^2), nothing = N(0, 1), negative = N(-1, .5^2)."""
    return NamedLaws(y=([1.0], 0.3), blank=([0.0], 1.0), negative=([-1.0], 0.5))


@pytest.fixture
def point():
    """Numbers as latents, (views, 1, 1, 1) in double precision."""
    return lambda *values: torch.tensor(values, dtype=torch.float64)[:, None, None, None]


@pytest.fixture
def cameras():
    """So many cameras on a circle."""
    return lambda count=1: orbit(torch.arange(count) * 360.0 / count, 0.0, size=1)


@pytest.fixture
def time():
    """The time of an entry of the table of 1000 noise levels, by which the fixtures are indexed."""
    return lambda level: (level + 1) / 1000

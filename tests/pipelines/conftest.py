"""A prior that knows one object exactly, for whole runs of the pipelines that distil."""

import pytest

from maquette.diffusion import alpha_bar_at, guide
from maquette.priors.analytic import RenderOracle, Solids, mixture_x0


class KnownObject(RenderOracle):
    """With words: the toy and nothing else. Without: anything around it, so that words say something.

    Both have the same mean, so score distillation has the toy as its fixed point at every guidance scale. `asked` is
    what it was asked: time, prompt, guidance and number of views. It loses its mind at question `broken_at`.
    """

    def __init__(self, size=32, *, broken_at=None):
        super().__init__(Solids.toy().look, image_size=size, with_coverage=True)
        self.asked, self.broken_at = [], broken_at

    def denoise(self, latents, t, condition, camera, *, guidance, rescale):
        self.asked.append((t, condition.prompt, guidance, len(camera)))
        self.evaluations += 1 if guidance in (0, 1) else 2
        truth = self.encode(self.pictures(camera)[:, 0]).flatten(1)[:, None].to(latents)
        alpha_bar, z = alpha_bar_at(self.alphas_cumprod, t), latents.flatten(1)
        toy, anything = (mixture_x0(z, alpha_bar, truth, std, z.new_zeros(1)) for std in (0.0, 1.0))
        x0 = guide(toy, anything, guidance, rescale=rescale).reshape(latents.shape)
        return x0 * (float("nan") if len(self.asked) == self.broken_at else 1.0)


@pytest.fixture(scope="session")
def known_object():
    """The class, to build priors for pictures of some size."""
    return KnownObject

import pytest
import torch

from maquette.core import turntable
from maquette.priors import with_coverage
from maquette.priors.analytic import Solids


def test_pictures_that_have_coverage_return_as_they_are():
    images = torch.rand(2, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    assert with_coverage(images) is images


@pytest.mark.parametrize("paper", [1.0, 0.9])
def test_the_silhouette_of_a_scene_on_plain_paper_is_recovered(paper):
    rgba = Solids.toy().look(turntable(4, size=96))
    rgb = rgba[..., :3] - (1 - rgba[..., 3:]) * (1 - paper)
    found = with_coverage(rgb)
    assert torch.equal(found[..., :3], rgb)
    wanted, got = rgba[..., 3] > 0.5, found[..., 3] > 0.5
    # A rim pixel counts as covered as soon as it differs enough from the paper, so the outline may grow by a fraction.
    assert ((wanted & got).sum() / (wanted | got).sum()).item() > 0.95
    assert (found[..., 3] - rgba[..., 3]).abs().mean() < 0.02


def test_white_inside_the_object_stays_and_only_the_outside_is_cut():
    images = torch.ones(1, 32, 32, 3)
    images[:, 8:24, 8:24] = torch.tensor([0.2, 0.3, 0.4])
    images[:, 13:19, 13:19] = 1.0  # an eye, not a hole
    coverage = with_coverage(images)[0, ..., 3]
    wanted = torch.zeros(32, 32)
    wanted[8:24, 8:24] = 1.0
    assert torch.equal(coverage, wanted)


def test_nothing_painted_is_nothing_covered():
    assert with_coverage(torch.ones(1, 16, 16, 3))[..., 3].max() == 0

import pytest
import torch

from maquette.diffusion import alpha_bar_at, eps_from_x0, x0_from_eps
from maquette.guidance import Wording, fps, ge3d, ism, reconstruct_in_one_step
from maquette.guidance.fps import NODES, RECONSTRUCTION
from maquette.guidance.wording import blank_eps, guided_eps


def sigma(prior, t):
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


def test_every_node_pulls_with_both_predictions_at_the_same_point(standard, point, cameras, time):
    nodes = tuple(time(level) for level in (0, 180, 390, 600))
    words, camera, latents = Wording(standard.condition("y"), standard.condition("negative")), cameras(2), point(0.5, 0)
    push = fps(latents, standard, words, camera, nodes)
    assert standard.evaluations == 4 + 3 * 2
    z, wanted = latents, 0.0
    for t, t_next in zip(nodes[:-1], nodes[1:], strict=True):
        eps = blank_eps(standard, z, t, words, camera)
        a, a_next = (alpha_bar_at(standard.alphas_cumprod, time) ** 0.5 for time in (t, t_next))
        z = a_next * (z / a + (sigma(standard, t_next) - sigma(standard, t)) * eps)
        difference = guided_eps(standard, z, t_next, words, camera, 7.5) - blank_eps(standard, z, t_next, words, camera)
        wanted = wanted + 0.1 * sigma(standard, t_next) * difference / 3
    torch.testing.assert_close(push.gradient, wanted)
    assert push.t == nodes[-1] and len(push.residuals) == 3


def test_it_differs_from_interval_matching_only_in_where_the_blank_is_asked(laws, point, cameras, time):
    # A delta's noise does not change along its own inversion, so asking at z_s or at z_t is one.
    prior = laws(y=([1.0], 0.3), blank=([0.2], 0.0))
    words, nodes = Wording(prior.condition("y")), (time(0), time(200))
    once = fps(point(0.5, -0.7), prior, words, cameras(2), nodes)
    other = ism(point(0.5, -0.7), prior, words, cameras(2), time(200), interval=0.2)
    torch.testing.assert_close(once.gradient, other.gradient)


def test_reconstruction_in_one_step_is_the_clean_prediction_at_the_first_node(standard, point, cameras, time):
    words, camera, nodes = Wording(standard.condition("y")), cameras(), (time(0), time(120), time(300))
    truth = reconstruct_in_one_step(point(0.5), standard, words, camera, nodes)
    push = fps(point(0.5), standard, words, camera, nodes)
    torch.testing.assert_close(truth, push.clean)
    # ... and one jump of GE3D that ends at the first node walks as far as that node's own noise level.
    walked = ge3d(point(0.5), standard, words, camera, nodes[:2], (1.0,))
    first, second = (alpha_bar_at(standard.alphas_cumprod, t) for t in nodes[:2])
    z = second**0.5 * (
        0.5 / first**0.5 + (sigma(standard, nodes[1]) - sigma(standard, nodes[0])) * blank_eps(
            standard, point(0.5), nodes[0], words, camera
        )
    )  # fmt: skip
    eps = eps_from_x0(z, truth, second)
    torch.testing.assert_close(walked.clean, first**0.5 * truth + (1 - first) ** 0.5 * eps)
    torch.testing.assert_close(truth, x0_from_eps(z, eps, second))


def test_nodes_are_many_early_and_few_late():
    draw = torch.Generator().manual_seed(0)
    early, late = ([len(NODES.sample(progress, draw)) - 1 for _ in range(200)] for progress in (0.0, 1.0))
    assert set(early) == {4} or set(early) == {3, 4}
    assert set(late) <= {1, 2}
    starts = [round(1000 * RECONSTRUCTION.sample(0.0, draw)[1]) - 1 for _ in range(300)]
    assert min(starts) >= 75 and max(starts) < 150 and max(starts) - min(starts) > 65
    assert sum(early) / 200 == pytest.approx(4, abs=0.3)

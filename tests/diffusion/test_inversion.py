import pytest
import torch

from maquette.diffusion import add_noise, alpha_bar_at, ddim, eps_from_x0, guide, scaled_linear, times
from maquette.diffusion.inversion import (
    ddim_states,
    denoise_guided,
    negative_prompt_inversion,
    null_text_inversion,
    prompt_tuning_inversion,
    trace,
    transfer,
)

TABLE = scaled_linear()
RISING = times(10, start=0.001, stop=0.7)
FALLING = RISING[::-1]


def said(z, t, embedding):
    """The exact denoiser of N(embedding, .3^2): words are the mean, and the way to it is differentiable."""
    alpha_bar = alpha_bar_at(TABLE, t)
    gain = alpha_bar**0.5 * 0.09 / (alpha_bar * 0.09 + 1 - alpha_bar)
    return embedding + gain * (z - alpha_bar**0.5 * embedding)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


SOURCE, BLANK, TARGET = numbers(0.4, -0.2, 1.1), numbers(0.0, 0.0, 0.0), numbers(-1.0, 1.0, 0.3)
PICTURE = numbers(0.5, -0.35, 0.9)


def test_a_transfer_is_the_path_of_ddim_and_returns_with_the_same_noise():
    z, eps = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t, t_next in ((0.2, 0.6), (0.6, 0.2), (0.3, 0.0)):
        levels = alpha_bar_at(TABLE, t), alpha_bar_at(TABLE, t_next)
        moved = transfer(z, eps, *levels)
        x0 = (z - (1 - levels[0]) ** 0.5 * eps) / levels[0] ** 0.5
        torch.testing.assert_close(moved, ddim(lambda z, t, x0=x0: x0, z, [t, t_next], TABLE))
        torch.testing.assert_close(transfer(moved, eps, *levels[::-1]), z)
    # From clean it is the noising itself.
    torch.testing.assert_close(transfer(z, eps, 1.0, 0.3), add_noise(z, eps, 0.3))


def test_traces_by_noise_and_states_by_clean_samples_are_one_path():
    def eps(z, t):
        return eps_from_x0(z, said(z, t, SOURCE), alpha_bar_at(TABLE, t))

    for path in (RISING, FALLING):
        states, noises = trace(eps, PICTURE, path, TABLE)
        assert len(states) == len(path) == len(noises) + 1
        torch.testing.assert_close(states, ddim_states(lambda z, t: said(z, t, SOURCE), PICTURE, path, TABLE))
        torch.testing.assert_close(states[-1], ddim(lambda z, t: said(z, t, SOURCE), PICTURE, path, TABLE))
        torch.testing.assert_close(noises[3], eps(states[3], path[3]))
    assert trace(lambda z, t: z, PICTURE.half(), RISING, TABLE)[0][-1].dtype == torch.float32


def inverted():
    return ddim_states(lambda z, t: said(z, t, SOURCE), PICTURE, RISING, TABLE)


def ending(states, conditional, blank, scale):
    path = denoise_guided(said, states[-1], FALLING, TABLE, conditional=conditional, blank=blank, scale=scale)
    return path[-1]


def test_negative_prompts_undo_guidance_at_no_cost():
    # With the source's own text in place of nothing, guidance towards the source adds nothing: any scale is scale 1.
    states, sources = inverted(), [SOURCE] * 10
    blanks = negative_prompt_inversion(SOURCE, 10)
    plain = ddim(lambda z, t: said(z, t, SOURCE), states[-1], FALLING, TABLE)
    torch.testing.assert_close(ending(states, sources, blanks, 7.5), plain)
    # Guided in the ordinary way, the picture is lost.
    lost = (ending(states, sources, [BLANK] * 10, 7.5) - PICTURE).abs().max()
    kept = (plain - PICTURE).abs().max()
    assert kept < 0.1 < 1 < lost


def test_null_texts_lead_guided_denoising_back_along_the_inversion():
    states, sources = inverted(), [SOURCE] * 10
    blanks = null_text_inversion(
        said, states, RISING, TABLE, conditional=SOURCE, blank=BLANK, scale=7.5, inner_steps=60, rate=3e-2
    )
    assert len(blanks) == 10 and not any(blank.requires_grad for blank in blanks)
    by_tuning = (ending(states, sources, blanks, 7.5) - PICTURE).abs().max()
    by_negative_prompt = (ending(states, sources, negative_prompt_inversion(SOURCE, 10), 7.5) - PICTURE).abs().max()
    assert by_tuning < 0.2 * by_negative_prompt
    # The order is that of denoising: backwards they do not fit.
    assert (ending(states, sources, blanks[::-1], 7.5) - PICTURE).abs().max() > 5 * by_tuning


def test_tuned_prompts_lead_plain_denoising_back():
    states = inverted()
    prompts = prompt_tuning_inversion(said, states, RISING, TABLE, conditional=SOURCE, inner_steps=60, rate=3e-2)
    drift = (ddim(lambda z, t: said(z, t, SOURCE), states[-1], FALLING, TABLE) - PICTURE).abs().max()
    assert (ending(states, prompts, [BLANK] * 10, 1.0) - PICTURE).abs().max() < 0.2 * drift


def test_guided_denoising_has_an_embedding_for_each_interval():
    states = denoise_guided(
        said, PICTURE, FALLING[:3], TABLE, conditional=[SOURCE, TARGET], blank=[BLANK, SOURCE], scale=3.0
    )
    first = ddim(lambda z, t: guide(said(z, t, SOURCE), said(z, t, BLANK), 3.0), PICTURE, FALLING[:2], TABLE)
    second = ddim(lambda z, t: guide(said(z, t, TARGET), said(z, t, SOURCE), 3.0), first, FALLING[1:3], TABLE)
    torch.testing.assert_close(states, [PICTURE, first, second])


def test_one_interval_is_returned_exactly():
    # One interval, plain: the embedding that returns exactly solves a linear equation, and tuning finds it.
    states = ddim_states(lambda z, t: said(z, t, SOURCE), PICTURE, [0.3, 0.4], TABLE)
    (found,) = prompt_tuning_inversion(said, states, [0.3, 0.4], TABLE, conditional=SOURCE, inner_steps=400, rate=1e-2)
    back = ddim(lambda z, t: said(z, t, found), states[-1], [0.4, 0.3], TABLE)
    assert (back - PICTURE).abs().max() == pytest.approx(0, abs=1e-4)

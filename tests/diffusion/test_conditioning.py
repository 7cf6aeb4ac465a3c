import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.diffusion import guide
from maquette.diffusion.conditioning import (
    blend_views,
    blend_views_shifted,
    perp_neg,
    perpendicular,
    view_of,
    view_prompt,
    wrapped_deg,
)


def test_perp_neg_published_example():
    # d = (1, 0, 2), d_1 = (1, 1, 0), d_2 = (0, 2, 1), all from nothing = 0.
    positive, first, second = (
        torch.tensor([row], dtype=torch.float64) for row in ([1.0, 0, 2], [1, 1.0, 0], [0, 2.0, 1])
    )
    wanted = torch.tensor([[0.8, 1, -0.4]], dtype=torch.float64)
    torch.testing.assert_close(perpendicular(first, positive), wanted)
    torch.testing.assert_close(perpendicular(second, positive), torch.tensor([[-0.4, 2, 0.2]], dtype=torch.float64))
    blank = torch.zeros_like(positive)
    got = perp_neg(blank, positive, [first, second], [-1.0268, -0.0025], 1.0)
    assert got[0].tolist() == pytest.approx([0.17956, -1.0318, 2.41022], abs=1e-9)


def test_perp_neg_is_guidance_where_it_should_be():
    draw = torch.Generator().manual_seed(0)
    blank, positive, negative = torch.randn(3, 2, 4, 3, 3, generator=draw, dtype=torch.float64)
    plain = guide(positive, blank, 7.5)
    torch.testing.assert_close(perp_neg(blank, positive, [], [], 7.5), plain)
    torch.testing.assert_close(perp_neg(blank, positive, [negative], [0.0], 7.5), plain)
    parallel = blank + 0.3 * (positive - blank)
    torch.testing.assert_close(perp_neg(blank, positive, [parallel], [-2.0], 7.5), plain)
    # It never takes away from the wanted direction, whatever the negative; every view has its own product.
    pushed = perp_neg(blank, positive, [negative], [-2.0], 7.5) - plain
    assert (pushed * (positive - blank)).sum((1, 2, 3)).abs().max() < 1e-12
    alone = perp_neg(blank[1:], positive[1:], [negative[1:]], [-2.0], 7.5)
    torch.testing.assert_close(pushed[1:], alone - plain[1:])
    same = perp_neg(blank, blank, [negative], [-1.0], 2.0)  # no direction at all: nothing to project on, no NaN
    torch.testing.assert_close(same, blank - 2 * (negative - blank))
    with pytest.raises(BadInput, match="<= 0"):
        perp_neg(blank, positive, [negative], [0.5], 7.5)


@pytest.mark.parametrize(
    ("azimuth", "wanted"),
    [(0, (0, -2)), (30, (-0.5272, -0.0713)), (45, (-0.7358, -0.0135)), (60, (-1.0268, -0.0025)),
     (120, (-0.0013, -2)), (135, (-0.0067, -2)), (180, (-1, -2))],
)  # fmt: skip
def test_weights_of_perp_neg_by_azimuth(azimuth, wanted):
    for side in (azimuth, -azimuth, azimuth + 360):
        blend = blend_views(side)
        assert [view for view, _ in blend.negative] == (["front", "side"] if azimuth <= 90 else ["side", "front"])
        assert [weight for _, weight in blend.negative] == pytest.approx(wanted, abs=6e-5)


@pytest.mark.parametrize(
    ("azimuth", "wanted"),
    [(0, (0, -1.574)), (30, (-0.4401, -0.9599)), (45, (-0.6892, -0.6892)), (60, (-0.9599, -0.4401)),
     (120, (-0.1105, -1.6835)), (135, (-0.1728, -1.7458)), (180, (-0.3940, -1.9670))],
)  # fmt: skip
def test_weights_of_threestudio_by_azimuth(azimuth, wanted):
    # The printed table rounds .12 of a thousandth to "about 0" at the front.
    weights = [weight for _, weight in blend_views_shifted(azimuth).negative]
    assert weights == pytest.approx(wanted, abs=2e-4 if azimuth == 0 else 6e-5)


@given(azimuth=st.floats(-1000, 1000), elevation=st.floats(-90, 90))
def test_blends_are_shares_and_weights_never_pull(azimuth, elevation):
    for blend in (blend_views(azimuth, elevation), blend_views_shifted(azimuth, elevation)):
        shares = [share for _, share in blend.positive]
        assert sum(shares) == pytest.approx(1) and min(shares) >= 0
        assert all(weight <= 0 for _, weight in blend.negative)
        assert (blend.positive == (("overhead", 1.0),) and not blend.negative) == (elevation > 60)


def test_pure_views_are_pure_and_the_words_change_without_a_jump():
    pure = {azimuth: dict(blend_views(azimuth).positive) for azimuth in (0, 90, 180)}
    assert pure[0]["front"] == pure[90]["side"] == pure[180]["back"] == 1
    before, after = blend_views(90 - 1e-9), blend_views(90 + 1e-9)
    assert dict(before.positive)["side"] == pytest.approx(dict(after.positive)["side"], abs=1e-9)


def test_the_golden_table_of_view_words():
    def row(elevation, **sectors):
        return [view_of(azimuth, elevation, **sectors)[0] for azimuth in range(-180, 181, 15)]

    around = "b b b s s s s s s s f f f f f s s s s s s s b b b".split()  # 45 degrees exactly is side
    assert row(0) == row(45) == row(-30) == around
    assert row(60) == around  # not above 60
    assert row(61) == row(90) == ["o"] * 25
    narrow = "b b s s s s s s s s s f f f s s s s s s s s s b b".split()
    assert row(0, front_within_deg=30, back_within_deg=30) == narrow


def test_prompts_say_their_view_and_angles_wrap():
    assert view_prompt("a chair", "overhead") == "a chair, overhead view"
    assert view_prompt("a chair", "front", "sentence") == "The front view of a chair"
    assert [wrapped_deg(a) for a in (0, 180, -180, 190, 540, -725)] == [0, -180, -180, -170, -180, -5]

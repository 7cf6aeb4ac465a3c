"""Curves by hand, and looks at clouds whose colors are known."""

import pytest
import torch

from maquette.core.rotation import normalize
from maquette.evaluation.curves import error_curve, look, mean_curve, reached, resampled
from maquette.representations.gaussians import from_points


def rows(*pairs):
    return [{"evaluations": x, "seconds": x / 10, "similarity": y} for x, y in pairs]


CURVE = rows((0, 0.1), (10, 0.3), (20, 0.2), (40, 0.6))


@pytest.mark.parametrize(
    ("level", "expected"), [(0.05, 0), (0.1, 0), (0.2, 5), (0.3, 10), (0.4, 30), (0.6, 40), (0.61, None)]
)
def test_the_cost_of_a_level(level, expected):
    found = reached(CURVE, level)
    assert found == (None if expected is None else pytest.approx(expected))
    if expected is not None:
        assert reached(CURVE, level, cost="seconds") == pytest.approx(expected / 10)


def test_a_curve_at_other_places():
    found = resampled(CURVE, [0, 5, 30, 40, 50])
    assert [row["similarity"] for row in found] == pytest.approx([0.1, 0.2, 0.4, 0.6, 0.6])
    assert [row["evaluations"] for row in found] == [0, 5, 30, 40, 50]
    assert [row["seconds"] for row in found] == pytest.approx([0.0, 0.5, 3.0, 4.0, 4.0])
    hole = [{"evaluations": 0, "shared": None}, {"evaluations": 10, "shared": 0.5}]
    assert [row["shared"] for row in resampled(hole, [0, 5, 10])] == [None, None, 0.5]


def test_the_mean_of_curves_counts_what_is_there():
    one, two = rows((0, 0.2), (10, 0.4)), rows((0, 0.4), (12, None))
    assert [row["similarity"] for row in mean_curve([one, two])] == pytest.approx([0.3, 0.4])
    assert mean_curve([one, two])[1]["evaluations"] == 11
    assert mean_curve([rows((0, None))])[0]["similarity"] is None


def test_the_error_of_a_mean_needs_two():
    three = [rows((0, y)) for y in (0.1, 0.2, 0.6)]
    assert error_curve(three)[0]["similarity"] == pytest.approx((0.07 / 3) ** 0.5)
    assert error_curve([rows((0, 0.3)), rows((0, None))])[0]["similarity"] is None


class Redness:
    """An `Encoder` that sees how red pictures are, left and right of the middle."""

    def embed_image(self, images):
        red = (images[..., 0] - images[..., 1]).clamp(min=0)
        half = images.shape[2] // 2
        sides = [red[:, :, :half].mean(dim=(1, 2)), red[:, :, half:].mean(dim=(1, 2))]
        return torch.nn.functional.normalize(torch.stack([*sides, torch.full_like(sides[0], 1e-3)], dim=1), dim=1)

    def embed_text(self, texts):
        return torch.tensor([[2**-0.5, 2**-0.5, 0.0]]).expand(len(texts), -1)

    def features(self, images):
        return [torch.nn.functional.adaptive_avg_pool2d(images.movedim(-1, 1), 8)]


def test_a_look_at_a_ball():
    points = normalize(torch.randn(1500, 3, generator=torch.Generator().manual_seed(0)))
    reference = torch.ones(2, 8, 8, 3)
    reference[0, :, :4, 1:], reference[1, :, 4:, 1:] = 0.0, 0.0  # the front is red on the left, its rival on the right
    found = {}
    for name, color in (("red", (0.9, 0.1, 0.1)), ("grey", (0.5, 0.5, 0.5))):
        ball = from_points(0.35 * points, torch.tensor(color).expand(1500, 3), opacity=0.95)
        found[name], views = look(ball, "a red ball", Redness(), reference)
        assert views.shape == (8, 128, 128, 3)
    assert found["red"]["similarity"] > 0.99 and found["grey"]["similarity"] < 0.1
    assert found["red"]["saturation"] == pytest.approx(8 / 9, abs=0.02)
    assert found["grey"]["saturation"] == pytest.approx(0.0, abs=1e-3)
    assert found["red"]["difference"] < 0.03, "paint that does not depend on the view"
    red, grey = torch.tensor([0.9, 0.1, 0.1]), torch.full((3,), 0.5)
    half = from_points(0.35 * points, torch.where(points[:, :1] < 0, red, grey), opacity=0.95)
    # Red on the left from the front and its two neighbours, and from nowhere behind; from the sides it is a tie.
    assert 3 / 8 <= look(half, "a ball", Redness(), reference)[0]["janus"] <= 5 / 8
    fog = from_points(0.4 * points[:50], torch.full((50, 3), 0.5), opacity=0.05)
    assert look(fog, "a fog", Redness(), reference)[0]["shared"] is None

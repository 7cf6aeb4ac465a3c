"""Drags by the paper's equations, in closed form and against finite differences; and the chains that fill gaps."""

import pytest
import torch

from maquette.core import BadInput
from maquette.edit import Drag, Scene, apply, motion
from maquette.edit.drag import bridges
from maquette.representations import GaussianCloud, from_points


def line_of(count: int, spacing: float = 0.05, sigma: float = 0.01) -> Scene:
    """Rows along +x from the origin, red at the left end and blue at the right."""
    points = torch.zeros(count, 3)
    points[:, 0] = spacing * torch.arange(count)
    share = torch.linspace(0, 1, count)[:, None]
    colors = (1 - share) * torch.tensor([1.0, 0, 0]) + share * torch.tensor([0.0, 0, 1])
    cloud = from_points(points, colors, opacity=0.6)
    cloud = GaussianCloud(**cloud.tensors() | {"log_scales": torch.full((count, 3), sigma).log()})
    return Scene(cloud, {"right": torch.arange(count) >= count // 2})


def test_a_drag_ends_exactly_at_its_target_step_by_step():
    scene = line_of(6)
    path = torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [0.3, 0.4, 0]], dtype=torch.float64)
    means = scene.cloud.means.double()
    allowed = torch.ones(6, dtype=torch.bool)
    state, now = motion.start(means, path, radius=0.06, steps=7, mode="rigid", allowed=allowed), means
    assert state.active.tolist() == [True, True, False, False, False, False]
    while not state.is_done:
        before = now
        state, now = motion.advance(state, now, allowed)
        assert (now - before)[0].norm().item() <= 0.1 + 1e-12  # alpha: 0.7 in seven steps, less across the corner
    torch.testing.assert_close(now[:2] - means[:2], (path[2] - path[0]).expand(2, 3))
    assert torch.equal(now[2:], means[2:])


def test_places_along_a_polyline():
    path = torch.tensor([[0.0, 0, 0], [3.0, 0, 0], [3.0, 1, 0]])
    wanted = {0.0: [0.0, 0, 0], 0.375: [1.5, 0, 0], 0.75: [3, 0, 0], 0.875: [3, 0.5, 0], 1.0: [3, 1, 0]}
    for fraction, place in wanted.items():
        torch.testing.assert_close(motion.along(path, fraction), torch.tensor(place, dtype=torch.float32))


def test_rigid_moves_as_one_and_leaves_the_rest(scene):
    for path in (((-0.3, 0.4, 0.0),), ((-0.1, 0.0, 0.0), (-0.3, 0.4, 0.0))):
        now, report = apply(Drag((-0.3, 0, 0), path, 0.2, "rigid", fill=False), scene)
        assert (report.selected, report.changed, report.outside_changed, report.added) == (30, 30, 0, 0)
        before = torch.cdist(scene.cloud.means[:30].double(), scene.cloud.means[:30].double())
        after = torch.cdist(now.cloud.means[:30].double(), now.cloud.means[:30].double())
        torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
        shift = now.cloud.means[:30] - scene.cloud.means[:30]
        torch.testing.assert_close(shift, torch.tensor([0, 0.4, 0.0]).expand(30, 3), atol=1e-6, rtol=0)


def test_deform_collects_what_it_meets_and_nothing_else():
    scene = line_of(12)
    now, report = apply(Drag((0.0, 0, 0), ((0.3, 0, 0),), 0.06, "deform", steps=300, fill=False), scene)
    # The source passes rows 0 to 6 within its radius and stops beside row 7 (0.35 away from the start).
    moved = (now.cloud.means != scene.cloud.means).any(dim=-1)
    assert moved.tolist() == [True] * 8 + [False] * 4 or moved.tolist() == [True] * 7 + [False] * 5
    assert report.selected == int(moved.sum())
    shift = (now.cloud.means - scene.cloud.means)[:, 0]
    assert shift[0].item() == pytest.approx(0.3, abs=1e-6)
    assert (shift.diff()[: int(moved.sum()) - 1] <= 1e-6).all()  # those that were met later went less far
    rigid, _ = apply(Drag((0.0, 0, 0), ((0.3, 0, 0),), 0.06, "rigid", fill=False), scene)
    assert (rigid.cloud.means != scene.cloud.means).any(dim=-1).sum() == 2


def test_only_the_part_follows():
    scene = line_of(12)
    now, report = apply(Drag((0.0, 0, 0), ((0.0, 0.3, 0),), 5.0, "rigid", part="right", fill=False), scene)
    assert torch.equal((now.cloud.means != scene.cloud.means).any(dim=-1), scene.parts["right"])
    assert report.outside_changed == 0


def test_a_gap_is_filled_with_touching_rows_of_the_colors_between():
    scene = line_of(10)
    now, report = apply(Drag((0.45, 0, 0), ((0.95, 0, 0),), 0.21, "rigid"), scene)
    assert report.selected == 5
    assert report.added > 5
    new = now.cloud.select(slice(10, None))
    assert report.outside_changed == 0
    places = torch.cat([now.cloud.means[:, 0], new.means[:, 0]]).unique()
    inside = places[(places >= 0.2 - 1e-6) & (places <= 0.75 + 1e-6)]
    assert inside.diff().amax() <= 0.061  # three standard deviations to either side touch: 0.06, where it was 0.5
    assert (new.means[:, 1:] == 0).all()
    red, blue = now.cloud.rgb[4], now.cloud.rgb[5]
    assert (new.rgb >= torch.minimum(scene.cloud.rgb.amin(0), red) - 1e-6).all()
    assert (new.rgb <= torch.maximum(scene.cloud.rgb.amax(0), blue) + 1e-6).all()
    # New rows belong to the parts of the nearer end.
    assert now.parts["right"][10:].any() and not now.parts["right"][10:].all()


def test_one_gap_by_hand():
    """Two rows 0.1 apart with sigma 0.01, pulled to 0.2: a gap of 0.14, in three of 0.14 / 6 / 3 each."""
    scene = line_of(2, spacing=0.1)
    moved = torch.tensor([False, True])
    after = GaussianCloud(**scene.cloud.tensors() | {"means": torch.tensor([[0.0, 0, 0], [0.2, 0, 0]])})
    new, parents = bridges(scene.cloud, after, moved)
    wanted = 0.03 + 0.14 * (torch.arange(3) + 0.5) / 3
    torch.testing.assert_close(new.means[:, 0].sort().values, wanted)
    torch.testing.assert_close(new.scales, torch.full((3, 3), 0.14 / 18))
    assert sorted(parents.tolist()) in ([0, 0, 1], [0, 1, 1])


def test_no_gap_no_rows(scene):
    assert apply(Drag((-0.3, 0, 0), ((0.0, 0.0, 0.0),), 0.2, "rigid"), scene)[1].added == 0  # no neighbours left behind
    squeezed = line_of(10)
    assert apply(Drag((0.45, 0, 0), ((0.35, 0, 0),), 0.21, "rigid"), squeezed)[1].added == 0
    whole, report = apply(Drag((0, 0, 0), ((0.0, 1.0, 0.0),), 9.0), scene)
    assert report.added == 0
    assert len(whole.cloud) == 60


def test_a_drag_that_tears_everything_apart_is_refused():
    scene = line_of(4000)
    torn = Scene(scene.cloud, {"odd": torch.arange(4000) % 2 == 1})
    with pytest.raises(BadInput, match="filling the gap would take"):
        apply(Drag((0.0, 0, 0), ((0.0, 90.0, 0),), 1000.0, "rigid", part="odd"), torn)
    assert apply(Drag((0.0, 0, 0), ((0.0, 90.0, 0),), 1000.0, "rigid", part="odd", fill=False), torn)[1].added == 0


def test_losses_in_closed_form():
    moved = torch.tensor([[3.0, 4, 0]], requires_grad=True)
    loss = motion.rigid_loss(moved, torch.zeros(3), torch.tensor([[0.0, 0, 4]]), torch.zeros(3))
    (gradient,) = torch.autograd.grad(loss, moved)
    assert loss.item() == 1
    torch.testing.assert_close(gradient, torch.tensor([[0.6, 0.8, 0]]))

    target, source = torch.tensor([1.0, 1, 1]), torch.tensor([2.0, 0, 0])
    started = torch.tensor([[2.0, 0.5, 0]])
    point = motion.motion_loss(moved, motion.goals(started, source, target, "point"))
    offset = motion.motion_loss(moved, motion.goals(started, source, target, "offset"))
    assert (point.item(), offset.item()) == (2 + 3 + 1, 2 + 2.5 + 1)
    (gradient,) = torch.autograd.grad(point, moved)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 1, -1]]))


def test_gradients_are_finite_differences():
    draw = torch.Generator().manual_seed(2)
    moved, started = (torch.randn(6, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    moved.requires_grad_()
    zero = torch.zeros(3, dtype=torch.float64)
    neighbors = torch.tensor([[1, 2], [2, 3], [3, 4], [4, 5], [5, 0], [0, 1]])
    assert torch.autograd.gradcheck(lambda x: motion.rigid_loss(x, zero, started, zero), moved)
    assert torch.autograd.gradcheck(lambda x: motion.motion_loss(x, started), moved)
    assert torch.autograd.gradcheck(lambda x: motion.edge_loss(x, started, neighbors), moved)


def test_edges_forbid_what_radii_allow():
    """A part that is mirrored about its source keeps all radii; two rows that change places do not keep their edges."""
    started = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    bent = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 1.0]])
    assert motion.rigid_loss(bent, torch.zeros(3), started, torch.zeros(3)).item() == 0
    assert motion.edge_loss(bent, started, torch.tensor([[1], [2], [0]])).item() > 0.1


def test_the_swept_region_is_a_capsule_around_the_path():
    points = torch.tensor([[0.5, 0.09, 0], [0.5, 0.11, 0], [1.09, 0, 0], [1.11, 0, 0], [1.0, 0.5, 0.05], [-0.2, 0, 0]])
    path = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0]])
    assert motion.swept(points, path, 0.1).tolist() == [True, False, True, False, True, False]

"""A part worked out on a field of its own: what the words change, what stands still, and what comes back as rows."""

import pytest
import torch
from scipy.ndimage import binary_dilation

from maquette.core import BadInput, Preview, Progress, Streams
from maquette.edit import Refine, Scene, Session, Sources, apply, edit, refine, replay, scene_hash
from maquette.edit.zoom import around, zoomed
from maquette.kernels.hashgrid import GridShape
from maquette.priors.analytic import MixturePrior
from maquette.render import render_gaussians
from maquette.representations import from_points
from maquette.representations.field import FieldShape
from maquette.training.gaussians_to_field import SLACK, FieldFit, matter
from maquette.training.refit import Refit, refit

GREEN, BLUE = (0.1, 0.8, 0.2), (0.1, 0.2, 0.9)
QUICK = {"levels": 3, "steps": 12, "times": (0.9, 0.5), "guidance": 1.0, "fit": 12, "bake": 12}
SMALL = FieldFit(
    shape=FieldShape(GridShape(levels=4, base=8, finest=32, log2_entries=12), hidden=16, sees_direction=False),
    steps=10, rays=256, views=12, size=32, samples=48, cells=24,
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_fields(monkeypatch):
    """Fields of seconds: `Refine.fit` still sets the steps."""
    monkeypatch.setattr(refine, "FieldFit", lambda: SMALL)
    monkeypatch.setattr(refine, "FINEST", 16)
    monkeypatch.setattr(refine, "RAYS", 256)


@pytest.fixture
def prior() -> MixturePrior:
    """Two pictures of 32 px: a green and a blue disc on white, with coverage."""
    x = (torch.arange(32) + 0.5) / 16 - 1
    disc = (x[:, None] ** 2 + x**2 < 0.9**2).float()
    pictures = [torch.stack([disc * c + 1 - disc for c in color] + [disc]) for color in (GREEN, BLUE)]
    return MixturePrior(torch.stack(pictures), 0.05, ("a green ball", "a blue ball"))


@pytest.fixture
def balls() -> Scene:
    """Two dense grey balls of radius 0.1, at -0.25 and 0.25."""
    points = torch.nn.functional.normalize(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    is_left = torch.arange(400) < 200
    points = 0.1 * points + torch.where(is_left, -0.25, 0.25)[:, None] * torch.tensor([1.0, 0, 0])
    return Scene(from_points(points, torch.full_like(points, 0.5), opacity=0.9), {"left": is_left, "right": ~is_left})


def color_of(scene: Scene, part: str) -> torch.Tensor:
    """What one sees of a part, from the front."""
    alone = scene.cloud.select(scene.parts[part])
    seen = render_gaussians(alone, zoomed(refine._bake_orbit(32)[1:2], around(alone)))
    return seen.color.sum((0, 1, 2)) / seen.alpha.sum()


def test_the_part_learns_and_all_else_keeps_every_bit(balls, prior):
    wish = Refine("left", "a green ball", **QUICK | {"steps": 60, "bake": 40})
    now, report = apply(wish, balls, Sources(prior=prior))
    before, after = ((color_of(scene, "left") - torch.tensor(GREEN)).norm() for scene in (balls, now))
    assert after < 0.8 * before
    assert report.outside_changed == 0 and report.changed > 100 and report.evaluations == 2 * 6
    left, right = (s.cloud.select(s.parts["right"]) for s in (balls, now))
    assert all(torch.equal(a, b) for a, b in zip(left.tensors().values(), right.tensors().values(), strict=True))
    assert now.parts["left"].sum() + now.parts["right"].sum() == len(now.cloud)


def test_the_same_seed_gives_the_same_bits_and_undo_and_replay_are_exact(tmp_path, balls, prior):
    with Session.create(tmp_path / "s.mq", balls.cloud, balls.parts, seed=3) as session:
        session.prior = prior
        start = session.hash
        session.refine("left", "a blue ball", whole="a green ball", **QUICK)
        done = session.hash
        session.undo()
        assert scene_hash(session.scene) == start != done
        session.redo()
        assert scene_hash(session.scene) == done
    assert replay(tmp_path / "s.mq", tmp_path / "again.mq", prior) == []
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("s.mq", "again.mq")]
    assert logs[0] == logs[1]


def test_outside_of_its_cells_the_field_answers_as_before_and_its_base_is_frozen(balls, prior):
    stream = refine.distilled(balls.cloud, SMALL, 0)
    field, occupancy = edit.finished(stream)
    cells = refine.part_cells(balls.cloud, balls.parts["left"], occupancy)
    points = (torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1) * occupancy.half_size
    ask = (points, torch.nn.functional.normalize(points, dim=-1))
    base = {name: value.clone() for name, value in field.state_dict().items() if name != "labels"}
    before = field(*ask)
    part = field.add_part(cells, GridShape(3, 4, 16, 10), generator=torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(before, field(*ask), strict=True))  # starts at zero
    wish = Refine("left", "a green ball", **QUICK)
    own = refine.replace(occupancy, mask=cells)
    list(refine.teach(field, [{"params": list(part.parameters()), "lr": 1e-2}], occupancy, own,
                      around(balls.cloud.select(balls.parts["left"])), wish, prior, Streams(0)))  # fmt: skip
    after = field(*ask)
    inside = own.is_occupied(points)
    assert inside.any() and not torch.equal(before[1][inside], after[1][inside])
    assert all(torch.equal(a[~inside], b[~inside]) for a, b in zip(before, after, strict=True))
    assert all(torch.equal(field.state_dict()[name], value) for name, value in base.items())


def test_cells_go_to_the_part_with_more_matter_there(balls):
    occupancy = edit.finished(refine.distilled(balls.cloud, SMALL, 0)).occupancy
    left, right = (refine.part_cells(balls.cloud, balls.parts[name], occupancy) for name in ("left", "right"))
    assert left.any() and not (left & right).any()
    assert left[:12].any() and not left[14:].any() and not right[:10].any()
    most = matter(balls.cloud.select(balls.parts["left"]), occupancy.half_size, 24)
    assert bool(left[most > SLACK].all())
    everything = refine.part_cells(balls.cloud, torch.ones(400, dtype=torch.bool), occupancy)
    assert bool(everything[left | right].all())
    faint = balls.cloud.map(torch.clone)
    faint.logit_opacities[balls.parts["left"]] = -20.0
    with pytest.raises(BadInput, match="nothing of the part can be seen"):
        refine.part_cells(faint, balls.parts["left"], occupancy)


def test_one_cell_of_the_occupancy_is_found_along_the_right_axes(balls):
    """The release has to flip coordinates for its lookup; a single cell (3, 10, 27) of 32 tells the axes apart."""
    place = (torch.tensor([3, 10, 27]) + 0.5) / 16 - 1
    cells = torch.zeros(32, 32, 32, dtype=torch.bool)
    cells[3, 10, 27] = True
    grid = refine.OccupancyGrid(torch.zeros(32, 32, 32), 1.0, cells)
    turned = torch.stack([place[list(order)] for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0))])
    assert grid.is_occupied(turned).tolist() == [True, False, False, False, False]

    # A small ball there owns its cells and those beside them, by another count as well.
    ball = from_points(place + 0.001 * balls.cloud.means, torch.full_like(balls.cloud.means, 0.5), opacity=0.9)
    full = refine.replace(grid, mask=torch.ones_like(cells))
    found = refine.part_cells(ball, torch.ones(400, dtype=torch.bool), full)
    wanted = binary_dilation((matter(ball, 1.0, 32) > SLACK).numpy(), torch.ones(3, 3, 3).numpy())
    assert torch.equal(found, torch.from_numpy(wanted)) and found[3, 10, 27] and not found[27, 10, 3]


def test_pictures_that_are_right_already_change_no_bit(balls):
    camera = zoomed(refine._bake_orbit(32), around(balls.cloud))
    seen = render_gaussians(balls.cloud, camera)
    fit = refit(balls.cloud, camera, seen.color, seen.alpha, Refit(steps=45), Streams(0))
    cloud, origin = edit.finished(fit)
    assert not origin.is_fresh.any() and torch.equal(origin.parent, torch.arange(400))
    assert all(torch.equal(a, b) for a, b in zip(cloud.tensors().values(), balls.cloud.tensors().values(), strict=True))


def test_it_can_be_watched_and_refused(balls, prior):
    events = list(edit.changing(Refine("left", "a green ball", **QUICK), balls, Sources(prior=prior)))
    assert [Progress(*x) in events for x in (("distill", 12, 12), ("refine", 12, 12), ("bake", 12, 12))] == [True] * 3
    assert sum(isinstance(event, Preview) for event in events) == 3
    for wrong in ({"levels": 0}, {"levels": 17}, {"times": ()}, {"times": (1.5,)}, {"steps": 0}, {"bake": 0}):
        with pytest.raises(BadInput):
            Refine(**{"part": "left", "prompt": "a green ball"} | wrong)
    prior.means[:] = torch.nan
    with pytest.raises(Exception, match="hold NaN"):
        apply(Refine("left", "a green ball", **QUICK), balls, Sources(prior=prior))

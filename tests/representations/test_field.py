"""The hash field: where it is empty, how it starts, what its parts may touch, gradients, and that it can learn."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.core.seed import Streams
from maquette.kernels.hashgrid import GridShape
from maquette.representations.field import PAPER, FieldShape, HashField, _SafeSigmoid

SMALL = FieldShape(GridShape(levels=4, base=8, finest=32, log2_entries=12), hidden=16)


def field(shape=SMALL, seed=0):
    return HashField(shape, generator=Streams(seed).generator("field"))


def somewhere(count=200, seed=0, spread=0.6):
    draw = torch.Generator().manual_seed(seed)
    points = (torch.rand(count, 3, generator=draw) * 2 - 1) * spread
    return points, torch.nn.functional.normalize(torch.randn(count, 3, generator=draw), dim=-1)


def cells():
    mask = torch.zeros(32, 32, 32, dtype=torch.bool)
    mask[20:30, 4:18, 10:22] = True
    return mask


def is_in(points, mask):
    index = ((points / 1.2 + 0.5) * 32).long().clamp(0, 31)
    return mask[index[:, 0], index[:, 1], index[:, 2]]


def excite(thing, seed=3):
    """Random weights everywhere, so that no agreement below comes from zeros."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in thing.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)


def test_a_new_field_is_thin_grey_fog_in_its_cube_and_nothing_outside():
    points, directions = somewhere(spread=0.9)
    density, _ = field()(points, directions)
    inside = (points.abs() <= 0.6).all(-1)
    assert 50 < inside.sum() < 150
    assert torch.allclose(density[inside], torch.ones(()), atol=1e-2) and not density[~inside].any()
    assert PAPER.grid.entries * 2 == 12_599_920


def test_a_blob_is_dense_in_the_middle():
    blob = field(FieldShape(SMALL.grid, hidden=16, activation="softplus", blob=10.0))
    middle, edge, outer = blob.density(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.5, 0.0]])).tolist()
    assert middle == pytest.approx(10.0, abs=0.05) and edge == pytest.approx(0.693, abs=0.05) and outer < 1e-3


def test_a_color_that_went_too_far_finds_its_way_back():
    """Its value is the sigmoid everywhere, its gradient is up to 3; beyond, gradients that lead back do not fade."""
    x = torch.tensor([-9.0, -4.0, -2.0, 0.5, 4.0, 9.0], dtype=torch.float64, requires_grad=True)
    own = torch.sigmoid(x.detach()) * (1 - torch.sigmoid(x.detach()))
    flattest = own.new_tensor(3.0).sigmoid() * own.new_tensor(-3.0).sigmoid()
    for sign in (1.0, -1.0):  # of the gradient of the color: 1 asks for less of it
        y = _SafeSigmoid.apply(x)
        assert torch.equal(y, torch.sigmoid(x))
        (slope,) = torch.autograd.grad(sign * y.sum(), x)
        leads_out = sign * x.detach() < 0
        expected = torch.where(x.detach().abs() > 3, flattest, own)
        expected = torch.where((x.detach().abs() > 5) & leads_out, 0.0, expected)
        torch.testing.assert_close(sign * slope, expected)


def test_the_same_seed_gives_the_same_field_and_leaves_the_global_stream_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two, other = field(seed=1), field(seed=1), field(seed=2)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.table, other.table)


def test_density_alone_is_the_same_and_color_may_depend_on_the_direction():
    thing = field()
    excite(thing)
    thing.add_part(cells(), GridShape(levels=2, base=4, finest=8, log2_entries=10), generator=torch.Generator())
    excite(thing, seed=4)
    points, directions = somewhere()
    density, color = thing(points, directions)
    assert torch.equal(density, thing.density(points))
    turned = thing(points, directions.flip(-1))
    assert torch.equal(turned[0], density) and (turned[1] - color).abs().mean() > 0.01
    plain = field(FieldShape(SMALL.grid, hidden=16, sees_direction=False))
    excite(plain)
    assert torch.equal(plain(points, directions)[1], plain(points, directions.flip(-1))[1])


def test_gradients_of_every_parameter_agree_with_finite_differences():
    thing = field(FieldShape(GridShape(levels=2, base=3, finest=5, log2_entries=6), hidden=6, features=3))
    part = thing.add_part(cells(), GridShape(levels=1, base=3, finest=3, log2_entries=5), generator=torch.Generator())
    thing = thing.double().requires_grad_()
    excite(thing)
    points, directions = (side.double() for side in somewhere(30))
    names, values = zip(*thing.named_parameters(), strict=True)
    assert sum(name.startswith("parts") for name in names) == 5 and part is thing.parts[0]

    def call(*given):
        return torch.func.functional_call(thing, dict(zip(names, given, strict=True)), (points, directions))

    assert torch.autograd.gradcheck(call, values, fast_mode=True)


def test_a_part_starts_as_nothing_and_then_changes_only_its_cells():
    thing = field()
    excite(thing)
    points, directions = somewhere(2000)
    before = [tensor.detach().clone() for tensor in thing(points, directions)]
    frozen = {name: value.clone() for name, value in thing.state_dict().items() if name != "labels"}
    grid = GridShape(levels=4, base=4, finest=32, log2_entries=10)
    part = thing.add_part(cells(), grid, generator=Streams(0).generator("part"))
    assert all(torch.equal(a, b) for a, b in zip(before, thing(points, directions), strict=True))

    inside = is_in(points, cells())
    assert 50 < inside.sum() < 1950
    optimizer = torch.optim.Adam([p for p in thing.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(30):
        density, color = thing(points, directions)
        loss = (color - color.new_tensor([1.0, 0.0, 0.0])).abs().mean() + (density - 5).abs().mean() / 10
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = thing(points, directions)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[~inside], new[~inside])
    assert (after[1][inside, 0].mean() > before[1][inside, 0].mean() + 0.1).item()
    for name, value in frozen.items():
        assert torch.equal(value, thing.state_dict()[name]), name
    assert part.low.tolist() == [20 / 32, 4 / 32, 10 / 32] and part.high.tolist() == [30 / 32, 18 / 32, 22 / 32]


def test_a_later_part_takes_the_cells_that_it_shares_and_freezes_the_first():
    thing = field()
    grid = GridShape(levels=1, base=4, finest=4, log2_entries=6)
    first = thing.add_part(cells(), grid, generator=torch.Generator())
    thing.add_part(cells().roll(5, 0), grid, generator=torch.Generator())
    assert not any(p.requires_grad for p in first.parameters())
    assert int((thing.labels == 1).sum()) == int(cells().sum())
    assert int((thing.labels == 0).sum()) == int((cells() & ~cells().roll(5, 0)).sum())
    with pytest.raises(BadInput, match="cells"):
        thing.add_part(torch.zeros(32, 32, 32, dtype=torch.bool), grid, generator=torch.Generator())


def test_one_wild_step_leaves_a_finite_gradient():
    thing = field(FieldShape(SMALL.grid, hidden=16, sees_direction=False))
    with torch.no_grad():
        thing.table.fill_(1.0)
        thing.density_net[-1].weight.fill_(10.0)
    density = thing.density(torch.zeros(1, 3))
    density.sum().backward()
    raw = float(density.detach().log())
    assert raw > 16
    assert float(thing.table.grad.abs().max()) < 3.3e6 * 1000  # exp(15) and not exp(raw), times the slope of the net


def test_a_small_field_learns_a_colored_ball():
    thing = field(FieldShape(GridShape(levels=4, base=8, finest=32, log2_entries=12), hidden=16, sees_direction=False))
    optimizer = torch.optim.Adam(thing.parameters(), 1e-2, betas=(0.9, 0.99), eps=1e-15)
    for step in range(150):
        points, directions = somewhere(1000, seed=step)
        density, color = thing(points, directions)
        solid = torch.sigmoid((0.4 - points.norm(dim=-1)) / 0.05)
        loss = (1 - (-density).exp() - 0.9 * solid).abs().mean() + (color - (points + 0.6) / 1.2).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.06  # from 0.7

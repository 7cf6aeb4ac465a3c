from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Notice, Preview, Progress, Result, Scalar, Streams, orbit
from maquette.core.schedule import Constant, Exponential
from maquette.kernels.hashgrid import GridShape
from maquette.pipelines import PIPELINES, sjc
from maquette.priors.analytic import Solids
from maquette.render import render_field
from maquette.representations.field import FieldShape
from maquette.training.orbits import Around
from maquette.training.volume import Penalties, Rates

TINY = sjc.TINY
TOY = Solids.toy()
FIT = replace(
    TINY, iterations=100, guidance=2.0,
    shape=FieldShape(
        GridShape(levels=4, base=8, finest=32, log2_entries=12), hidden=16, sees_direction=False,
        activation="softplus", blob=10.0,
    ),
    loop=replace(
        TINY.loop, cameras=Around(views=4), resolution=Constant(24), samples=32, watch_every=16,
        rates=Rates(Exponential(3e-2, 1e-2, 100), Constant(1e-2)), penalties=Penalties(Constant(0.0), Constant(0.0)),
    ),
)  # fmt: skip


def run(config, prior, **options):
    return list(sjc.run(config, prior, **{"prompt": "a toy"} | options))


def values(made):
    return torch.cat([x.detach().flatten().double() for x in (*made.field.parameters(), made.occupancy.thickness)])


def look(made, camera):
    with torch.no_grad():
        return render_field(made.field, camera, occupancy=made.occupancy, background=torch.ones(3), samples=64)


def error(made, camera):
    return (look(made, camera).color - TOY.look(camera)[..., :3]).square().mean().item()


def test_the_published_numbers():
    paper = sjc.PAPER
    assert __import__(PIPELINES["sjc"], fromlist=["run"]) is sjc
    assert (paper.iterations, paper.guidance, paper.loop.light) == (10_000, 100.0, None)
    draws = [paper.times.sample(step, Streams(step).generator("t")) for step in range(300)]
    assert 0.011 <= min(draws) < 0.03 and 0.95 < max(draws) <= 0.97  # levels 10 to 969 of a thousand
    assert paper.loop.penalties.emptiness(5000) == 20 * paper.loop.penalties.emptiness(4999)
    assert paper.loop.penalties.opacity(0) == paper.loop.penalties.entropy(9999) == 0
    with pytest.raises(BadInput, match="expected"):
        replace(paper, iterations=0)


def test_every_step_asks_for_one_guided_prediction_of_the_whole_set(known_object):
    prior = known_object(16)
    events = run(TINY, prior)
    assert [asked[1:] for asked in prior.asked] == [("a toy", 100.0, 2)] * 4
    assert len({t for t, *_ in prior.asked}) == 4
    assert {type(e) for e in events} == {Notice, Progress, Scalar, Preview, Result}
    assert events[-1].report["evaluations"] == 8 == prior.evaluations
    assert events[-1].report["pipeline"] == "sjc" and set(events[-1].report["seconds"]) == {"distill"}


def test_a_known_object_is_reached(known_object):
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    start = run(replace(FIT, iterations=1), known_object(24))[-1].asset
    made = run(FIT, known_object(24))[-1].asset
    assert error(made, between) < 0.4 * error(start, between) and error(made, between) < 0.02


def test_a_high_price_of_matter_empties_the_field(known_object):
    camera, alpha = orbit(torch.arange(3) * 120.0, 15.0, size=16), {}
    rates = Rates(Constant(5e-2), Constant(5e-2))
    for price in (0.0, 1e4):
        penalties = Penalties(Constant(0.0), Constant(0.0), emptiness=Constant(price))
        config = replace(TINY, iterations=8, loop=replace(TINY.loop, penalties=penalties, rates=rates))
        alpha[price] = look(run(config, known_object(16))[-1].asset, camera).alpha.mean()
    assert alpha[1e4] < 0.8 * alpha[0.0], alpha


def test_a_run_that_stops_continues_to_the_same_bytes(tmp_path, known_object):
    whole = run(TINY, known_object(16))[-1]
    making = sjc.run(TINY, known_object(16), prompt="a toy", checkpoint=tmp_path)
    for event in making:
        if isinstance(event, Progress) and event.step == 2:
            making.close()
    events = run(TINY, known_object(16), checkpoint=tmp_path)
    assert isinstance(events[0], Notice) and "step 2" in events[0].text
    assert torch.equal(values(events[-1].asset), values(whole.asset))
    with pytest.raises(BadInput, match="another run"):
        run(replace(TINY, guidance=2.0), known_object(16), checkpoint=tmp_path)

"""The whole line of the paper on a known object: edits in the middle, rows that stand still, kills, and stage II."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from queue import SimpleQueue

import pytest
import torch

from maquette.core import BadInput, NonFinite, Notice, Preview, Progress, Result, Scalar
from maquette.core.schedule import Constant, Exponential
from maquette.edit import Move, Refine, Remove, Select, Sphere, refine, to_json
from maquette.kernels.hashgrid import GridShape
from maquette.pipelines import PIPELINES, interactive3d
from maquette.pipelines.interactive3d import DEFAULT, PAPER, TINY, Interaction, script
from maquette.priors.analytic import Solids
from maquette.representations.field import FieldShape
from maquette.representations.gaussians import from_points, state_hash
from maquette.training import density, optim
from maquette.training.gaussians_to_field import FieldFit
from maquette.training.orbits import Around

TOP = Select("frozen", Sphere((0.0, 0.3, 0.0), 0.25))
RUN = replace(TINY, iterations=8, init_points=200, control=replace(TINY.control, every=2, end=8, most=260))


def run(config, prior, **options):
    return list(interactive3d.run(config, prior, prompt="a toy", **options))


def test_the_presets_say_what_is_published():
    assert (PAPER.iterations, PAPER.refine.steps, PAPER.guidance) == (10_000, 10_000, 50)
    assert PAPER.times == ((0.98, 0.02), (0.98, 0.5)) and PAPER.annealed * PAPER.iterations == 8000
    assert __import__(PIPELINES["interactive3d"], fromlist=["run"]) is interactive3d
    assert DEFAULT.refine.part == "all"


def test_a_known_object_is_reached_and_the_stream_says_how(known_object):
    config = replace(
        TINY, iterations=50, init_points=500, cameras=Around(views=4), times=((0.5, 0.02), (0.9, 0.5)), guidance=2.0,
        control=replace(TINY.control, end=0),
        rates=optim.Rates(
            means=Exponential(5e-3, 1e-3, 50), log_scales=Constant(1e-2), quats=Constant(1e-2),
            logit_opacities=Constant(5e-2), sh=Constant(3e-2),
        ),
    )  # fmt: skip
    prior = known_object(24)
    events = run(config, prior)
    assert {type(e) for e in events} == {Progress, Scalar, Preview, Result}
    for step, (t, *_) in enumerate(prior.asked[::2]):  # with and without words; the range narrows for four fifths
        share = min(step / 40, 1)
        assert 0.5 - 0.48 * share <= t + 1e-9 and t <= 0.9 - 0.4 * share + 1e-9
    assert len(prior.asked) == 100
    assert events[-1].report["evaluations"] == 100 and events[-1].report["gaussians"] == 500
    shown = [e for e in events if isinstance(e, Preview)]
    from maquette.core import turntable

    truth = Solids.toy().look(turntable(4, 15.0, size=32))[..., :3]
    first, last = ((p.images - truth).square().mean() for p in (shown[0], shown[-1]))
    assert last < 0.5 * first


def test_edits_in_the_middle_happen_and_frozen_rows_keep_every_bit(known_object):
    cut = Remove("bottom")
    plan = script("""[
        {"step": 5, "kind": "remove", "part": "bottom"},
        {"step": 2, "kind": "select", "part": "frozen", "region": {"kind": "sphere", "center": [0, 0.3, 0],
          "radius": 0.25}, "how": "replace"},
        {"step": 2, "kind": "select", "part": "bottom", "region": {"kind": "sphere", "center": [0, -0.4, 0],
          "radius": 0.25}}
    ]""")
    assert [one.step for one in plan] == [2, 2, 5] and plan[2].edit == cut and plan[0].edit == TOP
    prior = known_object(16)
    still, clouds = [], []
    for event in interactive3d.run(RUN, prior, prompt="a toy", interactions=plan):
        if isinstance(event, Notice):
            still.append(event.text)
        clouds.append(event)
    assert [text.split(":")[0] for text in still] == ["Select", "Select", "Remove"]
    report, cloud = clouds[-1].report, clouds[-1].asset
    assert report["edits"] == 3 and report["parts"]["bottom"] == 0 and report["parts"]["frozen"] > 3

    # The frozen rows are those of a run that ends where they were frozen.
    early = run(replace(RUN, iterations=2, times=RUN.times, annealed=RUN.annealed * 4), known_object(16))[-1].asset
    rows = (early.means - torch.tensor([0.0, 0.3, 0.0])).norm(dim=-1) <= 0.25
    assert int(rows.sum()) == report["parts"]["frozen"]
    for name, tensor in early.select(rows).tensors().items():
        assert torch.equal(getattr(cloud, name)[: int(rows.sum())], tensor)


def test_edits_from_a_queue_come_before_the_next_step_and_bad_ones_are_said(known_object):
    edits, notices, seen = SimpleQueue(), [], 0
    for event in interactive3d.run(RUN, known_object(16), prompt="a toy", edits=edits):
        if isinstance(event, Progress) and event.step == 3:
            edits.put(Select("top", TOP.region))
            edits.put(Move("nowhere", (0.1, 0, 0)))
            seen = event.step
        if isinstance(event, Notice):
            notices.append((seen, event.text))
    assert [step for step, _ in notices] == [3, 3]
    assert notices[0][1].startswith("Select") and "there is no part 'nowhere'" in notices[1][1]
    assert event.report["parts"]["top"] > 0 and event.report["edits"] == 1


def test_rows_that_an_edit_leaves_alone_keep_their_moments(known_object):
    """A selection changes nothing, so the run goes on to the same bits as one without it."""
    plain, named = (
        run(RUN, known_object(16), interactions=plan)[-1].asset
        for plan in ([], [Interaction(4, Select("top", Sphere((0.0, 0.3, 0.0), 0.25)))])
    )
    assert len(plain) == len(named)
    config = replace(RUN, control=replace(RUN.control, end=0))
    plain, named = (
        run(config, known_object(16), interactions=plan)[-1].asset
        for plan in ([], [Interaction(4, Select("top", Sphere((0.0, 0.3, 0.0), 0.25)))])
    )
    assert state_hash(plain) == state_hash(named)


def test_parts_follow_their_rows_through_density_control():
    """Copies have the color of their parents, so a part by color must stay what it is."""
    draw = torch.Generator().manual_seed(0)
    learns, still = (
        from_points(torch.rand(n, 3, generator=draw) - 0.5, torch.rand(n, 3, generator=draw)) for n in (40, 7)
    )
    noticed = replace(density.start(learns), gradient_sum=torch.rand(40, generator=draw), seen=torch.ones(40))
    parts = {"red": torch.cat([still.rgb, learns.rgb])[:, 0] > 0.5}
    state = interactive3d._State(2, still, optim.leaves(learns), optim.start(learns), noticed, parts)
    control = replace(RUN.control, quantile=0.5, prune_opacity=0.0, prune_scale=None)
    after = interactive3d._densified(replace(RUN, control=control), state, draw).scene
    assert len(after.cloud) > 50
    assert torch.equal(after.parts["red"], after.cloud.rgb[:, 0] > 0.5)


def test_a_run_that_stops_continues_to_the_same_bytes(tmp_path, known_object):
    plan = [Interaction(2, TOP), Interaction(4, Select("top", TOP.region)), Interaction(5, Move("top", (0, 0.1, 0)))]
    config = replace(RUN, checkpoint_every=3)
    whole = run(config, known_object(16), interactions=plan)[-1]
    for stop in (3, 5, 7):
        events = interactive3d.run(
            config, known_object(16), prompt="a toy", interactions=plan, checkpoint=tmp_path / f"{stop}"
        )
        for event in events:
            if isinstance(event, Progress) and event.step == stop:
                events.close()
        continued = run(config, known_object(16), interactions=plan, checkpoint=tmp_path / f"{stop}")
        assert isinstance(continued[0], Notice) and f"step {stop - stop % 3}" in continued[0].text
        assert state_hash(continued[-1].asset) == state_hash(whole.asset)
        assert continued[-1].report["evaluations"] == whole.report["evaluations"]
        assert continued[-1].report["parts"] == whole.report["parts"]
    with pytest.raises(BadInput, match="interactions"):
        run(config, known_object(16), checkpoint=tmp_path / "3")


KILLED = """
    import json, os, signal, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from dataclasses import replace
    from maquette.core import Progress
    from maquette.pipelines import interactive3d
    from maquette.pipelines.interactive3d import TINY, script
    from maquette.priors.analytic import RenderOracle, Solids
    from maquette.priors.sampling import resized
    from maquette.representations.gaussians import state_hash

    plan = script(json.dumps([
        {"step": 2, "kind": "select", "part": "frozen",
         "region": {"kind": "sphere", "center": [0, 0.3, 0], "radius": 0.25}},
        {"step": 4, "kind": "move", "part": "all", "by": [0, 0.01, 0]},
    ]))

    def events(folder):
        prior = RenderOracle(lambda camera: resized(Solids.toy().look(camera), 16), image_size=16, with_coverage=True)
        config = replace(TINY, iterations=6, init_points=100, checkpoint_every=2)
        return interactive3d.run(config, prior, prompt="a toy", interactions=plan, checkpoint=folder)

    folder = Path(sys.argv[1])
    hashes = []
    for stop in (3, 5, 0):
        child = os.fork()
        if child == 0:
            for event in events(folder / str(stop)):
                if isinstance(event, Progress) and event.step == stop:
                    os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
        ended = os.waitpid(child, 0)[1]
        assert (os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL) or (stop == 0 and ended == 0)
    for stop in (3, 5, 0):
        *_, last = events(folder / str(stop))
        print(state_hash(last.asset))
"""


def test_killed_without_warning_it_continues_to_the_same_bytes(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3 and len(set(done.stdout.split())) == 1


def test_an_edit_from_the_queue_survives_a_kill(tmp_path, known_object):
    edits = SimpleQueue()
    events = interactive3d.run(
        replace(RUN, checkpoint_every=100), known_object(16), prompt="a toy", edits=edits, checkpoint=tmp_path
    )
    for event in events:
        if isinstance(event, Progress) and event.step == 3:
            edits.put(TOP)
        if isinstance(event, Scalar) and event.step == 3:
            events.close()
    continued = run(replace(RUN, checkpoint_every=100), known_object(16), checkpoint=tmp_path)
    assert "step 3" in continued[0].text and continued[-1].report["parts"]["frozen"] > 0


def test_the_second_stage_refines_what_the_script_says_or_everything(known_object, monkeypatch):
    monkeypatch.setattr(refine, "FieldFit", lambda: FieldFit(
        shape=FieldShape(GridShape(4, 8, 32, 12), hidden=16), rays=128, views=6, size=24, samples=32, cells=16,
    ))  # fmt: skip
    monkeypatch.setattr(refine, "RAYS", 128)
    small = Refine("all", "a thing", 3, 2, "", (0.5,), 1.0, 2, 2)
    plan = [Interaction(0, Select("top", TOP.region)), Interaction(8, replace(small, part="top", prompt="a toy"))]
    events = run(replace(RUN, refine=small), known_object(16), interactions=plan)
    assert [e.stage for e in events if isinstance(e, Progress)][-6:] == ["distill"] * 2 + ["refine"] * 2 + ["bake"] * 2
    assert events[-1].report["edits"] == 2
    prior = known_object(16)
    run(replace(RUN, refine=small), prior)
    assert {prompt for _, prompt, _, _ in prior.asked} == {"a toy"}


def test_what_cannot_be_done_is_said(known_object):
    with pytest.raises(BadInput, match="everything is frozen"):
        run(RUN, known_object(16), interactions=[Interaction(1, Select("frozen", Sphere((0, 0, 0), 9.0)))])
    with pytest.raises(BadInput, match="there is no part"):
        run(RUN, known_object(16), interactions=[Interaction(1, Move("head", (0.1, 0, 0)))])
    with pytest.raises(NonFinite, match="not finite"):
        run(RUN, known_object(16, broken_at=3))
    for wrong in ("", "3", '["x"]', '[{"step": "x", "kind": "undo"}]', '[{"kind": "fly"}]'):
        with pytest.raises(BadInput):
            script(wrong)
    assert script("[]") == () and to_json(TOP)["kind"] == "select"


class PrefersTheSecond:
    """An encoder that finds what it is shown second most like the words."""

    def __init__(self):
        self.shown = 0

    def embed_text(self, prompts):
        return torch.tensor([[1.0, 0.0]]).expand(len(prompts), 2)

    def embed_image(self, images):
        self.shown += 1
        return torch.tensor([[1.0, 0.0] if self.shown == 2 else [0.0, 1.0]]).expand(len(images), 2)

    def features(self, images):
        return []


def test_the_best_of_several_first_samples_is_built_on(known_object):
    config = replace(RUN, iterations=1, first_views=4, first_steps=1, candidates=3)
    encoder, prior = PrefersTheSecond(), known_object(16)
    events = list(interactive3d.run(config, prior, encoder, prompt="a toy"))
    assert encoder.shown == 3 and any(isinstance(e, Notice) and "most fitting of 3" in e.text for e in events)
    assert prior.evaluations == events[-1].report["evaluations"] == 3 * 2 + 2
    assert isinstance(next(e for e in events if not isinstance(e, Progress | Notice)), Preview)
    with pytest.raises(BadInput, match="best of 3 samples needs an encoder"):
        run(config, known_object(16))
    with pytest.raises(BadInput, match="0 candidates"):
        replace(config, candidates=0)
    assert (DEFAULT.candidates, DEFAULT.first_steps, PAPER.first_views) == (8, 5, 0)

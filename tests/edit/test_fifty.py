"""Fifty edits in any order, with words among them: undone to the first bit, and replayed to the same bytes."""

import random
import subprocess
import sys
import textwrap

import pytest
import torch

from maquette.core import BadInput
from maquette.edit import (
    ALL,
    Duplicate,
    Grow,
    GuidedDrag,
    HalfSpace,
    Move,
    Refine,
    Regenerate,
    Remove,
    Repaint,
    Rotate,
    Select,
    Session,
    Sphere,
    is_worded,
    refine,
    replay,
    scene_hash,
)
from maquette.kernels.hashgrid import GridShape
from maquette.priors.analytic import MixturePrior
from maquette.representations.field import FieldShape
from maquette.training.gaussians_to_field import FieldFit

GREEN, BLUE = (0.1, 0.8, 0.2), (0.1, 0.2, 0.9)


def any_edit(chance: random.Random):
    """Two in five have words; parts may well be missing, so that some are refused."""
    part = chance.choice([ALL, "left", "right", "new", "copy"])
    words = chance.choice(["a green ball", "a blue ball"])
    place = tuple(round(chance.uniform(-0.3, 0.3), 3) for _ in range(3))
    free = {"guidance": 1.0}
    match chance.randrange(15):
        case 0 | 1:
            return Select("new", Sphere(place, chance.uniform(0.1, 0.5)))
        case 2:
            return Select("new", chance.choice([Grow("left", 4), HalfSpace((0, 0, 0), (0, 1, 0))]))
        case 3 | 4:
            return Move(part, place)
        case 5 | 6:
            return Rotate(part, (0, 1, 0.5), chance.uniform(-180, 180))
        case 7:
            return Duplicate(part, "copy", place)
        case 8:
            return Remove(chance.choice(["new", "copy"]))
        case 9 | 10:
            return Repaint(part, words, 2, times=(0.5,), **free)
        case 11 | 12:
            return Regenerate(part, words, chance.choice([1, 2, 2, 32]), **free)  # in 32 steps rows come and go
        case 13:
            mode = chance.choice(["rigid", "deform"])
            return GuidedDrag(place, ((0.4, 0.4, 0.4),), chance.uniform(0.2, 0.5), words, mode, part, 2, 1, **free)
    return Refine(part, words, 2, 2, times=(0.5,), fit=2, bake=2, **free)


@pytest.fixture
def prior(monkeypatch) -> MixturePrior:
    """A green and a blue disc of 16 px; and fields as small."""
    shape = FieldShape(GridShape(levels=2, base=4, finest=8, log2_entries=8), hidden=16)
    small = FieldFit(shape=shape, rays=64, views=4, size=16, samples=16, cells=12)
    monkeypatch.setattr(refine, "FieldFit", lambda: small)
    monkeypatch.setattr(refine, "RAYS", 64)
    monkeypatch.setattr(refine, "FINEST", 8)
    monkeypatch.setattr(refine, "samples_across", lambda *_: 16)
    x = (torch.arange(16) + 0.5) / 8 - 1
    disc = (x[:, None] ** 2 + x**2 < 0.9**2).float()
    pictures = [torch.stack([disc * c + 1 - disc for c in color] + [disc]) for color in (GREEN, BLUE)]
    return MixturePrior(torch.stack(pictures), 0.05, ("a green ball", "a blue ball"))


@pytest.mark.parametrize("seed", [0])
def test_any_fifty_edits_and_fifty_undos_and_their_replay(tmp_path, scene, prior, seed):
    chance, words = random.Random(seed), 0
    with Session.create(tmp_path / "s", scene.cloud, scene.parts, seed=3) as opened:
        opened.prior = prior
        hashes = [opened.hash]
        while len(hashes) <= 50:
            edit = any_edit(chance)
            try:
                report = opened.do(edit)
            except BadInput:
                assert scene_hash(opened.scene) == opened.hash == hashes[-1]
                continue
            assert report.outside_changed == 0
            hashes.append(opened.hash)
            words += is_worded(edit)
        assert words > 5 and opened.done == 50
        for wanted in hashes[-2::-1]:
            opened.undo()
            assert scene_hash(opened.scene) == wanted
        opened.redo(len(hashes) - 1)
        assert scene_hash(opened.scene) == hashes[-1]
    assert replay(tmp_path / "s", tmp_path / "again", prior) == []
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("s", "again")]
    assert logs[0] == logs[1]


KILLS = """
    import os, signal, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from maquette.edit import Regenerate, Session, scene_hash
    from maquette.priors.analytic import MixturePrior

    folder = Path(sys.argv[1])
    for moment in (1, 2, 4):
        child = os.fork()
        if child == 0:
            class Deadly(MixturePrior):
                def denoise(self, *args, **options):
                    if self.evaluations == moment:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return super().denoise(*args, **options)

            with Session.open(folder) as opened:
                opened.prior = Deadly(torch.ones(1, 4, 16, 16), 0.05, ("a white square",))
                opened.move("left", (0, 0.01, 0))
                opened.do(Regenerate("left", "a white square", 9, guidance=1.0))
            os._exit(7)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        with Session.open(folder) as opened:
            (notice,) = opened.notices
            assert "the last edit (regenerate) was not finished" in notice, notice
            assert scene_hash(opened.scene) == opened.hash == opened.entries[-1].after
            print(opened.done)
"""


def test_killed_while_it_learns_an_edit_is_lost_and_all_before_it_is_there(tmp_path, scene):
    Session.create(tmp_path / "s", scene.cloud, scene.parts).close()
    command = [sys.executable, "-c", textwrap.dedent(KILLS), str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["1", "2", "3"]), done.stderr

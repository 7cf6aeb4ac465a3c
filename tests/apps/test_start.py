"""An asset that another method begins from: `maquette generate --start`."""

import pytest
import torch

from maquette.apps.cli import run as command
from maquette.apps.generate import generate_to_folder
from maquette.core import BadInput, Scalar, Unsupported
from maquette.io import load_ply, save_ply
from maquette.representations.gaussians import from_points


@pytest.fixture
def ball(tmp_path):
    points = 0.2 * torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    save_ply(tmp_path / "ball.ply", from_points(points, torch.tensor([[0.9, 0.1, 0.1]]).expand(90, 3)))
    return tmp_path / "ball.ply"


def test_a_distillation_begins_from_it(tmp_path, ball):
    line = ["generate", "a red apple", "--pipeline", "ge3d", "--quality", "tiny", "--device", "cpu"]
    assert command([*line, "--start", str(ball), "--out", str(tmp_path / "apple")]) == 0
    made, begun = load_ply(tmp_path / "apple" / "asset.ply"), load_ply(ball)
    assert torch.cdist(made.means, begun.means).min(1).values.median() < 0.05
    assert (made.rgb[:, 0] - made.rgb[:, 1]).median() > 0.5


def test_a_stopped_run_knows_what_it_began_from(tmp_path, ball):
    asked = {"prompt": "a red apple", "image": None, "pipeline": "ge3d", "prior": "pocket", "seed": 0, "device": "cpu"}
    asked |= {"out": tmp_path / "out", "overrides": {"quality": "tiny"}}
    stopped = generate_to_folder(**asked, start=ball)
    next(event for event in stopped if isinstance(event, Scalar))
    stopped.close()
    with pytest.raises(BadInput, match="holds a run that was stopped"):
        list(generate_to_folder(**asked))
    report = list(generate_to_folder(**asked, start=ball))[-1].report
    assert len(report["start_hash"]) == 16


def test_what_is_no_start(tmp_path, ball):
    asked = {"prompt": "a red apple", "image": None, "prior": "pocket", "seed": 0, "device": "cpu", "overrides": {}}
    with pytest.raises(Unsupported, match="im3d begins from no asset"):
        list(generate_to_folder(**asked, pipeline="im3d", start=ball, out=tmp_path / "out"))
    with pytest.raises(BadInput, match="there is no file"):
        list(generate_to_folder(**asked, pipeline="ge3d", start=tmp_path / "nothing.ply", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()

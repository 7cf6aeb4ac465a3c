"""The recipe of the point encoder, from a folder of assets to a network that the loader takes."""

import json

import numpy as np
import pytest
import torch

from maquette.core.errors import BadInput
from maquette.data.procedural import procedural_mesh
from maquette.data.shards import POSITION_SCALE
from maquette.priors.encoders import load_point_encoder
from maquette.training.loop import LoopConfig
from maquette.training.recipes import point_encoder

KINDS = 4  # of shapes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three objects of each shape to learn from, one of each held out, and one of a category that nobody has seen."""
    folder = tmp_path_factory.mktemp("assets")
    meshes = [procedural_mesh(number) for number in range(KINDS)] * 4 + [procedural_mesh(KINDS)]
    rows, sizes = [], [(len(mesh.vertices), len(mesh.faces)) for mesh in meshes]
    for index, mesh in enumerate(meshes):
        rows.append({
            "id": f"{index}", "shard": "assets.npz", "index": index, "split": "train" if index < 3 * KINDS else "val",
            "captions": list(mesh.captions), "noun": mesh.noun, "category": mesh.category, "colors": [],
            "untextured": False,
        })  # fmt: skip
    np.savez(
        folder / "assets.npz",
        vert_offset=np.cumsum([0] + [v for v, _ in sizes]), face_offset=np.cumsum([0] + [f for _, f in sizes]),
        verts=np.concatenate([(mesh.vertices * POSITION_SCALE).round().astype(np.int16) for mesh in meshes]),
        faces=np.concatenate([mesh.faces.astype(np.uint16) for mesh in meshes]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
    )  # fmt: skip
    (folder / "assets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def config(data, out, **changed) -> point_encoder.Config:
    loop = LoopConfig(**{"steps": 70, "rate": 3e-3, "warmup": 2, "ema": 0.8, "save_minutes": 60} | changed)
    return point_encoder.Config(data=data, out=out, points=96, batch=8, centres=(24, 8), loop=loop)


def test_shapes_are_learned_and_what_was_saved_says_the_same(data, tmp_path, capsys):
    point_encoder.main(config(data, tmp_path))
    found = json.loads((tmp_path / "accuracy.json").read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["objects"] == KINDS + 1 and found["commonest"] == 1 / KINDS
    assert found["top1"] > 0.5, "one of five is of a category that is not known, and cannot be right"
    assert found["top5"] == pytest.approx(4 / 5)
    net = load_point_encoder(tmp_path / "model")
    assert net.config.categories == sorted({procedural_mesh(number).category for number in range(KINDS)})
    clouds, labels = point_encoder.known_clouds(data, "val", net.config.categories, 0)
    assert labels.tolist()[-1] == -1 and clouds.shape == (KINDS + 1, point_encoder.KEPT, 3)
    assert point_encoder.accuracy(net, clouds, labels, 96)["top1"] == found["top1"]
    assert not any(weight.requires_grad for weight in net.parameters())


def test_a_run_continues_where_it_was(data, tmp_path, capsys):
    for steps in (2, 3):
        point_encoder.main(config(data, tmp_path, steps=steps))
    assert f"continuing {tmp_path} at step 2" in capsys.readouterr().out
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3


def test_clouds_are_turned_about_the_vertical_axis():
    clouds = torch.randn(5, 30, 3, generator=torch.Generator().manual_seed(0))
    found = point_encoder.turned(clouds, 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(found[..., 1], clouds[..., 1])
    assert torch.allclose(found.norm(dim=-1), clouds.norm(dim=-1), atol=1e-5)
    assert torch.allclose(torch.linalg.det(torch.linalg.lstsq(clouds, found).solution), torch.ones(5), atol=1e-4)
    assert not torch.allclose(found[0], clouds[0], atol=0.1)
    noise = point_encoder.turned(torch.zeros(5, 2000, 3), 0.01, torch.Generator().manual_seed(1))
    assert noise.std().item() == pytest.approx(0.01, rel=0.05) and noise.abs().max() <= 0.03 + 1e-9


def test_what_cannot_be_learned_from_is_refused(data, tmp_path):
    with pytest.raises(BadInput, match="4096 points"):
        point_encoder.main(point_encoder.Config(data=data, out=tmp_path, points=4096))
    with pytest.raises(BadInput, match="no point encoder"):
        load_point_encoder(tmp_path)
    with pytest.raises(BadInput, match="no colored object"):
        point_encoder.known_clouds(data, "test", [], 0)

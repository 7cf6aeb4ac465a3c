import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from maquette.core.errors import BadInput
from maquette.data.folder import read_captioned, read_folder
from maquette.data.procedural import procedural_mesh
from maquette.data.sets import COMPOSED, DRESSED, PLAIN, RECOLORED, RELATED, draw_set, read_store, write_store
from maquette.data.shards import read_index, read_mesh


def test_a_store_holds_what_its_rows_say(tmp_path):
    for _ in write_store(tmp_path, procedural_mesh, 5, [PLAIN, RECOLORED, DRESSED, COMPOSED, RELATED], size=32):
        pass
    views, rows = read_store(tmp_path)
    assert views.shape == (25, 16, 32, 32, 4) and len(rows) == 25
    assert [row.kind for row in rows] == [
        kind for kind in (PLAIN, RECOLORED, DRESSED, COMPOSED, RELATED) for _ in range(5)
    ]
    assert all(0 <= row.elevation_deg <= 45 and row.captions for row in rows)
    assert (views[..., 3].reshape(25, -1).max(1) == 255).all()
    assert (views[:5] != views[5:10]).any()


SCRIPT = """
import sys
from pathlib import Path
from maquette.data.procedural import procedural_mesh
from maquette.data.sets import write_store
for done in write_store(Path(sys.argv[1]), procedural_mesh, 40, ["plain", "recolored"], size=32):
    print(done, flush=True)
"""


def test_a_killed_store_continues_to_the_same_bytes(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for _ in write_store(whole, procedural_mesh, 40, [PLAIN, RECOLORED], size=32):
        pass
    writer = subprocess.Popen([sys.executable, "-c", SCRIPT, str(killed)], stdout=subprocess.PIPE, env=os.environ)
    writer.stdout.readline()
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert 0 < len((killed / "sets.jsonl").read_text().splitlines()) < 80
    for _ in write_store(killed, procedural_mesh, 40, [PLAIN, RECOLORED], size=32):
        pass
    assert (np.load(whole / "views.npy") == np.load(killed / "views.npy")).all()
    assert (whole / "sets.jsonl").read_text() == (killed / "sets.jsonl").read_text()


def test_shards_are_read_back(tmp_path):
    mesh = procedural_mesh(4)
    np.savez(
        tmp_path / "one.npz", ids=np.array(["a"]), vert_offset=np.array([0, len(mesh.vertices)]),
        face_offset=np.array([0, len(mesh.faces)]), verts=(mesh.vertices * 65534).round().astype(np.int16),
        faces=mesh.faces.astype(np.uint16), colors=mesh.colors,
    )  # fmt: skip
    row = {
        "id": "a", "shard": "one.npz", "index": 0, "split": "train", "untextured": False, "captions": ["a chair"],
        "noun": "chair", "category": "chair", "colors": [["red", 1.0]],
    }  # fmt: skip
    (tmp_path / "assets.jsonl").write_text(json.dumps(row) + "\n")
    assert read_index(tmp_path, split="val") == []
    found = read_mesh(read_index(tmp_path, split="train")[0], tmp_path)
    assert np.abs(found.vertices - mesh.vertices).max() < 1e-4
    assert (found.faces == mesh.faces).all() and (found.colors == mesh.colors).all()


def test_a_missing_data_folder_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MAQUETTE_DATA", raising=False)
    with pytest.raises(BadInput, match="MAQUETTE_DATA"):
        read_index()
    with pytest.raises(BadInput, match=r"assets\.jsonl"):
        read_index(tmp_path)


def test_a_folder_of_models_is_read_centred_and_scaled(tmp_path):
    (tmp_path / "box.obj").write_text(
        "v 0 0 0\nv 4 0 0\nv 4 2 0\nv 0 2 0\nv 0 0 1\nv 4 0 1\nv 4 2 1\nv 0 2 1\nf 1 2 3\nf 1 3 4\nf 5 6 7\nf 5 7 8\n"
    )
    (tmp_path / "captions.json").write_text('{"box.obj": "a flat box"}')
    [(path, captions)] = read_folder(tmp_path)
    mesh = read_captioned(path, captions)
    assert mesh.noun == "box" and len(mesh.colors) == len(mesh.faces)
    assert np.allclose(mesh.vertices.max(0) - mesh.vertices.min(0), (1, 0.5, 0.25), atol=1e-6)
    assert np.allclose(mesh.vertices.max(0), -mesh.vertices.min(0), atol=1e-6)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"../box.obj": "a"}', '{"box.txt": "a box"}', '{"box.obj": []}', '{"box.obj": "!!"}']
)
def test_a_broken_caption_file_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "captions.json").write_text(text)
    with pytest.raises(BadInput):
        read_folder(tmp_path)


def test_the_category_takes_the_place_of_whole_words_only():
    mesh = replace(procedural_mesh(0), noun="urn", category="vase", captions=("a burning urn", "a burn"))
    row, _ = draw_set(lambda _: mesh, 1, 0, PLAIN, seed=0, size=16)
    assert row.captions == ("a burning urn", "a burn", "a burning vase")
    mesh = replace(mesh, noun="man", category="astronaut", captions=("a man",))
    assert draw_set(lambda _: mesh, 1, 0, PLAIN, seed=0, size=16)[0].captions == ("a man", "an astronaut")

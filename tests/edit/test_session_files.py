"""Folders that were damaged, come from elsewhere, or are replayed."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from maquette.core import BadInput
from maquette.edit import (
    Drag,
    Duplicate,
    HalfSpace,
    Mirror,
    Move,
    Paste,
    Rotate,
    Select,
    Session,
    Stretch,
    replay,
    scene_hash,
)


def test_a_line_that_was_cut_off_is_lost_and_said(fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    fresh.do(Move("left", (0, 0.2, 0)))
    wanted = fresh.entries[1].after
    fresh.close()
    log = fresh.folder / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    with Session.open(fresh.folder) as again:
        assert again.notices == ["the last edit was not finished and is lost; all before it is here"]
        assert again.hash == wanted
        again.do(Move("left", (0, 0.3, 0)))
        assert again.done == 2


def test_foreign_newer_and_damaged_folders_are_named(tmp_path, fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    fresh.do(Select("x", HalfSpace((0, 0, 0), (1, 0, 0))))
    fresh.close()

    def broken(change) -> str:
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(fresh.folder, folder)
        change(folder)
        with pytest.raises(BadInput) as caught:
            Session.open(folder)
        return str(caught.value)

    def line(number: int, **values):
        def change(folder: Path):
            lines = (folder / "log.jsonl").read_text().splitlines()
            lines[number] = json.dumps(json.loads(lines[number]) | values)
            (folder / "log.jsonl").write_text("\n".join(lines) + "\n")

        return change

    assert "not a session" in broken(lambda folder: (folder / "log.jsonl").unlink())
    assert "no complete line" in broken(lambda folder: (folder / "log.jsonl").write_bytes(b""))
    assert "line 1" in broken(lambda folder: (folder / "log.jsonl").write_bytes(b"\xff\x00garbage\n"))
    assert "line 1" in broken(lambda folder: (folder / "log.jsonl").write_bytes(b"[" * 100_000 + b"\n"))
    assert "update maquette" in broken(line(0, format=3))
    assert "layout 1" in broken(line(0, format=1))
    assert "line 2" in broken(line(1, what="dance"))
    assert "line 2" in broken(line(1, before="0" * 32))
    assert "line 3" in broken(line(2, line=7))
    assert "line 3" in broken(line(2, extra=1))
    assert "another state" in broken(line(2, after="0" * 32))
    assert "lost its states" in broken(lambda folder: shutil.rmtree(folder / "states"))
    assert "missing" in broken(lambda folder: (folder / "deltas" / "000001.safetensors").unlink())
    for name in ("deltas/000001.safetensors", "states/000000.safetensors"):
        content = (fresh.folder / name).read_bytes()
        assert "damaged" in broken(lambda folder, n=name, c=content: (folder / n).write_bytes(c[: len(c) // 2]))
    assert "not a session" in broken(lambda folder: (shutil.rmtree(folder), folder.write_text("a file")))


def test_any_flipped_bit_is_refused_or_harmless(files_of, tmp_path, fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    fresh.do(Duplicate("left", "copy", (0, 0.3, 0)))
    fresh.undo()
    fresh.close()
    contents, chance, refused = files_of(fresh.folder), random.Random(1), 0
    for _ in range(80):
        name = chance.choice([name for name in contents if name != "lock"])
        content = bytearray(contents[name])
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        for other, bytes_ in contents.items():  # a repair may have changed the folder
            (fresh.folder / other).write_bytes(bytes_)
        (fresh.folder / name).write_bytes(content)
        try:
            with Session.open(fresh.folder) as again:
                assert again.hash == scene_hash(again.scene)
                assert again.hash in {entry.after for entry in fresh.entries}
        except BadInput:
            refused += 1
    assert refused > 30


def test_create_refuses_what_is_not_its_own(tmp_path, fresh, make_cloud):
    with pytest.raises(BadInput, match="not empty"):
        Session.create(fresh.folder, make_cloud())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="not empty"):
        Session.create(tmp_path / "mine", make_cloud())
    cloud = make_cloud()
    for bad in (cloud.select(slice(0, 0)), cloud.to(torch.float64), cloud.map(lambda x: x * torch.nan)):
        with pytest.raises(BadInput):
            Session.create(tmp_path / "new", bad)
    assert not (tmp_path / "new").exists()


def test_replay_writes_the_same_bytes(files_of, tmp_path, fresh, make_cloud):
    for edit in (
        Select("top", HalfSpace((0, 0, 0), (0, 1, 0))),
        Stretch("left", (2, 1, 0.5), axes="own"),
        Duplicate("left", "copy", (0, 0.5, 0)),
        Drag((0.3, 0, 0), ((0.3, 0.4, 0), (0.5, 0.4, 0)), 0.15),
        Paste(fresh.keep(make_cloud(25, degree=3, seed=4)), "guest", at=(0, 0, 0.5), degrees=40),
    ):
        fresh.do(edit)
    fresh.undo(2)
    fresh.do(Mirror("copy", (1, 0.2, 0)))
    for _ in range(16):
        fresh.do(Rotate("top", (0, 1, 0), 10))
    fresh.undo(3)
    fresh.redo()
    fresh.close()
    assert replay(fresh.folder, tmp_path / "again") == []
    assert files_of(tmp_path / "again") == files_of(fresh.folder)


def test_replay_tells_of_another_result(tmp_path, fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    fresh.close()
    log = fresh.folder / "log.jsonl"
    log.write_text(log.read_text().replace("0.1", "0.2"))
    (notice,) = replay(fresh.folder, tmp_path / "again")
    assert "from line 2 on the result differs" in notice
    log.write_text(log.read_text().replace('"left"', '"lost"'))
    with pytest.raises(BadInput, match="line 2 of the log: there is no part 'lost'"):
        replay(fresh.folder, tmp_path / "third")

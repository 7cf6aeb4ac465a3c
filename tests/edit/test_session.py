"""A session keeps everything: undo and redo to the bit, kills, locks, full disks, damaged folders, replays."""

import inspect
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.edit import (
    ALL,
    Drag,
    Duplicate,
    Forget,
    HalfSpace,
    Mirror,
    Move,
    Paste,
    Remove,
    Rotate,
    Select,
    Session,
    Sphere,
    Stretch,
    read_log,
    replay,
    scene_hash,
)
from maquette.edit.edit import from_json, to_json


@pytest.fixture
def fresh(tmp_path, scene):
    with Session.create(tmp_path / "s.mq", scene.cloud, scene.parts) as opened:
        yield opened


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_undo_and_redo_walk_through_the_same_states(fresh):
    hashes = [fresh.hash]
    for edit in (Select("a", Sphere((-0.4, 0, 0), 0.1)), Move("left", (0, 0.1, 0)), Remove("a"), Forget("right")):
        fresh.do(edit)
        hashes.append(fresh.hash)
    assert len(set(hashes)) == 5
    for wanted in hashes[-2::-1]:
        fresh.undo()
        assert fresh.hash == scene_hash(fresh.scene) == wanted
    fresh.redo(4)
    assert scene_hash(fresh.scene) == hashes[-1]
    fresh.undo(4)
    assert scene_hash(fresh.scene) == hashes[0]


def test_a_session_reopens_where_it_was(tmp_path, fresh):
    for step in range(20):
        fresh.do(Move("left", (0.01 * (step + 1), 0, 0)))
    fresh.undo(3)
    before, wanted = files_of(fresh.folder), fresh.hash
    fresh.close()
    for _ in range(2):
        with Session.open(fresh.folder) as again:
            assert (again.hash, again.done, again.undone, again.notices) == (wanted, 17, 3, [])
            assert scene_hash(again.scene) == wanted
    after = files_of(fresh.folder)
    assert {**before, "lock": b""} == after


def test_undo_past_the_start_and_redo_after_an_edit_are_refused(fresh):
    with pytest.raises(BadInput, match="cannot undo 1 edits: there are 0"):
        fresh.undo()
    fresh.do(Move("left", (0, 0.1, 0)))
    with pytest.raises(BadInput, match="cannot undo 2 edits: there are 1"):
        fresh.undo(2)
    with pytest.raises(BadInput, match="undo 0"):
        fresh.undo(0)
    fresh.undo()
    fresh.do(Move("right", (0, 0.1, 0)))
    with pytest.raises(BadInput, match="redo"):
        fresh.redo()
    assert fresh.done == 1


def test_a_new_edit_drops_the_files_of_what_was_undone(fresh):
    for _ in range(17):
        fresh.do(Move("left", (0.01, 0, 0)))
    assert (fresh.folder / "states" / "000016.safetensors").is_file()
    fresh.undo(17)
    fresh.do(Move("right", (0, 0.1, 0)))
    assert sorted(files_of(fresh.folder)) == ["deltas/000035.safetensors", "lock", "log.jsonl",
                                              "states/000000.safetensors"]  # fmt: skip


def test_disk_grows_with_what_changed_and_not_with_what_is_there(tmp_path, make_cloud):
    with Session.create(tmp_path / "s", make_cloud(20_000)) as opened:
        opened.do(Select("few", Sphere((0, 0, 0), 0.06)))
        few = int(opened.scene.parts["few"].sum())
        for _ in range(10):
            opened.do(Move("few", (0.001, 0, 0)))
    sizes = [path.stat().st_size for path in sorted((tmp_path / "s" / "deltas").iterdir())]
    assert max(sizes[1:]) < 2000 + 28 * few < 10_000
    assert sizes[0] < 2000 + 20_000 / 8


def test_a_failing_edit_leaves_everything_as_it_was(fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    before, wanted = files_of(fresh.folder), fresh.hash
    for edit in (Move("nobody", (0, 1, 0)), Remove(ALL), Select("x", Sphere((9, 9, 9), 0.1))):
        with pytest.raises(BadInput):
            fresh.do(edit)
        assert (fresh.hash, scene_hash(fresh.scene)) == (wanted, wanted)
    after = files_of(fresh.folder)
    assert {name: after[name] for name in before if name != "lock"} == {k: v for k, v in before.items() if k != "lock"}


def attempted(opened: Session, edit) -> str:
    try:
        opened.do(edit)
    except BadInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_disk_that_fails_at_any_moment_leaves_everything_as_it_was(fresh, monkeypatch, failing):
    """Every call that makes something lasting fails once, in turn, until the edit gets through."""
    fresh.do(Move("left", (0, 0.1, 0)))
    wanted, real = fresh.hash, getattr(os, failing)
    log = (fresh.folder / "log.jsonl").read_bytes()
    for moment in range(20):
        left = [moment]

        def fails(*args, left=left):
            left[0] -= 1
            if left[0] < 0:
                left[0] = 1000
                if failing == "write":
                    real(args[0], args[1][:7])  # a line that is half there
                raise OSError(28, "No space left on device")
            return real(*args)

        monkeypatch.setattr(os, failing, fails)
        complaint = attempted(fresh, Rotate("left", (0, 1, 0), 30))
        monkeypatch.setattr(os, failing, real)
        if not complaint:
            break
        assert "No space left" in complaint
        assert fresh.hash == wanted == scene_hash(fresh.scene)
        assert (fresh.folder / "log.jsonl").read_bytes() == log
        assert len(list((fresh.folder / "deltas").iterdir())) == 1
    assert moment == {"write": 1, "fsync": 3}[failing]  # the line; the delta, its folder, the line
    fresh.close()
    with Session.open(fresh.folder) as again:
        assert again.done == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, where the test may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_said_and_the_session_goes_on_when_there_is_room(
    tmp_path, small_disk, make_cloud
):
    Session.create(tmp_path / "s", make_cloud(20_000)).close()
    shutil.copytree(tmp_path / "s", small_disk / "s")
    with Session.open(small_disk / "s") as opened:
        opened.do(Select("half", HalfSpace((0, 0, 0), (0, 1, 0))))
        wanted = opened.hash
        (small_disk / "letters").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 100_000))
        for _ in range(2):
            with pytest.raises(BadInput, match="No space left"):
                opened.do(Rotate(ALL, (0, 1, 0), 30))
            assert opened.hash == scene_hash(opened.scene) == wanted
        opened.undo()
        (small_disk / "letters").unlink()
        opened.redo()
        opened.do(Forget("half"))
        wanted = opened.hash
    with Session.open(small_disk / "s") as again:
        assert (again.hash, again.notices, again.done) == (wanted, [], 2)


def test_only_one_may_write(fresh):
    with pytest.raises(BadInput, match=f"open in process {os.getpid()}"):
        Session.open(fresh.folder)
    assert len(read_log(fresh.folder)) == 1  # reading needs no lock
    fresh.close()
    fresh.close()
    Session.open(fresh.folder).close()


def test_the_lock_of_a_dead_process_is_no_lock_and_its_edit_is_mourned(fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    fresh.close()
    program = f"""
        import os, signal
        from maquette.edit import Move, Session, session
        opened = Session.open({str(fresh.folder)!r})
        session.difference = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        opened.do(Move("left", (0, 0.1, 0)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -9
    with Session.open(fresh.folder) as again:
        assert again.notices == ["the last edit (move) was not finished and is lost; all before it is here"]
        assert again.hash == fresh.hash
    with Session.open(fresh.folder) as again:
        assert again.notices == []


KILLS = """
    import os, random, signal, sys, time
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from maquette.core import BadInput
    from maquette.edit import Duplicate, Move, Remove, Session, read_log, scene_hash

    folder, chance, lost, grown = Path(sys.argv[1]), random.Random(5), 0, 0

    def work(die_at, answer):
        count, real = [0], os.fsync
        def fsync(descriptor):
            count[0] += 1
            if count[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)
        os.fsync = fsync
        with Session.open(folder) as opened:
            for step in range(10_000):
                which = (step + len(opened.entries)) % 5
                if which == 0 and "copy" not in opened.scene.parts:
                    opened.do(Duplicate("left", "copy", (0, 0.3, 0)))
                elif which == 3 and opened.undone == 0 and opened.done:
                    opened.undo()
                elif which == 4 and opened.undone:
                    opened.redo()
                else:
                    opened.do(Move("left", (0.001, 0, 0)))
                os.write(answer, f"{len(opened.entries)} {opened.hash}\\n".encode())

    for round in range(112):
        began = len(read_log(folder))
        told, answer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            work(round + 1 if round < 12 else 0, answer)
            os._exit(7)
        os.close(answer)
        with os.fdopen(told) as stream:
            if round < 12:
                lines = stream.readlines()
            else:
                lines = [stream.readline() for _ in range(chance.randrange(4))]
                time.sleep(chance.uniform(0.0, 0.02))
                os.kill(child, signal.SIGKILL)
                lines += stream.readlines()
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        with Session.open(folder) as opened:
            entries = opened.entries
            assert scene_hash(opened.scene) == opened.hash == entries[-1].after
            count, state = lines[-1].split() if lines else (began, entries[began - 1].after)
            assert entries[int(count) - 1].after == state, "an edit that was acknowledged is gone"
            assert len(entries) <= int(count) + 1
            lost += bool(opened.notices)
            grown += len(entries) - began
            whole = round % 28 == 27
            depth = opened.done if whole else min(opened.done, 3)
            opened.undo(depth) if depth else None
            assert opened.hash == scene_hash(opened.scene) and (not whole or opened.hash == entries[0].after)
            opened.redo(depth) if depth else None
            assert opened.hash == entries[-1].after
    print(lost, grown)
"""


def test_killed_at_any_moment_it_loses_at_most_the_unfinished_edit_and_says_so(fresh):
    """Real processes: twelve that die at the nth write to the disk, a hundred at a random moment."""
    fresh.close()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLS), str(fresh.folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lost, grown = map(int, done.stdout.split())
    assert lost >= 10  # each of the twelve, but for those that died after the last line they wrote
    assert grown > 120


def test_every_edit_is_a_method_with_the_fields_of_its_edit(fresh, make_cloud):
    assert fresh.select("top", HalfSpace((0, 0, 0), (0, 1, 0))).selected == int(fresh.scene.parts["top"].sum())
    fresh.move("left", by=(0, 0.1, 0))
    fresh.rotate("left", (0, 1, 0), 20)
    fresh.stretch("left", (1, 2, 1), axes="own")
    fresh.mirror("right", (1, 0, 0))
    fresh.duplicate("right", "twin", (0, 0.5, 0))
    fresh.drag((-0.3, 0, 0), ((-0.3, 0.3, 0),), 0.2, mode="rigid")
    fresh.paste(make_cloud(5, seed=4), "guest", at=(0, 0.4, 0), scale=0.5)
    fresh.forget("top")
    fresh.remove("guest")
    done = [entry.edit["kind"] for entry in fresh.entries[1:]]
    assert done == "select move rotate stretch mirror duplicate drag paste forget remove".split()
    assert list(inspect.signature(Session.drag).parameters) == [
        "self", "source", "path", "radius", "mode", "part", "steps", "fill",
    ]  # fmt: skip
    assert Session.move.__doc__ == Move.__doc__
    with pytest.raises(TypeError, match="sideways"):
        fresh.move("left", (0, 0.1, 0), sideways=1)
    fresh.undo(10)
    assert fresh.hash == fresh.entries[0].after


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


def test_any_flipped_bit_is_refused_or_harmless(tmp_path, fresh):
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


def test_replay_writes_the_same_bytes(tmp_path, fresh, make_cloud):
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


def test_clouds_that_nobody_pasted_go(fresh, make_cloud):
    used, unused = fresh.keep(make_cloud(5, seed=1)), fresh.keep(make_cloud(5, seed=2))
    fresh.do(Paste(used, "guest"))
    fresh.undo()
    assert set(fresh.clouds) == {used, unused}
    fresh.close()
    with Session.open(fresh.folder) as again:
        assert set(again.clouds) == {used}
        again.redo()


vectors = st.tuples(*[st.floats(-0.3, 0.3).map(lambda x: round(x, 3)) for _ in range(3)])
parts = st.sampled_from([ALL, "left", "right", "copy", "guest", "new"])
edits = st.one_of(
    st.builds(Select, st.just("new"), st.builds(Sphere, vectors, st.floats(0.05, 0.5)),
              st.sampled_from(["replace", "union", "subtract", "intersect"])),
    st.builds(Move, parts, vectors),
    st.builds(Rotate, parts, st.just((0.0, 1.0, 0.5)), st.floats(-180, 180)),
    st.builds(Stretch, parts, st.tuples(*[st.floats(0.5, 2)] * 3), st.sampled_from(["world", "own"])),
    st.builds(Mirror, parts, st.just((1.0, 0.0, 0.0))),
    st.builds(Remove, parts),
    st.builds(Forget, parts),
    st.builds(Duplicate, parts, st.just("copy"), vectors),
    st.builds(Paste, st.sampled_from([0, 3]).map(lambda d: PASTED[d]), st.just("guest"), vectors),
    st.builds(Drag, vectors, st.tuples(st.just((0.4, 0.4, 0.4))), st.floats(0.1, 0.4), steps=st.just(5)),
)  # fmt: skip
PASTED = {0: "0" * 32, 3: "3" * 32}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(edits, min_size=50, max_size=50))
def test_any_fifty_edits_and_fifty_undos_end_where_they_began(tmp_path_factory, scene, make_cloud, sequence):
    folder = tmp_path_factory.mktemp("fifty") / "s"
    with Session.create(folder, scene.cloud, scene.parts) as opened:
        kept = {PASTED[degree]: opened.keep(make_cloud(9, degree)) for degree in PASTED}
        hashes = [opened.hash]
        for edit in sequence:
            edit = from_json(to_json(edit))
            if isinstance(edit, Paste):
                edit = Paste(kept[edit.cloud], edit.name, edit.at)
            try:
                report = opened.do(edit)
            except BadInput:
                assert scene_hash(opened.scene) == hashes[-1]
                continue
            assert report.outside_changed == 0
            hashes.append(opened.hash)
        for wanted in hashes[-2::-1]:
            opened.undo()
            assert scene_hash(opened.scene) == wanted
        if len(hashes) > 1:
            opened.redo(len(hashes) - 1)
        assert scene_hash(opened.scene) == hashes[-1]
    shutil.rmtree(folder)

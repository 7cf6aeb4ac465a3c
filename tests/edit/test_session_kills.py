"""Full disks and killed processes: a session loses at most the unfinished edit, and says so."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from maquette.core import BadInput
from maquette.edit import (
    ALL,
    Forget,
    HalfSpace,
    Move,
    Rotate,
    Select,
    Session,
    scene_hash,
)


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

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from maquette.core import BadInput, atomic_write, files, prepare_folder


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "asset.ply"
    with atomic_write(target) as file:
        file.write(b"half")
        file.flush()
        assert list(tmp_path.iterdir()) == []
        file.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [target]


def test_text_is_utf8_and_ordinary_files_have_ordinary_permissions(tmp_path):
    ordinary, target = tmp_path / "a", tmp_path / "b"
    ordinary.write_text("")
    with atomic_write(target, "w") as file:
        file.write("grün")
    assert target.read_bytes() == "grün".encode()
    assert target.stat().st_mode == ordinary.stat().st_mode


def test_a_relative_path_means_the_folder_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with atomic_write("x") as file:
        monkeypatch.chdir(tmp_path / "elsewhere")
        file.write(b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch, failure, nameless):
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    target = tmp_path / "run.json"
    target.write_bytes(b"old")
    with pytest.raises(failure):  # noqa: PT012 - the failure has to happen inside the block
        with atomic_write(target) as file:
            file.write(b"new")
            raise failure
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_replacing_works_without_nameless_files_too(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    for content in (b"first", b"second"):
        with atomic_write(tmp_path / "x") as file:
            file.write(content)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"second"]


def has_nameless_files(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    except (OSError, AttributeError):
        return False
    return True


def test_sigkill_in_the_middle_leaves_nothing_behind(tmp_path):
    if not has_nameless_files(tmp_path):
        pytest.skip("this file system cannot make files without a name")
    (tmp_path / "asset.ply").write_bytes(b"old")
    program = f"""
        from maquette.core.files import atomic_write
        with atomic_write({str(tmp_path / "asset.ply")!r}) as file:
            file.write(b"x" * 1_000_000)
            file.flush()
            print("writing", flush=True)
            input()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("asset.ply", b"old")]


def test_a_full_disk_is_explained_and_leaves_nothing(small_disk):
    with pytest.raises(BadInput, match="No space left"), atomic_write(small_disk / "big") as file:
        file.write(b"x" * 8_000_000)
    assert list(small_disk.iterdir()) == []


def test_prepare_folder_refuses_a_disk_that_is_nearly_full(small_disk):
    with pytest.raises(BadInput, match="MiB free"):
        prepare_folder(small_disk / "run")
    assert list(small_disk.iterdir()) == []


def test_prepare_folder_refuses_a_nearly_full_disk_by_its_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12, 3 * 2**20))
    with pytest.raises(BadInput, match="3 MiB free"):
        prepare_folder(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_prepare_folder_makes_parents_keeps_what_is_there_and_leaves_no_probe(tmp_path):
    folder = prepare_folder(tmp_path / "a" / "b ü")
    (folder / "kept").write_text("")
    assert prepare_folder(str(folder)) == folder
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_prepare_folder_refuses_files_on_the_way_and_unusable_names(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match="is a file"):
            prepare_folder(path)
    with pytest.raises(BadInput, match="NUL"):
        prepare_folder("a\0b")
    with pytest.raises(BadInput, match="too long"):
        prepare_folder(tmp_path / ("x" * 300))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    target = tmp_path / "nowhere" / "x"
    with pytest.raises(BadInput, match=r"there is no folder .*nowhere"), atomic_write(target) as file:
        file.write(b"x")


def test_read_only_targets_are_refused(locked_folder):
    with pytest.raises(BadInput, match=r"Read-only|Permission"):
        prepare_folder(locked_folder / "run")
    with pytest.raises(BadInput, match=r"Read-only|Permission"), atomic_write(locked_folder / "x") as file:
        file.write(b"x")


def mounted(folder: Path, options: str) -> bool:
    """Whether this user could mount an empty file system in memory there."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", options, "none", str(folder)]
    return mount is not None and os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, where the test may mount one."""
    if not mounted(tmp_path / "small", "size=4m"):
        pytest.skip("this user cannot mount a small disk")
    yield tmp_path / "small"
    subprocess.run(["umount", str(tmp_path / "small")], check=True)


@pytest.fixture
def locked_folder(tmp_path):
    """A folder without permission to write; root needs no permission, so for root it is a read-only file system."""
    folder = tmp_path / "locked"
    if os.geteuid() != 0:
        folder.mkdir(mode=0o555)
        yield folder
        return
    if not mounted(folder, "ro,size=200m"):
        pytest.skip("root may write everywhere here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)

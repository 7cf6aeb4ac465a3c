"""The checks in front of every reader: files, sizes, and references that must stay in the folder."""

import os

import pytest

from maquette.core.errors import BadInput, Unsupported
from maquette.io.limits import beside, read_file, refused


def test_a_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert read_file(tmp_path / "a", "a test file") == b"abc"


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would block for ever
    (tmp_path / "empty").touch()
    for path, words in (
        (tmp_path / "nothing", "there is no file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path / "empty", "empty"),
        ("a\0b", "there is no file"),
        ("a" * 5000, "cannot be read"),
    ):
        with pytest.raises(BadInput, match=words):
            read_file(path, "a test file")


def test_a_large_file_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(3 * 2**20)  # sparse
    with pytest.raises(BadInput, match="3 MiB; a test file may have 2"):
        read_file(tmp_path / "a", "a test file", max_mib=2)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError(), AssertionError("no"), OSError("bad"), RecursionError()])
def test_complaints_of_parsers_become_ours(error):
    with pytest.raises(BadInput, match=type(error).__name__) as caught, refused("a.glb", "a glTF file"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unsupported("what", "next"), BadInput("what", "next")])
def test_interrupts_and_our_own_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as caught, refused("a.glb", "a glTF file"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "uri",
    [
        "../a",
        "a/../../b",
        "%2e%2e/a",
        "..%2Fa",
        "/etc/passwd",
        "..\\a",
        "C:\\a",
        "file:a",
        "http://a",
        "a\0b",
        "link/a",
    ],
)
def test_references_must_stay_in_the_folder(uri, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="outside of its own folder"):
        beside(tmp_path / "inner" / "a.gltf", uri)


@pytest.mark.parametrize(("uri", "expected"), [("a.bin", "a.bin"), ("x/../a%20b.png", "a b.png"), ("x\\y", "x/y")])
def test_references_inside_the_folder(uri, expected, tmp_path):
    assert beside(tmp_path / "a.gltf", uri) == tmp_path.resolve() / expected

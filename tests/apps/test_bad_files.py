"""Broken files meet the whole command line: exit code 2, a cause, a next step, and no file left behind."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from maquette.apps import cli


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A few bytes whose header promises side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


RED = Image.new("RGB", (64, 64), (200, 30, 30))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
PICTURES = {
    "empty": b"",
    "truncated": encoded(NOISE)[:3000],
    "not a picture": b"hello" * 100,
    "one pixel": encoded(RED.resize((1, 1))),
    "a bomb": huge_png(30_000),
    "inks": encoded(RED.convert("CMYK"), "JPEG"),
    "animated": encoded(RED, "GIF", save_all=True, append_images=[NOISE]),
    "transparent": encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 0))),
    "one color": encoded(RED),  # no object to be told from its background
}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_unusable_pictures(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(PICTURES[name])
    assert cli.run(["generate", "--image", "photo.png", "--out", "run"]) == 2
    said = capsys.readouterr().err
    assert "photo.png" in said or name == "one color"
    assert "\n  next: " in said
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def ply(header: str, data: bytes = b"") -> bytes:
    return header.encode() + data


COLUMNS = ("x y z", "f_dc_0 f_dc_1 f_dc_2", "opacity", "scale_0 scale_1 scale_2", "rot_0 rot_1 rot_2 rot_3")
FIELDS = [name for group in COLUMNS for name in group.split()]
PROPERTIES = "".join(f"property float {name}\n" for name in FIELDS)
START = "ply\nformat binary_little_endian 1.0\n"
ROW = np.full(len(FIELDS), np.nan, dtype="<f4").tobytes()


def looping_glb() -> bytes:
    document = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"children": [1]}, {"children": [0]}],
    }  # fmt: skip
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text


ASSETS = {
    "lying.ply": ply(f"{START}element vertex {2**40}\n{PROPERTIES}end_header\n", b"\0" * 100),
    "endless.ply": ply(f"{START}element vertex 1\n{PROPERTIES}"),
    "nan.ply": ply(f"{START}element vertex 1\n{PROPERTIES}end_header\n", ROW),
    "loop.glb": looping_glb(),
    "short.glb": looping_glb()[:30],
    "empty.spz": b"",
}


@pytest.mark.parametrize("command", [["convert", "{}", "out.spz"], ["render", "{}", "--out", "out.png"]])
@pytest.mark.parametrize("name", sorted(ASSETS))
def test_broken_assets(name, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(ASSETS[name])
    assert cli.run([word.format(name) for word in command]) == 2
    said = capsys.readouterr().err
    assert name in said
    assert "\n  next: " in said
    assert [path.name for path in tmp_path.iterdir()] == [name]

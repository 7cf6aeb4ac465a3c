"""Video through ffmpeg's own reader, and animations through Pillow's: count, size, rate, colors."""

import re
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core.errors import BadInput, MissingExtra
from maquette.io.video import save_animation, save_video


def frames(count: int = 7, height: int = 48, width: int = 64) -> torch.Tensor:
    """The left half turns from blue to red, the right half is a known green; smooth, so that no codec struggles."""
    film = torch.zeros(count, height, width, 3)
    film[:, :, : width // 2, 0] = torch.linspace(0.1, 0.9, count)[:, None, None]
    film[:, :, : width // 2, 2] = torch.linspace(0.9, 0.1, count)[:, None, None]
    film[:, :, width // 2 :] = torch.tensor([0.2, 0.7, 0.3])
    return film


def read_mp4(path) -> tuple[str, np.ndarray]:
    """What ffmpeg says of the file, and its frames (count, height, width, 3)."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    run = subprocess.run(command, capture_output=True, check=True)
    about = re.search(r"Video: .*", run.stderr.decode()).group(0)
    width, height = map(int, re.search(r", (\d+)x(\d+)", about).groups())
    return about, np.frombuffer(run.stdout, np.uint8).reshape(-1, height, width, 3)


def test_ffmpeg_reads_the_frames_back(tmp_path):
    film = frames()
    save_video(tmp_path / "a.mp4", film, fps=12)
    about, seen = read_mp4(tmp_path / "a.mp4")
    assert seen.shape == (7, 48, 64, 3)
    assert about.startswith("Video: h264 (High)")
    assert "yuv420p(tv, bt709, progressive), 64x48" in about  # the only kind that plays everywhere
    assert " 12 fps" in about
    for side in (slice(4, 28), slice(36, 60)):  # away from the edge, which 4:2:0 smears
        error = np.abs(seen[:, :, side].mean(axis=(1, 2)) - film[:, :, side].mean(dim=(1, 2)).numpy() * 255)
        assert error.max() < 4  # the wrong matrix (BT.601) would be off by more than ten


def test_the_index_comes_first_and_the_bytes_repeat(tmp_path):
    save_video(tmp_path / "a.mp4", frames())
    save_video(tmp_path / "b.mp4", frames())
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert data == (tmp_path / "b.mp4").read_bytes()


def test_odd_sides_get_their_last_row_and_column_twice(tmp_path):
    film = frames(3, 33, 47)
    save_video(tmp_path / "a.mp4", film)
    _, seen = read_mp4(tmp_path / "a.mp4")
    assert seen.shape == (3, 34, 48, 3)
    assert np.abs(seen[:, :33, 30:47].mean(axis=(1, 2)) - film[:, :, 30:].mean(dim=(1, 2)).numpy() * 255).max() < 4


def test_one_frame_is_a_film(tmp_path):
    save_video(tmp_path / "a.mp4", frames(1))
    assert read_mp4(tmp_path / "a.mp4")[1].shape[0] == 1


@pytest.mark.parametrize(("suffix", "tolerance"), [(".webp", 8), (".gif", 12)])
def test_animations_repeat_at_the_right_rate(suffix, tolerance, tmp_path):
    film = frames(24)
    save_animation(tmp_path / f"a{suffix}", film, fps=24)
    with Image.open(tmp_path / f"a{suffix}") as seen:
        assert seen.n_frames == 24
        assert seen.size == (64, 48)
        assert seen.info["loop"] == 0
        duration_ms = 0
        for i in range(24):
            seen.seek(i)
            picture = np.asarray(seen.convert("RGB")).astype(float)
            duration_ms += seen.info["duration"]
            assert (
                np.abs(picture[:, 4:28].mean(axis=(0, 1)) - film[i, :, 4:28].mean(dim=(0, 1)).numpy() * 255).max()
                < tolerance
            )
    assert duration_ms == 1000


@pytest.mark.parametrize(
    ("save", "name", "film", "fps"),
    [
        (save_video, "a.avi", frames(1), 24),
        (save_animation, "a.mp4", frames(1), 24),
        (save_video, "a.mp4", frames(1)[:0], 24),
        (save_video, "a.mp4", frames(1), 0),
        (save_video, "a.mp4", frames(1), float("nan")),
        (save_video, "a.mp4", frames(1) * float("nan"), 24),
        (save_animation, "a.webp", frames(1) * float("inf"), 24),
    ],
    ids=range(7),
)
def test_what_makes_no_film_is_refused_and_leaves_nothing(save, name, film, fps, tmp_path):
    with pytest.raises(BadInput):
        save(tmp_path / name, film, fps)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-such-ffmpeg"))
    with pytest.raises(MissingExtra, match="no ffmpeg"):
        save_video(tmp_path / "a.mp4", frames(1))
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_dies_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\ncat > /dev/null\nexit 1\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "ffmpeg"))
    with pytest.raises(BadInput, match="ffmpeg could not write"):
        save_video(tmp_path / "a.mp4", frames(40))
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]

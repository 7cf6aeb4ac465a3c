"""Moving pictures: H.264 in MP4 for players, animated WebP or GIF for pages such as a README."""

import io
import subprocess
import tempfile
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from maquette.core.errors import BadInput, MissingExtra
from maquette.core.files import atomic_write
from maquette.io.image import to_bytes

# What plays everywhere: 4:2:0, BT.709 (said in the file and done by the conversion), index at the front. One thread
# makes the same bytes from the same frames on every machine; a turntable of 128 px needs no more.
_X264 = [
    "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "17", "-preset", "medium", "-threads", "1",
    "-movflags", "+faststart",
    "-vf", "scale=out_color_matrix=bt709:out_range=tv,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv",
    "-fflags", "+bitexact", "-flags:v", "+bitexact",
]  # fmt: skip


def save_video(path: str | Path, frames: Float[Tensor, "frames height width 3"], fps: float = 24.0) -> None:
    """Write sRGB frames as H.264 (yuv420p) in an MP4 file, whole or not at all.

    4:2:0 needs even sides: an odd one gets its last row or column twice. Raises BadInput for no frames, NaN, a rate
    outside (0, 240], or a path that does not end in .mp4; MissingExtra when no ffmpeg can be found.
    """
    _check(path, frames, fps, (".mp4",))
    height, width = frames.shape[1:3]
    pixels = to_bytes(frames, path)
    pixels = pixels[:, [*range(height), height - 1][: height + height % 2]]
    pixels = pixels[:, :, [*range(width), width - 1][: width + width % 2]]

    import imageio_ffmpeg

    shape = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{pixels.shape[2]}x{pixels.shape[1]}", "-r", str(fps)]
    # ffmpeg needs a name and a file it can seek in, so it works in a folder of its own and the result is then moved.
    with tempfile.TemporaryDirectory() as folder:
        encoded = Path(folder) / "video.mp4"
        try:
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *shape, "-i", "-", *_X264, str(encoded)]
            run = subprocess.run(command, input=pixels.tobytes(), capture_output=True, check=False)
        except (RuntimeError, OSError) as error:  # none found, or one that does not start
            raise MissingExtra(f"no ffmpeg to write {path}", "install it, or save an animated .webp instead") from error
        if run.returncode != 0:
            reason = run.stderr.decode(errors="replace").strip()[-200:]
            raise BadInput(f"ffmpeg could not write {path}: {reason}", f"free space on the disk of {folder}")
        with atomic_write(path) as file:
            file.write(encoded.read_bytes())


def save_animation(path: str | Path, frames: Float[Tensor, "frames height width 3"], fps: float = 24.0) -> None:
    """Write sRGB frames as an animated WebP or GIF (by the suffix) that repeats for ever, whole or not at all.

    WebP keeps the colors; GIF has 256 of them and counts its delays in hundredths of a second. Raises BadInput as
    `save_video` does.
    """
    _check(path, frames, fps, (".webp", ".gif"))
    pictures = [Image.fromarray(picture) for picture in to_bytes(frames, path)]
    is_webp = Path(path).suffix.lower() == ".webp"
    # Rounding the times at which frames end, and not their lengths, keeps the rate right on average.
    unit_ms = 1 if is_webp else 10
    ends = [round(1000 * (i + 1) / fps / unit_ms) * unit_ms for i in range(len(pictures))]
    delays = [max(end - start, unit_ms) for start, end in zip([0, *ends], ends, strict=False)]
    how = {"quality": 85, "method": 4} if is_webp else {"optimize": False, "disposal": 1}
    encoded = io.BytesIO()
    pictures[0].save(
        encoded,
        "WEBP" if is_webp else "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=delays,
        loop=0,
        **how,
    )
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())


def _check(path: str | Path, frames: Tensor, fps: float, suffixes: tuple[str, ...]) -> None:
    if Path(path).suffix.lower() not in suffixes:
        raise BadInput(f"{path} does not end in {' or '.join(suffixes)}", "choose that ending")
    if len(frames) == 0 or not 0 < fps <= 240:
        raise BadInput(f"{len(frames)} frames at {fps} a second", "give at least one frame and 0 < fps <= 240")

"""Pictures in and out: any usual file becomes sRGB float32 in [0, 1], or an error that says what is wrong with it.

The order matters: size from the header, decode, color profile, bit depth, orientation, size. This module does not
know what is in the picture.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.files import atomic_write
from maquette.io.limits import MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE, read_file, refused

MIN_SIDE = 16
MAX_ASPECT = 8
_KIND = "a picture (PNG, JPEG, WebP, BMP, GIF or TIFF)"
_PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # known to Pillow because their plugins are imported here
_MAX_FILE_MIB = 256
_ICC_SPACE = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # mode -> what a profile must say to belong to it
_TURNS = Image.Transpose
_EXIF_TURNS = {
    2: _TURNS.FLIP_LEFT_RIGHT, 3: _TURNS.ROTATE_180, 4: _TURNS.FLIP_TOP_BOTTOM, 5: _TURNS.TRANSPOSE,
    6: _TURNS.ROTATE_270, 7: _TURNS.TRANSVERSE, 8: _TURNS.ROTATE_90,
}  # fmt: skip
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def load_image(path: str | Path, *, max_side: int = 2048) -> Float[Tensor, "height width channels"]:
    """Read a picture as sRGB: 4 channels (straight alpha) if some of it is transparent, else 3.

    The EXIF orientation and the color profile are applied; a side longer than `max_side` px is averaged down to it.

    Raises BadInput: missing, empty, truncated or unknown file; a side below `MIN_SIDE` or above `MAX_IMAGE_SIDE` px, or
    more than `MAX_IMAGE_PIXELS` (both told by the header, before decoding); longer than `MAX_ASPECT` times its other
    side; animated; fully transparent; CMYK without a profile that says what its inks look like; 32-bit pixels.
    """
    image = decode_image(read_file(path, _KIND, max_mib=_MAX_FILE_MIB), path, min_side=MIN_SIDE, max_side=max_side)
    height, width, channels = image.shape
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise BadInput(f"{path} has {width} x {height} px; expected a longer side at most {MAX_ASPECT} x", "crop it")
    if channels == 4 and float(image[..., 3].max()) == 0:
        raise BadInput(f"{path} is fully transparent; expected an object in it", "export it with its object visible")
    return image


def decode_image(
    data: bytes,
    path: str | Path,
    *,
    min_side: int = 1,
    max_side: int = MAX_IMAGE_SIDE,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> Float[Tensor, "height width channels"]:
    """The pixels of an encoded picture, checked as by `load_image`; `path` is only for messages.

    Alpha that is 1 everywhere is dropped.
    """
    with refused(path, _KIND), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on metadata that it then leaves out; sizes we check ourselves
        try:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise BadInput(
                f"{path} has more than {MAX_IMAGE_PIXELS // 10**6} million pixels", "scale it down"
            ) from error
        _refuse_from_header(image, path, min_side, max_pixels)
        turn = _EXIF_TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        image = _to_srgb(_to_known_mode(image, path), path)
        if turn is not None:
            image = image.transpose(turn)
        if max(image.size) > max_side:
            image.thumbnail((max_side, max_side), Image.Resampling.BOX)  # premultiplies alpha by itself
        pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
        if pixels.ndim == 2:
            pixels = pixels[..., None].expand(-1, -1, 3).contiguous()
        return pixels[..., :3].contiguous() if pixels.shape[2] == 4 and bool((pixels[..., 3] == 1).all()) else pixels


def save_image(path: str | Path, image: Float[Tensor, "height width *channels"]) -> None:
    """Write PNG, JPEG or WebP by the suffix of `path`: sRGB (h, w, 3), with alpha (h, w, 4), or grey (h, w).

    Values are rounded to 8 bits, and cut at 0 and 1. PNG is lossless. The file appears complete or not at all.
    Raises BadInput for another suffix, NaN, and alpha in JPEG.
    """
    writer = _WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise BadInput(f"{path} does not end in {', '.join(_WRITERS)}", "choose one of these endings")
    if writer == "JPEG" and image.ndim == 3 and image.shape[2] == 4:
        raise BadInput(f"{path}: JPEG has no alpha", "save as PNG, or composite over a background first")
    encoded = io.BytesIO()
    Image.fromarray(to_bytes(image, path)).save(encoded, writer, quality=92)
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())


def to_bytes(image: Float[Tensor, "*shape"], path: str | Path) -> np.ndarray:
    """[0, 1] to 0..255, rounded; for what `path` will hold. Raises BadInput for NaN or infinite values."""
    if not bool(image.isfinite().all()):
        raise BadInput(f"the picture for {path} has NaN or infinite values", "check what made it")
    return (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _refuse_from_header(image: Image.Image, path: str | Path, min_side: int, max_pixels: int) -> None:
    width, height = image.size
    if max(width, height) > MAX_IMAGE_SIDE or width * height > max_pixels:
        limit = f"{MAX_IMAGE_SIDE} px a side and {max_pixels / 1e6:.0f} million px"
        raise BadInput(f"{path} has {width} x {height} px; expected at most {limit}", "scale it down")
    if min(width, height) < min_side:
        raise BadInput(
            f"{path} has {width} x {height} px; expected at least {min_side} a side", "give a larger picture"
        )
    # A phone's JPEG with a second picture inside (MPO) is a photograph; the first one is meant.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise BadInput(f"{path} is animated or has several pages; expected one picture", "export the frame you mean")


def _to_known_mode(image: Image.Image, path: str | Path) -> Image.Image:
    """L, RGB, RGBA or CMYK, profile kept; greyscale of 16 bits becomes F in 0..255, as Pillow's own way clips it."""
    if image.mode in ("I", "F"):
        raise BadInput(f"{path} has 32-bit pixels, whose range is not known", "export it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.asarray(image).astype(np.float32) / 257)
    has_alpha = image.mode in ("LA", "PA", "La", "RGBa", "RGBA") or "transparency" in image.info
    if image.mode == "CMYK":
        mode = "CMYK"
    elif has_alpha:
        mode = "RGBA"
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    converted = image.convert(mode)
    converted.info["icc_profile"] = image.info.get("icc_profile")
    return converted


def _to_srgb(image: Image.Image, path: str | Path) -> Image.Image:
    profile = image.info.get("icc_profile")
    color = image.convert("RGB") if image.mode == "RGBA" else image
    converted = _apply_profile(color, profile) if profile else None
    if converted is None and image.mode == "CMYK":
        raise BadInput(
            f"{path} is CMYK without a usable color profile: nobody can say what its inks look like",
            "convert it to RGB (sRGB) in a picture editor",
        )
    if converted is not None and image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted or image


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB; None for a profile that is broken, belongs to another kind of picture, or is sRGB itself."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _ICC_SPACE[image.mode] or "sRGB" in (
            source.profile.profile_description or ""
        ):
            return None
        target = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return ImageCms.profileToProfile(image, source, target, renderingIntent=intent, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None

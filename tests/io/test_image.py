"""Pictures: every usual kind arrives with the right colors the right way up; everything else is a clear error."""

import io
import math
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from maquette.core.errors import BadInput
from maquette.io.image import load_image, save_image


def picture(width: int = 24, height: int = 20, channels: int = 3) -> np.ndarray:
    """Colors that differ at every pixel."""
    values = np.arange(width * height * channels).reshape(height, width, channels) * 7 % 256
    return values.astype(np.uint8)


def saved(path, image: Image.Image, **how):
    image.save(path, **how)
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_another_reader_sees_what_we_write(suffix, tmp_path):
    import imageio.v3 as imageio

    smooth = torch.stack(torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 40), indexing="ij"), dim=-1)
    image = torch.cat([smooth, torch.full((32, 40, 1), 0.3)], dim=-1)
    save_image(tmp_path / f"a{suffix}", image)
    seen = imageio.imread(tmp_path / f"a{suffix}")
    assert seen.shape == (32, 40, 3)
    error = np.abs(seen.astype(float) - image.numpy() * 255)
    assert error.max() <= 0.5 + 1e-4 if suffix == ".png" else error.mean() < 2


@pytest.mark.parametrize("shape", [(17, 23), (17, 23, 3), (17, 23, 4)])
def test_png_keeps_eight_bits_of_grey_color_and_alpha(shape, tmp_path):
    image = torch.rand(shape)
    save_image(tmp_path / "a.png", image)
    seen = load_image(tmp_path / "a.png")
    expected = image[..., None].expand(17, 23, 3) if image.ndim == 2 else image
    assert (seen - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(BadInput, match=r"does not end in \.png"):
        save_image(tmp_path / "a.exe", torch.rand(4, 4, 3))
    with pytest.raises(BadInput, match="JPEG has no alpha"):
        save_image(tmp_path / "a.jpg", torch.rand(4, 4, 4))
    with pytest.raises(BadInput, match="NaN"):
        save_image(tmp_path / "a.png", torch.full((4, 4, 3), math.nan))
    assert list(tmp_path.iterdir()) == []


# Pillow 13 shows where the one red pixel (row 0, column 0 of 3 x 2) goes for each orientation that EXIF knows.
ORIENTATIONS = {1: (0, 0), 2: (0, 2), 3: (1, 2), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (2, 1), 8: (2, 0)}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_exif_orientation_is_applied(orientation, suffix, tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    large = Image.fromarray(pixels.repeat(16, axis=0).repeat(16, axis=1))
    how = {"lossless": True} if suffix == ".webp" else {"quality": 95}
    seen = load_image(saved(tmp_path / f"a{suffix}", large, exif=exif, **how))[8::16, 8::16]
    assert seen.shape[:2] == ((2, 3) if orientation < 5 else (3, 2))
    assert tuple((seen[..., 0] > 0.5).nonzero()[0].tolist()) == ORIENTATIONS[orientation]


def test_palette_grey_alpha_and_bilevel(tmp_path):
    colors = Image.fromarray(picture(16, 16) // 64 * 64)
    expected = torch.from_numpy(np.asarray(colors).astype(np.float32) / 255)
    assert torch.equal(
        load_image(saved(tmp_path / "p.png", colors.quantize(256, method=Image.Quantize.MAXCOVERAGE))), expected
    )
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 8, 16))
    seen = load_image(saved(tmp_path / "t.png", palette, transparency=1))
    assert torch.equal(seen[0, 0], torch.tensor([1.0, 0, 0, 1]))
    assert seen[0, 15, 3] == 0
    seen = load_image(saved(tmp_path / "t.gif", palette, transparency=1))
    assert seen[0, 15, 3] == 0
    grey = Image.merge("LA", [Image.new("L", (16, 16), 51), Image.new("L", (16, 16), 102)])
    assert torch.allclose(load_image(saved(tmp_path / "la.png", grey))[3, 3], torch.tensor([0.2, 0.2, 0.2, 0.4]))
    assert torch.equal(load_image(saved(tmp_path / "1.png", Image.new("1", (16, 16), 1))), torch.ones(16, 16, 3))


def test_sixteen_bits_of_grey_are_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    for name in ("a.png", "a.tiff"):
        seen = load_image(saved(tmp_path / name, Image.fromarray(ramp)))
        assert np.allclose(seen[..., 1], ramp / 65535, atol=1e-6)


def test_opaque_alpha_is_dropped(tmp_path):
    assert load_image(saved(tmp_path / "a.png", Image.new("RGBA", (16, 16), (1, 2, 3, 255)))).shape == (16, 16, 3)


def test_shrinking_does_not_mix_in_the_color_of_what_is_transparent(tmp_path):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, ::2] = (255, 0, 0, 255)
    pixels[:, 1::2] = (255, 255, 255, 0)
    seen = load_image(saved(tmp_path / "a.png", Image.fromarray(pixels)), max_side=32)
    assert seen.shape == (32, 32, 4)
    assert torch.allclose(seen, torch.tensor([1.0, 0, 0, 128 / 255]), atol=1 / 255)


def test_a_large_photo_is_averaged_down(tmp_path):
    seen = load_image(saved(tmp_path / "a.jpg", Image.new("RGB", (4096, 1024), (10, 200, 90)), quality=95))
    assert seen.shape == (512, 2048, 3)
    assert torch.allclose(seen * 255, torch.tensor([10.0, 200, 90]), atol=2)


def icc(space: bytes, tags: dict[bytes, bytes], class_: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """A small ICC 2 profile from its tags."""
    table, body = b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 132 + len(table) + len(body)
    white = struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(">I4sI4s4s4s12x4s", size, b"test", 0x02400000, class_, space, connection, b"acsp")
    return head + bytes(28) + white + bytes(48) + struct.pack(">I", len(tags)) + table + body


def text(words: bytes) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(words) + 1) + words + b"\0" + bytes(78)


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))


def swapped_profile() -> bytes:
    """A profile whose first channel is sRGB's green and whose second is its red, which only it explains."""
    red, green, blue = xyz(0.4360, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7141)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))
    tags = {b"desc": text(b"swapped"), b"wtpt": xyz(0.9642, 1, 0.8249), b"cprt": b"text" + bytes(4) + b"none\0"}
    tags |= {b"rXYZ": green, b"gXYZ": red, b"bXYZ": blue, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return icc(b"RGB ", tags)


def test_icc_profiles_are_applied_and_alpha_survives(tmp_path):
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    seen = load_image(saved(tmp_path / "a.png", image, icc_profile=swapped_profile()))
    assert torch.allclose(seen[0, 0], torch.tensor([0.0, 1, 0, 128 / 255]), atol=0.03)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    opaque = Image.fromarray(picture())
    for profile in (srgb, b"broken", swapped_profile()[:150], b""):  # nothing to convert, or nothing to trust
        seen = load_image(saved(tmp_path / "b.png", opaque, icc_profile=profile))
        assert np.array_equal((seen * 255).round(), picture())


def cmyk_profile() -> bytes:
    """CMYK to Lab: a 2^4 table of what each pair of inks looks like, so that cyan is a known color."""
    corners = []
    for i in range(16):
        c, m, y, k = (i >> 3) & 1, (i >> 2) & 1, (i >> 1) & 1, i & 1
        lightness = max(0, 100 - 35 * c - 35 * m - 10 * y - 95 * k)
        corners += [lightness * 255 / 100, 128 + (-40 * c + 70 * m) * (1 - k), 128 + (-45 * c + 80 * y) * (1 - k)]
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = bytes(round(min(max(value, 0), 255)) for value in corners)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    tags = {
        b"desc": text(b"test inks"),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"A2B0": lut,
    }
    return icc(b"CMYK", tags, class_=b"prtr", connection=b"Lab ")


def test_cmyk_needs_a_profile_and_gets_its_colors_from_it(tmp_path):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    with pytest.raises(BadInput, match="CMYK without a usable color profile"):
        load_image(saved(tmp_path / "a.jpg", cyan))
    seen = load_image(saved(tmp_path / "b.tiff", cyan, icc_profile=cmyk_profile()))
    assert seen.shape == (16, 16, 3)
    # Lab (65, -40, -45) is outside of sRGB in red; what counts is that it is the cyan of the table, not of a formula.
    assert torch.allclose(seen[0, 0], torch.tensor([0.0, 0.70, 0.93]), atol=0.06)
    paper = load_image(saved(tmp_path / "c.tiff", Image.new("CMYK", (16, 16)), icc_profile=cmyk_profile()))
    assert torch.allclose(paper, torch.ones(16, 16, 3), atol=0.02)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge, without the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


RGB = Image.fromarray(picture())
FRAMES = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture", "cannot be read as a picture"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "cannot be read as a picture"),
    "PDF": (b"%PDF-1.4 some text", "cannot be read as a picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as a picture"),
    "truncated PNG": (encoded(RGB, "PNG")[:60], "cannot be read as a picture"),
    "truncated JPEG": (encoded(RGB, "JPEG")[:-200], "cannot be read as a picture"),
    "truncated WebP": (encoded(RGB, "WEBP")[:-30], "cannot be read as a picture"),
    "truncated TIFF": (encoded(RGB, "TIFF")[:300], "cannot be read as a picture"),
    "1 x 1": (encoded(Image.new("RGB", (1, 1)), "PNG"), "1 x 1 px; expected at least 16"),
    "15 x 400": (encoded(Image.new("RGB", (15, 400)), "PNG"), "at least 16"),
    "20 x 400": (encoded(Image.new("RGB", (20, 400)), "PNG"), "at most 8 x"),
    "30000 x 30000": (bomb(30_000, 30_000), "more than 64 million pixels"),
    "10000 x 10000": (bomb(10_000, 10_000), "10000 x 10000 px; expected at most"),
    "20000 x 16": (bomb(20_000, 16), "20000 x 16 px; expected at most"),
    "animated GIF": (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "animated"),
    "animated WebP": (encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "animated"),
    "animated PNG": (encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "animated"),
    "pages of a TIFF": (encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "several pages"),
    "fully transparent": (encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG"), "fully transparent"),
    "32-bit floats": (encoded(Image.fromarray(np.ones((20, 20), np.float32)), "TIFF"), "32-bit pixels"),
    "CMYK": (encoded(Image.new("CMYK", (20, 20)), "JPEG"), "CMYK"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_usable_picture_is_refused(name, tmp_path):
    data, words = BROKEN[name]
    (tmp_path / "a.png").write_bytes(data)  # the ending lies about most of them, and does not matter
    start = time.process_time()
    with pytest.raises(BadInput, match=words):
        load_image(tmp_path / "a.png")
    assert time.process_time() - start < 2


def test_a_missing_picture_and_a_folder(tmp_path):
    with pytest.raises(BadInput, match="there is no file"):
        load_image(tmp_path / "a.png")
    with pytest.raises(BadInput, match="not a regular file"):
        load_image(tmp_path)


def test_the_photograph_of_a_phone_with_a_second_picture_inside(tmp_path):
    Image.new("RGB", (32, 32), "red").save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))]
    )
    assert torch.allclose(load_image(tmp_path / "a.jpg"), torch.tensor([1.0, 0, 0]), atol=0.02)

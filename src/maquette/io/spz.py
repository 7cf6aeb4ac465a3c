"""SPZ files (Niantic, MIT): Gaussians quantised to about a tenth of their PLY. Header version 3 written, 2 and 3 read.

Bytes equal those of Niantic's library before compression. The codec is ours because the one of gsply 0.4.6 expands
bombs, stamps the time into the file (the same cloud must give the same bytes), does not snap SH as the reference does,
and compiles for seconds on first use; the tests read our files with gsply and its files with us.
"""

import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from maquette.core.errors import BadInput, Unsupported
from maquette.core.files import atomic_write
from maquette.io.axes import checked, half_turn
from maquette.io.limits import MAX_GAUSSIANS, read_file, refused
from maquette.representations.gaussians import GaussianCloud

_KIND = "an SPZ file"
_MAGIC = b"NGSP"
_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, count, SH degree, fractional bits, flags, reserved
_REST = (0, 3, 8, 15)  # SH coefficients of a channel beyond the first, by degree
_FRACTIONAL_BITS = 12  # positions in steps of 1/4096, up to 2048
_COLOR_SCALE = 0.15
_MAX_TRAILER = 65_536  # extension records after the last section
_AGAIN = "make or download the file again"


def save_spz(path: str | Path, cloud: GaussianCloud) -> None:
    """Write SPZ 3 with RUB axes. Lossy: positions to 1.2e-4, scales to 3 %, colors to 1/255 of their range.

    The same cloud gives the same bytes. Raises BadInput for positions beyond 2048 and for a cloud that cannot be
    rendered; scales, colors and SH saturate at the ends of the format's ranges.
    """
    turned = half_turn(checked(cloud.detach().to("cpu"), path), "RUB")
    if float(turned.means.abs().max()) >= 2048:
        raise BadInput(f"positions reach {float(turned.means.abs().max()):g}; SPZ holds less than 2048", "save as PLY")
    degree = _REST.index(turned.sh.shape[1] - 1)
    header = _HEADER.pack(_MAGIC, 3, len(cloud), degree, _FRACTIONAL_BITS, 0, 0)
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)  # a gzip stream whose header carries no time
    with atomic_write(path) as file:
        file.write(compressor.compress(header + _encode(turned)) + compressor.flush())


def load_spz(path: str | Path, *, axes: Literal["RUB", "RDF"] = "RUB") -> GaussianCloud:
    """Read SPZ 2 or 3 into our axes. Nothing in the file tells its axes: some tools write RDF; upside down means that.

    Decompression stops at the size that the header implies. Raises BadInput for what is no SPZ file, is truncated, or
    expands beyond its own declaration; Unsupported for the versions 1 and 4 and for SH degree 4.
    """
    with refused(path, _KIND):
        data = read_file(path, _KIND)
        if data[:4] == _MAGIC:
            raise Unsupported(f"{path} is SPZ version 4 (zstd)", "save it as SPZ 3 or as PLY")
        if data[:2] != b"\x1f\x8b":
            raise BadInput(f"{path} is not gzip-compressed; expected {_KIND}", "check which file this is")
        stream = zlib.decompressobj(31)
        header = stream.decompress(data, _HEADER.size)
        if len(header) < _HEADER.size or header[:4] != _MAGIC:
            raise BadInput(f"{path} is gzip, but not SPZ inside", "check which file this is")
        _, version, count, degree, fractional_bits, _, _ = _HEADER.unpack(header)
        if version not in (2, 3) or degree >= len(_REST):
            raise Unsupported(f"{path} is SPZ version {version}, SH degree {degree}", "save it as SPZ 3, degree 0 to 3")
        sizes = _sizes(count, degree, version)
        total = sum(sizes.values())
        # Deflate cannot shrink more than 1032 times, so a file this small cannot hold what its header promises.
        if not 1 <= count <= MAX_GAUSSIANS or total > 1032 * len(data) or not 1 <= fractional_bits <= 24:
            raise BadInput(f"{path} declares {count} Gaussians ({total} bytes) and has {len(data)} bytes", _AGAIN)
        body = stream.decompress(stream.unconsumed_tail, total)
        if len(body) < total:
            raise BadInput(f"{path} is truncated: {len(body)} of {total} bytes of Gaussians", _AGAIN)
        stream.decompress(stream.unconsumed_tail, _MAX_TRAILER)
        if not stream.eof:  # also the place where zlib compares the checksum
            raise BadInput(f"{path} is truncated, or goes on far beyond its {count} Gaussians", _AGAIN)
        cloud = _decode(body, sizes, degree, fractional_bits)
        return half_turn(checked(cloud, path), axes)


def _sizes(count: int, degree: int, version: int) -> dict[str, int]:
    rotation = 4 if version >= 3 else 3
    per_gaussian = {"position": 9, "alpha": 1, "color": 3, "scale": 3, "rotation": rotation, "sh": 3 * _REST[degree]}
    return {name: count * size for name, size in per_gaussian.items()}


def _encode(cloud: GaussianCloud) -> bytes:
    fixed = _round(cloud.means.numpy().astype(np.float64) * 2**_FRACTIONAL_BITS).astype("<i4")
    position = fixed.reshape(-1, 1).view(np.uint8)[:, :3]  # the lower three of four little-endian bytes
    alpha = _byte(cloud.opacities.numpy() * 255)
    color = _byte(cloud.sh[:, 0].numpy() * (_COLOR_SCALE * 255) + 127.5)
    scale = _byte((cloud.log_scales.numpy() + 10) * 16)
    rotation = _encode_rotation(cloud.quats.numpy())
    rest = _round(cloud.sh[:, 1:].numpy() * 128).astype(np.int64) + 128
    bucket = np.where(np.arange(rest.shape[1]) < 3, 8, 16)[:, None]  # 5 bits for degree 1, 4 for the others
    rest = _byte((rest + bucket // 2) // bucket * bucket)
    return b"".join(part.tobytes() for part in (position, alpha, color, scale, rotation, rest))


def _encode_rotation(quats: np.ndarray) -> np.ndarray:
    """Smallest three: the index of the largest component (in xyzw order), then sign and 9-bit size of the others."""
    quats = np.roll(quats.astype(np.float64), -1, axis=1)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    largest = np.abs(quats).argmax(axis=1)
    is_flipped = np.take_along_axis(quats, largest[:, None], axis=1)[:, 0] < 0
    packed = largest.astype(np.uint32)
    for axis in range(4):
        size = _round(np.abs(quats[:, axis]) * np.sqrt(2) * 511).clip(0, 511).astype(np.uint32)
        is_negative = (quats[:, axis] < 0) != is_flipped
        packed = np.where(axis == largest, packed, packed << 10 | is_negative.astype(np.uint32) << 9 | size)
    return packed.astype("<u4")


def _decode(body: bytes, sizes: dict[str, int], degree: int, fractional_bits: int) -> GaussianCloud:
    parts, at = {}, 0
    for name, size in sizes.items():
        parts[name] = np.frombuffer(body, np.uint8, size, at)
        at += size
    count = sizes["alpha"]
    fixed = np.zeros((count * 3, 4), np.uint8)
    fixed[:, 1:] = parts["position"].reshape(-1, 3)  # as the upper bytes: the shift back extends the sign
    means = (fixed.view("<i4") >> 8).reshape(count, 3) / 2.0**fractional_bits
    opacity = (parts["alpha"] / 255.0).clip(1e-6, 1 - 1e-6)  # 0 and 255 would stand for infinite logits
    color = (parts["color"].reshape(count, 1, 3) / 255.0 - 0.5) / _COLOR_SCALE
    rest = (parts["sh"].reshape(count, _REST[degree], 3) - 128.0) / 128
    log_scales = parts["scale"].reshape(count, 3) / 16.0 - 10
    rotation = parts["rotation"].reshape(count, -1)
    quats = _decode_rotation(rotation) if rotation.shape[1] == 4 else _decode_rotation_v2(rotation)
    arrays = (means, log_scales, quats, np.log(opacity / (1 - opacity)), np.concatenate([color, rest], axis=1))
    return GaussianCloud(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def _decode_rotation(packed_bytes: np.ndarray) -> np.ndarray:
    packed = np.ascontiguousarray(packed_bytes).view("<u4")[:, 0]
    largest = (packed >> 30).astype(np.int64)
    quats = np.zeros((len(packed), 4))
    shift = np.zeros(len(packed), np.uint32)
    for axis in (3, 2, 1, 0):
        field = packed >> shift
        value = (field & 511) / (511 * np.sqrt(2)) * np.where(field >> 9 & 1, -1, 1)
        quats[:, axis] = np.where(axis == largest, 0, value)
        shift += np.where(axis == largest, 0, 10).astype(np.uint32)
    missing = np.sqrt((1 - (quats**2).sum(axis=1)).clip(0))
    np.put_along_axis(quats, largest[:, None], missing[:, None], axis=1)
    return np.roll(quats, 1, axis=1)


def _decode_rotation_v2(packed: np.ndarray) -> np.ndarray:
    xyz = packed / 127.5 - 1
    w = np.sqrt((1 - (xyz**2).sum(axis=1, keepdims=True)).clip(0))
    return np.concatenate([w, xyz], axis=1)


def _round(values: np.ndarray) -> np.ndarray:
    """Half away from zero, as C does and numpy does not."""
    return np.trunc(values + np.copysign(0.5, values))


def _byte(values: np.ndarray) -> np.ndarray:
    return _round(values).clip(0, 255).astype(np.uint8)

"""SPZ: the bytes of Niantic's library, read by two other readers, and bombs that do not go off."""

import gzip
import hashlib
import re
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, Unsupported
from maquette.core.rotation import normalize
from maquette.io.spz import load_spz, save_spz

GOLDEN = (
    "4e4753500300000002000000010c0000"  # header, version 3
    "00feff00fcff00faff000800000800000000"  # positions
    "cc40c3803c57728d8d7b7056614b"  # alphas, colors, scales
    "947aabe400000040"  # rotations
    "a040907840a0902000808080706858a89890"  # spherical harmonics
)


def tiny_parser(payload: bytes) -> list[dict]:
    """An independent reader of one Gaussian after the other, in plain Python, after the published layout."""
    _, version, count, degree, bits, _, _ = struct.unpack("<IIIBBBB", payload[:16])
    assert version == 3
    rest = {0: 0, 1: 9, 2: 24, 3: 45}[degree]
    starts = np.cumsum([16] + [width * count for width in (9, 1, 3, 3, 4)])
    rows = []
    for i in range(count):
        position, alpha, color, scale, rotation, sh = (
            payload[start + i * width : start + (i + 1) * width]
            for start, width in zip(starts, (9, 1, 3, 3, 4, rest), strict=True)
        )
        mean = [int.from_bytes(position[k : k + 3], "little", signed=True) / 2**bits for k in (0, 3, 6)]
        word = int.from_bytes(rotation, "little")
        largest, quat = word >> 30, [0.0] * 4
        for axis in (3, 2, 1, 0):
            if axis != largest:
                quat[axis] = (word & 511) / 511 * 0.5**0.5 * (-1 if word >> 9 & 1 else 1)
                word >>= 10
        quat[largest] = max(0.0, 1 - sum(q * q for q in quat)) ** 0.5
        dc = [(byte / 255 - 0.5) / 0.15 for byte in color]
        higher = [(byte - 128) / 128 for byte in sh]
        log_scale = [byte / 16 - 10 for byte in scale]
        rows.append({"mean": mean, "alpha": alpha[0] / 255, "sh": dc + higher, "scale": log_scale, "xyzw": quat})
    return rows


def payload_of(path) -> bytes:
    return zlib.decompress(path.read_bytes(), 31)


def test_the_payload_of_the_two_known_gaussians(two_gaussians, tmp_path):
    save_spz(tmp_path / "a.spz", two_gaussians)
    payload = payload_of(tmp_path / "a.spz")
    assert payload.hex() == GOLDEN
    golden = "b51bb6f57c1e454d059330814ce71cdb42e6092e031ad72f6a0dd44821648ded"  # equals Niantic's library
    assert hashlib.sha256(payload).hexdigest() == golden


def test_the_same_cloud_gives_the_same_bytes(random_cloud, tmp_path):
    save_spz(tmp_path / "a.spz", random_cloud(50, 2))
    save_spz(tmp_path / "b.spz", random_cloud(50, 2))
    assert (tmp_path / "a.spz").read_bytes() == (tmp_path / "b.spz").read_bytes()


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 40), degree=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_a_round_trip_stays_within_the_steps_of_the_format(count, degree, seed, random_cloud, folder):
    cloud = random_cloud(count, degree, seed)
    save_spz(folder / "a.spz", cloud)
    seen = load_spz(folder / "a.spz")
    assert (seen.means - cloud.means).abs().max() <= 0.5 / 4096 + 1e-7
    assert (seen.log_scales - cloud.log_scales).abs().max() <= 0.5 / 16 + 1e-6
    assert (seen.opacities - cloud.opacities).abs().max() <= 0.5 / 255 + 1e-6
    dc = cloud.sh[:, 0].clamp(-0.5 / 0.15, 0.5 / 0.15)
    assert (seen.sh[:, 0] - dc).abs().max() <= 0.5 / 255 / 0.15 + 1e-6
    if degree:
        assert (seen.sh[:, 1:] - cloud.sh[:, 1:].clamp(-1, 0.992)).abs().max() <= 8.5 / 128
    same_way = (normalize(seen.quats) * normalize(cloud.quats)).sum(-1).abs()
    assert same_way.min() > 1 - 1e-5


@pytest.mark.parametrize("degree", [0, 3])
def test_an_independent_parser_agrees(degree, random_cloud, tmp_path):
    save_spz(tmp_path / "a.spz", random_cloud(25, degree))
    rows, seen = tiny_parser(payload_of(tmp_path / "a.spz")), load_spz(tmp_path / "a.spz")
    turn = torch.tensor([-1, 1, -1])  # the file has RUB axes
    assert np.allclose([row["mean"] for row in rows], seen.means * turn, atol=1e-6)
    assert np.allclose([row["scale"] for row in rows], seen.log_scales, atol=1e-6)
    assert np.allclose([row["alpha"] for row in rows], seen.opacities, atol=1e-5)
    xyzw = seen.quats.roll(-1, 1) * torch.tensor([-1, 1, -1, 1])
    assert np.allclose([row["xyzw"] for row in rows], xyzw, atol=1e-6)
    assert np.allclose(np.array([row["sh"][:3] for row in rows]), seen.sh[:, 0], atol=1e-5)


def test_halves_are_rounded_away_from_zero(random_cloud, tmp_path):
    """As C does; numpy rounds to the even neighbour, and the bytes would differ from the reference's."""
    cloud = random_cloud(1, 0)
    halves = torch.tensor([[0.5, -0.5, 2.5]]) / 4096
    save_spz(tmp_path / "a.spz", type(cloud)(**cloud.tensors() | {"means": halves}))
    assert torch.equal(load_spz(tmp_path / "a.spz").means * 4096, torch.tensor([[1.0, -1, 3]]))


def test_harmonics_sit_in_the_middle_of_their_buckets(random_cloud, tmp_path):
    """The reference keeps 5 bits of band 1 and 4 of the others, so that the files compress well."""
    save_spz(tmp_path / "a.spz", random_cloud(64, 3))
    payload = np.frombuffer(payload_of(tmp_path / "a.spz"), np.uint8)
    sh = payload[16 + 20 * 64 :].reshape(64, 15, 3).astype(int)
    assert not (sh[:, :3][sh[:, :3] < 255] % 8).any()
    assert not (sh[:, 3:][sh[:, 3:] < 255] % 16).any()
    assert (sh[:, :3] % 16).any()  # and not coarser than that


def test_gsply_reads_our_files_and_we_read_those_of_gsply(random_cloud, tmp_path):
    import gsply

    cloud = random_cloud(40, 1)
    save_spz(tmp_path / "a.spz", cloud)
    theirs, ours = gsply.read_spz(tmp_path / "a.spz"), load_spz(tmp_path / "a.spz", axes="RUB")
    assert np.allclose(theirs.means * [-1, 1, -1], ours.means, atol=1e-6)
    assert np.allclose(1 / (1 + np.exp(-theirs.opacities)), ours.opacities, atol=1e-6)
    assert np.allclose(theirs.quats * [1, -1, 1, -1], ours.quats, atol=1e-6)
    gsply.write_spz(tmp_path / "b.spz", theirs)
    again = load_spz(tmp_path / "b.spz")
    assert torch.equal(again.means, ours.means)
    assert torch.equal(again.sh, ours.sh)


def test_version_2_and_extension_records(two_gaussians, tmp_path):
    save_spz(tmp_path / "a.spz", two_gaussians)
    payload = bytearray(bytes.fromhex(GOLDEN))
    rotations = bytes.fromhex("72586580ff80")
    payload[4] = 2
    version_2 = bytes(payload[:48]) + rotations + bytes(payload[56:])
    (tmp_path / "b.spz").write_bytes(gzip.compress(version_2 + b"\3\0\xbe\xad\4\0\0\0\4\0\0\0"))
    v2, v3 = load_spz(tmp_path / "b.spz"), load_spz(tmp_path / "a.spz")
    assert torch.equal(v2.means, v3.means)
    assert torch.equal(v2.sh, v3.sh)
    assert torch.allclose(v2.quats, v3.quats, atol=0.02)


def test_full_and_no_opacity_stay_finite(random_cloud, tmp_path):
    cloud = random_cloud(2, 0)
    tensors = cloud.tensors() | {"logit_opacities": torch.tensor([50.0, -50.0])}
    save_spz(tmp_path / "a.spz", type(cloud)(**tensors))
    assert load_spz(tmp_path / "a.spz").logit_opacities.isfinite().all()


def test_files_with_rdf_axes(random_cloud, tmp_path):
    cloud = random_cloud(5, 1)
    save_spz(tmp_path / "a.spz", cloud)
    rub, rdf = load_spz(tmp_path / "a.spz"), load_spz(tmp_path / "a.spz", axes="RDF")
    assert torch.equal(rdf.means, rub.means * torch.tensor([1, -1, -1]))  # upside down and back to front


def header(count: int, version: int = 3, degree: int = 0, bits: int = 12) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, bits, 0, 0)


BROKEN = {
    "empty": (b"", "empty"),
    "not gzip": (b"PK\3\4 something", "not gzip"),
    "gzip of something else": (gzip.compress(b"hello, this is text, no Gaussians"), "not SPZ inside"),
    "gzip cut in its header": (gzip.compress(header(1))[:6], "not SPZ inside"),
    "broken deflate": (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 40, "cannot be read"),
    "2^32 - 1 Gaussians": (gzip.compress(header(2**32 - 1)), "declares 4294967295"),
    "19 million, in a few bytes": (gzip.compress(header(19_000_000)), "declares 19000000"),
    "no Gaussians": (gzip.compress(header(0)), "declares 0 Gaussians"),
    "version 1": (gzip.compress(header(1, version=1) + bytes(19)), "version 1"),
    "version 9": (gzip.compress(header(1, version=9) + bytes(20)), "version 9"),
    "version 4": (b"NGSP\4\0\0\0\1\0\0\0" + bytes(40), "version 4"),
    "degree 4": (gzip.compress(header(1, degree=4) + bytes(92)), "degree 4"),
    "no fractional bits": (gzip.compress(header(1, bits=0) + bytes(20)), "declares"),
    "truncated payload": (gzip.compress(header(2) + bytes(39)), "39 of 40"),
    "truncated container": (gzip.compress(header(2) + bytes(40))[:-4], "truncated"),
    "wrong checksum": (gzip.compress(header(2) + bytes(40))[:-8] + bytes(8), "incorrect data check"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name, tmp_path):
    data, words = BROKEN[name]
    (tmp_path / "a.spz").write_bytes(data)
    start = time.process_time()
    with pytest.raises((BadInput, Unsupported), match=re.escape(words)):
        load_spz(tmp_path / "a.spz")
    assert time.process_time() - start < 2


def test_a_bomb_is_refused_before_it_expands(tmp_path):
    """A gigabyte of zeros behind an honest header: what follows the declared Gaussians is not decompressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [compressor.compress(header(2) + bytes(40))]
    parts += [compressor.compress(bytes(2**24)) for _ in range(8)]  # 128 MiB are enough to tell
    (tmp_path / "a.spz").write_bytes(b"".join([*parts, compressor.flush()]))
    start = time.process_time()
    with pytest.raises(BadInput, match="goes on far beyond"):
        load_spz(tmp_path / "a.spz")
    assert time.process_time() - start < 0.5


def test_every_truncation_is_refused(two_gaussians, tmp_path):
    save_spz(tmp_path / "a.spz", two_gaussians)
    data = (tmp_path / "a.spz").read_bytes()
    for length in range(1, len(data)):
        (tmp_path / "b.spz").write_bytes(data[:length])
        with pytest.raises(BadInput):
            load_spz(tmp_path / "b.spz")


def test_positions_that_do_not_fit_are_refused(random_cloud, tmp_path):
    far = random_cloud(3, 0)
    far = type(far)(**far.tensors() | {"means": far.means + 3000})
    with pytest.raises(BadInput, match="positions reach 3000"):
        save_spz(tmp_path / "a.spz", far)
    assert list(tmp_path.iterdir()) == []

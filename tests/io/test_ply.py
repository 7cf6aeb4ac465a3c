"""Gaussian PLY: known bytes, the same bits after a round trip, all dialects, and every broken file refused."""

import hashlib
import re
import struct
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, Unsupported
from maquette.io.ply import load_ply, save_ply
from maquette.representations.gaussians import state_hash


def read_with_numpy(data: bytes) -> dict[str, np.ndarray]:
    """An independent reader of plain binary files: columns by name, as they are in the file."""
    header, _, body = data.partition(b"end_header\n")
    count = int(re.search(rb"element vertex (\d+)", header).group(1))
    names = [name.decode() for name in re.findall(rb"property float (\S+)", header)]
    table = np.array(struct.unpack(f"<{count * len(names)}f", body)).reshape(count, len(names))
    return dict(zip(names, table.T, strict=True))


def rewrite(data: bytes, *, order="<", kind="f4", shuffle=False, extra=False, newline="\n", comment=False) -> bytes:
    """The same Gaussians in another dialect."""
    columns = read_with_numpy(data)
    names = list(columns)
    if shuffle:
        names = list(np.random.default_rng(0).permutation([name for name in names if name not in ("nx", "ny", "nz")]))
    word = {"f4": "float32", "f8": "double"}[kind]
    style = {"<": "binary_little_endian", ">": "binary_big_endian", "ascii": "ascii"}[order]
    lines = ["ply", f"format {style} 1.0", *(["comment end_header is near", "obj_info x"] if comment else [])]
    lines += [f"element vertex {len(columns['x'])}", *(f"property {word} {name}" for name in names)]
    fields = [(name, "<" + kind if order == "ascii" else order + kind) for name in names]
    if extra:
        lines += ["property uchar state", "element camera 2", "property int k", "property list uchar int ids"]
        fields += [("state", "u1")]
    header = newline.join([*lines, "end_header", ""]).encode()
    rows = np.zeros(len(columns["x"]), fields)
    for name in names:
        rows[name] = columns[name]
    if order == "ascii":
        return header + "\n".join(" ".join(f"{value:.9g}" for value in row) for row in rows.tolist()).encode() + b"\n"
    return header + rows.tobytes() + (b"\1\2\3\4\0\1\2\3\4\1\0\0\0\0" if extra else b"")


def test_the_bytes_of_the_two_known_gaussians(two_gaussians, tmp_path):
    save_ply(tmp_path / "a.ply", two_gaussians)
    data = (tmp_path / "a.ply").read_bytes()
    assert data.index(b"end_header\n") + 11 == 627
    golden = "a8a3e01f296cbedfc874a4486e66dcd7da05be592a8c9e2ad40e929d16f21eb8"  # as splat-transform reads it, too
    assert hashlib.sha256(data).hexdigest() == golden


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 40), degree=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_a_round_trip_keeps_every_bit(count, degree, seed, random_cloud, folder):
    cloud = random_cloud(count, degree, seed)
    save_ply(folder / "a.ply", cloud)
    assert state_hash(load_ply(folder / "a.ply")) == state_hash(cloud)


def test_an_independent_reader_sees_raw_values_in_rdf_axes(random_cloud, tmp_path):
    cloud = random_cloud(30, 2)
    save_ply(tmp_path / "a.ply", cloud)
    columns = read_with_numpy((tmp_path / "a.ply").read_bytes())
    assert np.array_equal(columns["x"], -cloud.means[:, 0])
    assert np.array_equal(columns["y"], -cloud.means[:, 1])
    assert np.array_equal(columns["z"], cloud.means[:, 2])
    assert np.array_equal(columns["opacity"], cloud.logit_opacities)
    assert np.array_equal(columns["scale_1"], cloud.log_scales[:, 1])
    assert np.array_equal(columns["rot_0"], cloud.quats[:, 0])
    assert np.array_equal(columns["f_dc_2"], cloud.sh[:, 0, 2])
    assert np.array_equal(columns["f_rest_9"], cloud.sh[:, 2, 1])  # channel-major: 8 of red, then green; band 1, m = 0
    assert not columns["nx"].any()


def test_gsply_reads_what_we_write(random_cloud, tmp_path):
    import gsply

    cloud = random_cloud(30, 3)
    save_ply(tmp_path / "a.ply", cloud)
    seen = gsply.plyread(tmp_path / "a.ply")
    assert np.array_equal(seen.means, cloud.means * torch.tensor([-1, -1, 1]))
    assert np.array_equal(seen.scales, cloud.log_scales)
    assert np.array_equal(seen.quats, cloud.quats * torch.tensor([1, -1, -1, 1]))
    assert np.array_equal(seen.shN[:, 1], cloud.sh[:, 2])  # m = 0 of band 1 keeps its sign


@pytest.mark.parametrize(
    "dialect",
    [
        {"order": ">"},
        {"order": "ascii"},
        {"order": "ascii", "newline": "\r\n"},
        {"kind": "f8"},
        {"shuffle": True},
        {"extra": True},
        {"newline": "\r\n", "comment": True},
    ],
    ids=str,
)
def test_dialects_load_to_the_same_bits(dialect, random_cloud, tmp_path):
    cloud = random_cloud(12, 1)
    save_ply(tmp_path / "a.ply", cloud)
    (tmp_path / "b.ply").write_bytes(rewrite((tmp_path / "a.ply").read_bytes(), **dialect))
    assert state_hash(load_ply(tmp_path / "b.ply")) == state_hash(cloud)


def packed(num_rest: int = 9) -> bytes:
    """The two known Gaussians in the compressed layout, word for word as splat-transform writes them."""
    bounds = [-0.125, -0.5, 0, 0.5, 0.25, 0.375, -4.6051702, -3.9120231, -5.2983174, -1.2039728, -2.3025851]
    bounds += [-2.9957323, 0.2, 0.4, 0, 1, 0.5, 0.6]
    names = [f"{end}_{of}{axis}" for of in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
    names += [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
    lines = ["ply", "format binary_little_endian 1.0", "element chunk 1", *(f"property float {name}" for name in names)]
    lines += [
        "element vertex 2",
        *(f"property uint packed_{what}" for what in ("position", "rotation", "scale", "color")),
    ]
    lines += ["element sh 2", *(f"property uchar f_rest_{i}" for i in range(num_rest)), "end_header", ""]
    words = (0x001FFFFF, 0x1B5B7A94, 0xFFFFFFFF, 0xFFFF00CC, 0xFFE00000, 0xA0080200, 0x00000000, 0x0000FF40)
    sh = bytes.fromhex("7882849090687c7860" + "808389808686808983") if num_rest else b""
    return "\n".join(lines).encode() + struct.pack("<18f", *bounds) + struct.pack("<8I", *words) + sh


def test_compressed_ply(two_gaussians, tmp_path):
    (tmp_path / "a.ply").write_bytes(packed())
    cloud = load_ply(tmp_path / "a.ply")
    assert torch.allclose(cloud.means, two_gaussians.means, atol=0.75 / 1023)  # ten bits of the chunk's width
    assert torch.allclose(cloud.log_scales, two_gaussians.log_scales, atol=1e-5)  # both lie on the chunk's bounds
    assert torch.allclose(cloud.opacities, two_gaussians.opacities, atol=1 / 255)
    assert torch.allclose(cloud.rgb, two_gaussians.rgb, atol=1 / 255)
    assert torch.allclose(cloud.quats.abs(), two_gaussians.quats.abs(), atol=2e-3)
    assert torch.allclose(cloud.sh[:, 1:], two_gaussians.sh[:, 1:], atol=1 / 32)


def test_compressed_ply_with_an_empty_sh_element(tmp_path):
    (tmp_path / "a.ply").write_bytes(packed(num_rest=0))
    assert load_ply(tmp_path / "a.ply").sh.shape == (2, 1, 3)


def test_compressed_ply_of_gsply(random_cloud, tmp_path):
    import gsply

    cloud = random_cloud(300, 0)
    save_ply(tmp_path / "a.ply", cloud)
    gsply.plywrite(tmp_path / "b.ply", gsply.plyread(tmp_path / "a.ply"), compressed=True)
    seen = load_ply(tmp_path / "b.compressed.ply")
    order, other = cloud.means[:, 0].argsort(), seen.means[:, 0].argsort()  # the writer sorts by Morton code
    assert torch.allclose(cloud.means[order, 0], seen.means[other, 0], atol=2e-3)


def replaced(old: bytes, new: bytes):
    return lambda data: data.replace(old, new, 1)


NAN = struct.pack("<f", float("nan"))
BROKEN = {
    "empty": (lambda data: b"", "empty"),
    "another format": (lambda data: b"\x89PNG" + data, "does not begin with 'ply'"),
    "header without end": (replaced(b"end_header\n", b"comment more\n"), "no end_header"),
    "endless header": (lambda data: b"ply\n" + b"comment x\n" * 500_000, "no end_header"),
    "header only of zeros": (lambda data: b"ply\n" + b"\0" * 10_000, "no end_header"),
    "lying count, huge": (replaced(b"vertex 20", b"vertex 1099511627776"), "declares 1099511627776"),
    "lying count, one more": (replaced(b"vertex 20", b"vertex 21"), "declares 21 rows of 'vertex' and holds 20"),
    "lying count, one less": (replaced(b"vertex 20", b"vertex 19"), "declares 19 rows of 'vertex' and holds 20"),
    "negative count": (replaced(b"vertex 20", b"vertex -1"), "element vertex -1"),
    "count that is no number": (replaced(b"vertex 20", b"vertex 2e1"), "vertex 2e1"),
    "zero Gaussians": (lambda data: data[: data.index(b"end_header\n") + 11].replace(b"ex 20", b"ex 0"), "no Gaussian"),
    "truncated": (lambda data: data[:-1], "declares 20 rows of 'vertex' and holds 19"),
    "truncated header": (lambda data: data[:100], "no end_header"),
    "NaN": (lambda data: data[:-8] + NAN + data[-4:], "1 of 20 Gaussians with NaN"),
    "NaN everywhere": (lambda data: data[: data.index(b"end_header\n") + 11] + NAN * 26 * 20, "20 of 20"),
    "zero quaternion": (lambda data: data[:-16] + bytes(16), "zero quaternion"),
    "unknown type": (replaced(b"property float x", b"property half x"), "property half x"),
    "unknown format": (replaced(b"binary_little_endian", b"binary_middle_endian"), "middle"),
    "no format": (replaced(b"format binary_little_endian 1.0\n", b""), "'format' line"),
    "property twice": (replaced(b"property float y\n", b"property float x\n"), "'x' twice"),
    "no vertices": (replaced(b"element vertex", b"element points"), "0 'vertex' elements"),
    "a point cloud": (replaced(b"opacity", b"opaque_"), "lacks opacity"),
    "SH of no degree": (replaced(b"property float f_rest_8", b"property float rest_8"), "8 f_rest"),
    "surfels": (replaced(b"property float scale_2", b"property float other"), "surfels"),
    "ASCII that is none": (replaced(b"binary_little_endian", b"ascii"), "cannot be read"),
    "a list among the values": (replaced(b"property float nx", b"property list uchar int nx"), "list"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name, random_cloud, tmp_path):
    breaks, words = BROKEN[name]
    save_ply(tmp_path / "a.ply", random_cloud(20, 1))
    (tmp_path / "a.ply").write_bytes(breaks((tmp_path / "a.ply").read_bytes()))
    start = time.process_time()
    with pytest.raises((BadInput, Unsupported), match=re.escape(words)):
        load_ply(tmp_path / "a.ply")
    assert time.process_time() - start < 2  # nothing hangs, nothing allocates what a header promises


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"element vertex 2\n", b"element vertex 1099511627776\n"),
        (b"element vertex 2\n", b"element vertex 257\n"),
        (b"element chunk 1\n", b"element chunk 0\n"),
        (b"element sh 2\n", b"element sh 3\n"),
        (b"property uchar f_rest_8\n", b""),
        (b"binary_little_endian", b"binary_big_endian"),
        (b"property float max_b\n", b""),
        (b"property float min_x\n", b"property float min_q\n"),
    ],
)
def test_broken_compressed_files_are_refused(old, new, tmp_path):
    assert old in packed()
    (tmp_path / "a.ply").write_bytes(packed().replace(old, new, 1))
    with pytest.raises((BadInput, Unsupported)):
        load_ply(tmp_path / "a.ply")


def test_activated_values_are_recognised(random_cloud, tmp_path):
    cloud = random_cloud(50, 0)
    tensors = cloud.tensors() | {"log_scales": cloud.scales, "logit_opacities": cloud.opacities}
    save_ply(tmp_path / "a.ply", type(cloud)(**tensors))
    with pytest.raises(BadInput, match="activated"):
        load_ply(tmp_path / "a.ply")


def test_nothing_is_written_for_a_cloud_that_cannot_be_rendered(random_cloud, tmp_path):
    cloud = random_cloud(5, 0).map(lambda tensor: tensor * float("nan"))
    with pytest.raises(BadInput, match="5 of 5"):
        save_ply(tmp_path / "a.ply", cloud)
    assert list(tmp_path.iterdir()) == []

"""Each known defect is found, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.representations.health import examine, table
from maquette.representations.mesh import Mesh
from maquette.representations.texture import unwrap

FAULTS = {
    "border_edges": 0, "crowded_edges": 0, "bow_ties": 0, "flipped_faces": 0, "one_sided_faces": 0, "inside_out": 0,
    "degenerate_faces": 0, "duplicate_faces": 0,
}  # fmt: skip


def faults(mesh, **expected):
    """Compare all counts of faults; those not named are expected to be 0."""
    health = examine(mesh)
    assert {name: getattr(health, name) for name in FAULTS} == FAULTS | expected
    return health


def test_a_sound_cube_ball_and_torus(shapes):
    health = faults(shapes.cube())
    assert health.is_watertight and health.is_manifold and health.is_wound_consistently and health.is_sound
    assert (health.faces, health.vertices, health.components, health.euler_characteristic) == (12, 8, 1, 2)
    assert health.volume == pytest.approx(1)
    assert faults(shapes.ball()).euler_characteristic == 2
    ring = faults(shapes.torus())
    assert ring.is_sound and ring.euler_characteristic == 0
    assert not examine(shapes.cube(), budget=11).is_sound


def test_a_missing_face_opens_three_edges(shapes):
    cube = shapes.cube()
    health = faults(replace(cube, faces=cube.faces[1:]), border_edges=3)
    assert not health.is_watertight and health.is_manifold and health.is_wound_consistently
    assert health.volume is None and health.euler_characteristic == 1
    assert "no: 3 open edges" in table(health)


def test_one_flipped_face_is_one_and_all_flipped_are_inside_out(shapes):
    cube = shapes.cube()
    one = cube.faces.clone()
    one[4] = one[4].flip(0)
    health = faults(replace(cube, faces=one), flipped_faces=1)
    assert health.is_watertight and not health.is_wound_consistently and not health.is_sound
    health = faults(replace(cube, faces=cube.faces.flip(1)), inside_out=1)
    assert health.is_wound_consistently and not health.is_sound and health.volume == pytest.approx(-1)


def test_a_moebius_strip_has_one_side_and_a_strip_two(shapes):
    health = faults(shapes.ring(24, half_turns=1), border_edges=48, one_sided_faces=48)
    assert not health.is_wound_consistently and health.is_manifold and health.euler_characteristic == 0
    faults(shapes.ring(24), border_edges=48)
    assert faults(shapes.ring(24, half_turns=2), border_edges=48).is_wound_consistently


def test_two_components_are_two_also_where_they_touch_in_a_point(shapes):
    cube = shapes.cube()
    apart = faults(shapes.joined(cube, shapes.moved(cube, 3.0, 0.0, 0.0)))
    assert apart.components == 2 and apart.euler_characteristic == 4 and apart.is_sound
    bow_tie = faults(shapes.joined(cube, shapes.moved(cube, 1.0, 1.0, 1.0)), bow_ties=1)
    assert bow_tie.components == 2 and bow_tie.is_watertight and not bow_tie.is_manifold
    along_an_edge = faults(shapes.joined(cube, shapes.moved(cube, 1.0, 1.0, 0.0)), crowded_edges=1)
    assert not along_an_edge.is_manifold and not along_an_edge.is_watertight


def test_useless_faces(shapes):
    cube = shapes.cube()
    twice = replace(cube, faces=torch.cat([cube.faces, cube.faces[:1].flip(1)]))
    faults(twice, duplicate_faces=1, crowded_edges=3)
    point = replace(cube, faces=torch.cat([cube.faces, torch.tensor([[0, 0, 5]])]))
    faults(point, degenerate_faces=1)
    middle = Mesh(torch.cat([cube.vertices, torch.tensor([[0.5, 0.5, 0.0]])]), torch.cat([cube.faces[1:], torch.tensor(
        [[0, 2, 8], [0, 8, 1], [8, 2, 1]]
    )]))  # fmt: skip  # the first of these has its three corners in a row, on the diagonal 0 - 2
    assert faults(middle, degenerate_faces=1).is_watertight


def test_seams_of_an_atlas_are_no_holes(shapes):
    flat = unwrap(shapes.ball(), 128)
    assert len(flat.vertices) > len(shapes.ball().vertices)
    health = faults(flat)
    assert health.is_sound and health.uv_overlap == 0 and health.uv_outside == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["cube", "ball", "torus"]))
def test_however_faces_are_turned_the_fewest_to_turn_back_are_found(shapes, seed, name):
    mesh = getattr(shapes, name)()
    draw = torch.Generator().manual_seed(seed)
    is_turned = torch.rand(len(mesh.faces), generator=draw) < 0.3
    order = torch.randperm(len(mesh.faces), generator=draw)
    faces = torch.where(is_turned[:, None], mesh.faces.flip(1), mesh.faces)[order]
    health = examine(replace(mesh, faces=faces))
    fewest = min(int(is_turned.sum()), int((~is_turned).sum()))
    assert health.flipped_faces == fewest
    assert health.is_wound_consistently == (fewest == 0)


def test_overlapping_and_outside_uv():
    square = torch.tensor([[0.0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]])
    vertices = torch.cat([square, square + torch.tensor([2.0, 0])])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    mesh = Mesh(torch.nn.functional.pad(vertices, (0, 1)), faces, uv=torch.cat([square, square + 0.5]))
    assert examine(mesh).uv_overlap == 0
    half = replace(mesh, uv=torch.cat([square, square + torch.tensor([0.25, 0.0])]))
    assert examine(half).uv_overlap == pytest.approx(1 / 3, abs=0.01)
    assert examine(replace(mesh, uv=torch.cat([square, square]))).uv_overlap == pytest.approx(1, abs=0.01)
    outside = examine(replace(mesh, uv=torch.cat([square, square + 1])))
    assert outside.uv_outside == 0.5 and "50.0% of faces outside" in table(outside)
    assert examine(replace(mesh, uv=None)).uv_overlap is None


def test_texels_along_a_unit():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5]])
    uv = torch.tensor([[0.0, 0], [0.25, 0], [0, 0.25], [0.5, 0.5], [1.0, 0.5], [0.5, 1.0]])
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]), uv=uv, texture=torch.zeros(64, 64, 3))
    least, median, most = examine(mesh).texels_per_unit
    assert least == pytest.approx(8) and most == pytest.approx(32) and median == pytest.approx(8)  # the lower middle


def test_an_empty_mesh_and_plain_values():
    health = examine(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)))
    assert not health.is_watertight and health.components == 0 and not health.is_sound
    values = replace(health, bake_psnr_db=float("inf")).to_json()
    assert values["bake_psnr_db"] == 99.0 and values["is_sound"] is False and values["faces"] == 0
    assert np.isfinite([value for value in values.values() if isinstance(value, int | float)]).all()

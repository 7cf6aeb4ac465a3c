"""Defects go, sound meshes stay as they are, and what was done is said."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.representations.health import examine
from maquette.representations.mesh import Mesh
from maquette.representations.repair import Repairs, repair


def mended(mesh, **expected):
    """The repaired mesh; what is not named was not done."""
    better, done = repair(mesh)
    assert {name: count for name, count in asdict(done).items() if count} == expected
    return better


def places(mesh):
    """Its triangles by place, in an order that does not depend on theirs, but keeps their sides."""
    corners = mesh.vertices[mesh.faces].double().numpy().round(6)
    first = [min(range(3), key=lambda i, face=face: tuple(face[i])) for face in corners]
    turned = np.stack([np.roll(face, -i, axis=0) for face, i in zip(corners, first, strict=True)])
    return turned.reshape(-1, 9)[np.lexsort(turned.reshape(-1, 9).T)]


def test_what_is_sound_stays(shapes):
    for mesh in (shapes.cube(), shapes.ball(), shapes.torus(), shapes.ring(24, half_turns=2)):
        kept = mended(mesh, **({"open_borders": 2} if len(mesh.faces) == 48 else {}))
        assert np.array_equal(places(kept), places(mesh))


def test_doubled_vertices_and_useless_faces_go(shapes):
    cube = shapes.cube()
    soup = Mesh(cube.vertices[cube.faces].reshape(-1, 3), torch.arange(36).reshape(-1, 3))
    assert examine(mended(soup, welded_vertices=28)).is_sound
    more = torch.cat([cube.faces, cube.faces[:2].flip(1), cube.faces[3:4], torch.tensor([[0, 0, 5]])])
    assert examine(mended(replace(cube, faces=more), duplicate_faces=3, collapsed_faces=1)).is_sound


def test_tiny_pieces_go_and_small_ones_stay(shapes):
    crumb = shapes.ball(3, radius=1e-4)
    pebble = shapes.ball(3, radius=0.02)
    both = shapes.joined(shapes.cube(), shapes.moved(crumb, 2.0, 0.0, 0.0), shapes.moved(pebble, 0.0, 2.0, 0.0))
    better = mended(both, small_pieces=1)
    assert examine(better).components == 2 and better.vertices.max() > 2 and better.vertices[:, 0].max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["cube", "ball", "torus"]), st.floats(0, 1))
def test_however_faces_are_turned_they_end_outward(shapes, seed, name, share):
    mesh = getattr(shapes, name)()
    draw = torch.Generator().manual_seed(seed)
    is_turned = torch.rand(len(mesh.faces), generator=draw) < share
    better, _ = repair(replace(mesh, faces=torch.where(is_turned[:, None], mesh.faces.flip(1), mesh.faces)))
    assert examine(better).is_sound
    assert np.array_equal(places(better), places(mesh))


def test_surfaces_that_touch_come_apart_and_stay_so_in_a_file(shapes):
    cube = shapes.cube()
    for shift, doubles in (((1.0, 1.0, 0.0), 2), ((1.0, 1.0, 1.0), 1)):
        both = shapes.joined(cube, shapes.moved(cube, *shift))
        better = mended(both, welded_vertices=doubles, parted_vertices=doubles)
        health = examine(better)
        assert health.is_sound and health.components == 2
        assert health.volume == pytest.approx(2, rel=0.01)
        nearest = torch.cdist(better.vertices.double(), both.vertices.double()).min(1).values
        assert nearest.max() < 3e-3


def test_small_holes_are_filled_and_openings_stay(shapes):
    ball = shapes.ball(16)
    hole = ball.faces[~(ball.faces == 200).any(1)]  # the six faces around a vertex
    assert len(ball.faces) - len(hole) == 6
    better = mended(replace(ball, faces=hole), filled_holes=1)
    assert examine(better).is_sound
    assert examine(better).volume == pytest.approx(examine(ball).volume, rel=0.01)
    cube = shapes.cube()
    lid = mended(replace(cube, faces=cube.faces[2:]), open_borders=1)  # a sixth of the cube is no hole
    assert examine(lid).border_edges == 4
    leaf = replace(cube, faces=cube.faces[:2])
    assert len(mended(leaf, open_borders=1).faces) == 2


def test_a_concave_hole_is_filled_by_the_smallest_surface(shapes):
    """A flat plate with an L-shaped hole: the filling has the area of the L, and none of its faces is outside of it."""
    grid = np.stack(np.meshgrid(np.arange(13.0), np.arange(13.0), indexing="ij"), -1).reshape(-1, 2)
    faces = []
    missing = {(5, 5), (6, 5), (7, 5), (5, 6), (5, 7)}
    for i in range(12):
        for j in range(12):
            a, b, c, d = i * 13 + j, (i + 1) * 13 + j, (i + 1) * 13 + j + 1, i * 13 + j + 1
            faces += [] if (i, j) in missing else [[a, b, c], [a, c, d]]
    plate = shapes.as_mesh(np.pad(grid, ((0, 0), (0, 1))), faces)
    better = mended(plate, filled_holes=1, open_borders=1)
    added = better.vertices[better.faces].double()
    normal = torch.linalg.cross(added[:, 1] - added[:, 0], added[:, 2] - added[:, 0])
    assert normal[:, 2].min() > 0
    assert normal[:, 2].sum() / 2 == pytest.approx(144)


def test_a_t_junction_is_closed_without_moving_anything(shapes):
    cube = shapes.cube()
    split = torch.cat([cube.faces[1:], torch.tensor([[0, 2, 8], [8, 2, 1]])])  # 8 lies on the edge 0 - 1 of face 0
    vertices = torch.cat([cube.vertices, torch.tensor([[0.5, 0.0, 0.0]])])
    better = mended(Mesh(vertices, split), filled_holes=1, cut_slivers=1)
    health = examine(better)
    assert health.is_sound and health.volume == pytest.approx(1) and health.vertices == 9 and health.faces == 14


def test_a_moebius_strip_is_cut_and_said_to_be(shapes):
    better, done = repair(shapes.ring(24, half_turns=1))
    assert done.one_sided_faces == 48 and done.parted_vertices == 2
    assert done.left() == [
        "borders larger than a hole: 1",
        "faces of one-sided sheets, cut open where sides disagree: 48",
    ]
    assert examine(better).is_wound_consistently and examine(better).border_edges == 50


def test_what_is_no_mesh_is_refused(shapes):
    cube = shapes.cube()
    with pytest.raises(BadInput, match="degenerate"):
        repair(replace(cube, faces=torch.tensor([[0, 0, 1]])))
    with pytest.raises(BadInput, match="degenerate"):
        repair(replace(cube, faces=cube.faces[:0]))
    with pytest.raises(BadInput, match="NaN"):
        repair(replace(cube, vertices=cube.vertices / 0))
    assert Repairs().done() == Repairs().left() == []


def test_any_soup_comes_out_manifold():
    draw = torch.Generator().manual_seed(0)
    for count in (4, 6, 8, 12):
        soup = Mesh(torch.rand(count, 3, generator=draw), torch.randint(count, (40, 3), generator=draw))
        better, _ = repair(soup)
        health = examine(better)
        assert health.is_manifold and health.crowded_edges == 0 and health.duplicate_faces == 0

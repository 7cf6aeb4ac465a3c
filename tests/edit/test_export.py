"""Parts as nodes of glTF files: there and back, through other readers, however they overlap."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.edit import Scene, save_scene_file
from maquette.edit.export import face_parts
from maquette.io import load_mesh_glb, load_splat_parts, load_splats, save_mesh_glb, save_splats_glb
from maquette.representations import Mesh

SEVERAL = {"head": range(20), "helmet": range(10, 25), "arm": range(40, 50), "nobody": ()}


@pytest.fixture
def knight(scene) -> Scene:
    index = torch.arange(60)
    return Scene(scene.cloud, {name: torch.isin(index, torch.tensor([*rows])) for name, rows in SEVERAL.items()})


def test_every_part_is_a_node_for_another_reader(tmp_path, knight):
    import pygltflib

    save_scene_file(tmp_path / "a.glb", knight)
    document = pygltflib.GLTF2().load(str(tmp_path / "a.glb"))
    counts = {}
    for node in document.nodes:
        (primitive,) = document.meshes[node.mesh].primitives
        counts[node.name] = document.accessors[primitive.attributes.POSITION].count
        assert (primitive.extras or {}).get("maquette_parts", []) == ([] if node.name == "object" else
                                                                      node.name.split(" + "))  # fmt: skip
    assert counts == {"object": 25, "arm": 10, "helmet": 5, "head": 10, "head + helmet": 10}
    assert document.scenes[0].nodes == [0, 1, 2, 3, 4]
    assert document.extensionsUsed == ["KHR_gaussian_splatting"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.integers(0, 5))
def test_cloud_and_parts_come_back(tmp_path_factory, make_cloud, seed, count):
    cloud, draw = make_cloud(30, degree=1), torch.Generator().manual_seed(seed)
    parts = {f"part {i}": torch.rand(30, generator=draw) < 0.4 for i in range(count)}
    path = tmp_path_factory.mktemp("parts") / "a.glb"
    save_splats_glb(path, cloud, parts)
    seen, masks = load_splat_parts(path)
    assert set(masks) == {name for name, mask in parts.items() if mask.any()}
    order = seen.means[:, 0].argsort()
    wanted = cloud.means[:, 0].argsort()
    assert torch.equal(seen.means[order], cloud.means[wanted]) and torch.equal(seen.sh[order], cloud.sh[wanted])
    for name, mask in masks.items():
        assert torch.equal(mask[order], parts[name][wanted])
    assert torch.equal(load_splats(path).means, seen.means)


def test_one_part_alone_and_other_endings(tmp_path, knight):
    save_scene_file(tmp_path / "a.glb", knight, part="head")
    cloud, parts = load_splat_parts(tmp_path / "a.glb")
    assert len(cloud) == 20 and parts["head"].all() and int(parts["helmet"].sum()) == 10
    save_scene_file(tmp_path / "a.ply", knight)
    assert len(load_splats(tmp_path / "a.ply")) == 60
    for arguments, message in (({"part": "nobody"}, "no rows left"), ({"part": "x"}, "there is no part 'x'")):
        with pytest.raises(BadInput, match=message):
            save_scene_file(tmp_path / "b.glb", knight, **arguments)
    with pytest.raises(BadInput, match="cannot hold a mesh"):
        save_scene_file(tmp_path / "b.ply", knight, as_mesh=True)
    assert not (tmp_path / "b.glb").exists()


def test_a_mesh_has_its_health_beside_it(tmp_path, knight):
    save_scene_file(tmp_path / "a.glb", knight, as_mesh=True)
    said = json.loads((tmp_path / "a.health.json").read_text())
    assert said["faces"] == len(load_mesh_glb(tmp_path / "a.glb").faces) > 0
    assert said["is_watertight"] is True


def test_names_that_are_no_list_are_refused(tmp_path, knight):
    save_scene_file(tmp_path / "a.glb", knight)
    content = (tmp_path / "a.glb").read_bytes()
    (tmp_path / "a.glb").write_bytes(content.replace(b'"maquette_parts":["arm"]', b'"maquette_parts":{"a":1}'))
    with pytest.raises(BadInput, match="names its parts"):
        load_splat_parts(tmp_path / "a.glb")


def test_faces_follow_the_rows_near_them(tmp_path, scene):
    """Two triangles at the two balls: one mesh node each for trimesh, common vertices, all faces once."""
    import trimesh

    corners = torch.tensor([[-0.35, 0, 0], [-0.25, 0, 0], [-0.3, 0.1, 0], [0.25, 0, 0], [0.35, 0, 0], [0.3, 0.1, 0]])
    mesh = Mesh(corners, torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.rand(6, 3))
    parts = face_parts(mesh, scene)
    assert parts["left"].tolist() == [True, False] and parts["right"].tolist() == [False, True]
    save_mesh_glb(tmp_path / "a.glb", mesh, parts)
    seen = trimesh.load(tmp_path / "a.glb", process=False)
    assert {name: len(part.faces) for name, part in seen.geometry.items()} == {"left": 1, "right": 1}
    for name, side in (("left", -0.3), ("right", 0.3)):
        part = seen.geometry[name]
        assert np.allclose(part.vertices[part.faces][0].mean(axis=0)[0], side, atol=1e-6)

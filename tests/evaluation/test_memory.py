import pytest
import torch

from maquette.core import BadInput, turntable
from maquette.data.procedural import procedural_mesh
from maquette.data.views import render_views
from maquette.evaluation.geometry import surface_points
from maquette.evaluation.memory import boxed, library, nearest_known
from maquette.priors.encoders import load_judge
from maquette.representations import Mesh


def test_a_copy_is_found_by_shape_and_by_look_however_it_is_moved_and_scaled():
    objects = [procedural_mesh(i) for i in range(8)]
    judge = load_judge()
    known = library(objects, judge)
    assert known.points.shape == (8, 1024, 3) and known.keys[3] == objects[3].key
    assert torch.allclose(known.vectors.norm(dim=1), torch.ones(8), atol=1e-5)
    for number in (2, 5):
        copied = objects[number]
        mesh = Mesh(torch.from_numpy(copied.vertices), torch.from_numpy(copied.faces).long())
        points = surface_points(mesh, 1024, torch.Generator().manual_seed(9)) * 0.3 + torch.tensor([1.0, 2.0, 3.0])
        pictures = torch.from_numpy(render_views(copied, turntable(8, 15.0, size=128)).rgba[..., :3]).float() / 255
        found = nearest_known(points, pictures, known, judge)
        alike = {i for i, other in enumerate(objects) if other.noun == copied.noun}  # boxes of other colors
        assert found.by_shape in alike and found.distance < 0.04
        assert found.by_look == number and found.likeness > 0.97
    with pytest.raises(BadInput, match="no objects"):
        library([], judge)


def test_points_are_brought_to_the_unit_box():
    points = boxed(torch.tensor([[1.0, 0.0, 0.0], [5.0, 2.0, 1.0]]))
    assert torch.allclose(points, torch.tensor([[-0.5, -0.25, -0.125], [0.5, 0.25, 0.125]]))

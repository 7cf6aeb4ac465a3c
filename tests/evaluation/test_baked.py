"""A mesh against its source: equal pictures are equal, and colors are told from silhouettes."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.core import orbit
from maquette.evaluation.baked import bake_psnr, examine_baked
from maquette.render.mesh import render_mesh
from maquette.representations.mesh import Mesh

CAMERA = orbit(torch.tensor([20.0, 140.0, 260.0]), torch.tensor([10.0, -30.0, 50.0]), size=64)
CORNERS = torch.tensor([[0.4, -0.3, 0.2], [-0.4, -0.3, 0.2], [0.0, 0.4, 0.0], [0.0, -0.3, -0.4]])
FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
GRAY = Mesh(CORNERS, FACES, face_colors=torch.full((4, 3), 0.5))


def drawn(mesh):
    return render_mesh(mesh, CAMERA, background=torch.ones(3))


def test_the_same_mesh_has_no_error():
    assert bake_psnr(GRAY, CAMERA, drawn(GRAY)) == (math.inf, math.inf)
    health = examine_baked(GRAY, CAMERA, drawn(GRAY), budget=4)
    assert health.is_sound and health.budget == 4 and health.to_json()["bake_psnr_db"] == 99.0


def test_a_tenth_too_light_is_20_db_inside_and_less_wrong_with_the_background():
    lighter = replace(GRAY, face_colors=GRAY.face_colors + 0.1)
    whole, inside = bake_psnr(lighter, CAMERA, drawn(GRAY))
    assert inside == pytest.approx(20, abs=1e-3)
    assert whole > inside


def test_another_size_is_wrong_at_silhouettes_only():
    larger = replace(GRAY, vertices=1.2 * CORNERS)
    whole, inside = bake_psnr(larger, CAMERA, drawn(GRAY))
    assert inside == math.inf and whole < 25
    away = replace(GRAY, vertices=CORNERS + 50)
    assert bake_psnr(away, CAMERA, drawn(GRAY))[1] == 0.0  # nothing to compare

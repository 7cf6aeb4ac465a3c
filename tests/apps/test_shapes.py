import pytest
import torch

from maquette import io
from maquette.apps.generate import generate
from maquette.apps.shapes import shapes_of
from maquette.core import Streams, turntable
from maquette.kernels.hashgrid import GridShape
from maquette.render import render_field, render_gaussians, render_mesh
from maquette.representations.field import FieldShape, HashField
from maquette.representations.occupancy import OccupancyGrid
from maquette.representations.sdf_grid import from_density
from maquette.representations.tets import grid_to_mesh
from maquette.training.gaussians_to_field import Distilled
from maquette.training.surface_descent import Painted

VIEWS = turntable(4, 15.0, size=160)
FIELD = HashField(
    FieldShape(
        GridShape(levels=3, base=4, finest=16, log2_entries=10), hidden=8, sees_direction=False,
        activation="softplus", blob=400.0,
    ),
    generator=Streams(0).generator("field"),
)  # fmt: skip
WHITE = torch.ones(3)


def agree(cloud, mesh, alpha, color):
    discs = render_gaussians(cloud, VIEWS, background=WHITE)
    faces = render_mesh(mesh, VIEWS, background=WHITE)
    for seen in (discs, faces):
        assert (seen.alpha - alpha).abs().mean() < 0.02
        assert (seen.color - color).square().mean() < 10**-2.3


def test_a_field_becomes_a_textured_mesh_and_discs_that_look_like_it():
    made = Distilled(FIELD, OccupancyGrid.full(16, FIELD.shape.half_size))
    with torch.no_grad():
        seen = render_field(FIELD, VIEWS, occupancy=made.occupancy, background=WHITE, samples=96)
    cloud, mesh = shapes_of(made, VIEWS)
    assert mesh.texture is not None and mesh.uv is not None
    agree(cloud, mesh, seen.alpha, seen.color)


def test_what_a_field_says_where_no_renderer_looks_is_no_surface():
    """The ball is cut in half by its occupancy, and so is the mesh, whatever the field says of the other half."""
    whole = OccupancyGrid.full(16, FIELD.shape.half_size)
    mask = whole.mask.clone()
    mask[8:] = False
    _, mesh = shapes_of(Distilled(FIELD, OccupancyGrid(whole.thickness, whole.half_size, mask)), VIEWS)
    reach = mesh.vertices[:, 0].abs()
    assert mesh.vertices[:, 0].min() < -0.15
    assert reach[mesh.vertices[:, 0] > 0].amax() < 0.03, "nothing beyond the plane x = 0 but a rounded edge"


def test_a_surface_is_cleaned_and_takes_the_colors_of_its_field_as_a_texture():
    surface = grid_to_mesh(from_density(FIELD.density, resolution=24, level=50.0))
    with torch.no_grad():
        colors = FIELD(surface.vertices, surface.vertices)[1]
    cloud, mesh = shapes_of(Painted(surface, FIELD), VIEWS)
    assert 0 < len(mesh.faces) <= 8000 and mesh.texture is not None
    seen = render_mesh(type(surface)(surface.vertices, surface.faces, vertex_colors=colors), VIEWS, background=WHITE)
    agree(cloud, mesh, seen.alpha, seen.color)


@pytest.mark.parametrize("pipeline", ["dreamfusion", "sjc", "magic3d", "fantasia3d"])
def test_generate_writes_all_files_of_a_field_and_of_a_surface(pipeline, tmp_path):
    asset = generate("a red apple", pipeline=pipeline, quality="tiny", out=tmp_path, device="cpu")
    assert {"asset.ply", "asset.glb", "turntable.mp4", "preview.png", "run.json"} <= {
        p.name for p in tmp_path.iterdir()
    }
    assert asset.report["pipeline"] == pipeline and len(asset.mesh.faces) == asset.report["faces"] > 0
    assert len(io.load_splats(tmp_path / "asset.ply")) == len(asset.cloud) > 10_000
    assert not (tmp_path / ".state").exists()

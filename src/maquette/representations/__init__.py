"""What an asset can be: Gaussians, fields, meshes, and the arrows between them."""

from maquette.core.lazy import lazy_door

_HOME = {
    "GaussianCloud": "gaussians",
    "from_points": "gaussians",
    "state_hash": "gaussians",
    "Mesh": "mesh",
    "clean_mesh": "convert",
    "field_to_mesh": "convert",
    "gaussians_to_mesh": "convert",
    "Health": "health",
    "examine": "health",
    "Repairs": "repair",
    "FieldShape": "field",
    "HashField": "field",
    "OccupancyGrid": "occupancy",
    "SdfGrid": "sdf_grid",
    "SurfelCloud": "surfels",
    "from_oriented_points": "surfels",
    "gaussians_from_surfels": "surfels",
    "surfels_from_gaussians": "surfels",
    "TetField": "tets",
    "Tsdf": "tsdf",
    "fuse": "tsdf",
    "fused_mesh": "tsdf",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(
    __name__, {name: f"maquette.representations.{module}" for name, module in _HOME.items()}
)

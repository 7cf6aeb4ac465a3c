"""The border of the package: files in and out, checked before they are parsed and written atomically.

Here, and nowhere else, axes, quaternion order, activations and color encodings are converted.
"""

from maquette.core.lazy import lazy_door

_HOME = {
    "load_state": "checkpoint",
    "save_state": "checkpoint",
    "load_mesh_glb": "gltf_mesh",
    "load_splat_parts": "gltf_splats",
    "load_splats_glb": "gltf_splats",
    "save_mesh_glb": "gltf",
    "save_splats_glb": "gltf",
    "save_health": "health",
    "load_image": "image",
    "save_image": "image",
    "frame_subject": "matting",
    "matte": "matting",
    "load_mesh": "meshes",
    "load_mesh_obj": "meshes",
    "contact_sheet": "sheet",
    "load_ply": "ply",
    "load_points": "points",
    "save_points": "points",
    "save_ply": "ply",
    "load_splats": "splats",
    "save_splats": "splats",
    "load_spz": "spz",
    "save_spz": "spz",
    "load_surfels": "surfel_ply",
    "save_surfels": "surfel_ply",
    "save_animation": "video",
    "save_video": "video",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.io.{module}" for name, module in _HOME.items()})

"""Pictures of things: functions from a representation and a camera to a Rendering."""

from maquette.core.lazy import lazy_door

_HOME = {
    "Rendering": "rendering",
    "march": "field",
    "render_field": "field",
    "render_gaussians": "gaussians",
    "render_mesh": "mesh",
    "render_surface": "surface",
    "render_surfels": "surfels",
    "Shading": "shading",
    "lambertian": "shading",
    "normal_colors": "shading",
    "sample_shading": "shading",
    "change_background": "background",
    "over": "background",
    "random_color": "background",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.render.{module}" for name, module in _HOME.items()})

"""Maquette: a sentence or a picture becomes a 3D asset, on whatever machine one has.

>>> import maquette
>>> maquette.orbit(0, 15).position.shape
torch.Size([1, 3])
"""

from typing import TYPE_CHECKING

from maquette.core.lazy import lazy_door

__version__ = "0.1.0"

_HOME = {
    "Asset": "apps.make",
    "generate": "apps.generate",
    "load": "apps.convert",
    "save": "apps.convert",
    "GaussianCloud": "representations",
    "Mesh": "representations",
    "Rendering": "render",
    "render_gaussians": "render",
    "render_mesh": "render.mesh",
    "Camera": "core",
    "look_at": "core",
    "orbit": "core",
    "sample_orbit": "core",
    "turntable": "core",
    "Event": "core",
    "Streams": "core",
    "BadInput": "core",
    "MaquetteError": "core",
    "MissingExtra": "core",
    "NonFinite": "core",
    "Unsupported": "core",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.{module}" for name, module in _HOME.items()})

if TYPE_CHECKING:  # the same names for editors and type checkers, which cannot see through a lazy door
    from maquette.apps.convert import load, save
    from maquette.apps.generate import generate
    from maquette.apps.make import Asset
    from maquette.core.camera import Camera, look_at, orbit, sample_orbit, turntable
    from maquette.core.errors import BadInput, MaquetteError, MissingExtra, NonFinite, Unsupported
    from maquette.core.event import Event
    from maquette.core.seed import Streams
    from maquette.render.gaussians import render_gaussians
    from maquette.render.mesh import render_mesh
    from maquette.render.rendering import Rendering
    from maquette.representations.gaussians import GaussianCloud
    from maquette.representations.mesh import Mesh

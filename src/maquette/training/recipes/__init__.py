"""One file for each pocket model: a frozen `Config` and `main(config)`.

The order to run them from nothing: views, autoencoder, latents, denoiser, encoder (twice: guide and judge), elevation.
gaussian_vae draws its own views and needs the encoder only; point_flow needs gaussian_vae and the words of the
denoiser; point_encoder needs nothing but the assets.
"""

from importlib import import_module
from types import ModuleType

from maquette.core.errors import BadInput

RECIPES = (
    "views",
    "autoencoder",
    "latents",
    "denoiser",
    "encoder",
    "elevation",
    "vocabulary",
    "gaussian_vae",
    "point_flow",
    "point_encoder",
)


def load_recipe(name: str) -> ModuleType:
    """The module of a recipe, with `Config` and `main`; raises BadInput for a name that is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}", f"choose one of {', '.join(RECIPES)}")
    return import_module(f"maquette.training.recipes.{name}")

"""One file for each pocket model: a frozen `Config` and `main(config)`.

The order to run them from nothing: views, autoencoder, latents, denoiser, encoder (twice: guide and judge), elevation.
"""

from importlib import import_module
from types import ModuleType

from maquette.core.errors import BadInput

RECIPES = ("views", "autoencoder", "latents", "denoiser", "encoder", "elevation", "vocabulary")


def load_recipe(name: str) -> ModuleType:
    """The module of a recipe, with `Config` and `main`; raises BadInput for a name that is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}", f"choose one of {', '.join(RECIPES)}")
    return import_module(f"maquette.training.recipes.{name}")

"""Shapes and types of the whole package are checked while tests run; normal use pays nothing for it."""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the network fails at once instead of waiting
os.environ["TRANSFORMERS_OFFLINE"] = "1"


class CompiledByNumba(MetaPathFinder):
    """Lets what numba compiles pass unwrapped: a wrapped function is not one that it can read.

    That is the inside of every kernel except its specification, and what kernels share; their doors are checked.
    """

    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith(("maquette.kernels.", "maquette.core.splat.")) or fullname.endswith(".reference"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        return spec if spec is not None and spec.submodule_search_locations is None else None


# The numeric tower of PEP 484: where a float is expected, an int will do.
install_import_hook("maquette", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
sys.meta_path.insert(0, CompiledByNumba())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped where there is no CUDA device."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting:
        import torch

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A function from a name in `tiny_checkpoints.WRITERS` to a folder with that checkpoint, written once."""
    spec = spec_from_file_location("tiny_checkpoints", Path(__file__).with_name("tiny_checkpoints.py"))
    tiny = module_from_spec(spec)
    spec.loader.exec_module(tiny)
    home = tmp_path_factory.mktemp("checkpoints")

    def written(name: str) -> Path:
        if not (home / name).is_dir():
            tiny.WRITERS[name](home / name)
        return home / name

    return written

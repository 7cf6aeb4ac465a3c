"""How long the doors take to open, and what must not come in through them."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import maquette

PACKAGE = Path(maquette.__file__).parent
HEAVY = {"torch", "numpy", "numba", "diffusers", "transformers", "trimesh", "skimage", "imageio", "scipy", "PIL"}


def imported_by(statement: str) -> set[str]:
    """Top-level names of everything that a fresh interpreter has loaded after the statement."""
    program = f"{statement}\nimport sys, json\nprint(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import maquette",
        "import maquette.core.errors, maquette.core.files, maquette.core.schedule",
        "from maquette.apps.cli import run\ntry: run(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_doors_and_help_import_nothing_heavy(statement):
    # Time is what this is about; the list of modules says the same without depending on how busy the machine is.
    assert imported_by(statement) & HEAVY == set()


def test_rich_and_tyro_stay_out_of_the_library():
    assert imported_by("import maquette") & {"rich", "tyro"} == set()


def test_the_names_for_type_checkers_are_the_names_of_the_lazy_door():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    named = {alias.name for node in guarded.body for alias in node.names}
    assert named == set(maquette.__all__)


def test_an_unknown_name_is_an_attribute_error_and_dir_shows_the_known_ones():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = maquette.nonsense
    assert set(maquette.__all__) <= set(dir(maquette))

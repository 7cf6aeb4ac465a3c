"""Installing Maquette brings permissive licences and nothing that needs a compiler, a GPU or a download."""

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import maquette

ROOT = Path(__file__).parents[2]
PACKAGE = Path(maquette.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Torchvision has no CPU build for every torch and fails at import; the others are GPL or non-commercial or compile.
FORBIDDEN = {
    "torchvision", "lpips", "piq", "clean-fid", "torch-fidelity", "open-clip-torch", "timm", "plyfile", "pymeshlab",
    "nvdiffrast", "diff-gaussian-rasterization", "nerfacc", "tinycudann",
}  # fmt: skip
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
NON_COMMERCIAL = re.compile(r"non-?commercial|CC[- ]BY[- ]NC", re.IGNORECASE)


def closure(requirements: list[str], extra: str = "") -> set[str]:
    """Names of everything that is installed because of the requirements."""
    names, todo = set(), [(Requirement(text), extra) for text in requirements]
    while todo:
        requirement, chosen = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": chosen}):
            continue
        try:
            needed = distribution(name).requires or []
        except PackageNotFoundError:  # other platforms' needs, and torch's CUDA libraries
            continue
        if name not in names:
            names.add(name)
            todo += [(Requirement(text), wanted) for text in needed for wanted in ("", *requirement.extras)]
    return names


INSTALLED = closure(PROJECT["dependencies"])


def licence(name: str) -> str:
    about = distribution(name).metadata
    classifiers = [text for text in about.get_all("Classifier") or [] if text.startswith("License")]
    # The first line only: long texts name other licences in passing.
    named = (about.get("License-Expression") or about.get("License") or "").strip().splitlines()
    return " | ".join([*named[:1], *classifiers])


def test_the_closure_is_not_empty_and_holds_what_we_know_is_there():
    assert {"torch", "numpy", "llvmlite", "tyro", "rich"} <= INSTALLED


def test_nothing_forbidden_is_installed_by_us():
    assert sorted(INSTALLED & FORBIDDEN) == []


def test_every_licence_is_known_and_permissive():
    licences = {name: licence(name) for name in INSTALLED}
    # numpy names the GCC runtime's licence with its exception; a name with LGPL or an exception is not copyleft for us.
    bad = {name: text for name, text in licences.items() if COPYLEFT.search(text) or NON_COMMERCIAL.search(text)}
    assert bad == {}


def third_party_imports() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top != "maquette":
                    found.setdefault(top, set()).add(str(path.relative_to(PACKAGE)))
    return found


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    extras = PROJECT["optional-dependencies"]
    optional = {canonicalize_name(Requirement(text).name) for text in extras["cuda"] + extras["vocabulary"]}
    homes = packages_distributions()
    used = {canonicalize_name(homes.get(top, [top])[0]): files for top, files in third_party_imports().items()}
    assert {name: files for name, files in used.items() if name not in declared | optional} == {}
    assert declared - set(used) == set()


def test_constraints_pin_everything_and_point_nowhere():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines), "one exact version a line"
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
    wanted = closure(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    libraries_of_cuda = {name for name in wanted if name.startswith(("nvidia-", "cuda-"))} | {"triton"}
    assert wanted - pinned - libraries_of_cuda - {"pip"} == set()
    assert "torch==2.13.0" in lines

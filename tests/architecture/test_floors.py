"""The import contracts of pyproject.toml hold, and would notice a wrong arrow."""

import tomllib
from pathlib import Path

import grimp
import pytest

import maquette

ROOT = Path(__file__).parents[2]
PACKAGE = Path(maquette.__file__).parent


@pytest.fixture(scope="module")
def contracts() -> dict[str, dict]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}


def layers(contract: dict) -> list[grimp.Layer]:
    rows = [[name.strip(" ()") for name in row.split("|")] for row in contract["layers"]]
    return [grimp.Layer(*(f"maquette.{name}" for name in row), independent=True) for row in rows]


def test_arrows_between_floors_go_down(contracts):
    graph = grimp.build_graph("maquette", exclude_type_checking_imports=True, cache_dir=None)
    broken = graph.find_illegal_dependencies_for_layers(layers(contracts["floors"]))
    assert [(arrow.importer, arrow.imported) for arrow in broken] == []
    # The same check with one arrow up, to know that it looks.
    graph.add_import(importer="maquette.core.camera", imported="maquette.apps.cli")
    assert len(graph.find_illegal_dependencies_for_layers(layers(contracts["floors"]))) > 0


def test_every_folder_of_code_has_a_floor(contracts):
    on_floors = {name.strip(" ()") for row in contracts["floors"]["layers"] for name in row.split("|")}
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}
    assert folders - on_floors == set()

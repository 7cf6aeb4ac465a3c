"""Every public name says what it is, and every example in a docstring runs."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import maquette

PACKAGE = Path(maquette.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def undocumented(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = [] if ast.get_docstring(tree) else ["(the module)"]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        members = [node, *(item for item in getattr(node, "body", []) if isinstance(item, ast.FunctionDef))]
        if isinstance(node, ast.FunctionDef):
            members = [node]
        bare += [
            f"{node.name}.{member.name}" if member is not node else node.name
            for member in members
            if not member.name.startswith("_") and member.name != "forward" and not ast.get_docstring(member)
        ]
    return bare


def test_every_module_and_public_name_has_a_docstring():
    missing = [f"{path.relative_to(PACKAGE)}: {name}" for path in FILES for name in undocumented(path)]
    assert missing == []


@pytest.mark.parametrize("name", sorted(maquette.__all__))
def test_every_name_at_the_front_door_opens_and_is_documented(name):
    assert getattr(maquette, name) is not None
    assert name == "Event" or getattr(maquette, name).__doc__


def test_no_file_delays_its_annotations_and_none_is_too_long_to_read():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "from __future__ import annotations" not in text, f"{path}: shapes could not be checked in tests"
        assert text.count("\n") <= 400, f"{path} is too long to read in a sitting"


@pytest.mark.parametrize("path", [path for path in FILES if ">>> " in path.read_text("utf-8")], ids=module_name)
def test_examples_in_docstrings_run(path):
    failed, attempted = doctest.testmod(importlib.import_module(module_name(path)))
    assert failed == 0
    assert attempted > 0

"""What the first screen tells people to type is what is tested."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_continuous_integration_runs_the_second_command_word_for_word():
    first, second = (block.strip() for block in code_blocks("bash")[:2])
    assert "constraints.txt" in first
    assert 'generate "a red apple"' in first
    assert second.endswith("pytest")
    assert second in (ROOT / ".ci" / "run").read_text().splitlines()


def test_eight_lines_of_python_use_only_names_that_exist():
    import maquette

    (example,) = code_blocks("python")
    assert len(example.strip().splitlines()) <= 8
    used = {
        node.attr
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mq"
    }
    assert used
    assert used <= set(maquette.__all__)


def test_links_to_files_of_the_repository_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", README)
    assert [target for target in targets if not (ROOT / target.split("#")[0]).exists()] == []


def test_one_version_everywhere():
    import maquette

    assert f"version: {maquette.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {maquette.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]

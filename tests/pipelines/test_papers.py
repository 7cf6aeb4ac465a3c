"""The pages of docs/papers point at code that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", sorted((ROOT / "docs/papers").glob("*.md")), ids=lambda page: page.stem)
def test_every_place_that_a_page_names_exists(page):
    places = re.findall(r"`([\w/]+\.py): ([\w.]+)", page.read_text())
    assert len(places) > 5
    for file, name in places:
        source = (ROOT / "src/maquette" / file).read_text()
        last = name.split(".")[-1]
        assert re.search(rf"\b(def|class) {last}\b|^    {last}: ", source, re.M), f"{page.name}: {file} has no {name}"

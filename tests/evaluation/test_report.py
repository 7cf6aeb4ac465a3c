"""Files that others read: JSON without NaN, sheets with the right picture in the right place."""

import json
import math

import pytest
import torch

from maquette.evaluation.report import SheetRow, markdown_table, middle, spread, write_json, write_sheets
from maquette.io.image import load_image


def test_json_has_plain_values(tmp_path):
    write_json(tmp_path / "a.json", {"nan": math.nan, "inf": math.inf, "third": 1 / 3, "list": (1, "ü", None, True)})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"nan": None, "inf": None, "third": 0.333333, "list": [1, "ü", None, True]}


def test_spread_and_middle():
    assert spread([1.0, 3.0]) == {"mean": 2.0, "std": 1.0, "count": 2}
    assert middle([5.0, 1.0, 2.0]) == {"median": 2.0, "most": 5.0}
    assert spread([]) is None
    assert middle([]) is None


def test_sheets_are_paged_and_in_order(tmp_path):
    """Object i is grey i/10 in view 0 and blue in view 1; every strip is found where it belongs."""
    grey = torch.arange(7) / 10
    views = torch.zeros(7, 2, 20, 20, 3)
    views[:, 0] = grey[:, None, None, None]
    views[:, 1, ..., 2] = 1.0
    rows = [SheetRow(one, f"prompt {i}") for i, one in enumerate(views)]
    layout = {"view_px": 16, "columns": 2, "rows_per_page": 2}
    paths = write_sheets(tmp_path, rows, **layout)
    assert [path.name for path in paths] == ["sheet-1.png", "sheet-2.png"]
    sheet = load_image(paths[0])
    assert sheet.shape == (2 * (16 + 16 + 4) + 4, 2 * (32 + 4) + 4, 3)
    for i in range(4):
        top, left = 4 + i // 2 * 36, 4 + i % 2 * 36
        assert sheet[top + 8, left + 8].tolist() == pytest.approx([grey[i].item()] * 3, abs=0.01)
        assert sheet[top + 8, left + 24].tolist() == [0.0, 0.0, 1.0]
        assert float(sheet[top + 17 : top + 32, left : left + 32].min()) < 0.5, "there is a label"
    assert load_image(paths[1])[4 + 8, 4 + 8, 0].item() == pytest.approx(0.4, abs=0.01)
    again = write_sheets(tmp_path, rows, name="again", **layout)
    assert again[0].read_bytes() == paths[0].read_bytes()
    assert write_sheets(tmp_path, []) == []


def test_markdown_table():
    assert markdown_table(["a", "b"], [["x", 1]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n"

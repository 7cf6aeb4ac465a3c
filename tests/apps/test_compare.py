"""Methods by name, and a whole comparison with a budget of a few evaluations."""

import json

import pytest

from maquette.apps.comparison import rates
from maquette.apps.guides import METHODS, methods
from maquette.core.errors import BadInput


def test_names():
    assert list(methods("ism, sds,")) == ["ism", "sds"]
    for wrong in ("sds,nonsense", "", ","):
        with pytest.raises(BadInput, match="there is no guidance"):
            methods(wrong)
    from maquette.apps.compare import ALL

    assert ",".join(METHODS) == ALL, "the command line names them without importing them"


def test_rates_come_to_rest_at_the_end_of_each_run():
    for steps in (5, 500):
        assert rates(steps).means(steps) == pytest.approx(5e-4)
        assert rates(steps).means(0) == pytest.approx(5e-3)


def test_a_small_comparison(tmp_path, monkeypatch):
    from maquette.apps import comparison
    from maquette.apps.cli import run

    monkeypatch.setattr(comparison, "POINTS", 300)
    monkeypatch.setattr(comparison, "RENDER_PX", 32)
    out = tmp_path / "out"
    assert run(["compare", "a red apple", "--guidance", "sds,vsd", "--evaluations", "8", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    found = report["prompts"]["a red apple"]["methods"]
    assert {name: row["steps"] for name, row in found.items()} == {"sds": 4, "vsd": 2}
    assert {name: row["curve"][-1]["evaluations"] for name, row in found.items()} == {"sds": 8, "vsd": 8}
    first, second = (row["curve"][0] for row in found.values())
    assert {**first, "seconds": 0} == {**second, "seconds": 0}, "both begin with the same cloud"
    assert found["sds"]["curve"][-1]["similarity"] != found["vsd"]["curve"][-1]["similarity"]
    assert (out / "1-a-red-apple" / "vsd.ply").is_file()
    assert run(["compare", "a red apple", "--evaluations", "0", "--out", str(out)]) == 2
    assert run(["compare", "--out", str(out)]) == 2

"""Lines of a log, as a person reads them."""

from maquette.apps.edit_words import listed
from maquette.edit import Drag, HalfSpace, Repaint, Select, to_json


def test_an_edit_reads_like_what_was_typed():
    edits = [
        (Select("head", HalfSpace((0, 0.25, 0), (0, 1, 0))), "select part=head region=half_space(point=0,0.25,0 normal=0,1,0)"),
        (Repaint("head", "a golden helmet", 60), 'repaint part=head prompt="a golden helmet" steps=60 times=0.8,0.65,0.5'),
        (Drag((0, 0, 0), ((0.1, 0, 0), (0.1, 0.2, 0)), 0.1), "drag source=0,0,0 path=0.1,0,0;0.1,0.2,0 radius=0.1"),
    ]  # fmt: skip
    for edit, text in edits:
        assert listed(to_json(edit)).startswith(text)
        assert "=''" not in listed(to_json(edit)) and "[" not in listed(to_json(edit))
    assert len(listed({"kind": "repaint", "prompt": "a word " * 40})) == 100

"""Lines of a log, as a person reads them."""

from maquette.apps.edit_words import listed
from maquette.edit import Drag, HalfSpace, Repaint, Select, to_json


def test_an_edit_reads_like_what_was_typed():
    above, path = HalfSpace((0, 0.25, 0), (0, 1, 0)), ((0.1, 0, 0), (0.1, 0.2, 0))
    edits = [
        (Select("top", above), "select part=top region=half_space(point=0,0.25,0 normal=0,1,0)"),
        (Repaint("top", "a golden hat", 60), 'repaint part=top prompt="a golden hat" steps=60 times=0.8,0.65,0.5'),
        (Drag((0, 0, 0), path, 0.1), "drag source=0,0,0 path=0.1,0,0;0.1,0.2,0 radius=0.1"),
    ]
    for edit, text in edits:
        assert listed(to_json(edit)).startswith(text)
        assert "=''" not in listed(to_json(edit)) and "[" not in listed(to_json(edit))
    assert len(listed({"kind": "repaint", "prompt": "a word " * 40})) == 100

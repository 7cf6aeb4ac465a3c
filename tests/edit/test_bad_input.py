"""Whatever a person does wrong: a sentence that says so, and the session as it was, file by file."""

import os

import pytest
import torch

from maquette.core import BadInput
from maquette.edit import (
    ALL,
    Drag,
    Duplicate,
    Everything,
    Forget,
    Grow,
    GuidedDrag,
    Inverse,
    Move,
    Named,
    Paste,
    Refine,
    Regenerate,
    Remove,
    Repaint,
    Select,
    Session,
    Shrink,
    Sphere,
    Stretch,
    replay,
    scene_hash,
)
from maquette.priors.analytic import MixturePrior

HERE, THERE = (-0.3, 0.0, 0.0), ((-0.3, 0.3, 0.0),)


@pytest.fixture
def session(tmp_path, scene):
    pictures = torch.ones(1, 4, 16, 16)
    with Session.create(tmp_path / "s.mq", scene.cloud, scene.parts) as opened:
        opened.prior = MixturePrior(pictures, 0.05, ("a white square",))
        yield opened


def files_of(session: Session) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in session.folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        # Empty selections.
        (lambda: Select("x", Sphere((9, 9, 9), 0.1)), "empty"),
        (lambda: Select("x", Shrink("left", 59)), "empty"),
        (lambda: Select("left", Named("right"), "intersect"), "empty"),
        # Everything.
        (lambda: Remove(ALL), "leave nothing"),
        (lambda: Select(ALL, Everything()), "already means"),
        (lambda: Forget(ALL), "already means"),
        (lambda: Select("x", Inverse(ALL)), "empty"),
        # Parts that are not there.
        *[(lambda edit=edit: edit, "there is no part 'nobody'") for edit in (
            Move("nobody", (0, 0.1, 0)), Duplicate("nobody", "x", (0, 0.1, 0)), Forget("nobody"), Remove("nobody"),
            Drag(HERE, THERE, 0.2, part="nobody"), GuidedDrag(HERE, THERE, 0.2, "a toy", part="nobody"),
            Repaint("nobody", "a toy"), Regenerate("nobody", "a toy"), Refine("nobody", "a toy"),
            Select("x", Grow("nobody")), Select("x", Inverse("nobody")), Select("nobody", Everything(), "subtract"),
        )],
        # Drags to nowhere, of nothing, or with no width.
        (lambda: GuidedDrag(HERE, (HERE,), 0.2, "a toy"), "goes nowhere"),
        (lambda: GuidedDrag(HERE, (), 0.2, "a toy"), "goes nowhere"),
        (lambda: GuidedDrag((50, 0, 0), ((50, 1, 0),), 0.2, "a toy"), "nothing lies within 0.2"),
        (lambda: Drag((50, 0, 0), ((50, 1, 0),), 0.2), "nearest row is 49.*move the source or enlarge"),
        (lambda: GuidedDrag((2e4, 0, 0), THERE, 0.2, "a toy"), "at most 10000"),
        (lambda: GuidedDrag(HERE, THERE, -0.2, "a toy"), "above zero"),
        # Factors of zero and below.
        (lambda: Stretch("left", (1, 0, 1)), "factors"),
        (lambda: Stretch("left", (1, 1, -2)), "factors"),
        (lambda: Paste("0" * 32, "x", scale=0.0), "above zero"),
        (lambda: Paste("0" * 32, "x", scale=-1.0), "above zero"),
        (lambda: Paste("0" * 32, "x"), "there is no cloud"),
    ],
)  # fmt: skip
def test_it_is_said_and_the_session_is_as_it_was(session, make, message):
    session.move("left", (0, 0.01, 0))
    before, state = files_of(session), session.hash
    with pytest.raises(BadInput, match=f"(?s){message}"):
        session.do(make())
    assert files_of(session) == before and scene_hash(session.scene) == session.hash == state
    session.undo()


def test_everything_can_be_selected_and_edited_as_a_part(session):
    session.select("whole", Everything())
    with pytest.raises(BadInput, match="leave nothing"):
        session.remove("whole")
    session.select("more", Grow("whole"))
    assert session.regenerate("whole", "a white square", steps=1).outside_changed == 0
    assert session.guided_drag(HERE, THERE, 5.0, "a white square", steps=1, heal=0).pixels_outside == 0
    session.undo(4)
    assert session.hash == session.entries[0].after


def test_names_of_rows_that_are_gone_or_not_yet_back_are_stale(session):
    session.select("few", Sphere((-0.3, 0.1, 0), 0.1))
    session.remove("left")
    for stale in (Regenerate("few", "a toy"), Repaint("left", "a toy"), Drag(HERE, THERE, 0.2, part="few")):
        with pytest.raises(BadInput, match="no rows left: they were removed"):
            session.do(stale)
    session.undo()
    session.do(Move("few", (0, 0.1, 0)))
    session.undo(2)
    with pytest.raises(BadInput, match="there is no part 'few'"):
        session.do(Move("few", (0, 0.1, 0)))
    session.redo(2)
    kept = session.keep(session.scene.cloud)
    (session.folder / "clouds" / f"{kept}.safetensors").unlink()
    with pytest.raises(BadInput, match=f"there is no cloud {kept}"):
        session.do(Paste(kept, "guest"))


@pytest.mark.parametrize("wish", [
    Repaint("left", "a white square", 3), Regenerate("left", "a white square", 3),
    GuidedDrag(HERE, THERE, 0.2, "a white square", steps=3, heal=0),
], ids=["repaint", "regenerate", "drag"])  # fmt: skip
def test_nothing_else_happens_while_an_edit_is_running_or_after_the_end(session, wish):
    session.move("right", (0, 0.01, 0))
    session.undo()
    stream, state = session.doing(wish), session.hash
    next(stream)
    for forbidden in (session.undo, session.redo, lambda: session.move("left", (0, 0.1, 0))):
        with pytest.raises(BadInput, match="is running"):
            forbidden()
    before = files_of(session) | {str(session.folder / "lock"): b""}
    session.close()
    with pytest.raises(BadInput, match="the session is closed"):
        for _ in stream:
            pass
    for forbidden in (session.undo, session.redo, lambda: session.move("left", (0, 0.1, 0))):
        with pytest.raises(BadInput, match="the session is closed"):
            forbidden()
    assert files_of(session) == before
    with Session.open(session.folder) as again:
        assert again.hash == state and again.undone == 1


def test_a_full_disk_stops_undo_redo_words_and_guests_alike(session, monkeypatch):
    session.move("left", (0, 0.1, 0))
    session.move("left", (0, 0.1, 0))
    session.undo()
    state, log = session.hash, (session.folder / "log.jsonl").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    guest = session.scene.cloud.select(slice(0, 9))
    for act in (
        session.undo,
        session.redo,
        lambda: session.regenerate("left", "a white square", steps=1),
        lambda: session.paste(guest, "guest"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(BadInput, match="No space left"):
                act()
        assert session.hash == scene_hash(session.scene) == state
        assert (session.folder / "log.jsonl").read_bytes() == log
    session.redo()
    session.close()
    with Session.open(session.folder) as again:
        assert (again.done, again.undone, again.notices) == (2, 0, [])
    assert replay(session.folder, session.folder.parent / "again") == []

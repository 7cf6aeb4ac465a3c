"""A session keeps everything: undo and redo to the bit, one writer, and nothing that a failing edit did."""

import inspect
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.edit import (
    ALL,
    Drag,
    Duplicate,
    Forget,
    HalfSpace,
    Mirror,
    Move,
    Paste,
    Remove,
    Rotate,
    Select,
    Session,
    Sphere,
    Stretch,
    read_log,
    scene_hash,
)
from maquette.edit.edit import from_json, to_json


def test_undo_and_redo_walk_through_the_same_states(fresh):
    hashes = [fresh.hash]
    for edit in (Select("a", Sphere((-0.4, 0, 0), 0.1)), Move("left", (0, 0.1, 0)), Remove("a"), Forget("right")):
        fresh.do(edit)
        hashes.append(fresh.hash)
    assert len(set(hashes)) == 5
    for wanted in hashes[-2::-1]:
        fresh.undo()
        assert fresh.hash == scene_hash(fresh.scene) == wanted
    fresh.redo(4)
    assert scene_hash(fresh.scene) == hashes[-1]
    fresh.undo(4)
    assert scene_hash(fresh.scene) == hashes[0]


def test_a_session_reopens_where_it_was(files_of, tmp_path, fresh):
    for step in range(20):
        fresh.do(Move("left", (0.01 * (step + 1), 0, 0)))
    fresh.undo(3)
    before, wanted = files_of(fresh.folder), fresh.hash
    fresh.close()
    for _ in range(2):
        with Session.open(fresh.folder) as again:
            assert (again.hash, again.done, again.undone, again.notices) == (wanted, 17, 3, [])
            assert scene_hash(again.scene) == wanted
    after = files_of(fresh.folder)
    assert {**before, "lock": b""} == after


def test_undo_past_the_start_and_redo_after_an_edit_are_refused(fresh):
    with pytest.raises(BadInput, match="cannot undo 1 edits: there are 0"):
        fresh.undo()
    fresh.do(Move("left", (0, 0.1, 0)))
    with pytest.raises(BadInput, match="cannot undo 2 edits: there are 1"):
        fresh.undo(2)
    with pytest.raises(BadInput, match="undo 0"):
        fresh.undo(0)
    fresh.undo()
    fresh.do(Move("right", (0, 0.1, 0)))
    with pytest.raises(BadInput, match="redo"):
        fresh.redo()
    assert fresh.done == 1


def test_a_new_edit_drops_the_files_of_what_was_undone(files_of, fresh):
    for _ in range(17):
        fresh.do(Move("left", (0.01, 0, 0)))
    assert (fresh.folder / "states" / "000016.safetensors").is_file()
    fresh.undo(17)
    fresh.do(Move("right", (0, 0.1, 0)))
    assert sorted(files_of(fresh.folder)) == ["deltas/000035.safetensors", "lock", "log.jsonl",
                                              "states/000000.safetensors"]  # fmt: skip


def test_disk_grows_with_what_changed_and_not_with_what_is_there(tmp_path, make_cloud):
    with Session.create(tmp_path / "s", make_cloud(20_000)) as opened:
        opened.do(Select("few", Sphere((0, 0, 0), 0.06)))
        few = int(opened.scene.parts["few"].sum())
        for _ in range(10):
            opened.do(Move("few", (0.001, 0, 0)))
    sizes = [path.stat().st_size for path in sorted((tmp_path / "s" / "deltas").iterdir())]
    assert max(sizes[1:]) < 2000 + 28 * few < 10_000
    assert sizes[0] < 2000 + 20_000 / 8


def test_a_failing_edit_leaves_everything_as_it_was(files_of, fresh):
    fresh.do(Move("left", (0, 0.1, 0)))
    before, wanted = files_of(fresh.folder), fresh.hash
    for edit in (Move("nobody", (0, 1, 0)), Remove(ALL), Select("x", Sphere((9, 9, 9), 0.1))):
        with pytest.raises(BadInput):
            fresh.do(edit)
        assert (fresh.hash, scene_hash(fresh.scene)) == (wanted, wanted)
    after = files_of(fresh.folder)
    assert {name: after[name] for name in before if name != "lock"} == {k: v for k, v in before.items() if k != "lock"}


def test_only_one_may_write(fresh):
    with pytest.raises(BadInput, match=f"open in process {os.getpid()}"):
        Session.open(fresh.folder)
    assert len(read_log(fresh.folder)) == 1  # reading needs no lock
    fresh.close()
    fresh.close()
    Session.open(fresh.folder).close()


def test_every_edit_is_a_method_with_the_fields_of_its_edit(fresh, make_cloud):
    assert fresh.select("top", HalfSpace((0, 0, 0), (0, 1, 0))).selected == int(fresh.scene.parts["top"].sum())
    fresh.move("left", by=(0, 0.1, 0))
    fresh.rotate("left", (0, 1, 0), 20)
    fresh.stretch("left", (1, 2, 1), axes="own")
    fresh.mirror("right", (1, 0, 0))
    fresh.duplicate("right", "twin", (0, 0.5, 0))
    fresh.drag((-0.3, 0, 0), ((-0.3, 0.3, 0),), 0.2, mode="rigid")
    fresh.paste(make_cloud(5, seed=4), "guest", at=(0, 0.4, 0), scale=0.5)
    fresh.forget("top")
    fresh.remove("guest")
    done = [entry.edit["kind"] for entry in fresh.entries[1:]]
    assert done == "select move rotate stretch mirror duplicate drag paste forget remove".split()
    assert list(inspect.signature(Session.drag).parameters) == [
        "self", "source", "path", "radius", "mode", "part", "steps", "fill",
    ]  # fmt: skip
    assert Session.move.__doc__ == Move.__doc__
    with pytest.raises(TypeError, match="sideways"):
        fresh.move("left", (0, 0.1, 0), sideways=1)
    fresh.undo(10)
    assert fresh.hash == fresh.entries[0].after


def test_clouds_that_nobody_pasted_go(fresh, make_cloud):
    used, unused = fresh.keep(make_cloud(5, seed=1)), fresh.keep(make_cloud(5, seed=2))
    fresh.do(Paste(used, "guest"))
    fresh.undo()
    assert set(fresh.clouds) == {used, unused}
    fresh.close()
    with Session.open(fresh.folder) as again:
        assert set(again.clouds) == {used}
        again.redo()


vectors = st.tuples(*[st.floats(-0.3, 0.3).map(lambda x: round(x, 3)) for _ in range(3)])
parts = st.sampled_from([ALL, "left", "right", "copy", "guest", "new"])
edits = st.one_of(
    st.builds(Select, st.just("new"), st.builds(Sphere, vectors, st.floats(0.05, 0.5)),
              st.sampled_from(["replace", "union", "subtract", "intersect"])),
    st.builds(Move, parts, vectors),
    st.builds(Rotate, parts, st.just((0.0, 1.0, 0.5)), st.floats(-180, 180)),
    st.builds(Stretch, parts, st.tuples(*[st.floats(0.5, 2)] * 3), st.sampled_from(["world", "own"])),
    st.builds(Mirror, parts, st.just((1.0, 0.0, 0.0))),
    st.builds(Remove, parts),
    st.builds(Forget, parts),
    st.builds(Duplicate, parts, st.just("copy"), vectors),
    st.builds(Paste, st.sampled_from([0, 3]).map(lambda d: PASTED[d]), st.just("guest"), vectors),
    st.builds(Drag, vectors, st.tuples(st.just((0.4, 0.4, 0.4))), st.floats(0.1, 0.4), steps=st.just(5)),
)  # fmt: skip
PASTED = {0: "0" * 32, 3: "3" * 32}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(edits, min_size=50, max_size=50))
def test_any_fifty_edits_and_fifty_undos_end_where_they_began(tmp_path_factory, scene, make_cloud, sequence):
    folder = tmp_path_factory.mktemp("fifty") / "s"
    with Session.create(folder, scene.cloud, scene.parts) as opened:
        kept = {PASTED[degree]: opened.keep(make_cloud(9, degree)) for degree in PASTED}
        hashes = [opened.hash]
        for edit in sequence:
            edit = from_json(to_json(edit))
            if isinstance(edit, Paste):
                edit = Paste(kept[edit.cloud], edit.name, edit.at)
            try:
                report = opened.do(edit)
            except BadInput:
                assert scene_hash(opened.scene) == hashes[-1]
                continue
            assert report.outside_changed == 0
            hashes.append(opened.hash)
        for wanted in hashes[-2::-1]:
            opened.undo()
            assert scene_hash(opened.scene) == wanted
        if len(hashes) > 1:
            opened.redo(len(hashes) - 1)
        assert scene_hash(opened.scene) == hashes[-1]
    shutil.rmtree(folder)

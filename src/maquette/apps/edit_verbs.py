"""What can follow `maquette edit SESSION`: one function a verb; its signature is its command line.

A verb checks its words and returns what to do with the session; nothing has happened by then. This module does not
know how anything is done.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from maquette.core.errors import BadInput

if TYPE_CHECKING:
    from maquette.edit import Edit, Session

Action = Callable[[Path, bool], None]
"""What to do with the session in a folder; the flag asks for JSON."""
Vector = Annotated[str, arg(metavar="X,Y,Z")]
Name = Annotated[str, arg(name="as", metavar="NAME")]
How = Literal["replace", "union", "subtract", "intersect"]


def new(source: Positional[Path], /, *, seed: int = 0) -> Action:
    """Start the session from a file with Gaussians.

    Args:
        source: A .ply, .spz, .glb or .gltf file.
        seed: For edits that draw random numbers.
    """

    def act(folder: Path, as_json: bool) -> None:
        from maquette.edit import Session
        from maquette.io import load_splats

        with Session.create(folder, load_splats(source), seed=seed) as session:
            _say(as_json, f"{folder}: {len(session.scene.cloud)} Gaussians", rows=len(session.scene.cloud))

    return act


def select(
    part: Positional[str],
    /,
    *,
    sphere: Annotated[str | None, arg(metavar="X,Y,Z,RADIUS")] = None,
    box: Annotated[str | None, arg(metavar="X,Y,Z,A,B,C")] = None,
    plane: Annotated[str | None, arg(metavar="X,Y,Z,NX,NY,NZ")] = None,
    component: Annotated[str | None, arg(metavar="X,Y,Z,GAP")] = None,
    color: Annotated[str | None, arg(metavar="R,G,B,TOLERANCE")] = None,
    same: str | None = None,
    inverse: str | None = None,
    grow: str | None = None,
    shrink: str | None = None,
    region: Path | None = None,
    how: How = "replace",
) -> Action:
    """Name the Gaussians of one region, given by exactly one of the options.

    Args:
        part: The name.
        sphere: Centre and radius.
        box: Middle and half sizes.
        plane: A point and the direction of the side to take.
        component: All that hangs together around a point, in steps of at most the gap.
        color: Red, green, blue in 0 to 1, and how far off a color may be.
        same: The rows of another part.
        inverse: All but a part.
        grow: A part and its neighbors.
        shrink: A part without its border.
        region: A JSON file with a region, such as masks drawn in views.
        how: What to do with the rows that the part already has.
    """
    from maquette import edit as e

    given = {name: value for name, value in locals().items() if name in _REGIONS and value is not None}
    if len(given) != 1:
        raise BadInput(f"{len(given)} regions given; expected exactly one", f"use one of {', '.join(_REGIONS)}")
    ((kind, value),) = given.items()
    match kind:
        case "sphere":
            x, y, z, radius = _numbers(value, 4, "--sphere")
            chosen = e.Sphere((x, y, z), radius)
        case "box":
            x, y, z, *half = _numbers(value, 6, "--box")
            chosen = e.Box((x, y, z), tuple(half))
        case "plane":
            x, y, z, *normal = _numbers(value, 6, "--plane")
            chosen = e.HalfSpace((x, y, z), tuple(normal))
        case "component":
            x, y, z, gap = _numbers(value, 4, "--component")
            chosen = e.Component((x, y, z), gap)
        case "color":
            r, g, b, tolerance = _numbers(value, 4, "--color")
            chosen = e.ColorNear((r, g, b), tolerance)
        case "region":
            chosen = e.from_json({"kind": "select", "part": part, "region": _json(value)}).region
        case _:
            chosen = {"same": e.Named, "inverse": e.Inverse, "grow": e.Grow, "shrink": e.Shrink}[kind](value)
    return _edit(e.Select(part, chosen, how))


_REGIONS = ("sphere", "box", "plane", "component", "color", "same", "inverse", "grow", "shrink", "region")


def forget(part: Positional[str], /) -> Action:
    """Take the name off a part; its Gaussians stay."""
    from maquette.edit import Forget

    return _edit(Forget(part))


def remove(part: Positional[str], /) -> Action:
    """Delete the Gaussians of a part."""
    from maquette.edit import Remove

    return _edit(Remove(part))


def paste(
    source: Positional[Path], /, *, name: Name, at: Vector | None = None, scale: float = 1.0, axis: Vector = "0,1,0",
    degrees: float = 0.0,
) -> Action:  # fmt: skip
    """Bring in another asset as a part.

    Args:
        source: A .ply, .spz, .glb or .gltf file with Gaussians.
        name: The name of the new part.
        at: Where the middle of its box comes to; where it is if left out.
        scale: Factor on its size.
        axis: The axis to turn it about.
        degrees: How far to turn it.
    """
    from maquette.edit import Paste
    from maquette.io import load_splats
    from maquette.representations import state_hash

    cloud = load_splats(source)
    place = None if at is None else _vector(at, "--at")
    return _edit(Paste(state_hash(cloud), name, place, scale, _vector(axis, "--axis"), degrees), cloud)


def move(part: Positional[str], /, *, by: Vector) -> Action:
    """Shift a part.

    Args:
        part: Its name, or all.
        by: World units; an object has size 1.
    """
    from maquette.edit import Move

    return _edit(Move(part, _vector(by, "--by")))


def rotate(part: Positional[str], /, *, axis: Vector = "0,1,0", degrees: float, pivot: Vector | None = None) -> Action:
    """Turn a part.

    Args:
        part: Its name, or all.
        axis: A direction.
        degrees: Right-handed.
        pivot: A point on the axis; the middle of the part's box if left out.
    """
    from maquette.edit import Rotate

    return _edit(Rotate(part, _vector(axis, "--axis"), degrees, None if pivot is None else _vector(pivot, "--pivot")))


def stretch(
    part: Positional[str], /, *, factors: Vector, axes: Literal["world", "own"] = "world", pivot: Vector | None = None
) -> Action:
    """Scale a part along three axes.

    Args:
        part: Its name, or all.
        factors: Above zero.
        axes: Those of the world, or those along which the part extends, the longest first.
        pivot: The point that stays; the middle of the part's box if left out.
    """
    from maquette.edit import Stretch

    middle = None if pivot is None else _vector(pivot, "--pivot")
    return _edit(Stretch(part, _vector(factors, "--factors"), axes, middle))


def mirror(part: Positional[str], /, *, normal: Vector = "1,0,0", pivot: Vector | None = None) -> Action:
    """Reflect a part in a plane.

    Args:
        part: Its name, or all.
        normal: The direction across the plane.
        pivot: A point of the plane; the middle of the part's box if left out.
    """
    from maquette.edit import Mirror

    return _edit(Mirror(part, _vector(normal, "--normal"), None if pivot is None else _vector(pivot, "--pivot")))


def duplicate(part: Positional[str], /, *, name: Name, by: Vector) -> Action:
    """Copy a part.

    Args:
        part: Its name, or all.
        name: The name of the copy.
        by: How far from the original.
    """
    from maquette.edit import Duplicate

    return _edit(Duplicate(part, name, _vector(by, "--by")))


def drag(
    *,
    source: Annotated[str, arg(name="from", metavar="X,Y,Z")],
    to: UseAppendAction[tuple[Vector, ...]],
    radius: float,
    mode: Literal["rigid", "deform"] = "deform",
    part: str = "all",
    steps: int = 100,
    no_fill: bool = False,
) -> Action:
    """Pull what lies near a point to another place.

    Args:
        source: The point to take hold of.
        to: The target; give it several times for a path.
        radius: How far around the point things follow, in world units.
        mode: rigid keeps the shape of what moves; deform takes along what it meets.
        part: Only this part follows.
        steps: Steps of a deforming drag.
        no_fill: Leave the gap open.
    """
    from maquette.edit import Drag

    path = tuple(_vector(point, "--to") for point in to)
    return _edit(Drag(_vector(source, "--from"), path, radius, mode, part, steps, fill=not no_fill))


def undo(count: Positional[int] = 1, /) -> Action:
    """Take back the last edits, exactly."""
    return _walk("undo", count)


def redo(count: Positional[int] = 1, /) -> Action:
    """Do again what was undone."""
    return _walk("redo", count)


def log() -> Action:
    """List the edits; a session that is open elsewhere may be listed, too."""

    def act(folder: Path, as_json: bool) -> None:
        from maquette.edit import read_log
        from maquette.edit.journal import history

        entries = read_log(folder)
        now = history(entries)
        for entry in entries:
            if as_json:
                print(entry.text(), end="")
                continue
            state = "undone" if entry.line in now.undone else "" if entry.line in (0, *now.done) else "gone"
            what = entry.what if entry.edit is None else _words(entry.edit)
            state = state if entry.what in ("start", "edit") else ""
            print(f"{entry.line:4}  {state:6}  {entry.after[:8]}  {entry.report['rows']:>7} rows  {what}")

    return act


def export(target: Positional[Path], /, *, mesh: bool = False, part: str = "all") -> Action:
    """Write the present state as a file.

    Args:
        target: A .ply, .spz or .glb file.
        mesh: Write the surface as a mesh with a texture (.glb).
        part: Only this part.
    """

    def act(folder: Path, as_json: bool) -> None:
        from maquette.apps.convert import save

        with _opened(folder, as_json) as session:
            cloud = session.scene.cloud.select(session.scene.rows(part))
        if mesh:
            from maquette.representations import gaussians_to_mesh

            cloud = gaussians_to_mesh(cloud)
        save(cloud, target)
        _say(as_json, str(target), path=str(target))

    return act


VERBS = {
    verb.__name__: verb
    for verb in (
        new, select, forget, remove, paste, move, rotate, stretch, mirror, duplicate, drag, undo, redo, log, export,
    )
}  # fmt: skip


def _edit(edit: "Edit", cloud: object = None) -> Action:
    def act(folder: Path, as_json: bool) -> None:
        with _opened(folder, as_json) as session:
            if cloud is not None:
                session.keep(cloud)
            report = session.do(edit)
            text = (
                f"{report.selected} selected: {report.changed} changed, {report.added} added, "
                f"{report.removed} removed; {report.outside_changed} outside changed; "
                f"{report.rows} rows, {report.seconds:.2f} s"
            )
            _say(as_json, text, hash=session.hash, seconds=report.seconds, **report.lasting())

    return act


def _walk(what: str, count: int) -> Action:
    def act(folder: Path, as_json: bool) -> None:
        with _opened(folder, as_json) as session:
            (session.undo if what == "undo" else session.redo)(count)
            left = {"done": session.done, "undone": session.undone}
            _say(as_json, f"{session.done} edits done, {session.undone} undone", hash=session.hash, **left)

    return act


def _opened(folder: Path, as_json: bool) -> "Session":
    from maquette.edit import Session

    session = Session.open(folder)
    for notice in session.notices:
        _say(as_json, notice, notice=notice)
    return session


def _say(as_json: bool, text: str, **values: object) -> None:
    print(json.dumps(values) if as_json else text, flush=True)


def _words(edit: dict) -> str:
    """One line for a person: the kind, and the values that fit."""
    values = [f"{name}={value}" for name, value in edit.items() if name != "kind"]
    text = f"{edit.get('kind')} {' '.join(values)}"
    return text if len(text) <= 100 else f"{text[:99]}…"


def _vector(text: str, where: str) -> tuple[float, float, float]:
    x, y, z = _numbers(text, 3, where)
    return x, y, z


def _numbers(text: str, count: int, where: str) -> list[float]:
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(abs(value) < float("inf") for value in values):
        raise BadInput(f"{where} is {text!r}; expected {count} numbers with commas", f"for example {where} 0,0.1,0")
    return values


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error})", "check the file") from error

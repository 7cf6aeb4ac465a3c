"""What can follow `maquette edit SESSION`: one function a verb; its signature is its command line.

A verb checks its words and returns what to do with the session; nothing has happened by then. This module does not
know how anything is done.
"""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from maquette.apps.edit_actions import Action, edited, opened, say
from maquette.apps.edit_click import clicked, look
from maquette.apps.edit_latent import latent
from maquette.apps.edit_prompts import drag, refine, regenerate, repaint
from maquette.apps.edit_words import json_of, listed, numbers, vector
from maquette.core.errors import BadInput

Vector = Annotated[str, arg(metavar="X,Y,Z")]
Pixel = Annotated[str, arg(metavar="X,Y")]
Name = Annotated[str, arg(name="as", metavar="NAME")]
How = Literal["replace", "union", "subtract", "intersect"]


def new(source: Positional[Path], /, *, seed: int = 0) -> Action:
    """Start the session from a file with Gaussians.

    Args:
        source: A .ply, .spz, .glb or .gltf file; a .glb that export wrote brings its parts.
        seed: For edits that draw random numbers.
    """

    def act(folder: Path, as_json: bool) -> None:
        from maquette.edit import Session
        from maquette.io import load_splat_parts, load_splats

        is_gltf = source.suffix.lower() in (".glb", ".gltf")
        cloud, parts = load_splat_parts(source) if is_gltf else (load_splats(source), {})
        with Session.create(folder, cloud, parts, seed=seed) as session:
            count = f"{len(session.scene.cloud)} Gaussians" + "".join(f", {name}" for name in sorted(parts))
            say(as_json, f"{folder}: {count}", rows=len(session.scene.cloud), parts=sorted(parts))

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
    click: UseAppendAction[tuple[Pixel, ...]] = (),
    off: UseAppendAction[tuple[Pixel, ...]] = (),
    azimuth: float = 0.0,
    elevation: float = 15.0,
    size: int = 256,
    segmentor: str = "",
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
        click: A pixel of the part in the picture that `look` draws; again for more.
        off: With a click, a pixel that is not of the part.
        azimuth: With a click, where the picture was taken from, in degrees about the vertical axis.
        elevation: With a click, degrees above the horizon.
        size: With a click, pixels of the picture's sides.
        segmentor: With a click, a SAM or SAM 2 that draws the masks: a folder, or an id on the hub.
        how: What to do with the rows that the part already has.
    """
    from maquette import edit as e

    given = {name: value for name, value in locals().items() if name in _REGIONS and value not in (None, ())}
    if len(given) != 1:
        raise BadInput(f"{len(given)} regions given; expected exactly one", f"use one of {', '.join(_REGIONS)}")
    if off and not click:
        raise BadInput("--off says what a click does not mean, and there is no click", "give --click, too")
    ((kind, value),) = given.items()
    match kind:
        case "click":
            return clicked(part, click, off, azimuth, elevation, size, segmentor, how)
        case "sphere":
            x, y, z, radius = numbers(value, 4, "--sphere")
            chosen = e.Sphere((x, y, z), radius)
        case "box":
            x, y, z, *half = numbers(value, 6, "--box")
            chosen = e.Box((x, y, z), tuple(half))
        case "plane":
            x, y, z, *normal = numbers(value, 6, "--plane")
            chosen = e.HalfSpace((x, y, z), tuple(normal))
        case "component":
            x, y, z, gap = numbers(value, 4, "--component")
            chosen = e.Component((x, y, z), gap)
        case "color":
            r, g, b, tolerance = numbers(value, 4, "--color")
            chosen = e.ColorNear((r, g, b), tolerance)
        case "region":
            chosen = e.from_json({"kind": "select", "part": part, "region": json_of(value)}).region
        case _:
            chosen = {"same": e.Named, "inverse": e.Inverse, "grow": e.Grow, "shrink": e.Shrink}[kind](value)
    return edited(e.Select(part, chosen, how))


_REGIONS = ("sphere", "box", "plane", "component", "color", "same", "inverse", "grow", "shrink", "region", "click")


def forget(part: Positional[str], /) -> Action:
    """Take the name off a part; its Gaussians stay."""
    from maquette.edit import Forget

    return edited(Forget(part))


def remove(part: Positional[str], /) -> Action:
    """Delete the Gaussians of a part."""
    from maquette.edit import Remove

    return edited(Remove(part))


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
    place = None if at is None else vector(at, "--at")
    return edited(Paste(state_hash(cloud), name, place, scale, vector(axis, "--axis"), degrees), cloud)


def move(part: Positional[str], /, *, by: Vector) -> Action:
    """Shift a part.

    Args:
        part: Its name, or all.
        by: World units; an object has size 1.
    """
    from maquette.edit import Move

    return edited(Move(part, vector(by, "--by")))


def rotate(part: Positional[str], /, *, axis: Vector = "0,1,0", degrees: float, pivot: Vector | None = None) -> Action:
    """Turn a part.

    Args:
        part: Its name, or all.
        axis: A direction.
        degrees: Right-handed.
        pivot: A point on the axis; the middle of the part's box if left out.
    """
    from maquette.edit import Rotate

    return edited(Rotate(part, vector(axis, "--axis"), degrees, None if pivot is None else vector(pivot, "--pivot")))


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

    middle = None if pivot is None else vector(pivot, "--pivot")
    return edited(Stretch(part, vector(factors, "--factors"), axes, middle))


def mirror(part: Positional[str], /, *, normal: Vector = "1,0,0", pivot: Vector | None = None) -> Action:
    """Reflect a part in a plane.

    Args:
        part: Its name, or all.
        normal: The direction across the plane.
        pivot: A point of the plane; the middle of the part's box if left out.
    """
    from maquette.edit import Mirror

    return edited(Mirror(part, vector(normal, "--normal"), None if pivot is None else vector(pivot, "--pivot")))


def duplicate(part: Positional[str], /, *, name: Name, by: Vector) -> Action:
    """Copy a part.

    Args:
        part: Its name, or all.
        name: The name of the copy.
        by: How far from the original.
    """
    from maquette.edit import Duplicate

    return edited(Duplicate(part, name, vector(by, "--by")))


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
            what = entry.what if entry.edit is None else listed(entry.edit)
            state = state if entry.what in ("start", "edit") else ""
            print(f"{entry.line:4}  {state:6}  {entry.after[:8]}  {entry.report['rows']:>7} rows  {what}")

    return act


def export(target: Positional[Path], /, *, mesh: bool = False, part: str = "all") -> Action:
    """Write the present state as a file.

    Args:
        target: A .ply, .spz or .glb file; in a .glb every part is a node.
        mesh: Write the surface as a mesh with a texture (.glb).
        part: Only this part.
    """

    def act(folder: Path, as_json: bool) -> None:
        with opened(folder, as_json) as session:
            session.export(target, part=part, as_mesh=mesh)
        say(as_json, str(target), path=str(target))

    return act


VERBS = {
    verb.__name__: verb
    for verb in (
        new, look, select, forget, remove, paste, move, rotate, stretch, mirror, duplicate, drag, repaint,
        regenerate, refine, latent, undo, redo, log, export,
    )
}  # fmt: skip


def _walk(what: str, count: int) -> Action:
    def act(folder: Path, as_json: bool) -> None:
        with opened(folder, as_json) as session:
            (session.undo if what == "undo" else session.redo)(count)
            left = {"done": session.done, "undone": session.undone}
            say(as_json, f"{session.done} edits done, {session.undone} undone", hash=session.hash, **left)

    return act

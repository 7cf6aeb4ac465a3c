"""The command `maquette`. Every sub-command is a function below; its signature is its command line.

Everything heavy is imported inside the function that needs it, so that help appears at once. This module does not know
how anything is made: it reads events, prints where the files are, and turns errors into a sentence and an exit code
(0 done, 1 our fault, 2 the user's mistake, 130 stopped by Ctrl-C).
"""

import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, Positional, PositionalMetavarFromFieldName, UseAppendAction, arg

from maquette.apps.compare import compare
from maquette.core.errors import BadInput, MaquetteError, Unsupported
from maquette.core.inputs import check_prompt, check_seed

Overrides = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="NAME=VALUE")]


def generate(
    prompt: Positional[str] = "",
    /,
    *,
    image: Path | None = None,
    pipeline: str = "im3d",
    prior: str = "pocket",
    revision: str | None = None,
    offline: bool = False,
    dtype: Literal["float32", "float16", "bfloat16"] | None = None,
    seed: int = 0,
    best_of: int = 1,
    script: Path | None = None,
    start: Path | None = None,
    weights: Path | None = None,
    points: Path | None = None,
    shape_seed: int | None = None,
    look_seed: int | None = None,
    out: Path | None = None,
    session: Path | None = None,
    device: str | None = None,
    quality: Literal["tiny", "standard", "paper"] = "standard",
    overrides: Overrides = (),
    json: bool = False,
) -> None:
    """Make a 3D asset from a sentence or a picture.

    Args:
        prompt: What to make, for example "a red apple".
        image: A picture to start from instead.
        pipeline: The method: im3d, ge3d or lucid; the last two read words only.
        prior: Where the knowledge comes from: pocket, a diffusers folder, or a hub id. Priors over single images work
            with ge3d and lucid, at the published settings.
        revision: Of a hub id: a branch, a tag, or a commit, which pins it.
        offline: Use only what is on this machine.
        dtype: Of the prior's weights; its own choice for the device if left out.
        seed: The same seed makes the same asset.
        best_of: Make so many, with this seed and those after it, and keep the one most like the words.
        script: Edits on the way: a JSON list, each with its step; for the pipeline interactive3d.
        start: An asset to begin from, for pipelines that distil Gaussians: a .ply, .spz or .glb file with Gaussians.
        weights: For gaussian-anything: the folder of its networks.
        points: For gaussian-anything: a .ply file whose points are the shape; the words say its look.
        shape_seed: For gaussian-anything: the seed of the points, if not --seed.
        look_seed: For gaussian-anything: the seed of everything but the points, if not --seed.
        out: The folder for the files; out/NAME-OF-THE-THING if left out.
        session: Begin an edit session of the asset in this folder too, for `maquette edit`.
        device: cpu or cuda; the best one present if left out.
        quality: One dial for resolution, steps and counts.
        overrides: One value of the method's configuration; may be given several times.
        json: Print events as JSON lines instead of progress bars.
    """
    if prompt or image is None:
        prompt = check_prompt(prompt)
    check_seed(seed)
    if image is not None and not image.is_file():
        raise BadInput(f"there is no picture {image}", "check the path")
    if points is not None and not points.is_file():
        raise BadInput(f"there is no file {points}", "check the path")
    from maquette.apps.prior import Source
    from maquette.core.files import prepare_folder

    source = Source(prior, revision, offline, dtype)
    source.family()  # what is missing is said before seconds of imports
    folder = out or Path("out") / _folder_name(prompt or image.stem, seed)
    is_new = not os.path.exists(folder)
    if session is not None:
        from maquette.edit import check_vacant

        check_vacant(session)
    values = {"quality": quality, **_parsed(overrides)}
    own = {"weights": weights, "cloud": points, "shape_seed": shape_seed, "look_seed": look_seed}
    values |= {
        name: str(value) if isinstance(value, Path) else value for name, value in own.items() if value is not None
    }
    prepare_folder(folder)
    from maquette.apps.follow import follow
    from maquette.apps.generate import generate_to_folder

    events = generate_to_folder(
        prompt or None,
        image=image,
        pipeline=pipeline,
        prior=source,
        seed=seed,
        out=folder,
        device=device,
        overrides=values,
        best_of=best_of,
        script=script,
        start=start,
    )
    try:
        result = follow(events, as_json=json)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done so far is kept in {folder}; the same command continues it") from None
    except (BadInput, Unsupported):  # found after the first look, such as a prompt without a known word: leave no trace
        if is_new and not any(folder.iterdir()):
            folder.rmdir()
        raise
    if session is not None:
        from maquette.edit import Session

        Session.create(session, result.asset, seed=result.report["seed"]).close()
    if not json:
        _list_files(folder)
        if session is not None:
            print(f"session {session}: maquette edit {session} --help")


def render(
    source: Positional[Path], /, *, out: Path = Path("turntable.mp4"), views: int = 48, size: int = 256,
    elevation: float = 15.0,
) -> None:  # fmt: skip
    """Turn an asset once around: a video, or a sheet of pictures.

    Args:
        source: A .ply, .spz, .glb, .gltf or .obj file.
        out: A .mp4 file, or a .png for a contact sheet.
        views: Cameras around the object.
        size: Pixels of a side.
        elevation: Degrees above the horizon.
    """
    from maquette.apps.convert import render_turntable

    render_turntable(source, out, num_views=views, size=size, elevation_deg=elevation)
    print(out)


def convert(
    source: Positional[Path], target: Positional[Path], /, *, to: Literal["mesh"] | None = None,
    faces: int | None = None, texture: int | None = None,
) -> None:  # fmt: skip
    """Write an asset as another kind of file, by the endings of the names.

    Args:
        source: A .ply, .spz, .glb, .gltf or .obj file.
        target: A .ply, .spz or .glb file to write; the health of a mesh is written beside it.
        to: Write a clean mesh with one texture, from the surface of Gaussians or from another mesh.
        faces: Of the mesh at most; 8000 if left out.
        texture: Texels on each side; 512 if left out.
    """
    if to is None and not (faces is None and texture is None):
        raise BadInput("--faces and --texture are for meshes that are made", "say --to mesh, too")
    from maquette.apps.convert import convert_file
    from maquette.representations.health import table

    done = convert_file(
        source,
        target,
        as_mesh=to == "mesh",
        faces=8000 if faces is None else faces,
        texture_size=512 if texture is None else texture,
    )
    print(done.path)
    if done.health is not None:
        print(table(done.health))
    if done.repairs is not None:
        for sentence in done.repairs.done():
            print(f"  {'repaired':<14}{sentence}")
        for sentence in done.repairs.left():
            print(f"  {'left open':<14}{sentence}")


def evaluate(
    prompts: Positional[Path],
    /,
    *,
    out: Path = Path("out/evaluation"),
    seed: int = 0,
    limit: int | None = None,
    data: Path | None = None,
    overrides: Overrides = (),
    json: bool = False,
) -> None:
    """Make an asset for every prompt of a file and score them.

    Args:
        prompts: A text file with a prompt on each line, or .jsonl with a "prompt" in each object.
        out: The folder for the assets, report.json and the contact sheet.
        seed: The seed of every asset.
        limit: Only the first so many prompts.
        data: A folder of real objects, whose scores are shown for comparison.
        overrides: One value of the method's configuration; may be given several times.
        json: Print events as JSON lines instead of progress bars.
    """
    check_seed(seed)
    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}; expected at least 1", "leave it out for all prompts")
    from maquette.apps.prompt_file import read_prompts

    wanted, values = read_prompts(prompts), _parsed(overrides)
    from maquette.core.files import prepare_folder

    folder = prepare_folder(out)
    from maquette.apps.evaluate import evaluate as make_and_score
    from maquette.apps.follow import follow

    events = make_and_score(wanted, folder, seed=seed, limit=limit, overrides=values, data=data)
    try:
        follow(events, as_json=json)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"finished assets are kept in {folder}; the same command continues") from None
    if not json:
        _list_files(folder)


def train(recipe: Positional[str], /) -> None:
    """Train a model of the pocket prior; `maquette train RECIPE --help` lists the recipe's options.

    Args:
        recipe: The recipe's name.
    """
    _train([recipe])


def edit(session: Positional[Path], /) -> None:
    """Change an asset step by step, with exact undo; `maquette edit SESSION --help` lists the verbs.

    Args:
        session: The folder that holds the asset and everything that was done to it.
    """
    from maquette.apps.edit import edit_session

    edit_session([str(session)])


def replay(session: Positional[Path], /, *, out: Path) -> None:
    """Do everything in the log of a session again in a new folder, and say whether it comes out the same.

    Args:
        session: The session's folder.
        out: The new folder.
    """
    from maquette.apps.edit import replay_session

    replay_session(session, out)


def info(*, vocabulary: bool = False) -> None:
    """Versions, methods, priors, and how many words the pocket prior knows.

    Args:
        vocabulary: List the words.
    """
    from maquette.apps.doctor import describe, list_vocabulary

    print(list_vocabulary() if vocabulary else describe())


def doctor() -> None:
    """Check that this machine has what a run needs, in plain words."""
    from maquette.apps.doctor import examine

    findings = list(examine())
    for finding in findings:
        print(f"{'ok ' if finding.is_good else 'BAD'}  {finding.text}")
    bad = [finding for finding in findings if not finding.is_good]
    if bad:
        raise MaquetteError(f"{len(bad)} of {len(findings)} checks failed", "mend the lines marked BAD above")
    print("All is well.")


COMMANDS = {
    "generate": generate,
    "render": render,
    "convert": convert,
    "edit": edit,
    "replay": replay,
    "evaluate": evaluate,
    "compare": compare,
    "train": train,
    "info": info,
    "doctor": doctor,
}
_PLAIN = (DisallowNone, FlagCreatePairsOff, PositionalMetavarFromFieldName)
DESCRIPTION = """A sentence or a picture becomes a 3D asset, on whatever machine one has.

Start with: maquette generate "a red apple". Add --debug to any command to see where an error came from."""


def run(args: list[str]) -> int:
    """Run one command line and return its exit code; every error ends here."""
    is_debug, is_json = "--debug" in args, "--json" in args
    args = [word for word in args if word != "--debug"]
    try:
        if args[:1] == ["train"] and len(args) > 1 and not args[1].startswith("-"):
            _train(args[1:])  # the rest of the line belongs to the recipe's own configuration
        elif args[:1] == ["edit"] and len(args) > 1 and not args[1].startswith("-"):
            from maquette.apps.edit import edit_session

            edit_session(args[1:])  # the rest of the line is a verb of the session
        else:
            tyro.extras.subcommand_cli_from_dict(
                COMMANDS, prog="maquette", description=DESCRIPTION, args=args or ["--help"], config=_PLAIN
            )
        sys.stdout.flush()
    except MaquetteError as error:
        _complain(error.message, error.next_step, kind=type(error).__name__, is_json=is_json, is_debug=is_debug)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(f"\nStopped{': ' if str(stop) else ''}{stop}.", file=sys.stderr)
        return 130
    except MemoryError:
        step = "close other programs, or lower the counts with --quality tiny"
        _complain("this machine has run out of memory", step, kind="OutOfMemory", is_json=is_json, is_debug=is_debug)
        return 1
    except BrokenPipeError:  # the reader of a pipe (head, less) has left: silence the flush at exit, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last door: what nobody foresaw is our fault, and says so
        cause = f"{type(error).__name__}: {error}"
        step = "this is a mistake in maquette: please report it with what --debug prints"
        _complain(cause, step, kind="Unexpected", is_json=is_json, is_debug=is_debug)
        return 1
    return 0


def _complain(message: str, next_step: str, *, kind: str, is_json: bool, is_debug: bool) -> None:
    if is_debug:
        traceback.print_exc()
    if is_json:
        from maquette.apps.follow import json_line

        print(json_line("error", kind=kind, message=message, next_step=next_step), flush=True)
    print(f"maquette: {message}\n  next: {next_step}", file=sys.stderr)


def _train(args: list[str]) -> None:
    from maquette.training.recipes import load_recipe

    recipe = load_recipe(args[0])
    name = f"maquette train {args[0]}"
    config = tyro.cli(recipe.Config, prog=name, description=recipe.__doc__, args=args[1:], config=_PLAIN)
    try:
        recipe.main(config)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the last saved state is kept; the same command continues it") from None


def _list_files(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            print(f"{path}  {path.stat().st_size / 1024:,.0f} KiB")


def _folder_name(text: str, seed: int) -> str:
    """A safe name for a folder, from any text: "../A red Apple!" and seed 3 give "a-red-apple-3"."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return f"{'-'.join(words)[:60].strip('-') or 'asset'}-{seed}"


def _parsed(overrides: tuple[str, ...]) -> dict[str, object]:
    from json import JSONDecodeError, loads

    values: dict[str, object] = {}
    for item in overrides:
        name, equals, text = item.partition("=")
        if not (name and equals):
            raise BadInput(f"--set {item!r} has no value", "write --set NAME=VALUE, for example --set steps=600")
        try:
            values[name] = loads(text)
        except JSONDecodeError:  # an ordinary word
            values[name] = text
    return values

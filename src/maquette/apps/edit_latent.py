"""The verb `latent` of `maquette edit`: points of an asset of gaussian-anything are moved, and it is drawn anew."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from maquette.apps.edit_actions import Action, done_and_told, opened
from maquette.apps.edit_words import vector
from maquette.core.errors import BadInput

if TYPE_CHECKING:
    from maquette.edit.latent import Latent

Vector = Annotated[str, arg(metavar="X,Y,Z")]


def latent(
    part: Positional[str], /, *, asset: Path | None = None, by: Vector = "0,0,0", stretch: Vector = "1,1,1",
    about: Vector | None = None, remove: bool = False,
) -> Action:  # fmt: skip
    """Move the latent points of a part and draw the whole object anew, with the noise it had (gaussian-anything).

    Args:
        part: The part; "all" for the whole.
        asset: The folder that generate wrote; needed for the first edit of this kind.
        by: A shift in world units.
        stretch: Factors along the axes.
        about: The point that stays in place; the middle of the part if left out.
        remove: Take the points away.
    """
    shift, factors = vector(by, "--by"), vector(stretch, "--stretch")
    pivot = None if about is None else vector(about, "--about")

    def act(folder: Path, as_json: bool) -> None:
        from maquette.edit.latent import last_latent, moved

        with opened(folder, as_json) as session:
            before = last_latent(session.entries) if asset is None else latent_of(asset)
            if before is None:
                raise BadInput("the session does not know the asset's latent points", "give --asset FOLDER once")
            edit = moved(before, session.scene, part, by=shift, factors=factors, pivot=pivot, is_removed=remove)
            done_and_told(session, edit, as_json)

    return act


def latent_of(asset: Path) -> "Latent":
    """What the folder of `maquette generate` says of an asset's points and their look; BadInput for another's."""
    from maquette.edit.latent import Latent
    from maquette.io import load_points

    try:
        report = json.loads((asset / "run.json").read_text(encoding="utf-8"))
        config, name = report["config"], report["pipeline"]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{asset} is not a folder that generate has finished ({error})", "check the path") from error
    if name != "gaussian-anything":
        raise BadInput(f"{asset} was made by {name}, which has no latent points", "edit its Gaussians instead")
    points = load_points(asset / "points.ply")
    return Latent(
        report["understood"] or report["prompt"], report["look_seed"], len(points), tuple(range(len(points))),
        tuple(tuple(point) for point in points.tolist()), config["guidance"], config["steps"], config["weights"] or "",
    )  # fmt: skip

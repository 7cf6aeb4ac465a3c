"""Pictures of a session to click in, and the clicks: the verb `look`, and `select --click`."""

from pathlib import Path

from tyro.conf import Positional

from maquette.apps.edit_actions import Action, edited, opened, say
from maquette.apps.edit_words import numbers


def look(
    target: Positional[Path], /, *, azimuth: float = 0.0, elevation: float = 15.0, size: int = 256, part: str = "all"
) -> Action:
    """Draw the present state as a PNG, to click in with `select --click`.

    Args:
        target: The file.
        azimuth: Where to look from, in degrees about the vertical axis.
        elevation: Degrees above the horizon.
        size: Pixels of the sides.
        part: Only this part.
    """

    def act(folder: Path, as_json: bool) -> None:
        import torch

        from maquette.core import orbit
        from maquette.io import save_image
        from maquette.render import render_gaussians

        camera = orbit(azimuth, elevation, size=size)
        with opened(folder, as_json) as session:
            cloud = session.scene.cloud.select(session.scene.rows(part))
        save_image(target, render_gaussians(cloud, camera, background=torch.ones(3)).color[0].clamp(0, 1))
        say(as_json, str(target), path=str(target))

    return act


def clicked(
    part: str, on: tuple[str, ...], off: tuple[str, ...], azimuth: float, elevation: float, size: int, segmentor: str,
    how: str,
) -> Action:  # fmt: skip
    """Select what clicks mean in the picture that `look` draws; a segmentor's masks are kept in the log."""
    from maquette.core import orbit
    from maquette.edit import SelectClick, clicked_views, shot

    hits, misses = (tuple(_middle(text) for text in clicks) for clicks in (on, off))
    camera = orbit(azimuth, elevation, size=size)
    grown = SelectClick(part, shot(camera), hits, misses, how)
    if not segmentor:
        return edited(grown)

    def drawn(scene) -> SelectClick:
        from maquette.priors.segmentor import load_segmentor

        network = load_segmentor(segmentor)

        def segment(rendering, camera, on, off):
            return network.mask(rendering.color[0], on, off)

        masks = clicked_views(scene.cloud, camera, hits, misses, segment)
        return SelectClick(part, shot(camera), hits, misses, how, masks)

    return edited(drawn)


def _middle(text: str) -> tuple[float, float]:
    """The middle of a pixel that is given by its column and row, as picture viewers count them."""
    column, row = numbers(text, 2, "--click")
    return column + 0.5, row + 0.5

"""The verbs of `maquette edit` that a prior may guide by words: drag, repaint, regenerate and refine."""

from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from maquette.apps.edit_actions import Action, edited
from maquette.apps.edit_words import numbers, vector
from maquette.core.errors import BadInput

Vector = Annotated[str, arg(metavar="X,Y,Z")]
Times = Annotated[str, arg(metavar="T,T,…")]


def drag(
    *,
    source: Annotated[str, arg(name="from", metavar="X,Y,Z")],
    to: UseAppendAction[tuple[Vector, ...]],
    radius: float,
    mode: Literal["rigid", "deform"] = "deform",
    part: str = "all",
    steps: int = 100,
    no_fill: bool = False,
    words: str = "",
    local: str = "",
    times: Times = "0.1,0.5",
    heal: int = 60,
) -> Action:
    """Pull what lies near a point to another place.

    Args:
        source: The point to take hold of.
        to: The target; give it several times for a path.
        radius: How far around the point things follow, in world units.
        mode: rigid keeps the shape of what moves; deform takes along what it meets.
        part: Only this part follows.
        steps: Steps of a deforming drag, or of one with words.
        no_fill: Leave the gap open; not with words.
        words: What the whole thing is, such as "a dog with a long tail": a prior then keeps it whole on the way.
        local: With words, what the part is; three steps in four then look at it alone.
        times: With words, the range of noise levels, in 0 to 1.
        heal: With words, steps after the arrival.
    """
    from maquette.edit import Drag, GuidedDrag

    path, start = tuple(vector(point, "--to") for point in to), vector(source, "--from")
    if not words:
        return edited(Drag(start, path, radius, mode, part, steps, fill=not no_fill))
    if no_fill:
        raise BadInput("a drag with words always fills the gap", "leave out --no-fill, or the words")
    return edited(GuidedDrag(start, path, radius, words, mode, part, steps, heal, local, _range(times)))


def repaint(
    part: Positional[str], words: Positional[str], /, *, steps: int = 300, whole: str = "",
    times: Times = "0.8,0.65,0.5", guidance: float = 5.0,
) -> Action:  # fmt: skip
    """Give a part other colors, by words; its shape stays.

    Args:
        part: Its name, or all.
        words: What the part is to look like, for example "a golden helmet".
        steps: Of the fit.
        whole: What the whole object then is; a quarter of the views shows it.
        times: How much of the old look each round forgets: near 1 all, near 0 nothing.
        guidance: How literally to take the words; 1 is not at all.
    """
    from maquette.edit import Repaint

    rounds = tuple(numbers(times, times.count(",") + 1, "--times"))
    return edited(Repaint(part, words, steps, whole, rounds, guidance))


def regenerate(
    part: Positional[str], words: Positional[str], /, *, steps: int = 150, whole: str = "", times: Times = "0.1,0.5",
    guidance: float = 7.5,
) -> Action:  # fmt: skip
    """Go on generating a part, by words: its colors and its shape.

    Args:
        part: Its name, or all.
        words: What the part is to become.
        steps: Of the descent.
        whole: What the whole object then is; a quarter of the views shows it.
        times: The range of noise levels: up to 0.98 changes the shape much, 0.3 works out details.
        guidance: How literally to take the words; 1 is not at all.
    """
    from maquette.edit import Regenerate

    return edited(Regenerate(part, words, steps, whole, _range(times), guidance))


def refine(
    part: Positional[str], words: Positional[str], /, *, levels: int = 8, steps: int = 300, whole: str = "",
    times: Times = "0.6,0.45,0.3", guidance: float = 5.0, fit: int = 300, bake: int = 200,
) -> Action:  # fmt: skip
    """Work a part out on a radiance field, with hash tables of its own, and bring it back as Gaussians.

    Args:
        part: Its name, or all.
        words: What the part is, for example "an ornate golden helmet".
        levels: Of the part's table; more for what is intricate.
        steps: In which the table learns.
        whole: What the whole object then is; a quarter of the views shows it.
        times: How much of the old look each round forgets: near 1 all, near 0 nothing.
        guidance: How literally to take the words; 1 is not at all.
        fit: Steps in which the scene becomes a field.
        bake: Steps in which the part becomes Gaussians again.
    """
    from maquette.edit import Refine

    rounds = tuple(numbers(times, times.count(",") + 1, "--times"))
    return edited(Refine(part, words, levels, steps, whole, rounds, guidance, fit, bake))


def _range(times: str) -> tuple[float, float]:
    low, high = numbers(times, 2, "--times")
    return low, high

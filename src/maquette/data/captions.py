"""Captions: how an asset is put into words for training, and what happens to the words when its colours change."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from maquette.core.color import PALETTE

WORD = re.compile(r"[a-z]+")
VIEW_WORDS = {"front", "side", "back", "view", "seen", "from", "the"}


def words(text: str) -> list[str]:
    """Lower-case words of a sentence: the units of the pocket tokenizer."""
    return WORD.findall(text.lower())


def word_list(captions: Iterable[str]) -> list[str]:
    """Sorted distinct words, palette colours included."""
    return sorted(
        {word for caption in captions for word in words(caption)}
        | set(PALETTE)
        | {"a", "an", "and", "on", "with"}
        | VIEW_WORDS
    )


def article(phrase: str) -> str:
    """`phrase` with its indefinite article.

    >>> article("orange cat")
    'an orange cat'
    """
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def recolored(noun: str, colors: Sequence[str], draw: np.random.Generator) -> str:
    """A sentence for `noun` whose largest visible colours are `colors` (largest first)."""
    first = colors[0]
    choices = [article(f"{first} {noun}"), f"{first} {noun}", article(f"{first} {noun}"), f"low poly {first} {noun}"]
    if len(colors) > 1:
        choices += [
            f"{article(noun)} in {first} and {colors[1]}",
            f"{article(f'{first} {noun}')} with some {colors[1]}",
        ]
    return choices[draw.integers(len(choices))]


def composed(upper: str, lower: str, relation: str) -> str:
    """Two objects in one sentence: "a knight on a horse"."""
    return f"{article(upper)} {relation} {article(lower)}"


def with_view_word(caption: str, azimuth_deg: float, draw: np.random.Generator) -> str:
    """`caption` with a phrase for the side one sees (front within 45 degrees of azimuth 0, back beyond 135)."""
    turned = abs((azimuth_deg + 180) % 360 - 180)
    side = "front" if turned <= 45 else "side" if turned < 135 else "back"
    return caption + (f", {side} view" if draw.random() < 0.5 else f", seen from the {side}")

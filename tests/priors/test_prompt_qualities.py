"""Words for what things are like against what a person expects of them, written down before the table existed."""

import re

import pytest

from maquette.core.errors import BadInput
from maquette.priors.prompts import understand

# word before "box": what replaces it; "-" means it is left out.
QUALITIES = """
crimson: red
scarlet: red
maroon: red, brown
navy: blue
azure: blue
turquoise: teal
cyan: teal, blue
magenta: pink, purple
violet: purple
lavender: purple
indigo: purple, blue
lime: green
olive: green
khaki: beige
tan: beige, brown
ivory: white, beige
cream: beige, white
charcoal: gray, black
silver: gray, silver
grey: gray
ebony: black
emerald: green
ruby: red
amber: orange, yellow
peach: orange, pink, beige
chocolate: brown, chocolate
reddish: red
golden: golden
rusty: brown, old, orange
tiny: small
little: small
huge: large, big
gigantic: large, big
enormous: large, big
ancient: old
elderly: old
wood: wood, wooden
mahogany: wooden, wood
circular: round, circular
marble: stone
granite: stone
aluminum: metal
metallic: metal
burned: burnt
shattered: broken
lengthy: long
lofty: tall
miniature: small, miniature
filthy: dirty
democratic: -
beautiful: -
delicious: -
"""

# Written down later and run once before anything was changed for it: 79 % were accepted.
SECOND_QUALITIES = """
colossal: large, big
minuscule: small
burgundy: red, purple
aqua: teal, blue
fuchsia: pink, purple
salmon: pink, orange, red, salmon
rosy: pink, red
spherical: round
ruined: broken, destroyed, damaged
frosty: snowy
antique: old, vintage
titanic: large, big
copper: orange, brown, metal
lilac: purple, pink
jade: green
teak: wooden
slate: stone, gray
happy: -
expensive: -
sky blue: blue
bright green: green
dark red: red
pale yellow: yellow
"""


def quality(word: str) -> str:
    """What a word before a noun is understood as, or "-"."""
    return re.fullmatch("an? (.*)box", understand(f"a {word} box").understood)[1].strip() or "-"


@pytest.mark.parametrize(("table", "floor"), [(QUALITIES, 0.9), (SECOND_QUALITIES, 0.78)], ids=["first", "second"])
def test_accuracy_stays_above_its_floor(assert_accurate, table, floor):
    assert_accurate(table, quality, floor)


def test_the_list_is_long_enough_to_mean_something(rows):
    assert len(rows(QUALITIES)) > 50


@pytest.mark.parametrize(
    ("word", "color"),
    [("crimson", "red"), ("navy", "blue"), ("turquoise", "teal"), ("grey", "gray"), ("reddish", "red")],
)
def test_obvious_colors(word, color):
    assert quality(word) == color
    assert understand(f"a {word} box").colors == (color,)


def test_a_color_alone_is_no_thing():
    with pytest.raises(BadInput, match="red is what a thing can be, not a thing"):
        understand("red")
    assert understand("an orange").nouns == ("orange",)
    assert understand("an orange car").colors == ("orange",)
    assert understand("a car in red and orange").nouns == ("car",)

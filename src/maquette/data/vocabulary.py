"""What the pocket prior knows in words: nouns, colors and attributes of the captions that it was trained on."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from maquette.core.color import PALETTE
from maquette.data.captions import word_list, words
from maquette.data.compositions import RELATIONS

# Caption words that bind or say the style; they name nothing.
FUNCTION_WORDS = set(
    """a an and asset back beside colored colors d dressed from front game in low model next of on partly parts poly
    seen side simple some style stylized the to top type view with""".split()
)
# Parts of names that say nothing before another noun ("ice cream", "first aid kit").
NAME_PARTS = set(
    """aid air and back bar base betta butter center claymore cream dim dish drawer first flowerhorn fries head health
    humphead idol inu loot maki manta moorish no pit range roe shiba side size stall start station sub submachine sum
    tang tetra top trunk""".split()
)
LOCATORS = re.compile(r" (?:of|with|on|in|no) ")


@dataclass(frozen=True)
class Known:
    """Words of the captions. `nouns` gives each noun phrase its number of objects, `attributes` each word its number.

    `general` are the categories that no object is called by, `bare` the nouns that take no article, and
    `parts` what things are said to be with ("roof", "pillows").
    """

    words: list[str]
    nouns: dict[str, int]
    groups: dict[str, str]
    general: frozenset[str]
    bare: list[str]
    colors: list[str]
    attributes: dict[str, int]
    parts: list[str]

    def as_json(self) -> dict[str, list[str]]:
        """What is shipped: sorted lists."""
        return {
            "words": self.words, "nouns": sorted(self.nouns), "bare": self.bare, "colors": self.colors,
            "attributes": sorted(self.attributes), "parts": self.parts,
        }  # fmt: skip


def head(noun: str) -> str:
    """The word of a noun phrase that says what the thing is.

    >>> head("bowl of soup"), head("wall lamp")
    ('bowl', 'lamp')
    """
    return LOCATORS.split(noun)[0].split()[-1]


def read_known(rows: Iterable[dict]) -> Known:
    """The vocabulary of colored training rows of `assets.jsonl` (those that the prior has seen)."""
    rows = list(rows)
    captions = [caption for row in rows for caption in row["captions"]]
    listed = word_list([*captions, *(row["category"] for row in rows), *RELATIONS])
    counted = Counter(row["noun"] for row in rows) + Counter(row["category"] for row in rows)
    groups = {name: row["group"] for row in reversed(rows) for name in (row["noun"], row["category"])}
    given = Counter(word.lower() for row in rows for word in row["attributes"])
    # "big table" is the attribute "big" and the noun "table"; "orange tree" stays, since an orange is a thing too.
    categories = {row["category"] for row in rows}
    rests = {noun: noun.partition(" ")[::2] for noun in counted if noun.partition(" ")[2] in counted}
    together = Counter(first for first, _ in rests.values())
    nouns = {}
    for noun, count in sorted(counted.items()):
        first, _ = rests.get(noun, ("", ""))
        quality = first in PALETTE or (first in given and together[first] > 1)
        if noun in categories or first in counted or not quality:
            nouns[noun.lower()] = count
    placed = {word for noun in nouns for word in LOCATORS.split(noun)[0].split()[:-1]}
    other = set(PALETTE) | FUNCTION_WORDS | NAME_PARTS
    attributes = {word for word in given.keys() | placed if set(words(word)) <= set(listed)}
    with_article = {row["noun"] for row in rows if row["captions"][0].split()[0] in ("a", "an")}
    return Known(
        words=listed,
        nouns=nouns,
        groups={name.lower(): group for name, group in groups.items()},
        general=frozenset(categories - {row["noun"] for row in rows}),
        bare=sorted(noun for noun in nouns if noun in counted and noun in {row["noun"] for row in rows} - with_article),
        colors=list(PALETTE),
        attributes={word: given[word] for word in sorted(attributes - set(nouns) - other)},
        parts=sorted(
            {noun.split()[-1] for noun in nouns if " with " in noun} - set(nouns) | {"clothes", "colors", "parts"}
        ),
    )

"""The shipped word lists and tables of the pocket prior, and how a single word or phrase is looked up in them.

A key is a phrase in plain lower-case words ("sci fi crate" for "sci-fi crate"). This module does not know sentences.
"""

import json
import re
import string
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "pocket" / "vocabulary"
LONGEST_KEY = 7  # words: "two-story building with a gable roof"


def plain(text: str) -> str:
    """Lower case, without accents, apostrophes and possessive endings."""
    letters = "".join(sign for sign in unicodedata.normalize("NFKD", text) if unicodedata.category(sign) != "Mn")
    return re.sub(r"['’]s\b|['’]", "", letters.lower())


def key_of(text: str) -> str:
    """Plain words of a phrase.

    >>> key_of("Jack-o'-lantern")
    'jack o lantern'
    """
    return " ".join(re.findall(r"[a-z0-9]+", plain(text)))


def singulars(word: str) -> list[str]:
    """What an English plural may come from, by its ending; irregular plurals are rows of the tables."""
    found = []
    for ending, singular in (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) > 1 and not word.endswith("ss"):
            found.append(word[: -len(ending)] + singular)
    return found


@dataclass(frozen=True)
class Lexicon:
    """Known words and tables to them.

    `nouns` and `qualities` give for a known key its spelling in the captions; `things` and `likenesses` for an unknown
    one the nearest known spelling. `real` are English words with nothing near, so no typing errors. `parts` are what a
    thing can be "with" without being known alone ("roof"). `words` are all caption words.
    """

    words: frozenset[str]
    nouns: dict[str, str]
    bare: frozenset[str]
    colors: tuple[str, ...]
    parts: frozenset[str]
    qualities: dict[str, str]
    things: dict[str, str]
    likenesses: dict[str, str]
    real: frozenset[str]

    def thing(self, key: str) -> str | None:
        """The known noun for a key, its plural included; None if it is no thing."""
        first, _, last = key.rpartition(" ")
        forms = [key] + [f"{first} {single}".strip() for single in singulars(last)]
        for table in (self.nouns, self.things):
            for form in forms:
                if form in table:
                    return table[form]
        return None

    def quality(self, key: str) -> str | None:
        """The known color or attribute for a key; None if it is neither."""
        found = self.qualities.get(key) or self.likenesses.get(key)
        if found or " " in key:
            return found
        # "reddish", "coppery", "rose colored"
        endings = ("dish", "nish", "kish", "lish", "ish", "y", "ey")
        stems = [key.removesuffix(end) for end in endings if key.endswith(end)]
        stems += [stem + "e" for stem in stems]
        hues = [self.qualities.get(stem) or self.likenesses.get(stem) for stem in stems if len(stem) > 2]
        return next((hue for hue in hues if hue in self.colors), None)

    def knows(self, key: str) -> bool:
        """Whether a key is in a list or a table, or is a real word that is left alone."""
        return bool(self.thing(key) or self.quality(key)) or key in self.real

    def corrected(self, word: str) -> str | None:
        """The known word that `word` (no key) was probably meant to be: one typing error, or two in a long word."""
        if len(word) < 4 or len(word) > 24 or not word.isascii():
            return None
        near = _one_error(word)
        common = sorted(near & self._names)
        if common:  # the same first letter is likelier; then the more frequent kind of word
            return min(common, key=lambda name: (name[0] != word[0], abs(len(name) - len(word)), name))
        if len(word) >= 8:
            alike = {name for cut in deletions(word) for name in self._by_deletion.get(cut, ())}
            found = [name for name in alike if _errors(name, word) <= 2]
            if found:
                return min(found, key=lambda name: (name[0] != word[0], abs(len(name) - len(word)), name))
        rest = [key for key in near if key in self.things or key in self.likenesses] if len(word) >= 6 else []
        return min(rest, default=None)

    @cached_property
    def _names(self) -> frozenset[str]:
        """Known single words of four letters and more that a typing error may be of."""
        return frozenset(key for key in (*self.nouns, *self.qualities) if " " not in key and len(key) >= 4)

    @cached_property
    def _by_deletion(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in sorted(self._names):
            if len(name) >= 7:
                for cut in deletions(name):
                    found.setdefault(cut, []).append(name)
        return found


@lru_cache(maxsize=1)
def shipped() -> Lexicon:
    """The lexicon in the package."""
    return read_lexicon(FOLDER)


def read_lexicon(folder: Path) -> Lexicon:
    """Read `vocabulary.json` and `nearest.json` of a folder made by the vocabulary recipe."""
    known = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    near = json.loads((folder / "nearest.json").read_text(encoding="utf-8"))
    return Lexicon(
        words=frozenset(known["words"]),
        nouns={key_of(noun): noun for noun in known["nouns"]},
        bare=frozenset(known["bare"]),
        colors=tuple(known["colors"]),
        parts=frozenset(known["parts"]),
        qualities={key_of(word): word for word in (*known["colors"], *known["attributes"])},
        things=_flat(near["things"]),
        likenesses=_flat(near["qualities"]),
        real=frozenset(near["real"]),
    )


def _flat(table: dict[str, list[str]]) -> dict[str, str]:
    """The file groups words by what they mean: {"dog": ["poodle", "puppy"]}."""
    return {word: meaning for meaning, words in table.items() for word in words}


def _one_error(word: str) -> set[str]:
    """All spellings at one insertion, deletion, replacement or swap of neighbours."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    letters = string.ascii_lowercase
    return (
        {a + b[1:] for a, b in splits if b}
        | {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
        | {a + c + b[1:] for a, b in splits if b for c in letters}
        | {a + c + b for a, b in splits for c in letters}
    )


def deletions(word: str, most: int = 2) -> set[str]:
    """The word with up to `most` letters left out: words with as many errors between them share some of these."""
    found = layer = {word}
    for _ in range(most):
        layer = {cut[:i] + cut[i + 1 :] for cut in layer for i in range(len(cut))}
        found = found | layer
    return found


def _errors(a: str, b: str) -> int:
    """Least number of insertions, deletions, replacements and swaps of neighbours between two words."""
    before, row = [], list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        earlier, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]

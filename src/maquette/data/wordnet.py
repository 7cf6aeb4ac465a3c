"""A reader for an installed WordNet 3 folder (`data.noun`, `index.noun`, …) and its measure of nearness.

Only what the vocabulary recipe needs. This module does not know which words a prior has.
"""

import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from maquette.core.errors import BadInput

FILES = tuple("data.noun index.noun noun.exc data.adj index.adj index.verb verb.exc index.adv cntlist.rev".split())


@dataclass(frozen=True)
class Synset:
    """One meaning: its number of the lexicographer file (6 artifact, 18 person, …), its words, pointers and gloss.

    `kind` is "n", "a" or, for an adjective that is a special case of another, "s".
    """

    lexfile: int
    kind: str
    lemmas: tuple[str, ...]
    pointers: tuple[tuple[str, str, int], ...]  # (symbol, part of speech, offset)
    gloss: str

    def linked(self, symbols: str, part: str) -> list[int]:
        """Offsets in a part of speech ("n", "a") that one of the pointer `symbols` (separated by spaces) leads to."""
        wanted = symbols.split()
        return [offset for symbol, pos, offset in self.pointers if symbol in wanted and pos == part]


@dataclass(frozen=True)
class WordNet:
    """Nouns and adjectives with their meanings, most frequent first; verbs and adverbs only as lists of words."""

    nouns: dict[int, Synset]
    adjectives: dict[int, Synset]
    noun_senses: dict[str, list[int]]
    adjective_senses: dict[str, list[int]]
    verbs: frozenset[str]
    adverbs: frozenset[str]
    plurals: dict[str, str]  # irregular form -> lemma
    verb_forms: dict[str, str]  # the same
    counts: dict[tuple[str, int, int], int] = field(repr=False)  # (lemma, part, sense from 1) -> times seen

    def share(self, lemma: str, sense: int) -> float:
        """How much of the use of the noun `lemma` is its meaning number `sense` (from 0); sums to 1."""
        seen = [self.counts.get((lemma, 1, i + 1), 0) + 1.0 / (i + 1) for i in range(len(self.noun_senses[lemma]))]
        return seen[sense] / sum(seen)

    def is_rather_adjective(self, lemma: str) -> bool:
        """Whether `lemma` was seen more often as an adjective (numbers 3 and 5 in sense keys) than as a noun."""
        seen = {part: sum(self.counts.get((lemma, part, i), 0) for i in range(1, 20)) for part in (1, 3, 5)}
        return seen[1] < seen[3] + seen[5]

    @cached_property
    def above(self) -> dict[int, frozenset[int]]:
        """For each noun meaning, itself and all that are more general."""
        found: dict[int, frozenset[int]] = {}

        def climb(offset: int) -> frozenset[int]:
            if offset not in found:
                found[offset] = frozenset({offset}).union(*map(climb, self.nouns[offset].linked("@ @i", "n")))
            return found[offset]

        for offset in self.nouns:
            climb(offset)
        return found

    @cached_property
    def information(self) -> dict[int, float]:
        """How special each noun meaning is, 0 (all) to 1 (a leaf): 1 - log(hyponyms + 1) / log(meanings) (Seco)."""
        below = dict.fromkeys(self.nouns, 0)
        for offset in self.nouns:
            for general in self.above[offset]:
                below[general] += 1
        return {offset: 1 - math.log(count) / math.log(len(self.nouns)) for offset, count in below.items()}


def spoken(lemma: str) -> str:
    """A WordNet lemma or a caption phrase as plain lower-case words: "Fire_engine" -> "fire engine"."""
    return " ".join(re.findall(r"[a-z0-9]+", lemma.lower().replace("'s", "")))


def _read_synsets(path: Path) -> dict[int, Synset]:
    found = {}
    with open(path, encoding="latin-1") as lines:
        for line in lines:
            if line.startswith("  "):  # the licence
                continue
            facts, _, gloss = line.partition(" | ")
            parts = facts.split()
            count = int(parts[3], 16)
            lemmas = tuple(re.sub(r"\(\w+\)$", "", word) for word in parts[4 : 4 + 2 * count : 2])
            rest = parts[5 + 2 * count :]
            number = int(parts[4 + 2 * count])
            pointers = tuple((rest[4 * i], rest[4 * i + 2], int(rest[4 * i + 1])) for i in range(number))
            found[int(parts[0])] = Synset(int(parts[1]), parts[2], lemmas, pointers, gloss.strip())
    return found


def _read_index(path: Path) -> dict[str, list[int]]:
    with open(path, encoding="latin-1") as lines:
        rows = [line.split() for line in lines if not line.startswith("  ")]
    return {row[0]: [int(offset) for offset in row[-int(row[2]) :]] for row in rows}


def _read_exceptions(path: Path) -> dict[str, str]:
    rows = [line.split() for line in path.read_text(encoding="latin-1").splitlines()]
    return {form: lemma for form, lemma, *_ in rows}


def read_wordnet(folder: Path) -> WordNet:
    """Read a WordNet 3 database folder, such as that of the Debian package `wordnet-base`; BadInput if incomplete."""
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        expected = "give the `dict` folder of WordNet 3, for example /usr/share/wordnet"
        raise BadInput(f"{folder} has no {', '.join(missing)}", expected)
    counts = {}
    for line in (folder / "cntlist.rev").read_text(encoding="latin-1").splitlines():
        key, sense, seen = line.split()
        lemma, _, where = key.partition("%")
        counts[lemma, int(where[0]), int(sense)] = int(seen)
    return WordNet(
        nouns=_read_synsets(folder / "data.noun"),
        adjectives=_read_synsets(folder / "data.adj"),
        noun_senses=_read_index(folder / "index.noun"),
        adjective_senses=_read_index(folder / "index.adj"),
        verbs=frozenset(_read_index(folder / "index.verb")),
        adverbs=frozenset(_read_index(folder / "index.adv")),
        plurals=_read_exceptions(folder / "noun.exc"),
        verb_forms=_read_exceptions(folder / "verb.exc"),
        counts=counts,
    )

"""Recipe: the word lists and the tables of nearest words of the pocket prior, from the captions and WordNet.

    pip install matplotlib                     # for the names of the XKCD color survey
    apt-get install wordnet-base               # or the `dict` folder of WordNet 3 from Princeton
    maquette train vocabulary --wordnet /usr/share/wordnet --data ASSETS

The same sources give the same bytes.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maquette.core.files import atomic_write, prepare_folder
from maquette.data.nearest import nearest_things
from maquette.data.qualities import nearest_qualities, survey
from maquette.data.shards import read_index
from maquette.data.vocabulary import read_known
from maquette.data.wordnet import WordNet, read_wordnet
from maquette.priors.lexicon import FOLDER, Lexicon, deletions, read_lexicon


@dataclass(frozen=True)
class Config:
    """Options of `maquette train vocabulary`."""

    data: Path | None = None
    """Asset folder; default MAQUETTE_DATA."""
    wordnet: Path = Path("/usr/share/wordnet")
    """Folder of the WordNet 3 database."""
    out: Path = FOLDER
    """Where the two files are written."""


def main(config: Config) -> None:
    """Write `vocabulary.json` and `nearest.json`."""
    known = read_known(read_index(config.data, split="train"))
    wordnet = read_wordnet(config.wordnet)
    things, qualities = nearest_things(known, wordnet), nearest_qualities(known, wordnet, survey())
    for form, lemma in sorted(wordnet.plurals.items()):
        target = lemma if lemma in known.nouns else things.get(lemma)
        if target and form.isalpha() and form not in known.nouns and form not in known.attributes:
            things.setdefault(form, target)
    prepare_folder(config.out)
    _write(config.out / "vocabulary.json", known.as_json())
    tables = {"things": _grouped(things), "qualities": _grouped(qualities), "real": []}
    _write(config.out / "nearest.json", tables)
    # Now that these tables would correct the spelling of prompts, list the English words that they must not touch.
    lexicon = read_lexicon(config.out)
    tables["real"] = sorted(word for word in mistakable(english(wordnet), lexicon) if lexicon.corrected(word))
    _write(config.out / "nearest.json", tables)
    print(
        f"{len(known.nouns)} nouns, {len(things)} things, {len(qualities)} qualities, {len(tables['real'])} other words"
    )


def english(wordnet: WordNet) -> set[str]:
    """Single English words with their regular forms and the irregular ones."""
    verbs = {word for word in wordnet.verbs if word.isalpha()}
    adjectives = {word for word in wordnet.adjective_senses if word.isalpha()}
    others = {
        word for word in (*wordnet.noun_senses, *adjectives, *wordnet.adverbs) if word.isalpha() and word.isascii()
    }
    stems = {word.removesuffix("e") for word in verbs} | {word + word[-1] for word in verbs}
    forms = {stem + end for stem in stems for end in ("ed", "ing")} | {word + "ing" for word in verbs}
    compared = {word.removesuffix("e") + end for word in adjectives for end in ("er", "est")}
    plurals = {word + "s" for word in others | verbs}
    return others | verbs | forms | compared | plurals | wordnet.plurals.keys() | wordnet.verb_forms.keys()


def mistakable(candidates: Iterable[str], lexicon: Lexicon) -> list[str]:
    """Those that are not known, and look enough like something known to be worth a closer comparison."""
    names = {key for table in (lexicon.nouns, lexicon.qualities) for key in table if " " not in key}
    near = {cut for table in (names, lexicon.things, lexicon.likenesses) for key in table for cut in deletions(key, 1)}
    far = {cut for name in names if len(name) >= 7 for cut in deletions(name)}
    unknown = [word for word in candidates if not lexicon.knows(word)]
    return [word for word in unknown if deletions(word, 1) & near or (len(word) >= 8 and deletions(word) & far)]


def _grouped(table: dict[str, str]) -> dict[str, list[str]]:
    """The words by what they are understood as, both sorted: small, and pleasant to read."""
    found: dict[str, list[str]] = {}
    for word, meaning in sorted(table.items()):
        found.setdefault(meaning, []).append(word)
    return dict(sorted(found.items()))


def _write(path: Path, content: dict) -> None:
    """JSON with one list a line, so that changes can be reviewed."""
    lines = []
    for name, value in content.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(key)}: {json.dumps(words)}" for key, words in value.items())
            lines.append(f" {json.dumps(name)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
    with atomic_write(path, "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")

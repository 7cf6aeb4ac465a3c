"""A sentence in the words of the pocket prior: what it knows, what it takes an unknown word for, what it leaves out.

The grammar is that of the captions: things with qualities before them, joined by "on", "next to", "with" and the like.
Everything comes from the tables in `maquette/pocket/vocabulary`; nothing is learned, and nothing heavy is imported.
"""

import difflib
import re
from dataclasses import dataclass, field

from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt
from maquette.priors.lexicon import LONGEST_KEY, Lexicon, key_of, plain, shipped

MOST_WORDS = 18  # what the text encoder reads beside its two marks
SHOWN = 60  # characters of a person's words that a message repeats

# How one says in captions what else one may say between two things; the longest that fits counts.
LINKS = {
    "and": "and", "plus": "and", "as well as": "and", "or": "and", "with": "with", "has": "with", "have": "with",
    "that has": "with", "having": "with", "holding": "with", "wearing": "with", "carrying": "with",
    "featuring": "with", "full of": "with", "filled with": "with", "covered with": "with", "covered in": "with",
    "for": "with", "using": "with", "on": "on", "upon": "on", "onto": "on", "atop": "on", "over": "on",
    "above": "on", "riding": "on", "riding on": "on", "on top of": "on top of", "next to": "next to",
    "near": "next to", "by": "next to", "at": "next to", "behind": "next to", "in front of": "next to",
    "close to": "next to", "under": "next to", "below": "next to", "beneath": "next to", "around": "next to",
    "beside": "beside", "besides": "beside", "alongside": "beside", "in": "in", "inside": "in", "into": "in",
    "within": "in", "dressed in": "dressed in", "of": "of", "partly": "partly", "colored": "colored",
    "coloured": "colored", "colored in": "colored",
}  # fmt: skip
COLORED_BY = ("with", "in", "dressed in", "partly", "colored")  # links that colors may stand after without a thing
MADE_OF = {"made of", "made from", "made out of", "built of", "built from", "out of"}
NEGATIONS = {"no", "not", "without", "never", "nor", "lacking", "except", "minus"}
ARTICLES = set("a an the one this that my your his her its our their another any each every".split())
NUMBERS = set("two three four five six seven eight nine ten eleven twelve several many few both dozen".split())
SAID_FOR_NOTHING = set(
    """please make create generate render draw build design give show me us i we you he she it they want would
    like need can could is are was be being very really quite so just some object asset model 3d d image picture
    photo game style kind type color colour to which who there here s t""".split()
)
VIEW = re.compile(r"[\s,]*\b((?:front|side|back) view|seen from the (?:front|side|back))[\s.!]*$")
TOKEN = re.compile(r"[^\W_]+|[,;.:!?&+]")
BREAKS = set(",;.:!?")
PALETTE_WORDS = set("red orange yellow green teal blue purple pink brown beige black gray white".split())
FIRST_THINGS = ("tree", "house", "car", "chair", "sword")  # for people who said nothing that resembles anything


@dataclass(frozen=True)
class Understood:
    """A prompt as the prior will read it.

    `understood` has only caption words; `nouns` are the things in it and `colors` their palette colors, in order.
    `replaced` lists (word given, word used), `ignored` the words left out. `notice` is None or one line for the person.
    """

    given: str
    understood: str
    nouns: tuple[str, ...]
    colors: tuple[str, ...]
    replaced: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    notice: str | None


@dataclass
class _Item:
    """One word or phrase of the prompt and what it can be: a thing, a quality, or both."""

    given: str
    thing: str | None
    quality: str | None

    def modifier(self) -> str:
        return self.quality or self.thing


@dataclass
class _Chunk:
    """The words between two links: qualities and at most one thing that counts, the last."""

    link: str | None
    link_given: str = ""
    article: bool = False
    some: bool = False
    items: list[_Item] = field(default_factory=list)

    def head(self) -> _Item | None:
        """The thing that the others describe: the last that can be one, unless all are said as colors ("in orange")."""
        things = [item for item in self.items if item.thing]
        as_color = not self.article and (self.some or self.link in COLORED_BY)
        if not things or (as_color and things[-1].quality in PALETTE_WORDS):
            return None
        return things[-1] if things[-1] is self.items[-1] or not things[-1].quality else None  # "a gold and red car"


def vocabulary() -> dict[str, list[str]]:
    """Every word that the pocket prior knows, by kind: nouns, colors, attributes, function words, each sorted.

    Nouns may have several words ("pine tree"); attributes are words that stand before a noun.
    """
    lexicon = shipped()
    named = {word for kind in (lexicon.nouns, lexicon.qualities) for key in kind for word in key.split()}
    return {
        "nouns": sorted(lexicon.nouns.values()),
        "colors": sorted(lexicon.colors),
        "attributes": sorted(set(lexicon.qualities.values()) - set(lexicon.colors)),
        "function words": sorted(lexicon.words - named | {"a", "an", "and", "of", "on", "with", "in"}),
    }


def caption_words() -> list[str]:
    """All words that the tokenizer of the pocket prior has, sorted; `Understood.understood` uses no other."""
    return sorted(shipped().words)


def understand(prompt: object) -> Understood:
    """Say `prompt`, a text, in words that the pocket prior knows.

    Raises BadInput for what is no text, is empty, too long or has control characters, and for a sentence that names no
    known thing; the next step then has suggestions.
    """
    if not isinstance(prompt, str):
        raise BadInput(f"the prompt is {type(prompt).__name__}; expected text", 'write a sentence, "a red apple"')
    given = check_prompt(prompt)
    lexicon = shipped()
    text = plain(given)
    view = VIEW.search(text)
    tokens = TOKEN.findall(text[: view.start()] if view else text)
    chunks, ignored, negated = _chunks(tokens, lexicon)
    chunks, lost = _joined(chunks)
    if not any(chunk.head() for chunk in chunks):
        raise _refusal(given, tokens, lost, negated, lexicon)
    phrases, replaced, cut = _phrases(chunks, lexicon, MOST_WORDS - (len(view[1].split()) if view else 0))
    sentence = " ".join(text for text, _ in phrases) + (f", {view[1]}" if view else "")
    ignored += lost + cut
    described = [item for _, chunk in phrases for item in chunk.items if item is not chunk.head()]
    hues = [item.quality for item in described if item.quality in lexicon.colors]
    heads = (chunk.head().thing for _, chunk in phrases if chunk.head())
    nouns = tuple(thing for thing in heads if thing not in lexicon.parts)
    return Understood(
        given=given, understood=sentence, nouns=nouns, colors=tuple(dict.fromkeys(hues)),
        replaced=tuple(replaced), ignored=tuple(ignored), notice=_notice(sentence, replaced, ignored, negated),
    )  # fmt: skip


def suggestions(word: str, count: int = 5) -> list[str]:
    """Known nouns that may have been meant by `word`: by table, by containing it, by spelling; at most `count`."""
    lexicon, key = shipped(), key_of(word[:SHOWN])
    found = [lexicon.thing(key)] if lexicon.thing(key) else []
    fixed = lexicon.corrected(key)
    found += [lexicon.thing(fixed)] if fixed and lexicon.thing(fixed) else []
    containing = [noun for name, noun in lexicon.nouns.items() if key in name.split()]
    found += sorted(containing, key=lambda noun: (len(noun), noun))
    names = [name for name in lexicon.nouns if abs(len(name) - len(key)) < 4]
    found += [lexicon.nouns[name] for name in difflib.get_close_matches(key, names, count, 0.75)]
    return list(dict.fromkeys(found))[:count]


def _chunks(tokens: list[str], lexicon: Lexicon) -> tuple[list[_Chunk], list[str], list[str]]:
    """Cut the tokens at links; also the words left out, and what was negated."""
    chunks, ignored, negated = [_Chunk(None)], [], []
    position = 0
    while position < len(tokens):
        length, item, link = _longest(tokens, position, lexicon)
        phrase = " ".join(tokens[position : position + length])
        position += length
        if chunks[-1].link == "with" and phrase in lexicon.parts:
            chunks[-1].items.append(_Item(phrase, phrase, None))
        elif item:
            chunks[-1].items.append(item)
        elif link:
            chunks.append(_Chunk(link, phrase))
        elif phrase in NEGATIONS:
            skipped = _skip_negated(tokens, position, lexicon)
            negated.append(" ".join([phrase, *tokens[position:skipped]]))
            position = skipped
        elif phrase in ARTICLES or phrase in NUMBERS or phrase.isdigit():
            if chunks[-1].items:  # "a dog the cat": something was left out in between
                chunks.append(_Chunk("and"))
            chunks[-1].article = True
            ignored += [] if phrase in ARTICLES else [phrase]
        elif phrase == "some":
            chunks[-1].some = True
        elif phrase not in SAID_FOR_NOTHING:
            ignored.append(phrase)
    return chunks, ignored, negated


def _longest(tokens: list[str], start: int, lexicon: Lexicon) -> tuple[int, _Item | None, str | None]:
    """How many tokens belong together here, and the item or link that they are."""
    if tokens[start] in BREAKS or tokens[start] in "&+":
        return 1, None, "," if tokens[start] in BREAKS else "and"
    for length in range(min(LONGEST_KEY, len(tokens) - start), 0, -1):
        words = tokens[start : start + length]
        key = " ".join(words)
        if key in MADE_OF:
            return length, None, "made of"
        if key in LINKS:
            return length, None, LINKS[key]
        if length == 1 and _says_nothing(tokens, start, lexicon):
            break
        if key == "low poly":
            return 2, _Item(key, None, key), None
        if (lexicon.thing(key) or lexicon.quality(key)) and not _is_better_apart(tokens, start, length, lexicon):
            return length, _Item(key, lexicon.thing(key), lexicon.quality(key)), None
    word = tokens[start]
    fixed = None if _says_nothing(tokens, start, lexicon) or lexicon.knows(word) else lexicon.corrected(word)
    return 1, _Item(word, lexicon.thing(fixed), lexicon.quality(fixed)) if fixed else None, None


def _is_better_apart(tokens: list[str], start: int, length: int, lexicon: Lexicon) -> bool:
    """Whether a phrase of the tables cuts a known one ("red wine" in "red wine glass") or is known word by word."""
    words = tokens[start : start + length]
    if length == 1 or " ".join(words) in lexicon.nouns:
        return False
    for inner in range(start + 1, start + length):
        longer = range(start + length + 1, min(inner + LONGEST_KEY, len(tokens)) + 1)
        if any(" ".join(tokens[inner:end]) in lexicon.nouns for end in longer):
            return True
    is_known = all(word in lexicon.nouns or word in lexicon.qualities for word in words)
    is_hue = words[-1] in lexicon.colors and words[-1] not in lexicon.nouns and lexicon.quality(" ".join(words))
    return is_known and not is_hue  # a "dark green" is a green


def _says_nothing(tokens: list[str], position: int, lexicon: Lexicon) -> bool:
    """Whether a token is no thing or quality here: "can" in "can you make a can"."""
    word, after = tokens[position], tokens[position + 1 : position + 2]
    if word in SAID_FOR_NOTHING and (word in lexicon.nouns or word in lexicon.qualities):
        return bool(after) and (after[0] in ARTICLES or after[0] in SAID_FOR_NOTHING)
    return word in ARTICLES or word in NUMBERS or word in NEGATIONS or word in SAID_FOR_NOTHING or word == "some"


def _skip_negated(tokens: list[str], start: int, lexicon: Lexicon) -> int:
    """Where the words end that a negation takes away: after the next thing, or before the next link."""
    position = start
    while position < len(tokens):
        length, item, link = _longest(tokens, position, lexicon)
        if link and position > start:
            break
        position += length
        if item and item.thing and not (item.quality and position < len(tokens)):
            break
    return position


def _joined(chunks: list[_Chunk]) -> tuple[list[_Chunk], list[str]]:
    """Put together what belongs to one thing ("a red and blue car", "a house made of stone").

    Also the words that fit nowhere.
    """
    found: list[_Chunk] = []
    lost: list[str] = []
    is_material = False
    for chunk in (c for c in chunks if c.items):
        last = found[-1] if found else None
        is_material = chunk.link == "made of" or (is_material and chunk.link in ("and", ","))
        if is_material and last and last.head() and chunk.items[-1].quality:
            at = last.items.index(last.head())
            last.items[at:at] = [_Item(item.given, None, item.quality) for item in chunk.items if item.quality]
            continue
        is_material = False
        chunk.link = "of" if chunk.link == "made of" else chunk.link
        if last and not last.head() and chunk.link in ("and", ",") and not chunk.article:
            if chunk.link == "and" and (chunk.items[0].quality and (len(chunk.items) > 1 or not chunk.head())):
                last.items.append(_Item("and", None, "and"))
            last.items += chunk.items
        else:
            found.append(chunk)
    kept = []
    for chunk in found:
        has_color = any(item.quality in PALETTE_WORDS for item in chunk.items)
        if chunk.head() or (kept and chunk.link in (*COLORED_BY, "and") and has_color):
            chunk.link = chunk.link if kept else None
            kept.append(chunk)
        else:
            lost += [item.given for item in chunk.items]
    return kept, lost


def _phrases(
    chunks: list[_Chunk], lexicon: Lexicon, room: int
) -> tuple[list[tuple[str, _Chunk]], list[tuple[str, str]], list[str]]:
    """The text of each chunk as long as there is room for it, the words replaced, and the words that found no room."""
    phrases: list[tuple[str, _Chunk]] = []
    replaced: list[tuple[str, str]] = []
    cut: list[str] = []
    for chunk in chunks:
        said = _said(chunk, lexicon)
        text = _with_article(chunk, said, lexicon)
        if _count(" ".join([*(earlier for earlier, _ in phrases), text])) > room:
            if phrases:
                cut += [item.given for item in chunk.items]
                continue
            cut += [given for given, _ in said[:-1]]
            said, chunk.items = said[-1:], [chunk.head()]
            text = _with_article(chunk, said, lexicon)
        if chunk.link == "," and phrases:
            phrases[-1] = (phrases[-1][0] + ",", phrases[-1][1])
        if phrases and chunk.link not in (None, ",") and chunk.link_given not in (chunk.link, "&", "+", "coloured"):
            replaced.append((chunk.link_given, chunk.link))
        phrases.append((text, chunk))
        replaced += [(given, word) for given, word in said if given != key_of(word)]
    return phrases, replaced, cut


def _said(chunk: _Chunk, lexicon: Lexicon) -> list[tuple[str, str]]:
    """The words of a chunk as (given, used), what is described last; "pickup truck" is a truck and no truck truck."""
    head = chunk.head()
    if not head:
        return [(item.given, item.modifier()) for item in chunk.items]
    before = [item for item in chunk.items if item is not head and (item.quality or item.thing != head.thing)]
    is_content = chunk.link == "of" and not chunk.article and head.given in lexicon.words  # a bowl of apples
    name = head.given if is_content else head.thing
    return [(item.given, item.modifier()) for item in before] + [(head.given, name)]


def _with_article(chunk: _Chunk, said: list[tuple[str, str]], lexicon: Lexicon) -> str:
    """The words of a chunk after its link, with "a" where the captions have it."""
    text, head = " ".join(word for _, word in said), chunk.head()
    takes_none = head is not None and (head.thing in lexicon.bare or head.thing in lexicon.parts)
    is_free = takes_none or chunk.link in ("of", "in", ",", "and")
    if head and (chunk.article or not is_free):
        text = ("an " if text[0] in "aeiou" and not text.startswith(("ufo", "one-", "uni")) else "a ") + text
    elif chunk.some and not head:
        text = "some " + text
    return text if chunk.link in (None, ",") else f"{chunk.link} {text}"


def _count(text: str) -> int:
    return len(re.findall("[a-z]+", text))


def _notice(sentence: str, replaced: list[tuple[str, str]], ignored: list[str], negated: list[str]) -> str | None:
    parts = [f"{given} -> {word}" for given, word in dict.fromkeys(replaced)]
    parts += [f"left out: {', '.join(dict.fromkeys(ignored))}"[: 4 * SHOWN]] if ignored else []
    parts += [f"negation is not understood, left out: {', '.join(negated)}"[: 4 * SHOWN]] if negated else []
    return f"understood as: {sentence} ({'; '.join(parts)})" if parts else None


def _refusal(given: str, tokens: list[str], lost: list[str], negated: list[str], lexicon: Lexicon) -> BadInput:
    shown = given if len(given) <= SHOWN else given[: SHOWN - 1] + "…"
    if negated:
        cause = "its thing is negated, and negation is not understood"
    elif lost:
        cause = f"{lost[0]} is what a thing can be, not a thing"
    else:
        cause = "it names no thing that the prior knows"
    ideas: list[str] = []
    empty = ARTICLES | SAID_FOR_NOTHING | NEGATIONS | NUMBERS | LINKS.keys()
    asked = [token for token in dict.fromkeys(tokens) if token.isalnum() and token not in empty]
    for token in asked[:5]:
        ideas += suggestions(token, 3)
    ideas = [idea for idea in dict.fromkeys(ideas) if idea not in lexicon.colors][:6] or list(FIRST_THINGS)
    return BadInput(
        f'nothing to make in "{shown}": {cause}',
        f"try one of: {', '.join(ideas)}; `maquette info --vocabulary` lists all words",
    )

"""For English nouns that the pocket prior does not know, the nearest noun that it does, from WordNet.

Synonyms come first, then more general things, then close relatives: the distance of Jiang and Conrath (1997) with the
intrinsic information content of Seco (2004), helped by what the definitions mention. This module does not
parse sentences.
"""

import math
import re
from dataclasses import dataclass

from maquette.data.vocabulary import LOCATORS, Known, head
from maquette.data.wordnet import WordNet, spoken

# Costs are in units of information content: 0 for "entity", 1 for a word with nothing more special below it.
LIMIT = 0.72  # nothing dearer than this counts as near …
RELATIVE_LIMIT = 0.65  # … and for relatives that are neither above nor below nothing dearer than this
GENERAL = 0.25  # what a more general word must tell at least ("animal" and "plant" just do)
RELATED, DISTANT = 0.5, 0.25  # what two relatives must share; the second where a definition mentions the other
TYPICAL, TYPICAL_LIMIT = 0.54, 0.4  # what a more general word must tell to be answered by one of its kinds
SIDEWAYS, SIDEWAYS_COST, SPECIALISE = 1.25, 0.05, 1.5  # going down again costs more than going up
VAGUE, BROAD = 0.2, 0.1  # held against words that are the name of no single thing ("vehicle"), and TOO_WIDE
SPECIAL = 0.6  # a category that tells this much is no longer vague ("airplane")
PER_OBJECT = 0.015  # in favour of what the prior has seen often, times log(objects)
MENTIONED = 0.6  # one word stands in the definition of the other
GENUS = 0.3  # the definition starts "a kind of" the other
SAME_WORD = 0.15  # synonyms by another meaning of the known word
PERSON, BEAST = 0.4, 0.64  # anybody is a man or a woman; what eats and what is eaten at least an animal and food
ALIAS = 0.3  # the word is the head of a longer known name
RARE_SENSE = 0.4  # against meanings that a word seldom has
PORTIONS = {
    "bag", "bowl", "bunch", "bundle", "carton", "cup", "dish", "glass", "group", "head", "loaf", "piece", "pile",
    "plate", "row", "scoop", "set", "slice", "stack",
}  # fmt: skip
CONTAINERS = {"bar", "bottle", "can", "carton", "cob", "jar", "stick"}
INSULT = re.compile(r"offensive|insult|slur|disparag|derogat|obscen|vulgar|pejorative|contempt")
FEMALE = re.compile(r"\b(?:woman|female|girl|wife|daughter|mother|sister|lady|actress)\b")

# Which lexicographer files of WordNet the nouns of a group come from, likeliest first: 3 tops, 5 animal, 6 artifact,
# 8 body, 13 food, 17 object, 18 person, 19 phenomenon, 20 plant, 27 substance.
GROUP_FILES = {
    "animal": (5, 6), "character": (18, 5), "creature": (18, 5, 6), "food": (13, 20, 6),
    "nature": (20, 17, 3, 19, 27, 6),
}  # fmt: skip
OTHER_FILES = (6, 17, 8, 13, 20)
PHYSICAL = frozenset({3, 5, 6, 8, 13, 17, 18, 19, 20, 27})
COMMUNICATION, POSSESSION = 10, 21  # "novel", "dollar"
WITH_RELATIVES = frozenset({5, 6, 13, 17, 20})  # a lung is no heart and a poet no king, but a lynx is nearly a cat
# The meaning (from 1), perhaps of another word, where the likeliest file has the wrong one or none. None: too vague.
MEANINGS: dict[str, tuple[str, int] | None] = {
    "alien": ("alien", 3), "animal": ("animal", 1), "bandages": ("bandage", 1), "barrel": ("barrel", 2),
    "bonfire": ("bonfire", 1), "bow": ("bow", 4), "buoy": None, "cake": ("cake", 3), "campfire": ("campfire", 1),
    "castle": ("castle", 2), "catapult": ("catapult", 3), "character": None, "cherries": ("cherry", 3),
    "christmas tree": None, "coin": ("coin", 1), "column": ("column", 7), "container": None,
    "cooking pot": ("pot", 1), "crater": ("crater", 3), "creature": None, "crop": None, "crown": ("crown", 4),
    "decoration": None, "device": None, "dock": ("dock", 3), "ghost": ("ghost", 3), "glove": ("glove", 2),
    "hammer": ("hammer", 2), "heart": ("heart", 2), "item": None, "key": ("key", 1), "landmine": ("land_mine", 1),
    "lollipop": ("lollipop", 2), "mage": ("sorcerer", 1), "pirate": ("pirate", 2), "plate": ("plate", 4),
    "portal": None, "ring": ("ring", 8), "rover": None, "scroll": ("scroll", 2), "shield": ("shield", 2),
    "signpost": ("signpost", 1), "skeleton": ("skeleton", 3), "snowflake": ("snowflake", 1), "snowman": None,
    "spike": ("spike", 9), "structure": None, "television": ("television", 3), "tin can": ("tin_can", 2),
    "toilet": ("toilet", 2), "trash": ("trash", 1), "ufo": None, "van": ("van", 5),
}  # fmt: skip


TOO_WIDE = {"armor", "bandages", "building", "computer", "farm", "plant", "shield", "statue", "towel"}
LEFT_ALONE = {"roof"}  # its relatives are helmets
# What WordNet lacks, or where its first meaning is not what people ask a 3D generator for.
SAID = {
    "bot": "robot", "breastplate": "chest armor", "cab": "taxi", "cash": "coin", "dino": "dinosaur",
    "female": "woman", "flying saucer": "ufo", "fries": "french fries", "hat": "helmet", "human": "man",
    "human being": "man", "kitty": "cat", "lightsaber": "laser saber", "lorry": "truck", "magician": "mage",
    "male": "man", "monarch": "king", "money": "coin", "novel": "book", "people": "man", "person": "man",
    "prince": "king", "princess": "woman", "queen": "king", "raptor": "velociraptor", "rose": "flower",
    "spacecraft": "spaceship", "streetlamp": "streetlight", "t rex": "tyrannosaurus rex",
    "trex": "tyrannosaurus rex", "tv": "television", "tyrannosaurus": "tyrannosaurus rex", "veggie": "vegetable",
    "warrior": "knight", "wizard": "mage",
}  # fmt: skip


@dataclass(frozen=True)
class Anchor:
    """A known noun in WordNet: its meaning, and how much its nearness is held against it (being vague, being rare)."""

    noun: str
    offset: int
    handicap: float
    is_alias: bool = False


def anchors(known: Known, wordnet: WordNet) -> dict[int, Anchor]:
    """Meaning -> known noun; of nouns that share one, that with most objects wins, and a noun wins over an alias."""
    found: dict[int, Anchor] = {}
    for word, noun in aliases(known).items():
        if word == head(noun):  # "cup of tea" is near coffee, but "key card" is no ace
            continue
        senses = [s for s in wordnet.noun_senses.get(word, []) if wordnet.nouns[s].lexfile in WITH_RELATIVES]
        if senses:
            found[senses[0]] = Anchor(noun, senses[0], ALIAS, is_alias=True)
    for noun in sorted(known.nouns, key=lambda name: (known.nouns[name], name)):
        if noun in MEANINGS:
            meaning = MEANINGS[noun]
            ranked = [wordnet.noun_senses[meaning[0]][meaning[1] - 1]] if meaning else []
        else:
            senses = wordnet.noun_senses.get(spoken(noun).replace(" ", "_"), [])
            files = GROUP_FILES.get(known.groups[noun], OTHER_FILES)
            ranked = [s for number in files for s in senses if wordnet.nouns[s].lexfile == number]
        if ranked:
            is_vague = (
                noun in known.general - {"fruit", "insect", "vegetable"} and wordnet.information[ranked[0]] < SPECIAL
            )
            vague = VAGUE if is_vague else BROAD if noun in TOO_WIDE else 0.0
            found[ranked[0]] = Anchor(noun, ranked[0], vague - PER_OBJECT * math.log(known.nouns[noun]))
    return found


def aliases(known: Known) -> dict[str, str]:
    """Words that make a known name without being known alone: "tea" -> "cup of tea"."""
    found: dict[str, tuple[tuple, str]] = {}
    for noun, count in known.nouns.items():
        name = LOCATORS.split(noun)[0].split()
        _, _, content = noun.partition(" of ")
        candidates = [(0, name[-1])] if len(name) > 1 and name[-1] not in PORTIONS else []
        if content and name[-1] in PORTIONS:
            candidates.append((1, content))
        if len(name) == 2 and name[1] in CONTAINERS:
            candidates.append((2, name[0]))
        for kind, word in candidates:
            rank = (kind, len(LOCATORS.split(noun)), -count, len(noun), noun)
            if word not in known.nouns and rank < found.get(word, ((9,), ""))[0]:
                found[word] = (rank, noun)
    return {word: noun for word, (_, noun) in found.items()}


class Neighbours:
    """Finds the known noun nearest to a noun meaning."""

    def __init__(self, known: Known, wordnet: WordNet):
        self.wordnet, self.anchors = wordnet, anchors(known, wordnet)
        self.information = wordnet.information
        self.below: dict[int, list[Anchor]] = {}
        self.names: dict[str, Anchor] = {}
        for anchor in self.anchors.values():
            for general in wordnet.above[anchor.offset]:
                if self.information[general] >= GENERAL:
                    self.below.setdefault(general, []).append(anchor)
            lemmas = [lemma.lower() for lemma in wordnet.nouns[anchor.offset].lemmas]
            self.names |= {lemma: anchor for lemma in lemmas if wordnet.noun_senses[lemma][0] == anchor.offset}
        self.names |= {anchor.noun: anchor for anchor in self.anchors.values()}
        self.mentions = {offset: _named(wordnet.nouns[offset].gloss) for offset in self.anchors}
        self.person = wordnet.noun_senses["person"][0]
        self.kinds = {"animal": wordnet.noun_senses["animal"][0], "food": wordnet.noun_senses["food"][1]}

    def distance(self, offset: int, shared: int, anchor: Anchor, word: str, said: set[int]) -> float:
        """From a meaning to an anchor through what they share: Jiang-Conrath with handicaps, infinite if not close.

        `said` are the anchors that the definition of the meaning speaks of.
        """
        common = self.information[shared]
        up, down = self.information[offset] - common, self.information[anchor.offset] - common
        if shared == anchor.offset:
            return up + anchor.handicap
        if shared == offset:  # a more general word: any typical kind of it will do
            cost = SPECIALISE * down + anchor.handicap
            return cost if common >= TYPICAL and cost < TYPICAL_LIMIT else math.inf
        near = common >= RELATED
        mentioned = anchor.offset in said or (near and word in self.mentions[anchor.offset])
        if self.wordnet.nouns[offset].lexfile not in WITH_RELATIVES or not (near or mentioned):
            return math.inf
        cost = (up + SIDEWAYS * down + SIDEWAYS_COST + anchor.handicap) * (MENTIONED if mentioned else 1)
        return cost if cost < RELATIVE_LIMIT else math.inf

    def nearest(self, offset: int, word: str) -> tuple[float, str]:
        """The cost and the noun; (infinity, "") when nothing is near."""
        if offset in self.anchors:
            return (ALIAS if self.anchors[offset].is_alias else 0.0), self.anchors[offset].noun
        synset, above = self.wordnet.nouns[offset], self.wordnet.above[offset]
        best, seen = (math.inf, ""), set()
        if self.person in above:
            best = (PERSON, "woman" if FEMALE.search(synset.gloss.split("; ")[0]) else "man")
        best = min([best, *((BEAST, noun) for noun, top in self.kinds.items() if top in above)])
        said = {self.names[name].offset for name in _named(synset.gloss) if name in self.names}
        for general in sorted(above, key=self.information.get, reverse=True):
            for anchor in self.below.get(general, []):
                if anchor.offset not in seen:
                    seen.add(anchor.offset)
                    best = min(best, (self.distance(offset, general, anchor, word, said), anchor.noun))
        genus = self.names.get(_genus(synset.gloss))
        if genus and synset.lexfile in (self.wordnet.nouns[genus.offset].lexfile, COMMUNICATION):
            best = min(best, (GENUS + genus.handicap, genus.noun))
        for lemma in synset.lemmas:  # a known word in another of its meanings: a suitcase is called "bag" too
            same = self.names.get(lemma.lower().replace("_", " "))
            if same and self.wordnet.nouns[same.offset].lexfile == synset.lexfile:
                best = min(best, (SAME_WORD, same.noun))
        return best


def _named(gloss: str) -> frozenset[str]:
    """The words of a definition (without its examples), plurals also as singulars."""
    said = re.findall(r"[a-z]+", gloss.split('; "')[0].lower())
    return frozenset(said) | {word[:-1] for word in said if word.endswith("s")}


def _genus(gloss: str) -> str:
    """What a definition says the thing is: "a small house with a single story" -> "house"."""
    ends = (
        "of|for|with|that|which|who|whose|used|having|in|on|at|to|from|by|or|and|made|consisting|containing|as|is|where"
    )
    start = re.split(rf"[;,(:]| (?:{ends}) ", gloss)[0].split()
    return start[-1].lower() if start else ""


def nearest_things(known: Known, wordnet: WordNet) -> dict[str, str]:
    """Table from English nouns that are not known to the nearest known noun."""
    near, heads = Neighbours(known, wordnet), aliases(known)
    found = dict(heads) | SAID
    for lemma in wordnet.noun_senses:
        word = spoken(lemma)
        done = word in known.nouns or word in SAID or word in LEFT_ALONE or "'" in lemma
        if not done and re.fullmatch(r"[a-z]{2,}( [a-z]+)?", word):
            best = (ALIAS, heads[word]) if word in heads else (LIMIT, "")
            costs: dict[str, float] = {}
            shares: dict[str, float] = {}
            for offset, share in meant(lemma, wordnet):
                cost, noun = near.nearest(offset, word)
                lexfile = wordnet.nouns[offset].lexfile
                abstract = GENUS + 0.01 if lexfile in (COMMUNICATION, POSSESSION) else 0.1
                if cost < (LIMIT if lexfile in PHYSICAL else abstract):
                    costs[noun] = min(cost, costs.get(noun, LIMIT))
                    shares[noun] = share + shares.get(noun, 0.0)
            # A rare meaning counts only if it is all but the known one; meanings with one answer help each other.
            for noun, cost in costs.items():
                if shares[noun] >= 0.3 or cost < 0.1:
                    best = min(best, (cost + RARE_SENSE * (1 - shares[noun]), noun))
            # "delicious" is an apple, but nobody means it
            if best[1] and (word in heads or best[0] < 0.05 or not wordnet.is_rather_adjective(lemma)):
                found[word] = best[1]
    # "rocking chair" needs no row: the sentence is understood through "chair".
    last = {word: word.split()[-1] for word in found}
    return {
        word: noun for word, noun in found.items() if last[word] == word or found.get(last[word], last[word]) != noun
    }


def meant(lemma: str, wordnet: WordNet) -> list[tuple[int, float]]:
    """The meanings that a person may have in mind, each with its share; names and insults are left out.

    A peach is a fruit and not a tree, a trout a fish and not its meat, a tiger no fierce person: such meanings give
    their share to the other.
    """
    found: dict[int, float] = {}
    for rank, offset in enumerate(wordnet.noun_senses[lemma]):
        synset = wordnet.nouns[offset]
        capital = all(form[0].isupper() for form in synset.lemmas if form.lower() == lemma)
        latin = capital and ("_" in lemma or synset.lexfile in (14, 18))
        insult = INSULT.search(synset.gloss)
        if insult and rank == 0:
            return []
        if not (insult or latin or (capital and synset.linked("@i", "n"))):
            found[offset] = wordnet.share(lemma, rank)
    files = {wordnet.nouns[offset].lexfile: offset for offset in reversed(found)}
    for hidden, shown in ((20, 13), (27, 13), (27, 20), (13, 5), (18, 5)):
        rival = sum(share for offset, share in found.items() if wordnet.nouns[offset].lexfile == hidden)
        if shown in files and (hidden != 18 or rival < 0.7):
            for offset in [o for o in found if wordnet.nouns[o].lexfile == hidden]:
                found[files[shown]] += found.pop(offset)
    return [(offset, share) for offset, share in found.items() if share >= 0.15]

"""For English colors, materials and adjectives that the pocket prior does not know, the nearest quality that it does.

Color names come from CSS and from the XKCD survey (CC0) and get the palette name that the captions would give such a
color; adjectives and materials come from WordNet. This module does not know things.
"""

import re

import numpy as np

from maquette.core.color import PALETTE
from maquette.core.errors import MissingExtra
from maquette.data.augment import color_names
from maquette.data.vocabulary import Known
from maquette.data.wordnet import WordNet, spoken

ATTRIBUTE, SUBSTANCES = 7, (20, 27)  # lexicographer files of colors; of woods and other materials
RUDE = re.compile(r"shit|poo|puke|vomit|snot|piss|barf|booger|bile|diarrhea|spew|sickly|flesh|skin")
# Materials that are spoken of as qualities, each with the WordNet meaning (from 1) of its kinds.
MATERIALS = {
    "wooden": ("wood", 1), "stone": ("rock", 2), "metal": ("metal", 1), "leather": ("leather", 1),
    "paper": ("paper", 1),
}  # fmt: skip
COLORED = {"metal"}  # of these the color name says more: copper is rather orange
# Attributes of the captions with too many meanings to stand for others.
TOO_WIDE = set(
    "covered dressed dark deep flat flying full hard high hot light low open running simple single standing".split()
)
# What the sources lack or take for something else.
SAID = {
    "aged": "old", "bluish": "blue", "cubic": "square", "grey": "gray", "huge": "large", "icy": "snowy",
    "little": "small", "tiny": "small", "violet": "purple", "wood": "wooden",
}  # fmt: skip


def survey() -> dict[str, str]:
    """Color names and their sRGB hex triples: the XKCD survey first, CSS for what it lacks. Needs matplotlib."""
    try:
        from matplotlib.colors import CSS4_COLORS, XKCD_COLORS
    except ImportError as error:
        raise MissingExtra("the color names of matplotlib are needed", "pip install maquette[vocabulary]") from error
    named = {name.removeprefix("xkcd:"): value for name, value in XKCD_COLORS.items()}
    return {name: value for name, value in (CSS4_COLORS | named).items() if not RUDE.search(name) and "/" not in name}


def nearest_colors(named: dict[str, str], known: Known, wordnet: WordNet) -> dict[str, str]:
    """Color name -> palette name: the palette word in it, else by its triple, else what WordNet puts it under."""
    found: dict[str, str] = {}
    meant = ((s, name) for name in PALETTE for s in wordnet.noun_senses.get(name, []))
    above = {s: name for s, name in meant if wordnet.nouns[s].lexfile == ATTRIBUTE}
    for lemma, senses in wordnet.noun_senses.items():
        for offset in senses:
            hues = sorted((-wordnet.information[o], above[o]) for o in wordnet.above[offset] if o in above)
            if hues and wordnet.nouns[offset].lexfile == ATTRIBUTE:
                found.setdefault(spoken(lemma), hues[0][1])
    for name, value in sorted(named.items()):
        inside = [word for word in re.findall(r"[a-z]+", name.replace("grey", "gray")) if word in PALETTE]
        found[spoken(name)] = inside[-1] if inside else palette_name(value)
    taken = PALETTE.keys() | known.attributes.keys() | known.nouns.keys()
    things = known.nouns.keys() - PALETTE.keys()  # "green apple" is a color of the survey, but better an apple
    return {key: hue for key, hue in found.items() if key not in taken and key.split()[-1] not in things}


def palette_name(value: str) -> str:
    """The palette name of "#rrggbb": that of the captions, except where people name colors otherwise than by hue.

    Deep pinks are called red (ruby), dark yellows green or brown (olive), pale dull oranges and yellows beige (tan,
    ivory), and pale reds pink (salmon, rose).
    """
    rgb = np.array([[int(value[i : i + 2], 16) for i in (1, 3, 5)]], np.uint8)
    name = str(color_names(rgb)[0])
    red, green, blue = (int(c) for c in rgb[0])
    top, least = max(red, green, blue), min(red, green, blue)
    saturation = (top - least) / max(top, 1)
    if name == "pink" and saturation > 0.8 and red > 2 * blue:
        return "red"
    if name == "yellow" and top < 150:
        return "green" if green >= red else "brown"
    if name in ("orange", "yellow") and top > 150 and saturation < (0.55 if name == "orange" else 0.3):
        return "beige"
    if name == "red" and top > 190 and least > 0.4 * top:
        return "pink" if blue > 0.8 * green else "orange"
    return name


def nearest_adjectives(known: Known, colors: dict[str, str], wordnet: WordNet) -> dict[str, str]:
    """Adjective -> attribute or color: synonyms, then what it is a special case of, then the color it is made from."""
    targets = {word for word in known.attributes if word in wordnet.adjective_senses and word not in TOO_WIDE}
    done = known.attributes.keys() | PALETTE.keys() | known.nouns.keys()
    found = {}
    for lemma, senses in wordnet.adjective_senses.items():
        word, best = spoken(lemma), (9.0, 0, "")
        if word in done or not re.fullmatch("[a-z]{3,}( [a-z]+)?", word):
            continue
        for rank, offset in enumerate(senses[:3]):
            synset = wordnet.adjectives[offset]
            for cost, near in ((0.0, [offset]), (0.3, synset.linked("&", "a") if synset.kind == "s" else [])):
                for other in near:
                    lemmas = [name.split("(")[0].lower().replace("_", "-") for name in wordnet.adjectives[other].lemmas]
                    # only where the attribute is meant in one of its own first two meanings
                    hits = [name for name in lemmas if name in targets and other in wordnet.adjective_senses[name][:2]]
                    best = min([best, *((cost + 0.2 * rank, -known.attributes[name], name) for name in hits)])
            sources = {spoken(name) for o in synset.linked("+ \\", "n") for name in wordnet.nouns[o].lemmas}
            hues = [colors.get(source, source) for source in sources if source[:3] == word[:3]]
            best = min([best, *((0.5 + 0.2 * rank, 0, hue) for hue in hues if hue in PALETTE)])
        if best[2]:
            found[word] = best[2]
    return found


def nearest_materials(known: Known, wordnet: WordNet) -> dict[str, str]:
    """Kinds of stone, metal, wood, leather and paper -> the word for it before a noun."""
    roots = {wordnet.noun_senses[word][sense - 1]: quality for quality, (word, sense) in MATERIALS.items()}
    found = {}
    for lemma, senses in wordnet.noun_senses.items():
        word = spoken(lemma)
        if word in known.attributes or word in known.nouns or not re.fullmatch("[a-z]{3,}", word):
            continue
        for offset in senses[:2]:
            is_substance = wordnet.nouns[offset].lexfile in SUBSTANCES
            kinds = [quality for root, quality in roots.items() if is_substance and root in wordnet.above[offset]]
            if kinds:
                found.setdefault(word, kinds[0])
    return found


def nearest_qualities(known: Known, wordnet: WordNet, named: dict[str, str]) -> dict[str, str]:
    """All of them: an oak table is wooden rather than brown, but a copper pot orange rather than metal."""
    colors, materials = nearest_colors(named, known, wordnet), nearest_materials(known, wordnet)
    strong = {word: quality for word, quality in materials.items() if quality not in COLORED}
    found = materials | nearest_adjectives(known, colors, wordnet) | colors | strong | SAID
    taken = {spoken(word) for word in known.attributes}
    return {word: quality for word, quality in found.items() if word not in taken}

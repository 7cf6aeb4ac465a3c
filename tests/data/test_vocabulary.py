"""The tables of words, made from a WordNet of eleven meanings and a handful of captions."""

import sys

import pytest

from maquette.core.errors import BadInput, MissingExtra
from maquette.data.nearest import meant, nearest_things
from maquette.data.qualities import nearest_colors, palette_name, survey
from maquette.data.vocabulary import head, read_known
from maquette.data.wordnet import read_wordnet, spoken
from maquette.priors.lexicon import deletions

# offset, lexicographer file, words, offset of what is more general, gloss
NOUNS = [
    (1, 3, ["entity"], None, "all"),
    (2, 5, ["animal"], 1, "a living thing that moves"),
    (3, 5, ["canine"], 2, "an animal with long teeth"),
    (4, 5, ["dog", "domestic_dog"], 3, "a canine that barks"),
    (5, 5, ["poodle"], 4, "a curly breed"),
    (6, 5, ["hound"], 4, "a hunting breed"),
    (7, 5, ["wolf"], 3, "a wild canine"),
    (8, 6, ["vehicle"], 1, "what transports"),
    (9, 6, ["car", "auto", "automobile"], 8, "with four wheels"),
    (10, 9, ["idea"], 1, "a thought"),
    (11, 18, ["person"], 1, "a human being"),
    (12, 13, ["food"], 1, "what is eaten"),
    (13, 13, ["food"], 1, "solid food"),
    (14, 7, ["red"], 1, "a color"),
    (15, 7, ["crimson"], 14, "a deep red"),
    (16, 18, ["cur"], 11, "an offensive term for a person"),
    (17, 5, ["cur"], 4, "a breed"),
]


@pytest.fixture
def wordnet(tmp_path):
    """A database folder in the format of wndb(5), read."""
    senses: dict[str, list[int]] = {}
    lines = ["  1 the licence stands here"]
    for offset, lexfile, lemmas, general, gloss in NOUNS:
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        pointers = f"001 @ {general:08d} n 0000" if general else "000"
        lines.append(f"{offset:08d} {lexfile:02d} n {len(lemmas):02x} {words} {pointers} | {gloss}  ")
        for lemma in lemmas:
            senses.setdefault(lemma, []).append(offset)
    (tmp_path / "data.noun").write_text("\n".join(lines))
    index = [f"{w} n {len(o)} 0 {len(o)} 0 {' '.join(f'{x:08d}' for x in o)}".strip() for w, o in senses.items()]
    (tmp_path / "index.noun").write_text("\n".join(index))
    (tmp_path / "noun.exc").write_text("wolves wolf\n")
    (tmp_path / "cntlist.rev").write_text("dog%1:05:00:: 1 42\n")
    for name in ("data.adj", "index.adj", "index.verb", "verb.exc", "index.adv"):
        (tmp_path / name).write_text("")
    return read_wordnet(tmp_path)


def row(noun: str, category: str, group: str, *captions: str, attributes: tuple[str, ...] = ()) -> dict:
    return {"noun": noun, "category": category, "group": group, "captions": captions, "attributes": list(attributes)}


@pytest.fixture
def known():
    return read_known(
        [
            row("dog", "dog", "animal", "a dog", "a brown dog"),
            row("big dog", "dog", "animal", "a big dog", attributes=("big",)),
            row("big car", "car", "vehicle", "a big car", attributes=("big",)),
            row("car", "car", "vehicle", "a car", "a car with a roof rack"),
            row("car with pillows", "car", "vehicle", "a car with pillows"),
            row("bacon", "food", "food", "bacon", "bacon, a type of food"),
        ]
    )


def test_known_words_come_from_the_captions(known):
    assert {"dog", "bacon", "rack", "next", "beside"} <= set(known.words)
    assert known.words == sorted(known.words)
    assert set(known.nouns) == {"dog", "car", "food", "bacon", "car with pillows"}  # big is an attribute
    assert known.attributes == {"big": 2}
    assert known.bare == ["bacon"]
    assert known.general == {"food"}
    assert "pillows" in known.parts


def test_synonyms_and_kinds_are_found_and_ideas_are_not(known, wordnet):
    things = nearest_things(known, wordnet)
    assert things["automobile"] == things["auto"] == "car"
    assert things["poodle"] == things["hound"] == "dog"
    assert "idea" not in things
    assert "dog" not in things


def test_insults_are_left_out(wordnet):
    assert meant("cur", wordnet) == []
    assert meant("dog", wordnet) == [(4, 1.0)]


def test_information_grows_downwards(wordnet):
    information = wordnet.information
    assert information[1] == 0
    assert information[2] < information[3] < information[4] < information[5] == 1
    assert wordnet.above[5] == {5, 4, 3, 2, 1}


def test_a_folder_that_is_no_wordnet_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"data\.noun"):
        read_wordnet(tmp_path)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("#dc143c", "red"), ("#000080", "blue"), ("#40e0d0", "teal"), ("#808000", "green"), ("#d2b48c", "beige"),
        ("#ff796c", "pink"), ("#a83c09", "brown"), ("#111111", "black"), ("#fafafa", "white"), ("#c20078", "pink"),
    ],
)  # fmt: skip
def test_color_triples_get_the_name_that_a_person_gives(value, name):
    assert palette_name(value) == name


def test_color_names(known, wordnet):
    found = nearest_colors(
        {"Dark Grey": "#333333", "sky": "#82cafc", "dog green": "#00ff00", "sad dog": "#ff0000"}, known, wordnet
    )
    assert found["dark grey"] == "gray"
    assert found["sky"] == "blue"
    assert found["dog green"] == "green"
    assert found["crimson"] == "red"  # from WordNet, which the survey lacks here
    assert "sad dog" not in found  # better a dog


def test_survey_names_the_extra_that_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.colors", None)
    with pytest.raises(MissingExtra, match="matplotlib"):
        survey()


def test_small_helpers():
    assert head("bowl of soup") == "bowl"
    assert head("wall lamp") == "lamp"
    assert spoken("Jack-o'-lantern") == "jack o lantern"
    assert deletions("abc", 1) == {"abc", "ab", "ac", "bc"}
    assert "a" in deletions("abc")

"""Words of a prompt against what a person expects of them; expectations were written down before the table existed."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.color import PALETTE
from maquette.core.errors import BadInput
from maquette.priors.lexicon import FOLDER, key_of, read_lexicon, shipped, singulars
from maquette.priors.prompts import MOST_WORDS, caption_words, suggestions, understand, vocabulary

# word: what a person would accept, best first. The tables were tuned on this one.
THINGS = """
automobile: car
motorcar: car
limousine: car, sedan car, luxury suv
minivan: van, car
jeep: car, suv, luxury suv, truck
lorry: truck
pickup truck: flatbed truck, truck
aeroplane: airplane
jet: airplane, commercial airplane, military airplane, private plane
helicopter: airplane, military airplane, small plane, private plane, vehicle
motorbike: motorcycle
bike: bicycle, motorcycle
yacht: boat, sailing ship, motorboat, ship, speedboat
kayak: canoe
ferry: boat, ship, cruise ship
submarine: ship, boat
galleon: sailing ship, ship, viking ship
locomotive: train locomotive, train
tram: train, bus, vehicle
fire engine: fire truck
cab: taxi
starship: spaceship
bulldozer: tractor
puppy: dog
poodle: dog
hound: dog
kitten: cat
kitty: cat
pony: horse
stallion: horse
mare: horse
calf: cow
hen: bird
rooster: bird
duck: bird
owl: bird, eagle
parrot: bird
penguin: bird, seagull
hawk: eagle, bird
hog: pig
piglet: pig
lamb: sheep
goat: sheep
giraffe: deer, elk, animal, horse, zebra
elephant: animal, cow, horse
lion: cat, animal
tiger: cat, animal
rabbit: rat, animal
hamster: rat, animal
camel: llama, alpaca
viper: snake
cobra: snake
toad: frog
crocodile: dinosaur, animal, snake
trout: fish, tuna
orca: whale, dolphin
butterfly: insect, bee, wasp
ant: insect, bee, wasp
tarantula: spider
boy: man
girl: woman
lady: woman
doctor: man, woman, character
wizard: mage
sorceress: witch, mage
warrior: soldier, knight, barbarian
monarch: king
queen: king, woman
princess: woman, king
buccaneer: pirate
cosmonaut: astronaut
spaceman: astronaut
ghoul: zombie, ghost, monster, demon
android: robot
extraterrestrial: alien
settee: sofa, couch
loveseat: sofa, couch, two-seat sofa
recliner: armchair, lounge chair, chair
rocking chair: chair
throne: chair
dresser: cabinet, drawer cabinet, nightstand, closet
cupboard: cabinet, kitchen cabinet, closet, bathroom cabinet
refrigerator: fridge
telly: television
tv: television
dustbin: trash can
wastebasket: trash can
mattress: bed
hamburger: burger
doughnut: donut
frankfurter: hot dog, sausage, meat sausage
aubergine: eggplant
bread: loaf of bread, round loaf of bread, baguette
bagel: bun, donut, burger bun
tangerine: orange
lime: lemon, orange
peach: apple, fruit, pear, orange
plum: apple, fruit, cherries
zucchini: vegetable, eggplant, pumpkin
cola: soda, soda can, soda bottle
rose: flower
tulip: flower
daisy: flower
maple: tree, oak tree
fir: pine tree, tree
spruce: pine tree, tree
shrub: bush
sabre: sword, scimitar, cutlass
rapier: sword
handgun: pistol
carbine: rifle
bazooka: rocket launcher
lance: spear
hatchet: axe, small axe
tomahawk: axe, small axe
cottage: house
mansion: house
hut: house, cabin on a hexagonal tile, small building
skyscraper: building, tower
cathedral: church
chapel: church
fortress: castle
citadel: castle
lighthouse: tower
store: shop
pub: tavern, inn
cash: coin, bag of coins, pile of coins
flashlight: torch, lamp, lantern
novel: book
rucksack: backpack
knapsack: backpack
suitcase: bag, backpack, chest, flat bag
purse: bag, pouch
pail: bucket
cask: barrel, keg
jug: jar, bottle, vase
kettle: cooking pot, cauldron, large cooking pot
wok: frying pan, pan
boulder: rock, large rock
hill: mountain
volcano: mountain
moon: planet, asteroid
sun: star, planet
gemstone: gem, jewel, crystal
diamond: gem, jewel, crystal, gems
guitar: radio, item, -
trumpet: item, -
cellphone: device, computer, radio
hat: helmet
armour: armor, chest armor
tombstone: gravestone
headstone: gravestone
casket: coffin
gravel: rock, pebble, rocks, small rocks
stairway: stairs
staircase: stairs
lightbulb: lamp
streetlamp: streetlight, street light, lamp post
"""

TYPOS = """
aple: apple
bannana: banana
hosue: house
casle: castle
sowrd: sword
drgon: dragon
tabel: table
chiar: chair
mushrom: mushroom
pirat: pirate
spaceshp: spaceship
skeletn: skeleton
zombi: zombie
tomatoe: tomato
watermellon: watermelon
"""

PLURALS = """
dogs: dog
wolves: wolf
knives: knife
boxes: box
ponies: horse
cacti: cactus
men: man
women: woman
sheep: sheep
geese: bird
puppies: dog
churches: church
loaves: loaf of bread
cherry: cherries
apples: apple
tomatoes: tomato
"""

REFUSED = """
democracy justice happiness thursday seven love algorithm mathematics quickly asdfgh xqzzyv yesterday beautiful
theory honesty winter running philosophy hello
"""

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

SENTENCES = """
a red automobile: a red car
crimson sofa: a red sofa
a puppy on a couch: a dog on a couch
an automobile: a car
a orange: an orange
an enormous crimson automobile!: a large red car
A Knight ON a horse: a knight on a horse
a knight riding a stallion: a knight on a horse
the king's crown: a king crown
two dogs: a dog
palm tree: a palm tree
a rusty old car: a brown old car
a wizard with a blue helmet: a mage with a blue helmet
a red and blue aeroplane: a red and blue airplane
please make me a 3d model of a yellow taxi: a yellow taxi
a low poly tree: a low poly tree
a dark green shrub: a green bush
a sky blue mug: a blue mug
a chair made of wood: a wooden chair
a car without wheels: a car
a dog next to a tree: a dog next to a tree
a house with a red roof: a house with a red roof
"""

# Two more lists, written down later and run once before anything was changed for them: 78 and 79 % were accepted.
SECOND_THINGS = """
coupe: car, sports car
sedan: sedan car, sports sedan, car
steamship: ship
sailboat: boat, sailing ship
dinghy: boat, rowboat
biplane: airplane
hearse: car
tricycle: bicycle, motorcycle, vehicle
dalmatian: dog
terrier: dog
collie: dog
foal: horse
sparrow: bird
swan: bird
ostrich: bird
python: snake
beetle: insect
mosquito: insect, wasp, bee
squirrel: rat, animal
moose: elk, deer
buffalo: cow, bull, animal
lobster: crab
dragonfly: insect
salmon: fish, salmon sushi
vicar: man
nun: woman
archer: man, soldier
sailor: man, pirate
corpse: zombie, skeleton
fiend: demon, monster
werewolf: monster, wolf
footstool: stool
cot: bed
divan: sofa
cauliflower: vegetable, broccoli, cabbage
clementine: orange
raspberry: strawberry, fruit
brownie: cake, cookie
spaghetti: food, plate of food
cheddar: cheese
birch: birch tree, tree
cedar: pine tree, tree
lily: flower, water lily
orchid: flower
broadsword: sword
musket: rifle, gun
javelin: spear
dynamite: bomb
palace: castle
villa: house
mosque: temple, church
bungalow: house
bakery: shop
goblet: chalice, cup, glass, wine glass
tumbler: glass
saucepan: cooking pot, pan
satchel: bag, backpack
ruby: gem, jewel
meteorite: meteor, asteroid
comet: meteor, asteroid, star
cliff: mountain, rock, rock formation
cave: mine, mine entrance, rock formation
bible: book
bracelet: ring, necklace
tiara: crown
handbag: bag
dollar: coin
tomb: grave, crypt, gravestone
"""
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

THIRD_THINGS = """
ambulance car: ambulance, car
trolley: cart, bus
sloop: boat, sailing ship, ship
rickshaw: cart, bicycle
hawk: eagle, bird
leopard: cat, animal
monkey: animal
ox: cow, bull
turtle: animal, dinosaur
moth: insect, bee
shrimp: crab, animal, food, fish
baker: man
priestess: woman, witch, mage
gladiator: soldier, knight, barbarian, man
chieftain: king, man
ogre: orc, monster, goblin, stone giant
bookcase shelf: shelf
couch bed: bed
freezer: fridge
lampshade: lamp
rucksacks: backpack
tureen: bowl
platter: plate
carafe: bottle
cleaver: knife, axe
pitchfork: fork, tool
crowbar: lever
machete: knife, sword
shotguns: shotgun
howitzer: cannon, mortar
turret: tower, gun turret
monastery: temple, church, building
hovel: house, small building, cabin on a hexagonal tile
wharf: dock
poplar: tree
sunflower: flower
toadstool: mushroom
emeralds: gem, jewel, gems
gingerbread: cake, cookie
pastry: pie, cake, croissant
cucumber: vegetable, pumpkin
blueberries: cherries, fruit, strawberry
"""

SURE = """
automobile: car, crimson: -, puppy: dog, sofa: sofa, couch: couch, aple: apple, dogs: dog, motorcar: car, poodle: dog,
kitten: cat, stallion: horse, fire engine: fire truck, aeroplane: airplane, refrigerator: fridge, doughnut: donut,
hamburger: burger, knapsack: backpack, pail: bucket, citadel: castle, pub: tavern, monarch: king, wizard: mage,
wolves: wolf, knives: knife, cacti: cactus, boulder: rock, shrub: bush, rapier: sword, democracy: -
"""


def rows(table: str) -> list[tuple[str, list[str]]]:
    """(word, accepted answers) for each line."""
    lines = [line.partition(": ") for line in table.strip().splitlines()]
    return [(word, answers.split(", ")) for word, _, answers in lines]


def thing(word: str) -> str:
    """What a word is understood as: a noun, or "-"."""
    try:
        return understand(f"a {word}").nouns[0]
    except BadInput:
        return "-"


def quality(word: str) -> str:
    """What a word before a noun is understood as, or "-"."""
    return re.fullmatch("an? (.*)box", understand(f"a {word} box").understood)[1].strip() or "-"


@pytest.mark.parametrize(
    ("table", "answer", "floor"),
    [
        (THINGS, thing, 0.9),
        (TYPOS, thing, 0.9),
        (PLURALS, thing, 0.9),
        (QUALITIES, quality, 0.9),
        (SECOND_THINGS, thing, 0.78),
        (SECOND_QUALITIES, quality, 0.78),
        (THIRD_THINGS, thing, 0.78),
    ],
)
def test_accuracy_stays_above_its_floor(table, answer, floor):
    answers = [(word, answer(word), accepted) for word, accepted in rows(table)]
    wrong = [row for row in answers if row[1] not in row[2]]
    assert len(wrong) <= (1 - floor) * len(answers), wrong


def test_the_lists_are_long_enough_to_mean_something():
    assert len(rows(THINGS)) > 150
    assert sum(len(rows(table)) for table in (THINGS, TYPOS, PLURALS, QUALITIES, SECOND_THINGS, THIRD_THINGS)) > 300


@pytest.mark.parametrize("pair", re.findall(r"([^:,\n]+): ([^,\n]+)", SURE))
def test_obvious_words(pair):
    assert thing(pair[0].strip()) == pair[1]


@pytest.mark.parametrize(
    ("word", "color"),
    [("crimson", "red"), ("navy", "blue"), ("turquoise", "teal"), ("grey", "gray"), ("reddish", "red")],
)
def test_obvious_colors(word, color):
    assert quality(word) == color
    assert understand(f"a {word} box").colors == (color,)


@pytest.mark.parametrize("word", REFUSED.split())
def test_words_for_no_thing_are_refused(word):
    with pytest.raises(BadInput, match="nothing to make"):
        understand(word)


@pytest.mark.parametrize(("given", "expected"), [line.rsplit(": ", 1) for line in SENTENCES.strip().splitlines()])
def test_sentences(given, expected):
    assert understand(given).understood in (expected, expected.replace("large", "big"))


def test_what_is_replaced_and_left_out_is_said():
    answer = understand("a shiny crimson automobile under a tree")
    assert answer.replaced == (("crimson", "red"), ("automobile", "car"), ("under", "next to"))
    assert answer.ignored == ("shiny",)
    assert answer.nouns == ("car", "tree")
    assert answer.colors == ("red",)
    assert answer.notice.startswith("understood as: a red car next to a tree (crimson -> red; ")
    assert "left out: shiny" in answer.notice


@pytest.mark.parametrize("prompt", ["a red apple", "A Red Apple!", "  red   apple ", "the red apple"])
def test_a_known_sentence_needs_no_notice(prompt):
    answer = understand(prompt)
    assert answer.understood == "a red apple"
    assert answer.notice is None
    assert answer.replaced == answer.ignored == ()


def test_negation_is_said_to_be_not_understood():
    assert "negation is not understood, left out: without wheels" in understand("a car without wheels on a road").notice
    with pytest.raises(BadInput, match="negation"):
        understand("not a dog")


def test_every_known_noun_is_kept_with_a_color():
    answers = [understand(f"a red {noun}") for noun in shipped().nouns.values()]
    assert len(answers) > 1000
    assert [answer for answer in answers if answer.understood != answer.given or answer.notice] == []


def test_answers_are_fixed_points_with_known_words_only():
    words = set(caption_words())
    prompts = [f"a {word} on a {other}" for word in shipped().things for other in ("crate",)][::7] + [
        line.rsplit(": ", 1)[0] for line in SENTENCES.strip().splitlines()
    ]
    for prompt in prompts:
        said = understand(prompt).understood
        assert set(re.findall("[a-z]+", said)) <= words
        assert understand(said).understood == said


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["a", "red", "car", "of", "with", "no", ",", "aple", "and"])).map(" ".join)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_understood_or_refused(text):
    try:
        answer = understand(text)
    except BadInput:
        return
    assert answer.nouns
    assert len(re.findall("[a-z]+", answer.understood)) <= MOST_WORDS
    assert set(re.findall("[a-z]+", answer.understood)) <= shipped().words
    assert understand(answer.understood).nouns


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "   ",
        "\n\t",
        "a\0car",
        "a\x1b[31mcar",
        "\ud800 car",
        "car " * 251,
        "x" * 100_000,
        "🚗",
        "مرحبا",
        "/etc/passwd",
        "123",
        "?!",
    ],
)
def test_bad_text_is_refused_at_once(bad):
    shipped()
    start = time.process_time()
    with pytest.raises(BadInput) as caught:
        understand(bad)
    assert time.process_time() - start < 1.0
    assert len(str(caught.value)) < 400
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("bad", [None, 3, b"a car", ["a car"]])
def test_other_types_are_refused(bad):
    with pytest.raises(BadInput, match="expected text"):
        understand(bad)


@pytest.mark.parametrize("prompt", ["a 🚗 car", "\u202ea car", "../a/car.obj", "a càr", "a car ‮"])
def test_strange_signs_beside_known_words_do_no_harm(prompt):
    assert understand(prompt).understood == "a car"


@pytest.mark.parametrize(
    "prompt", ["qwrtz " * 166, "a b c d e f g " * 70, "car " * 250, "red " * 200 + "car", "no " * 333]
)
def test_the_longest_prompts_are_quick(prompt):
    start = time.process_time()
    try:
        answer = understand(prompt[:1000])
        assert len(answer.understood.split()) <= MOST_WORDS
    except BadInput:
        pass
    assert time.process_time() - start < 1.5


def test_what_the_encoder_cannot_read_is_left_out_and_said():
    answer = understand("a red car with a blue roof next to a green tree next to a brown house on a big table")
    assert answer.understood == "a red car with a blue roof next to a green tree next to a brown house"
    assert answer.ignored == ("big", "table")
    assert "left out: big, table" in answer.notice
    front = understand("a red car with a blue roof next to a green tree next to a brown house, seen from the front")
    assert front.understood == "a red car with a blue roof next to a green tree, seen from the front"


def test_articles_are_those_of_the_captions():
    for prompt in ("a ufo", "an apple", "a one-story building", "bacon", "flowers", "an uzi", "a wheat"):
        assert understand(prompt).understood == prompt
    assert understand("ufo").understood == "a ufo"
    assert understand("an automobile and a android").understood == "a car and a robot"


def test_the_shipped_tokenizer_has_every_word():
    tokenizer = FOLDER.parent / "multiview" / "tokenizer" / "tokenizer.json"
    tokens = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    assert set(caption_words()) <= set(tokens)


def test_a_color_alone_is_no_thing():
    with pytest.raises(BadInput, match="red is what a thing can be, not a thing"):
        understand("red")
    assert understand("an orange").nouns == ("orange",)
    assert understand("an orange car").colors == ("orange",)
    assert understand("a car in red and orange").nouns == ("car",)


def test_suggestions():
    assert suggestions("automobile")[0] == "car"
    assert "police car" in suggestions("police")
    assert suggestions("aple")[0] == "apple"
    assert suggestions("democracy") == []
    assert len(suggestions("tree")) <= 5
    with pytest.raises(BadInput, match="police car"):
        understand("police")


def test_vocabulary_lists_what_is_shipped():
    known = vocabulary()
    assert list(known) == ["nouns", "colors", "attributes", "function words"]
    assert set(known["colors"]) == set(PALETTE)
    assert {"pine tree", "car", "jack-o'-lantern"} <= set(known["nouns"])
    assert {"wooden", "small"} <= set(known["attributes"])
    assert {"a", "with", "on"} <= set(known["function words"])
    words = set(caption_words())
    assert all(list_ == sorted(list_) for list_ in known.values())
    assert {word for kind in known.values() for phrase in kind for word in re.findall("[a-z]+", phrase)} <= words


def test_tables_lead_only_to_known_words():
    lexicon = shipped()
    assert set(lexicon.things.values()) <= set(lexicon.nouns.values())
    assert set(lexicon.likenesses.values()) <= set(lexicon.qualities.values())
    assert not set(lexicon.things) & set(lexicon.nouns)
    assert not set(lexicon.likenesses) & set(lexicon.qualities)


def test_reading_is_quick_and_small():
    start = time.process_time()
    read_lexicon(FOLDER)
    assert time.process_time() - start < 0.25  # about 0.02 s on an idle core
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


def test_keys_and_singulars():
    assert key_of("Sci-Fi  crate") == "sci fi crate"
    assert key_of("the king's café") == "the king cafe"
    assert "wolf" in singulars("wolves")
    assert "cherry" in singulars("cherries")
    assert singulars("glass") == []

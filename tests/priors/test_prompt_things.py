"""Words for things against what a person expects of them; expectations were written down before the table existed."""

import re

import pytest

from maquette.core.errors import BadInput
from maquette.priors.prompts import understand

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

# Written down later and run once before anything was changed for it: 78 % were accepted.
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


def thing(word: str) -> str:
    """What a word is understood as: a noun, or "-"."""
    try:
        return understand(f"a {word}").nouns[0]
    except BadInput:
        return "-"


@pytest.mark.parametrize(
    ("table", "floor"),
    [(THINGS, 0.9), (TYPOS, 0.9), (PLURALS, 0.9), (SECOND_THINGS, 0.78), (THIRD_THINGS, 0.78)],
    ids=["things", "typos", "plurals", "second", "third"],
)
def test_accuracy_stays_above_its_floor(assert_accurate, table, floor):
    assert_accurate(table, thing, floor)


def test_the_lists_are_long_enough_to_mean_something(rows):
    assert len(rows(THINGS)) > 150
    assert sum(len(rows(table)) for table in (THINGS, TYPOS, PLURALS, SECOND_THINGS, THIRD_THINGS)) > 262


@pytest.mark.parametrize("pair", re.findall(r"([^:,\n]+): ([^,\n]+)", SURE))
def test_obvious_words(pair):
    assert thing(pair[0].strip()) == pair[1]


@pytest.mark.parametrize("word", REFUSED.split())
def test_words_for_no_thing_are_refused(word):
    with pytest.raises(BadInput, match="nothing to make"):
        understand(word)

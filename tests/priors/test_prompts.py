"""Words of a prompt against what a person expects of them; expectations were written down before the table existed."""

import pytest

from maquette.core.errors import BadInput
from maquette.priors.prompts import understand

# word: what a person would accept, best first. Used for the accuracy floor; SURE below must hold exactly.
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
theory honesty winter running philosophy money-back hello
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
a wizard with a blue hat: a mage with a blue helmet
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

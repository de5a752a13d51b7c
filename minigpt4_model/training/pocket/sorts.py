"""What sort of thing a picture shows: an animal, food, a vehicle. By the headings of `concepts.txt`, and by word for what is in none.

Texts use it to say what fits (an animal sleeps, a vehicle drives) and to find things that are alike. Knows no pixels.
"""

import re
from collections import Counter
from functools import cache
from importlib import resources

from .names import slug, table
from .render import Sprite

SORTS = ("animal", "plant", "nature", "food", "thing", "vehicle", "place", "face", "symbol", "body", "person")

_HEADINGS = {
    "Animals": "animal", "Plants and nature": "nature", "Food and drink": "food", "Things": "thing", "Faces": "face",
    "Hearts, shapes and signs": "symbol", "Body": "body", "People": "person",
}  # fmt: skip
_PEOPLE = frozenset({"man", "woman", "person", "people"})
# What stands under a heading, or in no list, and is of another sort than its neighbours.
_WORDS = {
    "vehicle": """ambulance bicycle canoe helicopter motorcycle rocket sailboat tractor tram monorail airplane plane truck rickshaw car
        suv van taxi bus train scooter ship boat saucer ufo jet tank submarine bulldozer tricycle boxcar caboose carriage
        wheelchair sled engine locomotive limousine jeep vehicle aircraft airship schooner catamaran trimaran fireboat
        lifeboat gondola bobsled dogsled oxcart unicycle go-kart golfcart snowmobile snowplow forklift harvester thresher
        shuttle cart""",
    "place": """castle church factory hospital hotel lighthouse school stadium house building store office hut temple shrine mosque
        synagogue kaaba chapel bridge mountain volcano island desert park campsite city highway sunrise sunset landscape farm
        fort inn igloo windmill cottage graveyard pyramid barn palace monastery library bakery restaurant bookshop barbershop
        cinema prison dam pier seashore lakeside valley cliff geyser yurt greenhouse""",
    "animal": """lemur weasel hyena platypus echidna armadillo porcupine mongoose meerkat lynx cougar jaguar cheetah hummingbird goose
        hen ray starfish centipede salamander marmot wombat antelope ibex bison chimpanzee guinea-pig stork heron vulture
        pelican ostrich toucan seagull pigeon dragonfly grasshopper hornet moth iguana yak zebu ferret capybara insect slug
        tick mantis seahorse""",
    "plant": """flower rose tulip sunflower hibiscus hyacinth blossom lotus bouquet daisy daffodil tree palm leaf leaves herb seedling
        cactus clover shamrock fern bamboo plant mushroom""",
    "food": """guacamole carbonara burrito cheeseburger pretzel bagel trifle meat-loaf potpie consomme espresso eggnog pomegranate
        jackfruit fig zucchini cauliflower artichoke squash dough lolly loaf wine mashed-potato""",
    "person": "bridegroom ballplayer diver baby boy girl child family couple selfie",
    "thing": "web print prints paw germ shell wing feather coral nose cup fork knife spoon chopsticks plate bottle jar amphora glass",
}
_SORT_OF_WORD = {word.replace("-", " "): sort for sort, words in _WORDS.items() for word in words.split()}


@cache
def _headings() -> tuple[dict[str, str], dict[str, str]]:
    """Icon and slug of a name -> the sort its heading stands for; head noun -> the sort most of its icons have."""
    exact, by_head, heading = {}, {}, ""
    for line in resources.files(__package__).joinpath("concepts.txt").read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = _HEADINGS.get(line[3:].strip(), "thing")
        elif line.strip() and not line.startswith("#"):
            for icon in line.split("|")[0].split():
                shown = table()[icon]
                exact[icon] = exact[shown.concept] = heading
                by_head.setdefault(shown.head, Counter())[heading] += 1
    return exact, {head: counts.most_common(1)[0][0] for head, counts in by_head.items()}


def sort_of(sprite: Sprite) -> str:
    """One of `SORTS`."""
    if is_person(sprite):
        return "person"
    exact, by_head = _headings()
    known = _SORT_OF_WORD.get(sprite.name.lower()) or _SORT_OF_WORD.get(sprite.head)
    return known or exact.get(sprite.icon) or exact.get(slug(sprite.name)) or by_head.get(sprite.head, "thing")


def is_person(sprite: Sprite) -> bool:
    return bool(_PEOPLE & set(sprite.synonyms)) or _SORT_OF_WORD.get(sprite.head) == "person"


def alike(one: Sprite, other: Sprite) -> bool:
    """Whether a word for the one could name the other or a part of it ("bicycle" and "man riding a bicycle", "bird" and "owl")."""
    related = bool(set(one.synonyms) & set(other.synonyms)) or bool(_stems(one.name) & _stems(other.name))
    return related or bool(_families(one.name, one.head) & _families(other.name, other.head))


@cache
def _stems(name: str) -> frozenset[str]:
    return frozenset(word.rstrip("s") for word in re.findall(r"[a-z]{3,}", name.lower())) - {"the", "with", "and", "face", "two"}


# Where the one may be called the other, or is taken for it.
_FAMILIES = tuple(
    frozenset(words.split())
    for words in (
        """bird eagle owl duck penguin parrot peacock swan turkey chicken rooster flamingo dove chick dodo phoenix goose hen
        ostrich pelican pigeon toucan vulture heron seagull stork hummingbird nest wing feather blackbird crow""",
        "fish shark whale dolphin pufferfish seahorse squid ray seal orca sushi fishing",
        """bug insect ant beetle cricket cockroach ladybug bee fly mosquito caterpillar spider butterfly moth dragonfly
        grasshopper hornet mantis worm snail slug centipede tick web""",
        "monkey gorilla orangutan chimpanzee lemur",
        "bear panda koala",
        "cat lion tiger leopard cheetah jaguar lynx cougar",
        "dog wolf fox poodle hyena raccoon",
        "horse zebra donkey unicorn camel llama carousel",
        "deer moose reindeer antelope",
        "mouse rat hamster squirrel",
        "cow buffalo bison ox bull ram sheep goat",
        "lizard crocodile dragon dinosaur snake iguana salamander",
        "car taxi suv van jeep limousine truck ambulance bus vehicle minibus engine police tractor camper",
        "train tram monorail locomotive railway metro caboose boxcar cable",
        "boat ship canoe sailboat submarine gondola schooner catamaran lifeboat rowing",
        "airplane plane jet helicopter rocket",
        "bicycle motorcycle scooter tricycle unicycle wheel wheelchair rickshaw",
        """house building hut cottage castle church hotel factory hospital school store office tower temple mosque synagogue
        chapel city shrine stadium barn palace monastery""",
        "flower rose tulip sunflower hibiscus hyacinth blossom lotus bouquet daisy daffodil plant petals rosette",
        "tree plant leaf leaves herb seedling cactus clover shamrock palm pine",
        "shoe boot sandal sneaker slipper clog loafer shoes",
        "hat cap helmet crown sombrero fedora bonnet",
        "ball baseball basketball football softball volleyball globe",
        "bag purse handbag backpack suitcase briefcase",
        "cup mug glass bottle jar tea coffee milk drink wine beer pot teapot kettle cocktail vase",
        "phone telephone pager tablet mobile",
        "computer laptop monitor television screen keyboard",
        "camera projector selfie",
        "book notebook ledger newspaper paper page scroll memo note letter envelope card receipt",
        "clock watch stopwatch timer hourglass alarm",
        "light lamp bulb candle lantern flashlight torch fire flame",
        "shirt coat jacket dress blouse kimono sari clothes vest uniform suit gown",
        "knife sword dagger fork spoon saw axe",
        "face head mouth lips lip nose eye eyes ear tongue tooth emoji smile skull mask",
        "hand hands finger fist thumb thumbs arm handshake",
        "star sun moon planet sparkles",
        "heart love",
        "cake cupcake bread pie cookie dessert pancake pancakes bagel croissant baguette",
        "fruit apple pear peach orange lemon lime mango melon cherry cherries strawberry grapes tomato",
        "mountain volcano hill island desert landscape sunrise park beach campsite",
        "key lock padlock keys",
        "money coin dollar bill banknote",
        "square circle diamond triangle ring shape button",
        "sign symbol mark arrow",
        "drum drums guitar violin banjo cello harp instrument music notes",
        "gear wheel",
    )
)  # fmt: skip


@cache
def _families(name: str, head: str) -> frozenset[int]:
    words = set(re.findall(r"[a-z]+", name.lower())) | {head}
    return frozenset(index for index, family in enumerate(_FAMILIES) if words & family)

"""What a picture of the corpus shows: its concept, name, head noun and the other words a judge accepts.

The table is `concepts.txt` beside this file (its head explains the format); the rules here add what follows a pattern:
skin tones are dropped, people with an occupation or an activity are put into words. Names are shared by all collections, so that
the dog of one set and the dog of another are one concept. Knows no pixels.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from .collections import HELD_OUT_STYLE, TRAIN, Collection, fingerprint
from .wording import KINDS

HELD_OUT_OBJECT, HELD_OUT_FILE = "held-out object", "held-out file"
SPLITS = (TRAIN, HELD_OUT_FILE, HELD_OUT_OBJECT, HELD_OUT_STYLE)

_SKIN_TONE = re.compile(r"(-(medium-)?(light|dark|medium)(-skin-tone)?$|skin-tone|-tone-?\d)")
_PERSON = re.compile(r"^(man|woman|person|people|men|women)-(.+?)(-facing-right)?$")

# icon name: (name, synonyms)
_OCCUPATIONS = {
    "artist": ("artist", ("painter",)), "astronaut": ("astronaut", ("spaceman",)), "construction-worker": ("construction worker", ("builder",)),
    "cook": ("cook", ("chef",)), "detective": ("detective", ("spy",)), "factory-worker": ("welder", ("factory worker",)),
    "fairy": ("fairy", ()), "farmer": ("farmer", ()), "firefighter": ("firefighter", ("fireman",)), "genie": ("genie", ()),
    "health-worker": ("doctor", ("nurse", "health worker")), "judge": ("judge", ()), "mage": ("wizard", ("mage", "witch", "magician")),
    "mechanic": ("mechanic", ()), "office-worker": ("office worker", ("businessman", "businesswoman")), "pilot": ("pilot", ("captain",)),
    "police-officer": ("police officer", ("policeman", "policewoman", "cop")), "scientist": ("scientist", ("chemist",)),
    "singer": ("singer", ("rock star",)), "student": ("student", ("graduate",)), "superhero": ("superhero", ("hero",)),
    "supervillain": ("villain", ("supervillain",)), "teacher": ("teacher", ()), "technologist": ("programmer", ("computer", "laptop")),
    "vampire": ("vampire", ("dracula",)), "zombie": ("zombie", ("monster",)),
}  # fmt: skip
# icon name: (what the person does or has, synonyms)
_ACTIVITIES = {
    "biking": ("riding a bicycle", ("bicycle", "bike", "cyclist")), "mountain-biking": ("riding a mountain bike", ("bicycle", "bike", "cyclist")),
    "bouncing-ball": ("bouncing a ball", ("ball", "basketball")), "bowing": ("bowing", ()), "cartwheeling": ("doing a cartwheel", ("cartwheel",)),
    "climbing": ("climbing", ("climber",)), "facepalming": ("covering their face", ("facepalm",)), "feeding-baby": ("feeding a baby", ("baby",)),
    "frowning": ("frowning", ()), "pouting": ("frowning", ()), "gesturing-no": ("crossing their arms", ()),
    "gesturing-ok": ("making a circle with their arms", ()), "getting-haircut": ("getting a haircut", ("haircut", "scissors")),
    "getting-massage": ("getting a massage", ("massage",)), "golfing": ("playing golf", ("golfer", "golf")),
    "in-lotus-position": ("meditating", ("yoga",)), "in-manual-wheelchair": ("in a wheelchair", ("wheelchair",)),
    "in-motorized-wheelchair": ("in a motorized wheelchair", ("wheelchair",)), "in-steamy-room": ("in a sauna", ("sauna",)),
    "in-suit-levitating": ("in a suit", ("suit",)), "in-business-suit-levitating": ("in a suit", ("suit",)), "in-tuxedo": ("in a tuxedo", ("groom", "suit")),
    "juggling": ("juggling", ("juggler", "clown")), "kneeling": ("kneeling", ()), "lifting-weights": ("lifting weights", ("weightlifter", "weights")),
    "playing-handball": ("playing handball", ("handball", "ball")), "playing-water-polo": ("playing water polo", ("swimmer", "ball")),
    "raising-hand": ("raising a hand", ("hand",)), "rowing-boat": ("rowing a boat", ("boat", "rower")), "running": ("running", ("runner",)),
    "shrugging": ("shrugging", ()), "standing": ("standing", ()), "surfing": ("surfing", ("surfer", "surfboard")),
    "swimming": ("swimming", ("swimmer",)), "tipping-hand": ("holding up a hand", ()), "walking": ("walking", ("walker",)),
    "wearing-turban": ("wearing a turban", ("turban",)), "with-white-cane": ("with a white cane", ("cane", "blind")), "deaf": ("pointing to their ear", ("ear",)),
    "wrestling": ("wrestling", ("wrestlers",)), "with-bunny-ears": ("with bunny ears", ("dancers", "bunny ears")),
}  # fmt: skip
_OTHER_WORDS = {
    "man": ("person", "guy"), "woman": ("person", "lady"), "person": ("man", "woman"), "men": ("people",), "women": ("people",), "people": ()
}  # fmt: skip
_FXEMOJI_PEOPLE = {
    "bicyclist": "person-biking", "golfer": "person-golfing", "surfer": "man-surfing", "swimming": "person-swimming", "walking": "man-walking",
    "running": "man-running", "mensrunner": "man-running", "weightlifter": "person-lifting-weights", "haircut": "woman-getting-haircut",
    "headmassage": "woman-getting-massage", "bowing": "man-bowing", "turban": "man-wearing-turban", "construct": "construction-worker",
    "maninbusinesssuitlevitating": "man-in-suit-levitating", "handup": "woman-raising-hand", "nogesture": "woman-gesturing-no",
}  # fmt: skip

# Heads so common that a model of everyday things must see them in training; all others can be held out by object.
ALWAYS_TRAINED = frozenset(
    "face man woman person people hand heart cat dog car bird tree flower house fish horse book ball apple cup train truck bus boat "
    "star moon sun cloud clock phone hat shoe shirt bag box key chair cake bread pizza".split()
)
_HELD_OUT_OBJECTS_PERCENT = 5.5  # of head nouns; about 4 % of concepts, since the heads with many concepts are always trained
_HELD_OUT_FILES_PERCENT = 3.0


@dataclass(frozen=True)
class Named:
    """What a picture shows. `concept` is shared by every collection; `synonyms` hold the name and the head as well, in lower case."""

    concept: str
    name: str
    head: str
    kind: str
    synonyms: tuple[str, ...]


def named(name: str, head: str = "", kind: str = "", synonyms: tuple[str, ...] | list[str] = ()) -> Named:
    """Fills what the table leaves open. Raises ValueError for an unknown kind."""
    head, kind = head or head_noun(name), kind or "count"
    if kind not in KINDS:
        raise ValueError(f"concepts.txt: {name!r} has the unknown kind {kind!r}; kinds are {', '.join(KINDS)}.")
    words = dict.fromkeys(word.lower() for word in (name, head, *synonyms) if word)
    return Named(slug(name), name, head, kind, tuple(words))


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def head_noun(name: str) -> str:
    """The noun a name is about: its last word before "with", "of", "in" and the like ("glass of milk" -> "glass")."""
    return re.split(r" (?:with|without|of|in|on|at|behind|riding|from)\b", name)[0].split()[-1].lower()


@cache
def table() -> dict[str, Named]:
    """Icon name -> what it shows, from `concepts.txt`. Raises ValueError when a line is malformed or an icon is named twice."""
    found: dict[str, Named] = {}
    for number, line in enumerate(resources.files(__package__).joinpath("concepts.txt").read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        icons, *columns = (column.strip() for column in line.split("|"))
        if len(columns) > 4:
            raise ValueError(f"concepts.txt, line {number}: more than five columns.")
        name, head, kind, synonyms = [*columns, "", "", "", ""][:4]
        for icon in icons.split():
            if icon in found:
                raise ValueError(f"concepts.txt, line {number}: {icon} is named twice.")
            own_name = name or (icon if "|" not in line else icons.split()[0]).replace("-", " ")
            found[icon] = named(own_name, head, kind, [word.strip() for word in synonyms.split(",")])
    return found


@cache
def _joined() -> dict[str, Named]:
    """The same without hyphens, for collections that write icon names together."""
    return {icon.replace("-", ""): shown for icon, shown in table().items()}


def lookup(icon: str, collection: str = "") -> Named | None:
    """What an icon shows, or None for one that no person would name (or that is a skin-tone variant of another)."""
    if _SKIN_TONE.search(icon):
        return None
    if collection == "fxemoji":
        icon = _FXEMOJI_PEOPLE.get(icon, icon)
        return table().get(icon) or _joined().get(icon) or _person(icon)
    return table().get(icon) or _person(icon)


def _person(icon: str) -> Named | None:
    match = _PERSON.match(icon)
    who, what = (match[1], match[2]) if match else ("", icon)
    if what in _OCCUPATIONS:
        name, synonyms = _OCCUPATIONS[what]
        return named(name, "", "", (*synonyms, *((who, "person") if who else ("man", "woman", "person"))))
    if icon.startswith("deaf-"):
        who, what = icon.removeprefix("deaf-"), "deaf"
    if who and what in _ACTIVITIES:
        does, synonyms = _ACTIVITIES[what]
        kind = "plural" if who in ("men", "women", "people") else "count"
        name = f"two {who} {does}" if kind == "plural" else f"{who} {does.replace('their', {'man': 'his', 'woman': 'her'}.get(who, 'their'))}"
        shown = named(name, who, kind, (*synonyms, *_OTHER_WORDS[who]))
        return Named(slug(f"person {does}"), shown.name, shown.head, shown.kind, shown.synonyms)
    return None


def is_held_out_object(shown: Named) -> bool:
    """Whether no picture of this thing is trained on in any collection. Decided by the head noun, so that no sister of it is seen either."""
    return shown.head not in ALWAYS_TRAINED and _percentile("object", shown.head) < _HELD_OUT_OBJECTS_PERCENT


def split_of(collection: Collection, icon: str, shown: Named) -> str:
    """One of `SPLITS`. Deterministic: the same picture is in the same split on every machine."""
    if collection.split != TRAIN:
        return collection.split
    if is_held_out_object(shown):
        return HELD_OUT_OBJECT
    return HELD_OUT_FILE if _percentile("file", collection.name, icon) < _HELD_OUT_FILES_PERCENT else TRAIN


def _percentile(*parts: str) -> float:
    return int(fingerprint(*parts)[:8], 16) / 0xFFFFFFFF * 100

"""What a picture of the corpus shows: its concept, name, head noun and the other words a judge accepts.

The table is `concepts.txt` beside this file (its head explains the format); the rules here add what follows a pattern:
skin tones are dropped, people with an occupation or an activity are put into words. Names are shared by all collections, so that
the dog of one set and the dog of another are one concept. Knows no pixels.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from .collections import HELD_OUT_STYLE, TRAIN, Collection, fingerprint
from .wording import KINDS

HELD_OUT_OBJECT, HELD_OUT_FILE = "held-out object", "held-out file"
SPLITS = (TRAIN, HELD_OUT_FILE, HELD_OUT_OBJECT, HELD_OUT_STYLE)

_SKIN_TONE = re.compile(r"(-(medium-)?(light|dark|medium)(-skin-tone)?$|skin-tone|-tone-?\d)")
_PERSON = re.compile(r"^(man|woman|person|people|men|women)-(.+?)(-facing-right)?$")

_OTHER_WORDS = {
    "man": ("person", "guy"), "woman": ("person", "lady"), "person": ("man", "woman"), "men": ("people",), "women": ("people",),
    "people": (),
}  # fmt: skip
_FXEMOJI_PEOPLE = {
    "bicyclist": "person-biking", "golfer": "person-golfing", "surfer": "man-surfing", "swimming": "person-swimming",
    "walking": "man-walking", "running": "man-running", "mensrunner": "man-running", "weightlifter": "person-lifting-weights",
    "haircut": "woman-getting-haircut", "headmassage": "woman-getting-massage", "bowing": "man-bowing", "turban": "man-wearing-turban",
    "construct": "construction-worker", "maninbusinesssuitlevitating": "man-in-suit-levitating", "handup": "woman-raising-hand",
    "nogesture": "woman-gesturing-no", "okgesture": "woman-gesturing-ok",
}  # fmt: skip

# Heads so common that a model of everyday things must see them in training; all others can be held out by object.
_EVERYDAY = """
    face man woman person people hand heart cat dog car bird tree flower house fish horse book ball apple cup train truck bus boat
    star moon sun cloud clock phone hat shoe shirt bag box key chair cake bread pizza
"""
ALWAYS_TRAINED = frozenset(_EVERYDAY.split())
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
    """Icon name -> what it shows, from `concepts.txt`. Raises ValueError for a malformed line or an icon that is named twice."""
    found: dict[str, Named] = {}
    for number, line in _lines("concepts.txt"):
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


def _lines(file: str) -> list[tuple[int, str]]:
    """The lines of a table beside this file, numbered, without comments."""
    lines = resources.files(__package__).joinpath(file).read_text("utf-8").splitlines()
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]


@cache
def _people() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Part of an icon name -> ("is" or "has", words, synonyms), from `people.txt`."""
    found = {}
    for _, line in _lines("people.txt"):
        verb, icon, words, synonyms = ([column.strip() for column in line.split("|")] + [""])[:4]
        found[icon] = (verb, words, tuple(word.strip() for word in synonyms.split(",") if word.strip()))
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
    icon = re.sub(r"^deaf-(man|woman|person)$", r"\1-deaf", icon)
    match = _PERSON.match(icon)
    who, what = (match[1], match[2]) if match else ("", icon)
    verb, words, synonyms = _people().get(what) or (None, "", ())
    if verb == "is":
        return named(words, "", "", (*synonyms, *((who, "person") if who else ("man", "woman", "person"))))
    if verb == "has" and who:
        many = who in ("men", "women", "people")
        does = words.replace("their", {"man": "his", "woman": "her"}.get(who, "their"))
        shown = named(f"two {who} {does}" if many else f"{who} {does}", who, "plural" if many else "count", (*synonyms, *_OTHER_WORDS[who]))
        return replace(shown, concept=slug(f"person {words}"))
    return None


def is_held_out_object(shown: Named) -> bool:
    """Whether no picture of this thing is trained on in any collection: by head noun, so that no sister of it is seen either."""
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

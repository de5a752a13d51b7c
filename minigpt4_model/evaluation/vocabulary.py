"""The things that the corpus has names for, found in free text: what a caption names, and whether it is there.

Names are matched longest first, so that "hot dog" is one thing and no dog. A name is *there* when a thing of the picture may be
called so. Words that are no thing on a picture ("drawing", "background") or a kind of things ("animal") are not in the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ..training.pocket.judge import asserted, clauses, find_names, with_plurals
from . import corpus

# Kinds of things, parts of things, shapes, and words about the picture itself: naming them is never an object made up.
_NOT_AN_OBJECT = """
    animal bird insect bug fish fruit vegetable food drink vehicle plant thing object item tool toy picture image photo photograph
    drawing painting frame background foreground ground scene circle square triangle rectangle line shape dot spot stripe star sign symbol
    mark arrow point light dark shadow side middle center centre top bottom corner colour color face head hand eye eyes mouth nose ear hair
    arm leg foot body tail wing leaf leaves handle wheel button sky water air person man woman people boy girl child number letter word text
    paper white black red green blue yellow orange pink purple brown grey gray
"""
_NO_OBJECTS = frozenset(_NOT_AN_OBJECT.split())


@dataclass(frozen=True)
class Mention:
    """A name of the vocabulary that a text asserts, in its singular form."""

    name: str
    there: bool


@cache
def object_names() -> frozenset[str]:
    """The names and head nouns of the training corpus, in lower case."""
    things = corpus.trained_things()
    said = {word for sprite in things for word in (sprite.name.lower(), sprite.head.lower())}
    return frozenset(word for word in said if word not in _NO_OBJECTS and len(word) > 2)


@cache
def _called() -> dict[str, frozenset[str]]:
    """Name or head noun -> every other word for things called so."""
    found: dict[str, set[str]] = {}
    for sprite in corpus.trained_things():
        words = corpus.accepted(sprite)
        for word in (sprite.name.lower(), sprite.head.lower()):
            found.setdefault(word, set()).update(words)
    return {word: frozenset(words) for word, words in found.items()}


@cache
def _singular() -> dict[str, str]:
    """Every form in which a name can be found -> the name."""
    return {form: name for name in sorted(object_names()) for form in with_plurals([name])} | {name: name for name in object_names()}


def mentions(text: str, present: Sequence[str], asked: str = "") -> list[Mention]:
    """What `text` asserts to be there, each name once. `present` are all words for what is there; the words of the question do not count.

    "There is no dog" mentions nothing. A name counts as there when it, or another word for what it names, is a word for something present:
    "black cat" where a cat is, but not "hot dog" where a dog is.
    """
    words = with_plurals(present)
    found: dict[str, bool] = {}
    for clause in clauses(text):
        for match in find_names(asserted(clause), object_names()):
            name = _singular().get(match[0].replace("-", " "), _singular().get(match[0], match[0]))
            if asked and find_names(asked, [name]):
                continue
            found[name] = name in words or bool(_called()[name] & words - _NO_OBJECTS)
    return [Mention(name, there) for name, there in found.items()]


@cache
def misleading_names(names: frozenset[str]) -> tuple[str, ...]:
    """The corpus' longer names that contain one of `names` and belong to things which none of `names` means."""
    longer = [name for name in object_names() if " " in name and name not in names and any(find_names(name, [short]) for short in names)]
    return tuple(sorted((name for name in longer if not _called()[name] & names), key=len, reverse=True))

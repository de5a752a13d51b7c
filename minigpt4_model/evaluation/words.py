"""What a sentence says: numbers, colours, yes or no, sides. Names are `training.pocket.judge`'s.

Pure functions of text. What counts as right is the tasks' business; what a picture shows is the corpus'.
"""

import re
from collections.abc import Iterable
from functools import cache

from ..training.pocket.colours import COLOURS
from ..training.pocket.judge import NEGATION, asserted, clauses, find_names, plain, says

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER_WORDS = {word: number for number, word in enumerate(_NUMBERS)} | {
    "a": 1, "an": 1, "single": 1, "no": 0, "none": 0, "pair": 2, "couple": 2, "both": 2, "dozen": 12,
}  # fmt: skip
# Weak signs of a number: taken only where no digit or number word stands.
_WEAK_NUMBERS = frozenset({"a", "an", "single", "no", "none", "both"})

# Words for colours that neither are one of the eleven names nor stand in the table of web colours.
_OTHER_COLOURS = {
    "golden": "yellow", "silvery": "grey", "scarlet": "red", "ruby": "red", "cherry": "red", "burgundy": "red", "mustard": "yellow",
    "lemon": "yellow", "amber": "orange", "peach": "orange", "apricot": "orange", "rust": "brown", "bronze": "brown", "copper": "brown",
    "chestnut": "brown", "emerald": "green", "mint": "green", "jade": "green", "sky": "blue", "sapphire": "blue", "azure": "blue",
    "lilac": "purple", "mauve": "purple", "rose": "pink", "cream": "white", "ivory": "white", "charcoal": "grey", "ash": "grey",
    "ebony": "black", "blond": "yellow", "blonde": "yellow", "greyish": "grey", "grayish": "grey", "bluish": "blue", "reddish": "red",
    "greenish": "green", "yellowish": "yellow", "brownish": "brown", "pinkish": "pink", "purplish": "purple", "whitish": "white",
    "blackish": "black",
}  # fmt: skip
# Names of web colours that are first of all something else: "the snow", "a tomato".
_NOT_COLOURS = frozenset({"snow", "tomato", "chocolate", "wheat", "linen", "plum", "peru", "orchid", "thistle", "transparent"})


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; hyphens part them, apostrophes do not."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain(text))


def yes_or_no(text: str, names: Iterable[str] = ()) -> str:
    """ "yes", "no" or "" when neither is said.

    The first word decides ("No, there is no dog."). Without one, a negation in the first sentence is a no, and asserting one
    of `names`, the thing asked for, is a yes.
    """
    first = re.split(r"(?<=[.!?])\s", plain(text), maxsplit=1)[0]
    spoken = words_of(first)
    if spoken and spoken[0] in ("yes", "yeah", "yep", "yup", "sure", "certainly", "correct", "indeed", "right"):
        return "yes"
    if spoken and spoken[0] in ("no", "nope", "nah", "neither", "none", "not"):
        return "no"
    if {"yes", "no"} & set(spoken) == {"yes"}:
        return "yes"
    if NEGATION.search(first):
        return "no"
    names = list(names)
    return "yes" if names and says(text, names) else ""


def number_said(text: str, nouns: Iterable[str] = ()) -> int | None:
    """The number a sentence gives for `nouns`, in digits or words; None when it gives none or several.

    A number right before one of the nouns (with at most two words between) comes first: in "two dogs and one cat" that of the
    dogs is two. "a dog" counts as one when nothing stronger is said.
    """
    said = plain(text)
    found = [(match, _number(match[0])) for match in re.finditer(r"(?<![^\W_])(?:\d{1,3}|[a-z]+)(?![^\W_])", said)]
    numbers = [(match, number) for match, number in found if number is not None]
    places = [match.start() for match in find_names(said, nouns)] if nouns else []
    for kinds in (lambda word: word not in _WEAK_NUMBERS, lambda word: word in _WEAK_NUMBERS):
        some = [(match, number) for match, number in numbers if kinds(match[0])]
        before = {
            number for match, number in some for place in places if _is_before(said[match.end() : place] if place >= match.end() else ".")
        }
        if len(before) == 1:
            return before.pop()
        distinct = {number for _, number in some}
        if len(distinct) == 1:
            return distinct.pop()
        if distinct:
            return None
    return None


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else _NUMBER_WORDS.get(word)


def _is_before(between: str) -> bool:
    return len(between.split()) <= 2 and not re.search(r"[.,;:!?]|\band\b", between)


@cache
def _colour_words() -> dict[str, str]:
    """Colour word -> one of the eleven names: web colours by the rule that names pixels, then common words beside them."""
    import numpy as np
    from PIL import ImageColor

    from ..training.pocket.colours import colour_names

    web = {word: ImageColor.getrgb(word) for word in ImageColor.colormap if word not in _NOT_COLOURS}
    named = colour_names(np.array(list(web.values()), np.uint8))
    nearest = {word: COLOURS[int(index)] for word, index in zip(web, named, strict=True)}
    return nearest | _OTHER_COLOURS | {colour: colour for colour in COLOURS} | {"gray": "grey"}


def colours_said(text: str) -> list[str]:
    """The colours a sentence asserts, each as one of the eleven names, in the order said. "not red" says nothing of red."""
    table = _colour_words()
    found = []
    for clause in clauses(text):
        spoken = words_of(asserted(clause))
        for place, word in enumerate(spoken):
            pair = f"{word}{spoken[place + 1]}" if place + 1 < len(spoken) else ""  # "dark green" is the web colour darkgreen
            colour = table.get(pair) or table.get(word)
            if place and table.get(f"{spoken[place - 1]}{word}"):
                continue  # the second word of a pair already taken
            if colour and colour not in found:
                found.append(colour)
    return found


_SIDES = {"left": "right", "right": "left", "above": "below", "below": "above"}
_SIDE_WORDS = {
    "left": "left", "right": "right", "above": "above", "top": "above", "below": "below", "beneath": "below", "under": "below",
    "bottom": "below",
}  # fmt: skip


def side_said(text: str, thing: Iterable[str], other: Iterable[str] = ()) -> str:
    """Where a sentence says `thing` is: "left", "right", "above", "below", or "" when it does not say.

    Clauses about `other` alone are passed over, and "the dog is to the left of the cat" places the cat on the right.
    """
    thing, other = list(thing), list(other)
    for clause in clauses(text):
        side = next((word for word in words_of(clause) if word in _SIDE_WORDS), "")
        if not side:
            continue
        where = re.search(rf"\b{side}\b", clause)
        named, others = find_names(clause, thing), find_names(clause, other)
        after = bool(named) and named[0].start() > where.start() and (not others or others[0].start() < where.start())
        if after and (others or re.search(rf"\b(?:{side}) (?:of|side of)\b", clause)):
            return _SIDES[_SIDE_WORDS[side]]
        if others and not named and others[0].start() < where.start():
            continue
        return _SIDE_WORDS[side]
    return ""

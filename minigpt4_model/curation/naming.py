"""Sentences that only name a thing: "It is a switch.", "The photo shows a mosque.", "The wheel is a wheel." English.

Says whether such a sentence names what an earlier one has named. Careful: a sentence that may say more is none. Knows nothing of rules.
"""

import re
from collections.abc import Sequence

from .sentences import words_of

_COUNT = "two|three|four|five|six|some|several|many"
_PICTURE = "(?:picture|photo|photograph|image|snapshot|drawing|illustration|painting|sketch|scene)"
_IS = "(?:is|are|was|were)"
_SHOWS = "(?:shows?|depicts?|displays?|presents?|is showing)"
# A name begins with an article, all of which are "a" here, or a number; "It is black." says how a thing is.
_NAME = f"(?=(?:a|{_COUNT}) )"
# What stands before a name and says nothing more.
_OPENINGS = tuple(
    re.compile(opening)
    for opening in (
        f"(?:in|on) a {_PICTURE} (?:there {_IS}|{_IS}|(?:we|you|one) (?:can )?see) ",
        f"(?:a|this) {_PICTURE} (?:{_SHOWS}|features|contains|has|is of) ",
        f"(?:(?:it|this|that|these|those|they|he|she|there) {_IS}|(?:it|that|there|he|she)['’]s) {_NAME}(?:a {_PICTURE} of )?",
        f"(?:it|this|they|these) {_SHOWS} {_NAME}",
        _NAME,
    )
)
_CLOSING = re.compile(f" (?:shown )?(?:in|on) (?:a|this) {_PICTURE}$")
_CALLED = re.compile(f"(?:a|this|that) (.+?) {_IS} a (.+)")
_ARTICLE = re.compile(r"\b(?:an|the)\b")
_DENIAL = re.compile(r"\b(?:no|not|never|without)\b|n['’]t\b")
# Words between which a name stands by itself: a "dog" is named in "a dog on a sofa", and not in "a hot dog" or "a dog house".
_BORDER = (
    f"a|{_COUNT}|this|that|these|it|its|there|which|who|and|or|but|while|where|of|with|in|on|at|by|from|to|for|as|under|over|behind|before|"
    f"near|beside|above|below|between|against|inside|outside|around|next|{_IS}|{_SHOWS}|features|contains|has|have|can|stands?|lies"
)


def names_again(sentence: str, earlier: Sequence[str]) -> bool:
    """Whether the sentence only names what an earlier one named, in the same words, or calls a thing what it calls it already."""
    said, before = _plain(sentence), [plain for plain in map(_plain, earlier) if not _DENIAL.search(plain)]
    if called := _CALLED.fullmatch(said):
        thing, name = called.groups()
        if thing == name or (f" {thing} " in f" {name} " and _is_named(name, before)):
            return True
    return any(_is_named(said[found.end() :], before) for opening in _OPENINGS if (found := opening.match(said)))


def _plain(sentence: str) -> str:
    """The words, with one article for all, and without "in the picture" at the end."""
    return _CLOSING.sub("", _ARTICLE.sub("a", " ".join(words_of(sentence))))


def _is_named(name: str, before: Sequence[str]) -> bool:
    name = re.escape(name.removeprefix("a "))
    alone = re.compile(rf"(?:^|(?:^| )(?:{_BORDER}) ){name}(?= (?:{_BORDER})\b| \w+ing\b|$)")
    return any(alone.search(plain) for plain in before)

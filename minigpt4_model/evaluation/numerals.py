"""What number a sentence gives: digits with or without commas, words up to the millions, "a dozen", "no apples". Pure functions of text."""

import re
from collections.abc import Iterable

from ..training.pocket.judge import asserted, clauses, find_names, plain

_UNITS = "zero one two three four five six seven eight nine ten"
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(f"{_UNITS} {_TEENS}".split())} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), 2)
}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000}
_GROUPS = {"pair": 2, "couple": 2}
# Weak signs of a number: taken only where no digit or number word stands.
_WEAK = {"a": 1, "an": 1, "single": 1, "both": 2}
_WORD = rf"(?:{'|'.join((*_SMALL, *_SCALES))})"
_RUN = rf"(?:an? (?=(?:{'|'.join(_SCALES)})\b))?{_WORD}(?:(?:[ -]|(?:(?<=dred)|(?<=sand)) and ){_WORD})*"
# Not "three-legged", not "2nd", not the end of another word.
_NUMBER = re.compile(rf"(?<![^\W_])(?:(?P<digits>\d+)|(?P<words>{_RUN})|(?P<other>{'|'.join((*_GROUPS, *_WEAK))}))(?![^\W_]|-[^\W\d_])")
_NONE_OF_IT = re.compile(r"\b(?:no|none|not any|[a-z]+n't (?:\w+ )?any|without any)(?![^\W_])")
_NOTHING_AT_ALL = re.compile(r"(?:(?:there|i)(?: is| are|'s| see| count)? |the answer is )?none(?: at all| of them| there)?")
_NOT_A_ZERO = re.compile(r" (?:idea|more|fewer|less|way|one)\b")


def number_said(text: str, nouns: Iterable[str] = ()) -> int | None:
    """The number a sentence asserts for `nouns`, in digits or words; None when it gives none or several.

    A number right before one of the nouns (with at most two words between) comes first: in "two dogs and one cat" that of the
    dogs is two, in "no dogs, just a cat" it is zero. "a dog" counts as one when nothing stronger is said; "not three" gives nothing.
    """
    nouns = list(nouns)
    strong: list[tuple[int, bool]] = []  # (number, whether it stands before a noun)
    weak: list[tuple[int, bool]] = []
    none: list[bool] = []
    for clause in clauses(_bare_digits(text)):
        said = asserted(clause)
        places = [match.start() for match in find_names(clause, nouns)]
        for match in _NUMBER.finditer(said):
            before = _stands_before(clause, match.end(), places)
            if match["words"]:
                strong += [(number, before) for number in _in_words(match["words"])]
            elif match["digits"]:
                strong.append((int(match["digits"]), before))
            elif match[0] in _GROUPS:
                strong.append((_GROUPS[match[0]], before))
            else:
                weak.append((_WEAK[match[0]], before))
        for match in _NONE_OF_IT.finditer(clause):
            if _stands_before(clause, match.end(), places) or _NOTHING_AT_ALL.fullmatch(clause):
                none.append(True)
            elif clause == "no" or (not nouns and not _NOT_A_ZERO.match(clause, match.end())):
                none.append(False)
    choices = (
        [number for number, before in strong if before],
        [0 for before in none if before],
        [number for number, _ in strong],
        [number for number, before in weak if before],
        [number for number, _ in weak] + [0 for _ in none],
    )
    return next((numbers[0] if len(set(numbers)) == 1 else None for numbers in choices if numbers), None)


def _bare_digits(text: str) -> str:
    # Marks part clauses, so a number's own go first: thousands' commas away, 3.5 counts nothing.
    said = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain(text))
    return re.sub(r"\bhalf(?: an?| of a)?[ -]dozen\b", "six", re.sub(r"(?<![\d.])\d+\.\d+", " ", said))


def _stands_before(said: str, end: int, places: list[int]) -> bool:
    """Whether the next of `places` comes at most two words after `end`, with no "and" between."""
    between = next((said[end:place].split() for place in places if place >= end), None)
    return between is not None and len(between) <= 2 and "and" not in between


def _in_words(run: str) -> list[int]:
    """The numbers of a run of number words: "twenty-four" is one, "one two" are two."""
    numbers: list[int] = []
    whole = group = 0  # of the number that is being read: what is done up to the thousands, and what is not
    last = 0  # the value of the word before; 0: none
    for word in re.split(r" and |[ -]", run):
        if word in ("a", "an"):
            group, last = 1, 1
        elif word in _SCALES:
            scale = _SCALES[word]
            if scale >= 1000:
                whole, group = whole + (group or 1) * scale, 0
            else:
                group = (group or 1) * scale
            last = scale
        elif word in _SMALL:
            value = _SMALL[word]
            follows = last >= 100 or (20 <= last < 100 and 0 < value < 10)
            if last and not follows or (numbers and not last):
                numbers.append(whole + group)
                whole = group = 0
            group += value
            last = value or 1
    return [*numbers, whole + group]

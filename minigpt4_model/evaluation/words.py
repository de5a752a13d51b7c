"""What a sentence says: yes or no, sides. Numbers are `numerals`', colours `colour_words`', names `training.pocket.judge`'s.

Pure functions of text. What counts as right is the tasks' business; what a picture shows is the corpus'.
"""

import re
from collections.abc import Iterable

from ..training.pocket.judge import NEGATION, asserted, clauses, find_names, plain, says, with_plurals

_UNSURE = re.compile(
    r"\b(?:(?:not|cannot|[a-z]+n't) (?:\w+ ){0,2}?(?:sure|certain|clear|know|tell|say|determine|possible)"
    r"|(?:hard|difficult|impossible) to (?:\w+ )?(?:tell|say|know|see|determine)"
    r"|unsure|uncertain|unclear|nobody knows|no (?:idea|way to (?:tell|know))|yes (?:or|and|/) no)\b"
)
_DOUBTED = re.compile(r"\b(?:maybe|perhaps|possibly|might|may be|could be|yes (?:or|and|/) no)\b")
_END = r"(?=\s*(?:$|[,.;:!()])|\s+[-–—])"
_LEADING = re.compile(rf"(?:(?P<yes>yes|yeah|yep|yup)\b(?! (?:or|and|/) no\b)|(?:no|nope|nah)\b{_END})[\s,;:.!()–—-]*")
_ABOUT_ONESELF = re.compile(r"(?:(?:but|well|and|actually|i|it|that|we|is|am|i'm|it's|can|could)\s+)*")
# Words that agree, but also begin sentences which say something else: they decide only where nothing else does.
_AGREES = re.compile(
    rf"(?:sure|certainly|of course|indeed|absolutely|definitely|exactly|(?:(?:that is|that's) )?(?:correct|right|true)){_END}"
)
_DISAGREES = re.compile(rf"(?:(?:that is|that's|this is) )?(?:incorrect|false|wrong|untrue){_END}")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; hyphens part them, apostrophes do not."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain(text))


def yes_or_no(text: str, names: Iterable[str] = ()) -> str:
    """ "yes", "no" or "" when neither is said.

    A question that is told again says nothing. "Yes" and "no" at the beginning decide ("No, there is no dog."; not "No dog …" or "Right
    next to …", which are read on). Then what is doubted is neither; asserting one of `names`, the thing asked for, is a yes, and a
    negation is a no.
    """
    names = list(names)
    sentences = [part for part in re.findall(r"[^.!?]+[.!?]*", plain(text)) if words_of(part) and not part.endswith("?")]
    for place, sentence in enumerate(sentences):
        said = _sentence_says(sentence.strip(), names, later=place > 0)
        if said:
            return said.removesuffix("unsure")
    return "yes" if any(_AGREES.match(sentence.strip()) for sentence in sentences) else ""


def _sentence_says(sentence: str, names: list[str], later: bool) -> str:
    """ "yes", "no", "unsure" or "" of one sentence. A `later` one must speak of the thing to deny it."""
    if leading := _LEADING.match(sentence):
        told = _ABOUT_ONESELF.match(sentence, leading.end())
        return "unsure" if _UNSURE.match(sentence, told.end()) else "yes" if leading["yes"] else "no"
    if _UNSURE.search(sentence):
        return "unsure"
    if _DISAGREES.match(sentence):
        return "no"
    parts = clauses(sentence)
    sure = [part for part in parts if not _DOUBTED.search(part)]
    if any("yes" in words_of(asserted(part)) or (names and says(part, names)) for part in sure):
        return "yes"
    if any(NEGATION.search(part) for part in sure) and (not later or not names or find_names(sentence, names)):
        return "no"
    return "unsure" if len(sure) < len(parts) else ""


_SIDES = {"left": "right", "right": "left", "above": "below", "below": "above"}
_SIDE_WORDS = {
    "left": "left", "right": "right", "above": "above", "top": "above", "below": "below", "beneath": "below", "under": "below",
    "bottom": "below",
}  # fmt: skip
# "top left" is on the left.
_SIDE = re.compile(rf"(?<![^\W_])(?:(?:top|bottom|upper|lower)[ -](?=left|right))?({'|'.join(_SIDE_WORDS)})(?![^\W_])")
# "Right next to" and "right above" say how near, "the right in this picture" says where.
_HOW_NEAR = re.compile(r"right (?:next|beside|by|under|above|below|behind|in|there|here|on|at|now)\b")
_PLACED = re.compile(r"\b(?:the|to|its|far|upper|lower|top|bottom)[ -]$")
# What a side is the side of: "left (hand side) of the big dog", "below the dog".
_OF = re.compile(r"(?:[- ]hand)?(?: (?:side|part|half|corner|edge))? of (?:the |a |an |that |this |its )?(?:[^\W_]+ ){0,2}$")
_PREPOSITIONS = frozenset({"above", "below", "beneath", "under"})
_UNDER = re.compile(r" (?:the |a |an |that |this )?(?:[^\W_]+ ){0,2}$")
_VERB = re.compile(r"\b(?:is|are|was|were|there|stands?|sits?|lies|you|we|i|with|has|have|shows?)\b")


def side_said(text: str, thing: Iterable[str], other: Iterable[str] = ()) -> str:
    """Where a sentence says `thing` is: "left", "right", "above", "below", or "" when it does not say.

    Of a clause only what it asserts counts. Clauses about `other` alone are passed over. What follows "left of" is what the place is
    told from: "the dog is to the left of the cat" and "to the left of the cat is the dog" both place the cat on the right.
    """
    thing, other = list(thing), list(other)
    for clause in clauses(text):
        said = asserted(clause)
        if find_names(clause[len(said) :], thing):
            continue  # "on the left there is no dog"
        for part in _one_side_each(said):
            side = _side_of_thing(part, thing, other)
            if side:
                return side
    return ""


def _side_words(clause: str) -> list[tuple[str, int, int]]:
    """(side word, start, end) of each, without the "right" of "right next to"."""
    found = [(match[1], match.start(1), match.end(1)) for match in _SIDE.finditer(clause)]
    return [one for one in found if not (one[0] == "right" and _HOW_NEAR.match(clause, one[1]) and not _PLACED.search(clause[: one[1]]))]


def _one_side_each(clause: str) -> list[str]:
    """The clause, parted at an "and" with a side on either hand: "a dog on the left and an apple on the right"."""
    parts = re.split(r"\band\b", clause)
    return parts if len(parts) > 1 and all(_side_words(part) for part in parts) else [clause]


def _side_of_thing(clause: str, thing: list[str], other: list[str]) -> str:
    sides = _side_words(clause)
    if not sides:
        return ""
    word, start, end = sides[0]
    side = _SIDE_WORDS[word]
    things = with_plurals(thing)
    named = [(match, match[0].replace("-", " ") in things or match[0] in things) for match in find_names(clause, [*thing, *other])]
    anchor = next(((match, own) for match, own in named if match.start() >= end), None)
    if anchor:
        between = clause[end : anchor[0].start()]
        pattern = _UNDER if word in _PREPOSITIONS else _OF
        if not pattern.fullmatch(between) or _VERB.search(between):
            anchor = None
    if anchor and anchor[1]:
        return _SIDES[side]
    # Whose side it is: what is named first before it, else first after it; nothing named is "it", the thing asked about.
    subject = next((own for match, own in named if match.start() < start), None)
    if subject is None:
        subject = next((own for match, own in named if match.start() >= end and (not anchor or match is not anchor[0])), True)
    return side if subject else ""

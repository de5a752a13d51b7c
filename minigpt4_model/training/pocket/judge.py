"""Judges: what does a sentence name? On word boundaries and with synonyms, so that "pillow" in "pillillow" does not count.

The one place that decides whether words name a thing: training's held-out figures and the evaluation suites both use it. Pure
functions of text.
"""

import re
from collections.abc import Iterable
from functools import cache

from .render import Sprite
from .wording import plural

# "No doubt" and "not only" deny nothing. Contracted verbs all end in "n't".
NEGATION = re.compile(
    r"\b(?:no(?! (?:doubt|question|problem|worries)\b)|not(?! (?:only|just|merely|simply)\b)|without(?! (?:a |any )?doubt\b)"
    r"|never|none|neither|nor|nothing|nobody|cannot|rather than|instead of|[a-z]+n't)(?![^\W_])"
)
# "The dog is not there": what stands before the negation is denied all the same.
_PLACE = r"(?:anywhere )?in (?:the|this|that|either) (?:picture|image|photo|photograph|drawing|scene)"
_DENIED_PLACE = re.compile(
    r"\b(?:is|are|was|were|can|ca|could) ?(?:not|n't|never)(?: be)?(?: actually| clearly)? "
    rf"(?:there|here|present|visible|seen|shown|depicted|pictured|{_PLACE})\b"
)
_PART_OF = re.compile(r"\b(?:of|whose)\b|'s\b")  # "the tail of the dog is not shown" speaks of a dog
_BUT_IT = re.compile(r"\b(?:anything|everything) but\b")


def names_it(text: str, sprite: Sprite) -> bool:
    """Whether `text` asserts what the sprite shows: its name, its head noun or a synonym, as whole words, one or many."""
    return says(text, {sprite.name, sprite.head, *sprite.synonyms})


def plain(text: str) -> str:
    """Lower case, typographic quotes made plain, Markdown's emphasis (*so*, __so__, `so`) taken off, white space single."""
    bare = re.sub(r"(?<![^\W_])[*_`]+|[*_`]+(?![^\W_])", "", text.lower().replace("’", "'").replace("‘", "'"))
    return re.sub(r"\s+", " ", bare).strip()


def with_plurals(names: Iterable[str]) -> set[str]:
    """The names in lower case, each also in the plural and, where a name is a plural, as the one thing."""
    found = {name.lower() for name in names if name}
    singular = {name[:-1] for name in found if len(name) > 3 and name.endswith("s") and not name.endswith("ss") and " " not in name}
    return found | {plural(name) for name in found} | singular


@cache
def _pattern(names: frozenset[str]) -> re.Pattern | None:
    # A hyphen or a blank between the words of a name is one and the same; letters and digits may not touch the name.
    ordered = sorted(with_plurals(names), key=lambda name: (-len(name), name))
    parts = (re.escape(name).replace(r"\ ", "[ -]").replace(r"\-", "[ -]") for name in ordered)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(parts)})(?![^\W_])") if ordered else None


def find_names(text: str, names: Iterable[str]) -> list[re.Match]:
    """Where `text` says one of `names` as whole words, in the singular or plural; the longest name at each place."""
    pattern = _pattern(frozenset(names))
    return list(pattern.finditer(plain(text))) if pattern else []


def says(text: str, names: Iterable[str]) -> bool:
    """Whether `text` asserts one of `names`: as whole words, and not after a negation in the same clause ("not a dog")."""
    names = list(names)
    return any(find_names(asserted(clause), names) for clause in clauses(text))


def clauses(text: str) -> list[str]:
    """A text in parts that say one thing each: at marks, "but", "while", "and the", "whereas"."""
    said = _BUT_IT.sub("not", plain(text.replace("\n", "; ")))
    return [part.strip() for part in re.split(r"[.,;:!?()]|\bbut\b|\bwhile\b|\bwhereas\b|\band (?=the\b)", said) if part.strip()]


def asserted(clause: str) -> str:
    """What a clause says before its negation, if it has one; "" where the negation says that it is not there."""
    denied = _DENIED_PLACE.search(clause)
    if denied and not _PART_OF.search(clause[: denied.start()]):
        return ""
    return NEGATION.split(clause, maxsplit=1)[0]

"""Judges: what does a sentence name? On word boundaries and with synonyms, so that "pillow" in "pillillow" does not count.

The one place that decides whether words name a thing: training's held-out figures and the evaluation suites both use it. Pure
functions of text.
"""

import re
from collections.abc import Iterable
from functools import cache

from .render import Sprite
from .wording import plural

NEGATION = re.compile(r"\b(?:no|not|never|none|neither|nor|without|nothing|cannot|isn't|aren't|don't|doesn't|didn't|can't|won't|wasn't)\b")


def names_it(text: str, sprite: Sprite) -> bool:
    """Whether `text` asserts what the sprite shows: its name, its head noun or a synonym, as whole words, one or many."""
    return says(text, {sprite.name, sprite.head, *sprite.synonyms})


def plain(text: str) -> str:
    """Lower case, typographic quotes made plain, white space single."""
    return re.sub(r"\s+", " ", text.lower().replace("’", "'").replace("‘", "'")).strip()


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
    return [part.strip() for part in re.split(r"[.,;:!?()\n]|\bbut\b|\bwhile\b|\bwhereas\b|\band (?=the\b)", plain(text)) if part.strip()]


def asserted(clause: str) -> str:
    """What a clause says before its negation, if it has one."""
    return NEGATION.split(clause, maxsplit=1)[0]

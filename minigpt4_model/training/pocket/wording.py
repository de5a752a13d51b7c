"""English for the names of things: a or an, one or many, and how a thing is mentioned in a sentence.

Knows grammar only: what the things are is `names`.
"""

import random
import re
from collections.abc import Sequence

USUAL = 0.7  # how often the first of several wordings is taken
KINDS = ("count", "mass", "plural", "pair", "proper", "the")

_AN_DESPITE_CONSONANT = re.compile(r"^(hour|honest|heir|x-ray|SUV\b|MRI\b|[FHLMNRSX]-)", re.IGNORECASE)
_A_DESPITE_VOWEL = re.compile(r"^(uni(?!n)|use|euro|one\b|once|ufo|usb|ukulele|utensil|urn-)", re.IGNORECASE)
_IRREGULAR = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "mouse": "mice", "foot": "feet", "tooth": "teeth",
    "goose": "geese", "ox": "oxen", "leaf": "leaves", "knife": "knives", "wolf": "wolves", "loaf": "loaves", "scarf": "scarves",
    "elf": "elves", "shelf": "shelves", "calf": "calves", "die": "dice", "cactus": "cacti", "merman": "mermen", "snowman": "snowmen",
    "fireman": "firemen", "policeman": "policemen", "fish": "fish", "sheep": "sheep", "deer": "deer", "moose": "moose", "squid": "squid",
    "shrimp": "shrimp", "bison": "bison", "buffalo": "buffalo", "aircraft": "aircraft", "sushi": "sushi", "potato": "potatoes",
    "tomato": "tomatoes", "hero": "heroes", "mango": "mangoes", "volcano": "volcanoes", "mosquito": "mosquitoes", "tornado": "tornadoes",
    "superhero": "superheroes", "domino": "dominoes", "octopus": "octopuses", "hippopotamus": "hippopotamuses", "quiz": "quizzes",
}  # fmt: skip
# What follows these words describes the thing before them: "bowls of rice", "men riding a bicycle".
_AFTER_THE_NOUN = re.compile(
    r" (?:with|without|of|in|on|at|behind|pointing|covering|[a-z]+ing (?:a|an|the|its|his|her|their|up|out|golf|weights|hands))\b"
)

# "woman shrugging", "person walking": whoever does something stands first.
_DOING = re.compile(r"(man|woman|person|face) [a-z]+ing\b")


def article(words: str) -> str:
    """ "a" or "an", by the sound the words begin with."""
    if _AN_DESPITE_CONSONANT.match(words):
        return "an"
    return "an" if words[:1].lower() in "aeiou" and words[:1] and not _A_DESPITE_VOWEL.match(words) else "a"


def plural(words: str) -> str:
    """Many of a thing: the noun that the words are about is put into the plural ("glass of milk" -> "glasses of milk")."""
    cut = _AFTER_THE_NOUN.search(words) or _DOING.match(words)
    end = (cut.end(1) if cut.re is _DOING else cut.start()) if cut else len(words)
    noun_phrase, rest = words[:end], re.sub(r"\b(its|his|her)\b", "their", words[end:])
    front, _, noun = noun_phrase.rpartition(" ")
    return f"{front} {_plural_noun(noun)}".strip() + rest


def _plural_noun(noun: str) -> str:
    if noun.lower() in _IRREGULAR:
        return _IRREGULAR[noun.lower()]
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


def mention(words: str, kind: str = "count") -> str:
    """The thing as a sentence mentions it first: "an apple", "some rice", "a pair of scissors", "the sun", "Santa Claus"."""
    if kind == "count":
        return f"{article(words)} {words}"
    if kind == "pair":
        return f"a pair of {words}"
    if kind == "the":
        return f"the {words}"
    if kind == "proper":
        return words
    return words if re.match(r"(two|three|four|some)\b", words) else f"some {words}"


def is_or_are(kind: str) -> str:
    return "are" if kind == "plural" else "is"


def it_or_they(kind: str) -> str:
    return "they" if kind in ("plural", "pair") else "it"


def number_word(count: int) -> str:
    return ("no", "one", "two", "three", "four", "five", "six")[count]


def capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def usual(chance: random.Random, wordings: Sequence[str]) -> str:
    """One of the ways to say the same: the first, mostly. A small LLM that has to guess the wording learns little else."""
    return wordings[0] if chance.random() < USUAL else chance.choice(wordings)

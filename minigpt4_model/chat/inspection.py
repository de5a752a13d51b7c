"""What can be told of an answer after it was given: how likely its words were, with the pictures and without, and where they came from.

The optional ability of a backend (`InspectingBackend`) and the records it fills for pages to show. Knows nothing of models.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .backends.base import TokenLogprob
from .settings import GenerationSettings

# Words that hold a sentence together and name nothing: that they are said without a picture too means nothing.
_GRAMMAR = """
a an the this that these those it its it's he she they them his her their there here i you we my your our me us who which what is are
was were be been being am do does did has have had can could will would may might must shall should not no yes n't of in on at to from
by with without for as into onto over under about between behind beside near up down out off than then so if and or but nor also very
too just some any each all both other another such how when where while because
"""
GRAMMAR = frozenset(_GRAMMAR.split())
_WITHIN_WORDS = "'’-"


@dataclass(frozen=True)
class InspectedToken:
    """`text` is what the token adds to the answer: together they are the answer. "" for a part of a character that is not its last.

    `seen` is how likely it was with the pictures, `blind` how likely without them, each with the likeliest tokens at this place, the
    answer before it being the same. `blind` is None where there was no picture.
    """

    text: str
    seen: TokenLogprob
    blind: TokenLogprob | None = None

    @property
    def said_blind(self) -> bool:
        """Whether it is what the model would most likely have said here without the pictures, too."""
        return self.blind is not None and self.blind.logprob >= self.blind.top[0].logprob


@dataclass(frozen=True)
class Word:
    """Tokens `first` up to `end` of an answer, which read as one word, or as the signs between words."""

    text: str
    first: int
    end: int
    said_blind: bool

    @property
    def names_something(self) -> bool:
        word = self.text.strip().lower()
        return word not in GRAMMAR and any(letter.isalnum() for letter in word)


@dataclass(frozen=True)
class PictureReading:
    """Where the image tokens of one picture were read from. A map has `rows` x `columns` places, row by row over the whole picture.

    It is the picture with that `digest`, or, where `part` names one of `crops.CORNERS`, that part of it by itself.
    `attention[t]` is what token `t` gave to each place, and `passed_on[t]` how much of what it took in came from each place: attention
    may rest on places that hand it next to nothing. What is missing to 1 went to features that stand for no place: `elsewhere[t]`
    of the attention. Without a Q-Former a token is made of its own places alone, in equal parts, and `reads` is False.
    """

    digest: str
    part: str
    rows: int
    columns: int
    attention: tuple[tuple[float, ...], ...]
    passed_on: tuple[tuple[float, ...], ...]
    elsewhere: tuple[float, ...]
    reads: bool


@dataclass(frozen=True)
class Inspection:
    """`tokens` make up the answer. `without` says what there was instead of the pictures: "blank" (a grey
    one, which the model has learned to take for none) or "none"; "" if there were no pictures."""

    tokens: tuple[InspectedToken, ...]
    pictures: tuple[PictureReading, ...]
    without: str = ""

    @property
    def words(self) -> tuple[Word, ...]:
        return group_words(self.tokens)


@dataclass(frozen=True)
class Weights:
    """How much each image token mattered for a word: for each picture of the inspection, one number for each of its tokens.

    A number is how fast the word's log-probability rises as more of that token can be seen, on average between nothing and all of it. Below
    zero, the token spoke against the word.
    """

    pictures: tuple[tuple[float, ...], ...]


def inspecting(backend: Any) -> "InspectingBackend | None":
    """`backend`, if it can look back at its answers."""
    return backend if all(callable(getattr(backend, name, None)) for name in ("inspect", "weigh")) else None


def group_words(tokens: Sequence[InspectedToken]) -> tuple[Word, ...]:
    """The tokens as words: a new one begins behind white space, between letters and signs, and at every character of a writing
    without spaces."""
    starts, before = [], ""
    for index, token in enumerate(tokens):
        if index == 0 or (token.text and before and _parts(before, token.text)):
            starts.append(index)
        before = token.text or before
    ends = [*starts[1:], len(tokens)][: len(starts)]
    return tuple(
        Word("".join(token.text for token in tokens[first:end]), first, end, all(token.said_blind for token in tokens[first:end]))
        for first, end in zip(starts, ends, strict=True)
    )


def _parts(before: str, after: str) -> bool:
    last, first = before[-1], after[0]
    return first.isspace() or last.isspace() or _kind(last) != _kind(first) or _kind(first) == "sign by itself"


def _kind(character: str) -> str:
    if unicodedata.east_asian_width(character) in "WF":
        return "sign by itself"
    return "word" if character.isalnum() or character in _WITHIN_WORDS else "sign"


class InspectingBackend(Protocol):
    """An ability that a backend may have beside answering; ask `inspecting`. Whoever only passes messages on has it not.

    `messages` are those that were answered, `text` is the answer and `token_ids` its tokens (`Answer.token_ids`); without them, or
    where they do not spell the text, the text is cut into tokens anew. `settings` are those it was answered with.
    """

    def inspect(
        self, messages: list[dict], text: str, token_ids: Sequence[int] = (), settings: GenerationSettings | None = None
    ) -> Inspection:
        """How likely each token was, and what the image tokens were read from. Raises as `Backend.stream` does."""

    def weigh(
        self,
        messages: list[dict],
        text: str,
        first: int,
        end: int,
        token_ids: Sequence[int] = (),
        settings: GenerationSettings | None = None,
    ) -> Weights:
        """How much each image token mattered for tokens `first` up to `end` of the answer, as `inspect` counts them.

        Raises as `Backend.stream` does, `IndexError` for tokens that are not there, and `BackendError` where the conversation is too
        long for it.
        """

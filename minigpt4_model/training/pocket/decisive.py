"""Which words of an answer only the picture tells: yes or no, a number, a side, a colour, a name, the next element of a page.

In "No, there is no dog; the picture shows a cat." two words of twelve say whether the model has looked; the others follow from the
question and from these. Counted alike, they are drowned: the frozen LLM then learned the sentences and said yes to everything. Where
the Yes or No alone was counted, prompt tuning told one from the other after 1,200 questions on true words (area under the curve 0.52 ->
1.0, and 0.60 with the words of other pictures). So they weigh more in the loss; in a mixture of all abilities that alone gave 0.63.
Therefore there are also steps in which the words that decide an answer count and no others, or hardly (`Example.decides`, `rest`).
"""

import itertools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from ..conversations import IGNORED, Example
from ..representation import SceneWords
from .colours import COLOURS
from .dataset import NUMBERS
from .sketches.layout import draw_layout
from .sketches.sources import sketch_messages
from .wording import plural

WEIGHT = 5.0
_WORDS = (
    "yes",
    "no",
    "is",
    "are",
    "nothing",
    "left",
    "right",
    "above",
    "below",
    "top",
    "bottom",
    "photo",
    "drawing",
    *NUMBERS[1:],
    *COLOURS,
)
# What decides an answer, unless the question has said it: of a group of which it offers two, one decides all the same.
_DECIDING = (("yes", "no"), ("left", "right"), ("above", "below"), ("top", "bottom"), ("first", "second"), NUMBERS[1:], tuple(COLOURS))
_OFFERED = (*_DECIDING[1:], ("photo", "photograph", "drawing"))
_OPENINGS = ("A", "At", "I", "In", "It", "On", "The", "To")  # of sentences, which some names begin with: an onion
_PAGES, _BEFORE = 400, 8  # pages that are drawn to learn what follows what, and how many tokens before are looked at
_FORETOLD = 0.95


class DecisiveWords:
    """Knows the ids of such words: some are the same for every picture, names are each picture's own.

    On a page it is what the tokens before it do not foretell.
    """

    def __init__(self, tokenizer, weight: float = WEIGHT, rest: float = 0.0):
        """`rest` is what the other words of an answer weigh where one decides it, against 1 for that one."""
        self.tokenizer, self.weight, self.rest = tokenizer, weight, rest
        self._single = {word: self._single_pieces(word) for word in {*_WORDS, *itertools.chain(*_DECIDING, *_OFFERED)}}
        self._always = self._pieces_of_words(_WORDS)
        self._before_names = self._pieces_of_words((*NUMBERS[1:], *COLOURS))
        self._openings = {self._pieces(word)[0] for word in _OPENINGS}

    def weigh(self, labels: Sequence[int], example: Example) -> list[float]:
        """One weight for each label of `example`, 0 where nothing is learned. Where no picture is, all weigh alike."""
        words = [said for said in example.words_of_pictures if said is not None and not said.nothing]
        if example.decides:
            places = set(self._deciding_places(labels, example, words))
            if not places:
                return [0.0] * len(labels)
            return [1.0 if place in places else self.rest * (label != IGNORED) for place, label in enumerate(labels)]
        if any(said.layout for said in words):
            decisive = [not self._foretold(context, label) for context, label in _in_context(labels)]
        else:
            names = self._always.union(*map(self._name_pieces, words)) if words else set()
            decisive = [label in names for label in labels]
        return [0.0 if label == IGNORED else self.weight if said else 1.0 for label, said in zip(labels, decisive, strict=True)]

    def _deciding_places(self, labels: Sequence[int], example: Example, words: Sequence[SceneWords]) -> Iterator[int]:
        """Where each answer is decided: the first such word; none where nothing of an answer is the picture's to tell.

        Where that begins a name or stands before one, all of each name, and what follows it, which says whether more is there.
        """
        names = [name for said in words for name in (said.name, said.second_name) if name]
        for question, places in zip(_questions(example), _answers(labels), strict=True):
            deciding = self._deciding_pieces(question, names)
            first = next((place for place in places if labels[place] in deciding), None)
            if first is None:
                continue
            said = [labels[place] for place in places]
            untold = [name for name in names if name.lower() not in question.lower()]
            named = {begin: end for name in untold for begin, end in self._find(name, said)}
            yield first
            # Behind "Yes" all is told; behind a colour or a number the name is not.
            if first - places[0] in named or labels[first] in self._before_names:
                for begin, end in named.items():
                    yield from places[begin : end + 1]

    def _find(self, name: str, said: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Where a name, or its plural, is first said: from its first piece to the one behind its last."""
        for written in (way for one in (name, plural(name)) for way in (" " + one, one.capitalize())):
            pieces = self._pieces(written)
            found = next((at for at in range(len(said)) if list(said[at : at + len(pieces)]) == pieces), None)
            if found is not None:
                yield found, found + len(pieces)
                return

    def _deciding_pieces(self, question: str, names: Sequence[str]) -> set[int]:
        """Ids of the words of which the first in the answer to `question` decides it."""
        asked = question.lower()
        said = set(re.findall(r"[a-z]+", asked))
        if offered := [word for group in _OFFERED if len(said.intersection(group)) > 1 for word in group if word in said]:
            return self._pieces_of_words(offered)
        if offered := [name for name in names if " or " in asked and name.lower() in asked]:
            return self._name_beginnings(offered)
        words = [word for group in _DECIDING for word in group if word not in said]
        return self._pieces_of_words(words) | self._name_beginnings([name for name in names if name.lower() not in asked])

    def _pieces_of_words(self, words: Iterable[str]) -> set[int]:
        return {piece for word in words for piece in self._single[word]}

    def _name_beginnings(self, names: Iterable[str]) -> set[int]:
        """Ids that names and their plurals begin with, in a sentence and at its start."""
        ways = [way for name in names for way in (name, plural(name))]
        return {self._pieces(written)[0] for way in ways for written in (" " + way, way.capitalize())} - self._openings

    def _single_pieces(self, word: str) -> set[int]:
        """Ids of the ways to write a word, as far as they are one piece."""
        written = [self._pieces(before + way) for before in ("", " ") for way in (word, word.capitalize())]
        return {pieces[0] for pieces in written if len(pieces) == 1}

    def _name_pieces(self, words: SceneWords) -> set[int]:
        names = [way for name in (words.name, words.second_name) if name for way in (name, plural(name))]
        return {piece for name in names for way in (" " + name, name.capitalize()) for piece in self._pieces(way)}

    def _foretold(self, context: tuple[int, ...], label: int) -> bool:
        follow = self._following[context]
        return follow[label] > _FORETOLD * follow.total()

    @cached_property
    def _following(self) -> defaultdict[tuple[int, ...], Counter]:
        """What follows the same tokens on other pages."""
        found: defaultdict[tuple[int, ...], Counter] = defaultdict(Counter)
        for number in range(_PAGES):
            chance = random.Random(f"foretold {number}")
            html = sketch_messages(draw_layout(chance), None, chance)[-1]["content"][0]["text"]
            for context, piece in _in_context(self._pieces(html)):
                found[context][piece] += 1
        return found

    def _pieces(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids


def _in_context(pieces: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Each piece with those before it."""
    return ((tuple(pieces[max(0, at - _BEFORE) : at]), piece) for at, piece in enumerate(pieces))


def _questions(example: Example) -> list[str]:
    """The text before each answer."""
    parts = [message["content"] for message in example.messages if message["role"] == "user"]
    return [part if isinstance(part, str) else " ".join(piece["text"] for piece in part if piece["type"] == "text") for part in parts]


def _answers(labels: Sequence[int]) -> list[list[int]]:
    """The places of each answer's labels."""
    runs = itertools.groupby(range(len(labels)), lambda place: labels[place] != IGNORED)
    return [list(places) for learned, places in runs if learned]

"""The representation stage: the image tokens learn to lie on the LLM's own words, without running the LLM.

The paper takes a Q-Former that BLIP-2 has pretrained on 129 M pictures; at the pocket size there is none, so this stage stands
in for it. The 32 image tokens get fixed places in a sentence: how many of what colour of what, where, a second thing, the
background; on a sketched page they spell its elements from the top. Each is trained so that, after the projection, it points to
the embedding of its word: a softmax over cosines with all words of the corpus. The LLM's input embeddings are frozen, so what
lies there it can read.
Roughly ten times as many samples per second as training through the LLM.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .objective import AddUp, DrawnObjective, Figures, Metrics, SampleAnswer

NAME_TOKENS = 4
# What the 32 image tokens say, in order: words of the picture in braces, a number where there are several tokens, and between them
# places that are free. So that a language model can read it, it is a sentence; the later stages teach the free places what helps more.
SENTENCE = (
    "The picture is a {medium} of {count} {colour} {name 4} on the {place 2} , and "
    "{second_colour} {second_name 4} on the {second_place} . The background is {background} ."
)
FILLER = ","  # stands where a short name has no further token, and where there is no second object
FREE = -1000  # a place that may say anything


def _parsed(sentence: str) -> tuple[tuple[tuple[int, str, int], ...], tuple[tuple[int, str], ...]]:
    """Which tokens are for words, as (token, place, index within it), and which are free, as (token, its word in the sentence)."""
    words, free, token = [], [], 0
    for slot, length, plain in re.findall(r"{(\w+) ?(\d*)}|(\S+)", sentence):
        for index in range(int(length or 1)):
            if slot:
                words.append((token, slot, index))
            else:
                free.append((token, plain if plain in ",." else " " + plain))
            token += 1
    return tuple(words), tuple(free)


PLACES, FREE_PLACES = _parsed(SENTENCE)
NUM_TOKENS = len(PLACES) + len(FREE_PLACES)


def constant(number: int) -> int:
    """The target of a place that is not for a word: row `number` of what `steering` has found, or anything where there is none."""
    return -1 - number


@dataclass(frozen=True)
class SceneWords:
    """What the places are to say; an empty text means the filler.

    A page has a `layout` instead of everything but its `name`: the words of its elements, which stand in the places that else are free.
    `nothing` is the blank picture, which says no word at all.
    """

    name: str
    colour: str = ""
    count: str = "one"
    place: str = ""
    second_name: str = ""
    second_colour: str = ""
    second_place: str = ""
    background: str = ""
    medium: str = "drawing"
    layout: str = ""
    nothing: bool = False


# `(random numbers, how many)` -> features `(n, N, Dv)` and what they show.
Source = Callable[[np.random.Generator, int], tuple[torch.Tensor, list[SceneWords]]]


class WordPlaces:
    """Turns `SceneWords` into target ids, and knows the vocabulary they come from.

    Raises `ValueError` for another number of image tokens than `SENTENCE` has.
    """

    # One for each place that is free on a picture, has no word on a page, or is blank.
    num_constants = 2 * NUM_TOKENS - NAME_TOKENS

    def __init__(self, tokenizer, num_image_tokens: int = NUM_TOKENS):
        if num_image_tokens != NUM_TOKENS:
            raise ValueError(f"The representation stage is for {NUM_TOKENS} image tokens, and this model has {num_image_tokens}.")
        self.tokenizer = tokenizer
        self.filler = tokenizer(FILLER, add_special_tokens=False).input_ids[0]

    def target_ids(self, words: SceneWords) -> list[int]:
        """`NUM_TOKENS` ids of words, or `constant` where a place is not for a word."""
        if words.nothing:
            return [constant(self.num_constants - NUM_TOKENS + index) for index in range(NUM_TOKENS)]
        ids = [0] * NUM_TOKENS
        if words.layout:
            steady = iter(range(len(FREE_PLACES), self.num_constants))
            for token, place, index in PLACES:
                ids[token] = self._pieces(words.name, NAME_TOKENS)[index] if place == "name" else constant(next(steady))
            for (token, _), piece in zip(FREE_PLACES, self._pieces(words.layout, len(FREE_PLACES)), strict=True):
                ids[token] = piece
            return ids
        for token, place, index in PLACES:
            ids[token] = self._pieces(getattr(words, place), index + 1)[index]
        for number, (token, _) in enumerate(FREE_PLACES):
            ids[token] = constant(number)
        return ids

    def _pieces(self, text: str, count: int) -> list[int]:
        """The first `count` ids of a text, then the filler."""
        pieces = self.tokenizer(" " + text, add_special_tokens=False).input_ids if text else []
        return (pieces + [self.filler] * count)[:count]


class WordLoss(nn.Module):
    """Cross-entropy over cosines of `(B, T, D)` image tokens with the words' embeddings, plus a pull towards their length."""

    def __init__(
        self, embedding: torch.Tensor, vocabulary: torch.Tensor, filler: int, scale: float = 16.0, free_tokens: torch.Tensor | None = None
    ):
        """`embedding` `(V, D)` of the LLM; `vocabulary` `(W,)` sorted ids that targets are taken from.

        `free_tokens` `(constants, D)`, where given, is what the places without words are drawn to.
        """
        super().__init__()
        self.register_buffer("free_tokens", free_tokens)
        self.register_buffer("vocabulary", vocabulary)
        self.register_buffer("words", embedding[vocabulary].float())
        self.scale, self.filler = scale, filler

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> tuple[dict[str, torch.Tensor], Figures]:
        """`targets` `(B, T)` ids, constants or `FREE`. The sums of the terms "words" and "free" over what `counts` counts, and figures."""
        self.to(tokens.device)
        asked = targets >= 0
        wanted = torch.searchsorted(self.vocabulary, targets[asked])
        ours = tokens[asked].float()
        logits = self.scale * F.normalize(ours, dim=-1) @ F.normalize(self.words, dim=-1).T
        weight = self._weight(targets[asked])
        cross_entropy = F.cross_entropy(logits, wanted, reduction="none")
        # Direction says which word; the length has to be a word's too, or the LLM reads something it has never seen.
        distance = (ours - self.words[wanted]).square().sum(-1) / self.words.square().sum(-1).mean()
        sums = {"words": ((cross_entropy + 0.1 * distance) * weight).sum()}
        right = (logits.argmax(-1) == wanted)[weight == 1]
        figures: Figures = {"word_accuracy": (right.float().sum(), len(right))}
        if self.free_tokens is not None:
            steady = _constants(targets)
            away = (tokens[steady].float() - self.free_tokens[-1 - targets[steady]]).square().sum(-1)
            off = away / self.free_tokens.square().sum(-1).mean()
            sums["free"] = off.sum()
            figures["free_distance"] = (sums["free"].detach(), off.numel())
        return sums, figures

    def counts(self, targets: torch.Tensor) -> dict[str, float]:
        """How much each term of `forward` sums up."""
        counts = {"words": float(self._weight(targets[targets >= 0]).sum())}
        return counts if self.free_tokens is None else {**counts, "free": float(_constants(targets).sum())}

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms, in the loss."""
        return {"words": 1.0} if self.free_tokens is None else {"words": 1.0, "free": 1.0}

    def _weight(self, targets: torch.Tensor) -> torch.Tensor:
        """Fillers weigh a tenth: they are half of all places and easy."""
        return torch.where(targets == self.filler, 0.1, 1.0)


def _constants(targets: torch.Tensor) -> torch.Tensor:
    """Which places are to be a constant."""
    return (targets < 0) & (targets != FREE)


class RepresentationObjective(DrawnObjective):
    """Batches of pictures' features with the words that their image tokens are to be.

    `sources` draw `(features (b, N, Dv), SceneWords)` for a seed; a batch takes `share` of its `batch_size` from each.
    """

    def __init__(
        self,
        places: WordPlaces,
        loss: WordLoss,
        sources: list[tuple[float, Source]],
        batch_size: int,
        evaluate: Callable[[], Metrics],
        show: Callable[[], list[SampleAnswer]] = list,
    ):
        self.places, self.word_loss, self.evaluate_on = places, loss, evaluate
        self.show = show
        self.sources, self.batch_size = sources, batch_size
        self.weights = loss.weights

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        features, words = [], []
        for number, (share, source) in enumerate(self.sources):
            if count := round(share * self.batch_size):
                drawn, said = source(np.random.default_rng([number, step]), count)
                features.append(drawn)
                words += said
        return torch.cat(features), torch.tensor([self.places.target_ids(said) for said in words])

    def counts(self, piece: tuple[torch.Tensor, torch.Tensor]) -> dict[str, float]:
        return self.word_loss.counts(piece[1])

    def loss(self, model: nn.Module, piece: tuple[torch.Tensor, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Figures]:
        features, targets = piece
        return self.word_loss(model(vision_features=features).image_features, targets)

    def evaluate(self, model: nn.Module, add_up: AddUp) -> Metrics:
        return self.evaluate_on()

    def samples(self) -> list[SampleAnswer]:
        return self.show()


class WordReader:
    """Says in words what image tokens `(B, T, D)` point to: what the representation stage has learned, for people and judges."""

    def __init__(self, tokenizer, loss: WordLoss):
        self.tokenizer, self.word_loss = tokenizer, loss

    def read(self, tokens: torch.Tensor) -> list[dict[str, str]]:
        """For each picture the text at each place, such as `{"name": "red apple", "colour": "red", ...}`."""
        return [self._words(row) for row in self._nearest(tokens[:, [token for token, _, _ in PLACES]]).tolist()]

    def read_layouts(self, tokens: torch.Tensor) -> list[str]:
        """For each page the words of its elements, up to the first filler."""
        said = []
        for row in self._nearest(tokens[:, [token for token, _ in FREE_PLACES]]).tolist():
            end = row.index(self.word_loss.filler) if self.word_loss.filler in row else len(row)
            said.append(self.tokenizer.decode(row[:end]).strip())
        return said

    def _nearest(self, tokens: torch.Tensor) -> torch.Tensor:
        """`(B, T, D)` -> `(B, T)` ids of the words that the tokens point to."""
        self.word_loss.to(tokens.device)
        pointed = F.normalize(tokens.float(), dim=-1)
        return self.word_loss.vocabulary[(pointed @ F.normalize(self.word_loss.words, dim=-1).T).argmax(-1)]

    def _words(self, ids: list[int]) -> dict[str, str]:
        found: dict[str, list[int]] = {}
        ended: set[str] = set()
        for (_, place, _), token in zip(PLACES, ids, strict=True):
            found.setdefault(place, [])
            if token == self.word_loss.filler:
                ended.add(place)
            elif place not in ended:
                found[place].append(token)
        return {place: self.tokenizer.decode(tokens).strip() for place, tokens in found.items()}

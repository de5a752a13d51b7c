"""The representation stage: the image tokens learn to lie on the LLM's own words, without running the LLM.

The paper takes a Q-Former that BLIP-2 has pretrained on 129 M pictures; at the pocket size there is none, so this stage stands
in for it. The 32 image tokens get fixed places: the first spell the main object, then its colour, the count, a second
object, where it is, the background. Each is trained so that, after the projection, it points to the embedding of its word:
a softmax over cosines with all words of the corpus. The LLM's input embeddings are frozen, so what lies there it can read.
Roughly ten times as many samples per second as training through the LLM.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

NAME_TOKENS = 4
# The places of a picture's 32 tokens, in order. What is left over is free and learns in the later stages.
PLACES = (
    *(("name", index) for index in range(NAME_TOKENS)),
    ("colour", 0),
    ("count", 0),
    *(("second_name", index) for index in range(NAME_TOKENS)),
    ("second_colour", 0),
    ("relation", 0),
    ("background", 0),
    ("medium", 0),
)
FILLER = ","  # stands where a short name has no further token, and where there is no second object
FREE = -100


@dataclass(frozen=True)
class SceneWords:
    """What the places are to say; an empty text means the filler."""

    name: str
    colour: str = ""
    count: str = "one"
    second_name: str = ""
    second_colour: str = ""
    relation: str = ""
    background: str = ""
    medium: str = "drawing"


# `(random numbers, how many)` -> features `(n, N, Dv)` and what they show.
Source = Callable[[np.random.Generator, int], tuple[torch.Tensor, list[SceneWords]]]


class WordPlaces:
    """Turns `SceneWords` into target ids, and knows the vocabulary they come from."""

    def __init__(self, tokenizer, num_image_tokens: int = 32):
        self.tokenizer = tokenizer
        self.num_image_tokens = num_image_tokens
        self.filler = tokenizer(FILLER, add_special_tokens=False).input_ids[0]

    def target_ids(self, words: SceneWords) -> list[int]:
        """`num_image_tokens` ids, `FREE` where nothing is asked for."""
        ids = []
        for place, index in PLACES:
            text = getattr(words, place)
            pieces = self.tokenizer(" " + text, add_special_tokens=False).input_ids if text else []
            ids.append(pieces[index] if index < len(pieces) else self.filler)
        return ids + [FREE] * (self.num_image_tokens - len(ids))


class WordLoss(nn.Module):
    """Cross-entropy over cosines of `(B, T, D)` image tokens with the words' embeddings, plus a pull towards their length."""

    def __init__(
        self, embedding: torch.Tensor, vocabulary: torch.Tensor, filler: int, scale: float = 16.0, free_tokens: torch.Tensor | None = None
    ):
        """`embedding` `(V, D)` of the LLM; `vocabulary` `(W,)` sorted ids that targets are taken from.

        `free_tokens` `(T - places, D)`, where given, is what the places without words are drawn to.
        """
        super().__init__()
        self.register_buffer("free_tokens", free_tokens)
        self.register_buffer("vocabulary", vocabulary)
        self.register_buffer("words", embedding[vocabulary].float())
        self.scale, self.filler = scale, filler

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """`targets` `(B, T)` ids or `FREE`. Fillers weigh a tenth: they are half of all places and easy."""
        asked = targets != FREE
        wanted = torch.searchsorted(self.vocabulary, targets[asked])
        ours = tokens[asked].float()
        logits = self.scale * F.normalize(ours, dim=-1) @ F.normalize(self.words, dim=-1).T
        weight = torch.where(targets[asked] == self.filler, 0.1, 1.0)
        cross_entropy = (F.cross_entropy(logits, wanted, reduction="none") * weight).sum() / weight.sum()
        # Direction says which word; the length has to be a word's too, or the LLM reads something it has never seen.
        words = self.words[wanted]
        distance = ((ours - words).square().sum(-1) / words.square().sum(-1).mean() * weight).sum() / weight.sum()
        right = (logits.argmax(-1) == wanted).float()
        loss, metrics = cross_entropy + 0.1 * distance, {"word_accuracy": right[weight == 1].mean().item()}
        if self.free_tokens is not None:
            free = tokens[:, -len(self.free_tokens) :].float()
            off = (free - self.free_tokens).square().sum(-1).mean() / self.free_tokens.square().sum(-1).mean()
            loss, metrics["free_distance"] = loss + off, off.item()
        return loss, metrics


class RepresentationObjective:
    """Batches of pictures' features with the words that their image tokens are to be.

    `sources` draw `(features (b, N, Dv), SceneWords)` for a seed; a batch takes `share` of its `batch_size` from each.
    """

    def __init__(self, model, places: WordPlaces, loss: WordLoss, sources: list[tuple[float, Source]], batch_size: int, evaluate):
        self.model, self.places, self.word_loss, self.evaluate = model, places, loss, evaluate
        self.sources, self.batch_size = sources, batch_size

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        features, words = [], []
        for number, (share, source) in enumerate(self.sources):
            if count := round(share * self.batch_size):
                drawn, said = source(np.random.default_rng([number, step]), count)
                features.append(drawn)
                words += said
        return torch.cat(features), torch.tensor([self.places.target_ids(said) for said in words])

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        features, targets = batch
        with torch.autocast(features.device.type, torch.bfloat16):
            tokens = self.model.model.project_features(features)
        return self.word_loss(tokens, targets)


class WordReader:
    """Says in words what image tokens `(B, T, D)` point to: what the representation stage has learned, for people and judges."""

    def __init__(self, tokenizer, loss: WordLoss):
        self.tokenizer, self.word_loss = tokenizer, loss

    def read(self, tokens: torch.Tensor) -> list[dict[str, str]]:
        """For each picture the text at each place, such as `{"name": "red apple", "colour": "red", ...}`."""
        asked = F.normalize(tokens[:, : len(PLACES)].float(), dim=-1)
        ids = self.word_loss.vocabulary[(asked @ F.normalize(self.word_loss.words, dim=-1).T).argmax(-1)]
        return [self._words(row) for row in ids.tolist()]

    def _words(self, ids: list[int]) -> dict[str, str]:
        found: dict[str, list[int]] = {}
        ended: set[str] = set()
        for (place, _), token in zip(PLACES, ids, strict=True):
            found.setdefault(place, [])
            if token == self.word_loss.filler:
                ended.add(place)
            elif place not in ended:
                found[place].append(token)
        return {place: self.tokenizer.decode(tokens).strip() for place, tokens in found.items()}

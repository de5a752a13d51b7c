"""Stages 1 and 2: image tokens learn from what the frozen LLM says of them.

An example is a conversation about one picture, several or none, rendered by the same `chat.render` that chatting uses; the loss is on
the answers only. Pictures stand in reading order over the batch, which is how `embed_prompt` fills the placeholders.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count

import numpy as np
import torch
from torch import nn

from ..chat.messages import load_turns
from ..chat.pictures import LoadedPicture
from ..chat.render import IGNORED, Rendered, render
from ..chat.templates import get_template
from ..model import MiniGPT4Processor
from .objective import AddUp, DrawnObjective, Figures, Metrics, SampleAnswer, Share
from .representation import FREE, NUM_TOKENS, SceneWords, WordLoss, WordPlaces


@dataclass(frozen=True)
class Example:
    """One conversation: `messages` with `PLACEHOLDER` where a picture goes; `words` keep the tokens readable where given.

    `words` are those of the only picture, or a tuple with those of each, None for a picture whose tokens may say anything.
    `decides` asks whoever weighs the labels to count the words that decide each answer, and the others not or hardly.
    """

    messages: list[dict]
    words: SceneWords | tuple[SceneWords | None, ...] | None = None
    decides: bool = False

    @property
    def num_pictures(self) -> int:
        parts = (part for message in self.messages if not isinstance(message["content"], str) for part in message["content"])
        return sum(part["type"] == "image" for part in parts)

    @property
    def words_of_pictures(self) -> tuple[SceneWords | None, ...]:
        """One for each picture. Raises ValueError when their number is another."""
        words = self.words if isinstance(self.words, tuple) else (self.words,) * self.num_pictures
        if len(words) != self.num_pictures:
            raise ValueError(f"A conversation with {self.num_pictures} pictures has the words of {len(words)}.")
        return words


# Stands for the picture whose features come from the cache; nobody looks at its pixels.
PLACEHOLDER = LoadedPicture(image=None, digest="cached features")
# A picture that nothing is said of.
UNLEARNED = [{"role": "user", "content": [{"type": "image", "image": PLACEHOLDER}]}]

# `(random numbers, how many)` -> so many conversations, and the features `(P, N, Dv)` of all their pictures in reading order.
ConversationSource = Callable[[np.random.Generator, int], tuple[torch.Tensor, list[Example]]]


@dataclass(frozen=True)
class Apart:
    """Every `every`-th step takes `share` of a batch from `source`, and nothing else.

    For answers that are long, since padding short ones to them would double the cost of every step, or that count otherwise.
    """

    every: int
    source: ConversationSource
    share: float = 0.5


def render_example(messages: list[dict], processor: MiniGPT4Processor, template_name: str) -> Rendered:
    """Ids and labels of a finished conversation."""
    return _render(messages, processor, template_name, add_generation_prompt=False)


def render_prompt(messages: list[dict], processor: MiniGPT4Processor, template_name: str) -> Rendered:
    """Ids of a conversation that is to be answered."""
    return _render(messages, processor, template_name, add_generation_prompt=True)


def _render(messages: list[dict], processor: MiniGPT4Processor, template_name: str, add_generation_prompt: bool) -> Rendered:
    return render(
        load_turns(messages),
        get_template(template_name),
        processor.tokenizer,
        image_token_id=processor.image_token_id,
        num_image_tokens=processor.num_image_tokens,
        add_generation_prompt=add_generation_prompt,
    )


def pad_right(rows: list[list[int]], fill: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def render_batch(conversations: list[list[dict]], processor: MiniGPT4Processor, template_name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """`input_ids` and `labels` `(B, L)` of finished conversations, padded on the right.

    Padding comes after everything that is attended to, so a causal LLM needs no mask for it.
    """
    rows = [render_example(messages, processor, template_name) for messages in conversations]
    return pad_right([row.input_ids for row in rows], fill=0), pad_right([row.labels for row in rows], fill=IGNORED)


def weigh_batch(labels: torch.Tensor, examples: Sequence[Example], weigh: Callable[[Sequence[int], Example], list[float]]) -> torch.Tensor:
    """`(B, L)` weights of `labels` `(B, L)`, whose first rows are those of `examples`; the rows after them weigh nothing."""
    rows = [weigh(row, example) for row, example in zip(labels.tolist(), examples, strict=False)]
    return torch.tensor(rows + [[0.0] * labels.shape[1]] * (len(labels) - len(rows))).reshape(labels.shape)


class ConversationObjective(DrawnObjective):
    """Cross-entropy of the answers, plus `word_weight` times the representation stage's loss, so that what was learned there stays."""

    def __init__(
        self,
        processor: MiniGPT4Processor,
        template_name: str,
        sources: list[tuple[float, ConversationSource]],
        batch_size: int,
        evaluate: Callable[[], Metrics],
        show: Callable[[], list[SampleAnswer]] = list,
        word_loss: WordLoss | None = None,
        word_weight: float = 0.0,
        apart: Sequence[Apart] = (),
        weigh: Callable[[Sequence[int], Example], list[float]] | None = None,
    ):
        """Of `apart` the first whose turn it is takes a step. `weigh` gives each label of an example its weight."""
        self.processor, self.template_name, self.evaluate_on = processor, template_name, evaluate
        self.show, self.weigh = show, weigh
        self.sources, self.batch_size, self.apart = sources, batch_size, apart
        self.word_loss = word_loss if word_weight else None
        self.places = WordPlaces(processor.tokenizer, processor.num_image_tokens)
        self.weights = {"answers": 1.0}
        if self.word_loss is not None:
            self.weights |= {term: word_weight * weight for term, weight in self.word_loss.weights.items()}

    def batch(self, step: int) -> tuple[torch.Tensor, list[Example]]:
        """The features of all pictures and the conversations, whose numbers may differ."""
        for number, apart in enumerate(self.apart, start=len(self.sources)):
            if step % apart.every == apart.every - 1:
                return apart.source(np.random.default_rng([100 + number, step]), max(1, round(apart.share * self.batch_size)))
        features, examples = [], []
        for number, (share, source) in enumerate(self.sources):
            if wanted := round(share * self.batch_size):
                drawn, said = source(np.random.default_rng([100 + number, step]), wanted)
                features.append(drawn)
                examples += said
        return torch.cat(features), examples

    def batches(self, start: int, share: Share) -> Generator[list[dict[str, torch.Tensor]]]:
        for step in count(start):
            with torch.no_grad():
                features, examples = self.batch(step)
            first = [0, *accumulate(example.num_pictures for example in examples)]
            yield [self.collate(features[first[rows.start] : first[rows.stop]], examples[rows]) for rows in share.slices(len(examples))]

    def collate(self, features: torch.Tensor, examples: list[Example]) -> dict[str, torch.Tensor]:
        """What `loss` takes: `vision_features` `(P, N, Dv)`, `input_ids`, `labels` and, with a word loss, `words` `(P, T)`.

        Where no conversation has a picture, one that nothing is learned from is added.
        """
        conversations = [example.messages for example in examples]
        if not len(features):
            # The Q-Former takes no empty batch, and all processes have to reach what is trained.
            features, conversations = features.new_zeros(1, *features.shape[1:]), [*conversations, UNLEARNED]
        input_ids, labels = render_batch(conversations, self.processor, self.template_name)
        piece = {"vision_features": features, "input_ids": input_ids, "labels": labels}
        if self.weigh is not None:
            piece["label_weights"] = weigh_batch(labels, examples, self.weigh)
        if self.word_loss is not None:
            targets = [self._targets(words) for example in examples for words in example.words_of_pictures]
            piece["words"] = torch.tensor(targets, dtype=torch.long).reshape(-1, NUM_TOKENS)
        return piece

    def _targets(self, words: SceneWords | None) -> list[int]:
        return [FREE] * NUM_TOKENS if words is None else self.places.target_ids(words)

    def counts(self, piece: dict[str, torch.Tensor]) -> dict[str, float]:
        words = {} if self.word_loss is None else self.word_loss.counts(piece["words"])
        answers = piece["label_weights"][:, 1:] if "label_weights" in piece else piece["labels"][:, 1:] != IGNORED
        return {"answers": float(answers.sum()), **words}

    def loss(self, model: nn.Module, piece: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Figures]:
        inputs = {name: tensor for name, tensor in piece.items() if name != "words"}
        outputs = model(**inputs, num_items_in_batch=1, use_cache=False)
        sums = {"answers": outputs.loss}
        if self.word_loss is None:
            return sums, {}
        word_sums, figures = self.word_loss(outputs.image_features[: len(piece["words"])], piece["words"])
        return {**sums, **word_sums}, {"answer_loss": (outputs.loss.detach(), self.counts(piece)["answers"]), **figures}

    def evaluate(self, model: nn.Module, add_up: AddUp) -> Metrics:
        return self.evaluate_on()

    def samples(self) -> list[SampleAnswer]:
        return self.show()

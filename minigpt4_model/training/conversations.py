"""Stages 1 and 2: image tokens learn from what the frozen LLM says of them.

An example is a conversation about one picture, rendered by the same `chat.render` that chatting uses; the loss is on the answers only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..chat.messages import load_turns
from ..chat.pictures import LoadedPicture
from ..chat.render import IGNORED, Rendered, render
from ..chat.templates import get_template
from ..model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from .representation import SceneWords, WordLoss, WordPlaces


@dataclass(frozen=True)
class Example:
    """One conversation: `messages` with `PLACEHOLDER` where the picture goes; `words` keep the tokens readable where given."""

    messages: list[dict]
    words: SceneWords | None = None


# Stands for the picture whose features come from the cache; nobody looks at its pixels.
PLACEHOLDER = LoadedPicture(image=None, digest="cached features")

# `(random numbers, how many)` -> features `(n, N, Dv)` and a conversation about each.
ConversationSource = Callable[[np.random.Generator, int], tuple[torch.Tensor, list[Example]]]


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


class ConversationObjective:
    """Cross-entropy of the answers, plus `word_weight` times the representation stage's loss, so that what was learned there stays."""

    def __init__(
        self,
        model: MiniGPT4ForConditionalGeneration,
        processor: MiniGPT4Processor,
        sources: list[tuple[float, ConversationSource]],
        batch_size: int,
        evaluate: Callable[[], dict[str, float]],
        word_loss: WordLoss | None = None,
        word_weight: float = 0.0,
    ):
        self.model, self.processor, self.evaluate = model, processor, evaluate
        self.sources, self.batch_size = sources, batch_size
        self.word_loss, self.word_weight = word_loss, word_weight
        self.places = WordPlaces(processor.tokenizer, processor.num_image_tokens)

    def batch(self, step: int) -> tuple[torch.Tensor, list[Example]]:
        features, examples = [], []
        for number, (share, source) in enumerate(self.sources):
            if count := round(share * self.batch_size):
                drawn, said = source(np.random.default_rng([100 + number, step]), count)
                features.append(drawn)
                examples += said
        return torch.cat(features), examples

    def loss(self, batch: tuple[torch.Tensor, list[Example]]) -> tuple[torch.Tensor, dict[str, float]]:
        features, examples = batch
        template_name = self.model.config.chat_template_name
        input_ids, labels = render_batch([example.messages for example in examples], self.processor, template_name)
        with torch.autocast(features.device.type, torch.bfloat16):
            tokens = self.model.model.project_features(features)
        answer_loss = self.model(input_ids=input_ids, image_features=tokens, labels=labels, use_cache=False).loss
        if self.word_loss is None or not self.word_weight:
            return answer_loss, {}
        targets = torch.tensor([self.places.target_ids(example.words) for example in examples])
        word_loss, metrics = self.word_loss(tokens, targets)
        return answer_loss + self.word_weight * word_loss, {"answer_loss": answer_loss.item(), **metrics}

"""Stages 1 and 2: what of a conversation is learned, how rows are padded, and that learning it lowers the loss."""

import copy

import pytest
import torch
from torch.nn import functional as F

from minigpt4_model.chat.messages import question, text_message
from minigpt4_model.chat.render import IGNORED
from minigpt4_model.training.conversations import (
    PLACEHOLDER,
    ConversationObjective,
    Example,
    pad_right,
    render_batch,
    render_example,
    render_prompt,
)
from minigpt4_model.training.representation import SceneWords, WordLoss, WordPlaces
from minigpt4_model.training.trainer import freeze
from tests.tiny_chat import build_chatml_model

SHORT = [question("What is it?", [PLACEHOLDER]), text_message("assistant", "A cat.")]
LONG = [
    text_message("system", "Be kind."),
    question("What is this?", [PLACEHOLDER]),
    text_message("assistant", "It is a red bus."),
    question("And its colour?"),
    text_message("assistant", "Red."),
]


@pytest.fixture(scope="module")
def tiny():
    return build_chatml_model()


def learned(rendered, tokenizer) -> list[str]:
    """The stretches of text that labels cover."""
    texts, open_stretch = [], False
    for label in rendered.labels:
        if label == IGNORED:
            open_stretch = False
        elif open_stretch:
            texts[-1].append(label)
        else:
            texts.append([label])
            open_stretch = True
    return [tokenizer.decode(ids) for ids in texts]


def test_labels_cover_answers_with_their_end_only(tiny):
    _, processor = tiny
    rendered = render_example(LONG, processor, "chatml")
    assert learned(rendered, processor.tokenizer) == ["It is a red bus.<|im_end|>", "Red.<|im_end|>"]
    assert all(label in (IGNORED, token) for label, token in zip(rendered.labels, rendered.input_ids, strict=True))
    assert rendered.input_ids.count(processor.image_token_id) == 32 and rendered.pictures == [PLACEHOLDER]


def test_an_example_begins_as_its_prompt_does(tiny):
    _, processor = tiny
    prompt = render_prompt(SHORT[:1], processor, "chatml")
    assert render_example(SHORT, processor, "chatml").input_ids[: len(prompt.input_ids)] == prompt.input_ids
    assert set(prompt.labels) == {IGNORED}


def test_rows_are_padded_on_the_right():
    assert pad_right([[1, 2, 3], [4]], fill=-100).tolist() == [[1, 2, 3], [4, -100, -100]]


@torch.no_grad()
def test_padding_changes_no_loss(tiny):
    model, processor = tiny
    tokens = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))
    ids, labels = render_batch([SHORT, LONG], processor, "chatml")
    assert ids.shape == labels.shape and (labels[0, -5:] == IGNORED).all() and (ids[0, -5:] == 0).all()
    together = model(input_ids=ids, image_features=tokens, labels=labels).loss
    total, count = 0.0, 0
    for index, messages in enumerate((SHORT, LONG)):
        row, targets = render_batch([messages], processor, "chatml")
        logits = model(input_ids=row, image_features=tokens[index : index + 1]).logits
        total += F.cross_entropy(logits[0, :-1], targets[0, 1:], reduction="sum").item()
        count += int((targets[0, 1:] != IGNORED).sum())
    assert together.item() == pytest.approx(total / count, rel=1e-5)


def test_a_few_steps_lower_both_losses(tiny):
    model, processor = copy.deepcopy(tiny[0]), tiny[1]
    words = SceneWords("cat", count="", medium="")
    places = WordPlaces(processor.tokenizer)
    vocabulary = torch.tensor(sorted(set(places.target_ids(words)[:14]) | set(range(20, 40))))
    word_loss = WordLoss(model.get_input_embeddings().weight.detach(), vocabulary, places.filler)

    def source(chance, count):
        # The same two pictures at every step, so that a few steps are enough.
        return torch.randn(count, 5, 32, generator=torch.Generator().manual_seed(0)), [Example(SHORT, words), Example(LONG, words)]

    plain = ConversationObjective(model, processor, [(1.0, source)], 2, dict)
    both = ConversationObjective(model, processor, [(1.0, source), (0.0, source)], 2, dict, word_loss, word_weight=0.5)
    answer_loss, metrics = plain.loss(plain.batch(0))
    assert metrics == {}
    loss, metrics = both.loss(both.batch(0))
    assert metrics["answer_loss"] == pytest.approx(answer_loss.item(), rel=1e-5) and loss > answer_loss

    optimizer = torch.optim.AdamW(freeze(model, train_qformer=True), lr=1e-2)
    for step in range(25):
        loss, metrics = both.loss(both.batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert metrics["answer_loss"] < 0.8 * answer_loss.item()
    assert metrics["word_accuracy"] == 1.0

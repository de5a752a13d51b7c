"""Stages 1 and 2: what of a conversation is learned, how rows are padded, and that learning it lowers the loss."""

import copy

import pytest
import torch
from torch.nn import functional as F

from minigpt4_model.chat.messages import question, text_message
from minigpt4_model.chat.render import IGNORED
from minigpt4_model.training.conversations import (
    PLACEHOLDER,
    Apart,
    ConversationObjective,
    Example,
    pad_right,
    render_batch,
    render_example,
    render_prompt,
)
from minigpt4_model.training.objective import Share
from minigpt4_model.training.representation import FREE, SceneWords, WordLoss, WordPlaces
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

    plain = ConversationObjective(processor, "chatml", [(1.0, source)], 2, dict)
    both = ConversationObjective(processor, "chatml", [(1.0, source), (0.0, source)], 2, dict, word_loss=word_loss, word_weight=0.5)
    assert plain.weights == {"answers": 1.0} and both.weights == {"answers": 1.0, "words": 0.5}

    def losses(objective, step: int):
        (piece,) = next(objective.batches(step, Share()))
        counts = objective.counts(piece)
        sums, figures = objective.loss(model, piece)
        means = {term: sums[term] / counts[term] for term in objective.weights}
        return sum(objective.weights[term] * mean for term, mean in means.items()), means, figures

    alone, _, figures = losses(plain, 0)
    assert figures == {}
    loss, means, _ = losses(both, 0)
    assert means["answers"].item() == pytest.approx(alone.item(), rel=1e-5) and loss > alone

    optimizer = torch.optim.AdamW(freeze(model, train_qformer=True), lr=1e-2)
    for step in range(25):
        loss, means, figures = losses(both, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right, asked = figures["word_accuracy"]
    assert means["answers"] < 0.8 * alone and right == asked


def test_pieces_add_up_to_the_whole_step(tiny):
    model, processor = tiny
    words = [SceneWords("cat", count="", medium=""), SceneWords("red cat", colour="red", count="", medium="")]
    places = WordPlaces(processor.tokenizer)
    vocabulary = torch.tensor(sorted({token for said in words for token in places.target_ids(said)[:14]} | set(range(20, 40))))
    free = torch.randn(18, 32, generator=torch.Generator().manual_seed(2))
    word_loss = WordLoss(model.get_input_embeddings().weight.detach(), vocabulary, places.filler, free_tokens=free)

    def source(chance, count):
        return torch.randn(4, 5, 32, generator=torch.Generator().manual_seed(0)), [Example(SHORT, words[0]), Example(LONG, words[1])] * 2

    objective = ConversationObjective(processor, "chatml", [(1.0, source)], 4, dict, word_loss=word_loss, word_weight=0.3)

    @torch.no_grad()
    def added(*shares: Share):
        pieces = [piece for share in shares for piece in next(objective.batches(0, share))]
        sums, counts = [objective.loss(model, piece)[0] for piece in pieces], [objective.counts(piece) for piece in pieces]
        return [float(sum(row[term] for row in rows)) for rows in (sums, counts) for term in objective.weights]

    whole = added(Share())
    assert len(whole) == 6 and added(Share(pieces=3)) == pytest.approx(whole, rel=1e-4)
    assert added(Share(0, 2), Share(1, 2, pieces=2)) == pytest.approx(whole, rel=1e-4)


# several pictures in one conversation, or none

NONE = [question("What is it?"), text_message("assistant", "There is no picture.")]
TWO = [question("Which one?", [PLACEHOLDER, PLACEHOLDER]), text_message("assistant", "The second.")]
LATE = [*NONE, question("And now?", [PLACEHOLDER]), text_message("assistant", "A cat.")]


def mixed_objective(processor, model, examples, word_weight=0.3, weigh=None):
    words = SceneWords("cat", count="", medium="")
    places = WordPlaces(processor.tokenizer)
    vocabulary = torch.tensor(sorted(set(places.target_ids(words)[:14]) | set(range(20, 40))))
    word_loss = WordLoss(model.get_input_embeddings().weight.detach(), vocabulary, places.filler)
    number = sum(example.num_pictures for example in examples)
    features = torch.arange(number).float()[:, None, None].expand(-1, 5, 32).clone()
    source = lambda chance, count: (features, list(examples))  # noqa: E731
    drawn = [(1.0, source)]
    return ConversationObjective(processor, "chatml", drawn, len(examples), dict, list, word_loss, word_weight, weigh=weigh)


def test_every_piece_has_the_pictures_of_its_conversations(tiny):
    model, processor = tiny
    cat = SceneWords("cat", count="", medium="")
    examples = [Example(TWO, (cat, None)), Example(NONE), Example(SHORT, cat), Example(LATE, (cat,))]
    assert [example.num_pictures for example in examples] == [2, 0, 1, 1]
    objective = mixed_objective(processor, model, examples)
    pieces = next(objective.batches(0, Share(pieces=4)))
    assert [piece["vision_features"][:, 0, 0].tolist() for piece in pieces] == [
        [0, 1],
        [0],
        [2],
        [3],
    ]
    assert [len(piece["words"]) for piece in pieces] == [2, 0, 1, 1]
    assert pieces[1]["input_ids"].shape[0] == 2 and (pieces[1]["labels"][1] == IGNORED).all()
    assert (pieces[0]["words"][1] == FREE).all() and (pieces[0]["words"][0] != FREE).any()
    assert "label_weights" not in pieces[0]
    weighed = next(mixed_objective(processor, model, examples, weigh=by_length).batches(0, Share(pieces=4)))
    for piece, example in zip(weighed, examples, strict=True):
        assert piece["label_weights"].shape == piece["labels"].shape
        assert piece["label_weights"][0].tolist() == by_length(piece["labels"][0].tolist(), example)
        assert not piece["label_weights"][1:].any()
    (second,) = next(objective.batches(0, Share(1, 2)))
    assert second["vision_features"][:, 0, 0].tolist() == [2, 3]


def by_length(labels, example):
    """Weights that differ between the labels of an example and between examples."""
    return [0.0 if label == IGNORED else 1.0 + place % 3 + len(example.messages) for place, label in enumerate(labels)]


@pytest.mark.parametrize("weigh", [None, by_length])
def test_pieces_with_and_without_pictures_add_up_and_can_be_learned_from(tiny, weigh):
    model, processor = copy.deepcopy(tiny[0]), tiny[1]
    cat = SceneWords("cat", count="", medium="")
    examples = [Example(TWO, (cat, cat)), Example(NONE), Example(SHORT, cat), Example(LATE, cat)]
    objective = mixed_objective(processor, model, examples, weigh=weigh)
    parameters = freeze(model, train_qformer=True)

    def added(share):
        totals = {}
        for piece in next(objective.batches(0, share)):
            sums, _ = objective.loss(model, piece)
            sum(sums.values()).backward()  # also without a picture, where nothing but the frozen LLM takes part
            for term, value in sums.items():
                totals[term] = totals.get(term, 0.0) + value.item()
        gradient = torch.cat([parameter.grad.flatten() for parameter in parameters])
        model.zero_grad()
        return totals, gradient

    (whole, gradient), (parts, gradient_of_parts) = added(Share()), added(Share(pieces=4))
    assert parts == pytest.approx(whole, rel=1e-4) and gradient.abs().sum() > 0
    torch.testing.assert_close(gradient_of_parts, gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())


def test_the_words_of_another_number_of_pictures_are_refused():
    cat = SceneWords("cat")
    assert Example(NONE).words_of_pictures == () and Example(TWO).words_of_pictures == (None, None)
    with pytest.raises(ValueError, match="2 pictures has the words of 1"):
        Example(TWO, (cat,)).words_of_pictures  # noqa: B018


def test_long_answers_come_in_steps_of_their_own(tiny):
    model, processor = tiny

    def short(chance, count):
        return torch.zeros(count, 5, 32), [Example(SHORT)] * count

    def long(chance, count):
        return torch.ones(count, 5, 32), [Example(LONG)] * count

    objective = ConversationObjective(processor, "chatml", [(1.0, short)], 6, dict, apart=[Apart(3, long)])
    drawn = objective.batches(0, Share())
    assert [(len(piece["labels"]), piece["vision_features"].max().item()) for (piece,) in (next(drawn) for _ in range(6))] == [
        (6, 0.0),
        (6, 0.0),
        (3, 1.0),
    ] * 2

"""Visual contrastive decoding: the paper's formula, and an engine that reads twice in one batch and answers as two readings would."""

import dataclasses
import threading
import time

import pytest
import torch

from minigpt4_model.chat.blank import blank_picture
from minigpt4_model.chat.contrast import VisualContrast, contrast_keys
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.messages import load_conversation
from minigpt4_model.chat.render import picture_keys
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.chat.turnstile import Seats
from tests.tiny_chat import assistant, build_chatml_model, image, user

PLAIN = GenerationSettings(temperature=0, repetition_penalty=1.0, max_new_tokens=12, leak_guard=False)
CONTRAST = dataclasses.replace(PLAIN, visual_contrast=1.5)
NOTHING_YET = torch.zeros(1, 0, dtype=torch.long)


@pytest.fixture(scope="module")
def parts():
    return build_chatml_model()


@pytest.fixture
def engine(parts):
    return Engine(*parts)


@pytest.fixture(scope="module")
def plain(parts):
    return Engine(*parts, reuse_kv=False)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_the_formula_is_the_papers(alpha):
    """Equation 3 on the words that equation 5 leaves: at least a tenth as likely as the likeliest, with the picture seen."""
    seen, blank = 3 * torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    likely = seen.softmax(0)
    head = likely >= 0.1 * likely.max()
    expected = torch.where(head, ((1 + alpha) * seen - alpha * blank).exp(), 0.0)
    found = VisualContrast(alpha)(NOTHING_YET, torch.stack([seen, blank]))
    assert found.shape == (1, 50)
    assert torch.allclose(found.softmax(1)[0], expected / expected.sum(), atol=1e-6) and 1 < head.sum() < 50


def test_words_that_do_not_need_the_picture_lose():
    scores = torch.tensor([[2.0, 1.9, -5.0], [2.0, 0.0, -60.0]])
    assert VisualContrast(1.0)(NOTHING_YET, scores).argmax() == 1  # not the last, however much less likely without the picture
    banned = torch.tensor([[-torch.inf, 1.0, 0.9], [-torch.inf, 1.0, 0.0]])
    assert VisualContrast(1.0)(NOTHING_YET, banned)[0].tolist() == [-torch.inf, 1.0, pytest.approx(1.8)]


def test_one_row_stays_as_it_is():
    scores = torch.randn(1, 9)
    assert VisualContrast(1.0)(NOTHING_YET, scores) is scores


def test_keys_of_two_readings_are_those_of_no_other_prompt():
    keys = [0, 5, 48_000, *picture_keys("one", 3), *picture_keys("two", 3)]
    twice = contrast_keys(keys)
    assert len(set(twice)) == len(set(keys)) and not set(twice) & set(keys)
    assert [key < 0 for key in twice] == [key < 0 for key in keys]


def two_readings(engine, parts, messages, alpha, steps):
    """The same answer by the formula: two conversations computed apart from the first token at every step."""
    model, processor = parts
    rendered = engine.render(load_conversation(messages))
    pixels = [processor.image_processor(shown.image)["pixel_values"] for shown in rendered.pictures]
    blank = processor.image_processor(blank_picture().image)["pixel_values"]
    ids: list[int] = []
    with torch.no_grad():
        for _ in range(steps):
            prompt = torch.tensor([rendered.input_ids + ids])
            rows = [model(input_ids=prompt, pixel_values=torch.cat(shown)).logits[0, -1] for shown in (pixels, [blank] * len(pixels))]
            ids.append(int(VisualContrast(alpha)(NOTHING_YET, torch.stack(rows)).argmax()))
    return ids


@pytest.mark.parametrize("pictures", [(1,), (1, 2)])
def test_the_engine_answers_as_two_readings_apart(engine, parts, pictures):
    messages = [user(*map(image, pictures), "What?")]
    answer = engine.answer(messages, dataclasses.replace(CONTRAST, max_new_tokens=8))
    assert answer.token_ids == two_readings(engine, parts, messages, 1.5, len(answer.token_ids))
    assert answer.token_ids != engine.answer(messages, dataclasses.replace(PLAIN, max_new_tokens=8)).token_ids


def test_the_cache_of_a_contrasted_conversation(engine, plain):
    """Turns with several pictures, a retry, an edit, an undo, and the contrast switched off and on again."""
    messages = []
    for number, turn in enumerate((user(image(1), image(2), "Which?"), user("Why?"), user("And", image(3), "here?"))):
        messages.append(turn)
        answer = engine.answer(messages, CONTRAST)
        assert answer.token_ids == plain.answer(messages, CONTRAST).token_ids
        assert answer.usage.image_tokens == 64 + 32 * (number == 2)
        assert number == 0 or answer.usage.reused_tokens > 64
        messages.append(assistant(answer.text))
    retried = engine.answer(messages[:-1], CONTRAST)
    assert retried.token_ids == answer.token_ids and retried.usage.reused_tokens == retried.usage.prompt_tokens - 1
    for asked in ([*messages[:-2], user("Really?")], [*messages[:2], user("Other")]):
        for settings in (CONTRAST, PLAIN, CONTRAST):
            assert engine.answer(asked, settings).token_ids == plain.answer(asked, settings).token_ids
    assert engine.answer(asked, CONTRAST).usage.reused_tokens > 64


def test_each_picture_and_one_blank_are_encoded_once(engine, monkeypatch, parts):
    encode, encoded = parts[0].get_image_features, []
    monkeypatch.setattr(parts[0], "get_image_features", lambda pixels, **kwargs: encoded.append(len(pixels)) or encode(pixels, **kwargs))
    engine.answer([user(image(1), image(2), "Which?")], CONTRAST)
    engine.answer([user(image(3), "What?")], CONTRAST)
    assert len(encoded) == 4


def test_without_a_picture_nothing_is_read_twice(engine, monkeypatch, parts):
    forward, rows = parts[0].forward, set()

    def counted(*args, **kwargs):
        rows.add(next(value.shape[0] for name, value in kwargs.items() if name in ("inputs_embeds", "input_ids")))
        return forward(*args, **kwargs)

    monkeypatch.setattr(parts[0], "forward", counted)
    answer = engine.answer([user("What?")], CONTRAST)
    assert answer.token_ids == engine.answer([user("What?")], PLAIN).token_ids and rows == {1}
    engine.answer([user(image(1), "What?")], CONTRAST)
    assert rows == {1, 2}


def test_beams_say_that_they_leave_it_out(engine):
    settings = dataclasses.replace(CONTRAST, num_beams=2)
    answer = engine.answer([user(image(1), "What?")], settings)
    assert "without beams" in answer.notices[0]
    assert answer.token_ids == engine.answer([user(image(1), "What?")], dataclasses.replace(settings, visual_contrast=0.0)).token_ids


def test_two_readings_count_twice(engine):
    engine.answer([user(image(1), "What?")], CONTRAST)
    (slot,) = engine._slots._slots.values()
    assert engine._slots.tokens == 2 * len(slot.keys)


def test_an_answer_that_takes_two_places_waits_for_both():
    seats, order = Seats(2, patience_s=60), []

    def sit(name, places):
        with seats.seat(places=places):
            order.append(name)

    with seats.seat():
        threads = [threading.Thread(target=sit, args=(name, places)) for name, places in (("both", 2), ("one", 1))]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        assert order == []  # nor does the later one, which there is room for, overtake
    for thread in threads:
        thread.join(timeout=5)
    assert order == ["both", "one"]
    with Seats(1).seat(places=2) as seat:
        assert seat.places == 1

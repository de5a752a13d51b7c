"""How full the model's memory is, in the backend's own counts, and the figures below the answers."""

import re

import pytest

from minigpt4_model.chat.backends.base import Answer, BackendDescription, Timings, Usage
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.conversation import FAILED, FINISHED, Conversation, Exchange
from minigpt4_model.ui.meter_panel import meter_html

ABOUT = BackendDescription("pocket", "Pocket", "tests", "cpu", 1000, 32)


def answered(prompt: int, made: int, pictures: int = 0, **settings) -> Exchange:
    answer = Answer("Yes.", usage=Usage(pictures, prompt, 0, made), timings=Timings(0, 0.5, 1.5))
    return Exchange("Is it?", (), "Yes.", FINISHED, settings=GenerationSettings(**settings), details=answer)


def data(*exchanges) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r'data-([a-z-]+)="(\d+)"', meter_html(Conversation(exchanges), ABOUT))}


def test_the_last_answer_counts():
    assert data(answered(50, 9), answered(120, 11, 64)) == {"used": 131, "pictures": 64, "room": 750, "length": 1000, "image-tokens": 32}


def test_a_failed_question_changes_nothing_and_an_empty_conversation_takes_nothing():
    assert data(answered(50, 9), Exchange("fail", (), "", FAILED, "It broke."))["used"] == 59
    assert data()["used"] == 0


@pytest.mark.parametrize(("longest", "room"), [(100, 900), (900, 750)])
def test_the_room_is_what_the_engine_keeps_free_of_the_answer(longest, room):
    assert data(answered(50, 9, max_new_tokens=longest))["room"] == room


def test_each_answer_has_its_figures():
    shown = meter_html(Conversation([answered(50, 1), Exchange("fail", (), "", FAILED), answered(60, 31), answered(80, 2)]), ABOUT)
    assert re.findall(r"nth-child\((\d) of \.bot-row\)[^{]*{ content: \"([^\"]*)\"; }", shown) == [
        ("1", "1 token in 2.0 s"),
        ("3", "31 tokens in 2.0 s, 20.0 tokens/s"),
    ]

"""Several conversations answered side by side: the same words as one at a time."""

import dataclasses

import pytest

from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.pictures import PictureError
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.chat.together import answer_together
from tests.tiny_chat import assistant, build_chatml_model, image, user
from tests.tiny_models import build_tiny_model

GREEDY = GenerationSettings(temperature=0, repetition_penalty=1.3, max_new_tokens=24)
TALKS = [
    [user(image(1), "what is this")],
    [user("no picture, and quite a few more words than the other one has")],
    [user(image(2), "hm"), assistant("the the"), user("continue")],
    [user(image(1), image(3), "compare")],
]


@pytest.fixture(scope="module", params=["chatml", "eva", "llama2"])
def engine(request):
    return Engine(*(build_chatml_model() if request.param == "chatml" else build_tiny_model(request.param)))


def test_side_by_side_is_as_alone(engine):
    alone = [engine.answer(talk, GREEDY) for talk in TALKS]
    together = answer_together(engine, TALKS, GREEDY)
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.finish_reason for answer in together] == [answer.finish_reason for answer in alone]
    assert [answer.usage.prompt_tokens for answer in together] == [answer.usage.prompt_tokens for answer in alone]
    assert [answer.usage.image_tokens for answer in together] == [answer.usage.image_tokens for answer in alone]
    assert len({answer.text for answer in alone}) == len(TALKS)  # the pictures and words matter


def test_rows_end_by_themselves(engine):
    """A row that loops or says an end token ends there, whatever the others do."""
    settings = GenerationSettings(temperature=0, repetition_penalty=0.5, max_new_tokens=120)
    alone = [engine.answer(talk, settings) for talk in TALKS]
    together = answer_together(engine, TALKS, settings)
    assert [answer.finish_reason for answer in together] == [answer.finish_reason for answer in alone]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    if engine.template.name == "chatml":  # the one of these random models that loops and stops
        assert {"guard", "stop"} <= {answer.finish_reason for answer in alone}


def test_each_row_has_the_settings_and_guards_it_has_alone(engine):
    """The visual contrast reads rows with pictures twice, those without once; crops and the script guard differ from row to row."""
    talks = [*TALKS, [user("Отвечай по-русски")]]
    said = {}
    for name, value in {"visual_contrast": 1.5, "image_crops": True, "script_guard": True, "num_beams": 2, "loop_guard": 0}.items():
        settings = dataclasses.replace(GREEDY, **{name: value})
        alone = [engine.answer(talk, settings) for talk in talks]
        together = answer_together(engine, talks, settings)
        for field in ("token_ids", "text", "finish_reason", "notices"):
            assert [getattr(answer, field) for answer in together] == [getattr(answer, field) for answer in alone], (name, field)
        said[name] = [answer.token_ids for answer in alone]
    assert said["visual_contrast"] != said["loop_guard"] != said["image_crops"]


def test_a_seed_is_that_of_the_first(engine):
    settings = GenerationSettings(temperature=1.2, max_new_tokens=12, seed=3)
    together = [answer.text for answer in answer_together(engine, TALKS, settings)]
    assert together == [engine.generate(talk, dataclasses.replace(settings, seed=3 + number)) for number, talk in enumerate(TALKS)]
    assert together != [answer.text for answer in answer_together(engine, TALKS, dataclasses.replace(settings, seed=9))]
    twice = answer_together(engine, [TALKS[0]] * 4, settings)
    assert len({answer.text for answer in twice}) > 1


def test_nobody_asks_and_nobody_waits(engine):
    assert answer_together(engine, [], GREEDY) == []


def test_a_picture_that_is_none_stops_the_batch(engine, tmp_path):
    with pytest.raises(PictureError, match="nothing.png"):
        answer_together(engine, [[user({"type": "image", "image": tmp_path / "nothing.png"}, "what")]], GREEDY)

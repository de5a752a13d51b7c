"""The shipped pocket checkpoint on the examples that the page offers it: a visitor's first click should not meet a wrong name."""

import pytest

from minigpt4_model import load_engine
from minigpt4_model.chat.messages import question
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.demo_questions import load_demo_questions, offered
from minigpt4_model.weights.engine_choice import choose_engine

# What a right answer says, in any of these words.
RIGHT = {
    ("name", "cat.png"): ("cat", "kitten"),
    ("name", "apple.png"): ("apple",),
    ("name", "fish.png"): ("fish",),
    ("name", "mushroom.png"): ("mushroom", "toadstool"),
    ("name", "coffee.jpg"): ("coffee", "espresso", "cup"),
    ("colour", "mushroom.png"): ("red",),
    ("colour", "fish.png"): ("blue",),
    ("sketch", "sketch.png"): ("<header>",),
}
OFFERED = offered(load_demo_questions(), "pocket")


@pytest.mark.parametrize("computed_by", ["torch", "llama.cpp"])
def test_the_examples_are_answered_right(computed_by):
    if computed_by == "llama.cpp" and (choice := choose_engine("auto", frozen_parts="pocket", device="cpu")).name != computed_by:
        pytest.skip(choice.why)
    engine = load_engine("pocket", device="cpu", dtype="float32" if computed_by == "torch" else None, engine=computed_by)
    greedy = GenerationSettings(temperature=0.0, max_new_tokens=40)
    wrong = {}
    for example in OFFERED:
        said = engine.generate([question(example.question, [example.picture])], greedy)
        if not any(word in said.lower() for word in RIGHT[example.task, example.picture.name]):
            wrong[example.task, example.picture.name] = said
    engine.close()
    assert len(wrong) <= 1, wrong  # rounding differs between processors, and one answer may turn on it


def test_every_example_that_pocket_is_offered_is_asked_here():
    assert {(example.task, example.picture.name) for example in OFFERED} == set(RIGHT)

"""The shipped pocket checkpoint on the page's own examples: a visitor's first click should not meet a wrong name."""

from pathlib import Path

import pytest

from minigpt4_model import load_engine
from minigpt4_model.chat.messages import question
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.weights.engine_choice import choose_engine

EXAMPLES = Path(__file__).parents[1] / "minigpt4_model" / "ui" / "examples"
ASKED = {
    "apple": "What is in this picture?",
    "cat": "Which animal is this?",
    "fish": "What do you see?",
    "mushroom": "What is this?",
}


@pytest.mark.parametrize("computed_by", ["torch", "llama.cpp"])
def test_the_examples_are_named(computed_by):
    if computed_by == "llama.cpp" and (choice := choose_engine("auto", frozen_parts="pocket", device="cpu")).name != computed_by:
        pytest.skip(choice.why)
    engine = load_engine("pocket", device="cpu", dtype="float32" if computed_by == "torch" else None, engine=computed_by)
    greedy = GenerationSettings(temperature=0.0, max_new_tokens=24)
    said = {name: engine.generate([question(text, [EXAMPLES / f"{name}.png"])], greedy) for name, text in ASKED.items()}
    engine.close()
    right = [name for name, answer in said.items() if name in answer.lower()]
    assert len(right) >= 3, said  # rounding differs between processors, and one answer may turn on it


def test_every_example_on_the_page_is_asked_here():
    lines = (Path(__file__).parents[1] / "prompts" / "demo_questions.txt").read_text(encoding="utf-8").splitlines()
    offered = dict(line.split(" | ") for line in lines if line and not line.startswith("#"))
    assert offered == {f"{name}.png": text for name, text in ASKED.items()}

"""Which words of an answer weigh more: those that only the picture tells."""

import random

import pytest

from minigpt4_model.chat.messages import question, text_message
from minigpt4_model.training.conversations import IGNORED, PLACEHOLDER, Example
from minigpt4_model.training.pocket.albums import SAYS_NOTHING
from minigpt4_model.training.pocket.decisive import DecisiveWords
from minigpt4_model.training.pocket.sketches.layout import draw_layout
from minigpt4_model.training.pocket.sketches.sources import sketch_messages, sketch_scene_words
from minigpt4_model.training.representation import SceneWords
from minigpt4_model.weights.load import load_tokenizer
from minigpt4_model.weights.pocket import ensure_pocket


@pytest.fixture(scope="module")
def decisive():
    return DecisiveWords(load_tokenizer(ensure_pocket().language_model_dir))


def weighed(decisive, answer: str, words: SceneWords | None) -> str:
    """The decisive pieces of an answer, in order."""
    labels = decisive.tokenizer(answer).input_ids
    asked = question("And?", [] if words is None else [PLACEHOLDER])
    example = Example([asked, text_message("assistant", answer)], () if words is None else words)
    weights = decisive.weigh([IGNORED, *labels, IGNORED], example)
    assert weights[0] == weights[-1] == 0 and set(weights[1:-1]) <= {1.0, decisive.weight}
    return "".join(decisive.tokenizer.decode([label]) for label, weight in zip(labels, weights[1:-1], strict=True) if weight > 1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("No, there is no dog; the picture shows a cat.", "No is no cat"),
        ("The hot air balloon is to the left of it.", " hot air balloon is left"),
        ("There are three cats.", " are three cats"),
        ("It is red and Red.", " is red Red"),
        ("I cannot tell who made it.", ""),
    ],
)
def test_only_what_the_picture_tells_is_decisive(decisive, answer, expected):
    assert weighed(decisive, answer, SceneWords("cat", second_name="hot air balloon")) == expected


def test_names_are_each_pictures_own(decisive):
    assert weighed(decisive, "It was a cat.", SceneWords("dog")) == ""


@pytest.mark.parametrize("words", [None, SAYS_NOTHING])
def test_without_a_picture_all_weigh_alike(decisive, words):
    assert weighed(decisive, "No, I see no cat.", words) == ""


def test_on_a_page_it_is_the_next_element(decisive):
    chance = random.Random(0)
    sketch = draw_layout(chance)
    html = sketch_messages(sketch, PLACEHOLDER, chance)[-1]["content"][0]["text"]
    labels = decisive.tokenizer(html).input_ids
    example = Example(sketch_messages(sketch, PLACEHOLDER, chance), sketch_scene_words(sketch))
    weights = decisive.weigh(labels, example)
    told = "".join(decisive.tokenizer.decode([label]) for label, weight in zip(labels, weights, strict=True) if weight > 1)
    assert "form" in told and "button" in told and "figure" in told
    assert "Some" not in told and "Image" not in told and "input" not in told
    assert 0.05 < sum(weight > 1 for weight in weights) / len(weights) < 0.45

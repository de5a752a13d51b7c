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


def deciding(decisive, *turns: tuple[str, str], words: SceneWords) -> list[str]:
    """The pieces that alone count in a conversation about one picture."""
    messages, labels = [], []
    for number, (asked, answer) in enumerate(turns):
        messages += [question(asked, [PLACEHOLDER] if number == 0 else []), text_message("assistant", answer)]
        labels += [IGNORED, *decisive.tokenizer(answer).input_ids]
    weights = decisive.weigh(labels, Example(messages, words, decides=True))
    assert set(weights) <= {0.0, 1.0}
    return [decisive.tokenizer.decode([label]) for label, weight in zip(labels, weights, strict=True) if weight]


@pytest.mark.parametrize(
    ("asked", "answer", "word"),
    [
        ("Is there a dog?", "No, there is no dog; the picture shows a cat.", ["No"]),
        ("What is on the left?", "On the left is a cat.", [" cat", "."]),
        ("Where is the cat?", "The cat is on the left.", [" left"]),
        ("Is the cat on the left or on the right?", "The cat is on the right.", [" right"]),
        ("Which is further left, the cat or the onion?", "The cat is further left.", [" cat"]),
        ("How many cats are there?", "I see three cats.", [" three"]),
        ("What colour is the cat?", "The cat is grey.", [" grey"]),
        ("Is this a photo or a drawing?", "It is a drawing of a cat.", [" drawing"]),
        ("What is on the right?", "On the right is an onion.", [" onion", "."]),
        ("Which picture shows a cat?", "The second picture shows a cat.", [" second"]),
        ("What is next to the cat?", "Nothing.", []),
        ("What do you see?", "I see a cat on the left and an onion, and the cat is grey.", [" cat", " on", " onion", ","]),
        ("What do you see?", "Three cats. The cats are grey.", ["Three", " cats", "."]),
    ],
)
def test_a_word_decides_an_answer(decisive, asked, answer, word):
    assert deciding(decisive, (asked, answer), words=SceneWords("cat", second_name="onion")) == word


def test_each_answer_of_a_conversation_is_decided(decisive):
    said = deciding(decisive, ("What is this?", "It is a cat."), ("Is it grey?", "Yes, it is grey."), words=SceneWords("cat"))
    assert said == [" cat", ".", "Yes"]


def test_the_other_words_of_a_decided_answer_can_count_a_little(decisive):
    decisive = DecisiveWords(decisive.tokenizer, rest=0.05)
    messages = [question("Is there a dog?", [PLACEHOLDER]), text_message("assistant", "No, there is none.")]
    answer = decisive.tokenizer("No, there is none.").input_ids
    weights = decisive.weigh([IGNORED, *answer], Example(messages, SceneWords("cat"), decides=True))
    assert weights == [0.0, 1.0, *[0.05] * (len(answer) - 1)]

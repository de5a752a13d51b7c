"""What a sentence says: whole words, negations, numbers, colours, sides."""

import pytest

from minigpt4_model.evaluation.language import answer_likelihoods, broken_words, foreign_script, repeats
from minigpt4_model.evaluation.words import colours_said, number_said, side_said, yes_or_no
from minigpt4_model.training.pocket.judge import says


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("It is a cat.", ["cat"], True),
        ("There are three cats!", ["cat"], True),
        ("A category of things", ["cat"], False),
        ("a pillillow", ["pillow"], False),
        ("two knives and a fork", ["knife"], True),
        ("This is an ice-cream cone.", ["ice cream"], True),
        ("It is not a dog, it is a cat.", ["dog"], False),
        ("It is not a dog, it is a cat.", ["cat"], True),
        ("There is no dog in the picture.", ["dog"], False),
        ("It isn’t a dog but a wolf.", ["wolf"], True),
        ("A KITTEN", ["cat", "kitten"], True),
        ("one grape", ["grapes"], True),
        ("", ["cat"], False),
        ("a cat", [], False),
    ],
)
def test_names_are_whole_words_that_are_asserted(text, names, said):
    assert says(text, names) is said


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes, there is a dog.", "yes"),
        ("No, there is no dog.", "no"),
        ("No.", "no"),
        ("There is no dog in the picture.", "no"),
        ("There isn't a dog. I can see one cat.", "no"),
        ("There is a dog.", "yes"),
        ("The picture shows a cat.", ""),
        ("I think yes", "yes"),
        ("Nobody knows.", ""),
        ("", ""),
    ],
)
def test_yes_or_no(text, answer):
    assert yes_or_no(text, ["dog"]) == answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("There are three apples.", 3),
        ("3", 3),
        ("I count 4 apples in the picture.", 4),
        ("There is an apple.", 1),
        ("One apple.", 1),
        ("There are two apples and one pear.", 2),
        ("There is one pear and two red apples.", 2),
        ("A pair of apples.", 2),
        ("No apples.", 0),
        ("Two: there are two apples.", 2),
        ("Two or three things.", None),
        ("Many apples.", None),
        ("There are someone's apples", None),
    ],
)
def test_numbers_in_words_and_digits(text, number):
    assert number_said(text, ["apple"]) == number


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        ("It is red and white.", ["red", "white"]),
        ("The car is dark green.", ["green"]),
        ("gray", ["grey"]),
        ("It is navy with golden stripes", ["blue", "yellow"]),
        ("It is not red, it is blue.", ["blue"]),
        ("a bored reddening man", []),
        ("It is a tomato.", []),
        ("Orange, orange, orange", ["orange"]),
    ],
)
def test_colours_become_one_of_eleven_names(text, colours):
    assert colours_said(text) == colours


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("It is on the left.", "left"),
        ("The apple is on the right side.", "right"),
        ("The apple is to the left of the dog.", "left"),
        ("The dog is to the left of the apple.", "right"),
        ("The dog is on the right and the apple is on the left.", "left"),
        ("On the left is the apple.", "left"),
        ("On the left of the apple.", "right"),
        ("The apple is below the dog.", "below"),
        ("In the middle.", ""),
    ],
)
def test_sides_belong_to_the_thing_asked_about(text, side):
    assert side_said(text, ["apple"], ["dog"]) == side


def test_repetition_needs_a_whole_run_of_four_words():
    assert repeats("a red apple on a table and a red apple on a chair")
    assert not repeats("a red apple and a green apple and a red pear")


def test_another_script_is_noticed_and_accents_are_not():
    assert foreign_script("a cat 一只猫") and foreign_script("кот")
    assert not foreign_script("A café, naïve: 20 °C – “fine” 🙂")


def test_babble_is_noticed():
    assert broken_words("aaaaah") and broken_words("x" * 40)
    assert not broken_words("a bookkeeper sees www.example.org")


def test_likelihoods_are_those_of_the_answer_after_the_question():
    import torch

    from minigpt4_model.chat.messages import question
    from tests.tiny_chat import build_chatml_model

    model, processor = build_chatml_model()
    from minigpt4_model.chat.engine import Engine
    from minigpt4_model.chat.settings import GenerationSettings

    engine = Engine(model, processor)
    own = engine.answer([question("What is it?")], GenerationSettings(temperature=0, max_new_tokens=8, repetition_penalty=1.0))
    rows = answer_likelihoods(model, processor, [("What is it?", own.text), ("What is it?", "zqxj kvw"), ("What is it?", "")])
    assert rows[2] == (0.0, 0)
    assert rows[0][0] / rows[0][1] < rows[1][0] / rows[1][1]  # greedy words are likelier than letters at random
    uniform = torch.log(torch.tensor(float(len(processor.tokenizer)))).item()
    assert rows[0][0] / rows[0][1] < uniform and rows[1][1] == len(processor.tokenizer("zqxj kvw").input_ids)

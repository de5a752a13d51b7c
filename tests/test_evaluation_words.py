"""What a sentence says: whole words, negations, numbers, colours, sides."""

import time

import pytest

from minigpt4_model.evaluation.colour_words import colours_said
from minigpt4_model.evaluation.language import answer_likelihoods, broken_words, foreign_script, repeats
from minigpt4_model.evaluation.numerals import number_said
from minigpt4_model.evaluation.words import side_said, yes_or_no
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
        ("It could be anything but a cat.", ["cat"], False),
        ("Nothing but a cat.", ["cat"], True),
        ("The cat is not there.", ["cat"], False),
        ("The cat isn't in the picture.", ["cat"], False),
        ("A cat that isn't happy.", ["cat"], True),
        ("The tail of the cat is not visible.", ["cat"], True),
        ("It is _not_ a cat.", ["cat"], False),
        ("It is a **cat**.", ["cat"], True),
        ("No doubt a cat", ["cat"], True),
        ("Not only a cat but a dog", ["cat"], True),
        ("A dog rather than a cat", ["cat"], False),
        ("It couldn't be a cat.", ["cat"], False),
        ("a dog\nno cat\na cat", ["cat"], True),
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
        ("I am not sure.", ""),
        ("I'm not sure if there is a dog.", ""),
        ("I don't know.", ""),
        ("I cannot tell.", ""),
        ("No, I'm not sure.", ""),
        ("It is hard to say.", ""),
        ("Maybe.", ""),
        ("There might be a dog.", ""),
        ("I'm not sure, but there may be a dog.", ""),
        ("Yes or no", ""),
        ("There is a dog, perhaps a poodle.", "yes"),
        ("Yes, there is a dog, but I am not sure of its breed.", "yes"),
        ("I am sure there is no dog.", "no"),
        ("Is there a dog? No.", "no"),
        ("Is there a dog in the picture?\nYes.", "yes"),
        ("Is there a dog?", ""),
        ("No doubt, there is a dog.", "yes"),
        ("No problem! There is a dog.", "yes"),
        ("Right next to the tree there is nothing.", "no"),
        ("Right.", "yes"),
        ("Correct, there is one.", "yes"),
        ("That's right.", "yes"),
        ("That is not correct.", "no"),
        ("False.", "no"),
        ("Certainly not.", "no"),
        ("Sure! There is no dog in the picture.", "no"),
        ("Sure. There is a dog.", "yes"),
        ("No dog is there.", "no"),
        ("No - it is a cat.", "no"),
        ("Don't worry, there is a dog.", "yes"),
        ("There is no cat but a dog.", "yes"),
        ("There is a cat, not a dog.", "no"),
        ("The picture shows a cat. There is no dog.", "no"),
        ("The dog is not happy.", "yes"),
        ("A dog is not in the picture.", "no"),
        ("I would say yes.", "yes"),
        ("The answer is **no**.", "no"),
        ("_Yes_", "yes"),
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
        ("There are twenty-four apples.", 24),
        ("thirty three apples", 33),
        ("1,000", 1000),
        ("There are 1,250 apples.", 1250),
        ("one hundred", 100),
        ("a hundred apples", 100),
        ("one hundred and five apples", 105),
        ("two thousand three hundred and forty-one", 2341),
        ("twelve hundred", 1200),
        ("nineteen", 19),
        ("two dozen apples", 24),
        ("half a dozen apples", 6),
        ("1234", 1234),
        ("not three", None),
        ("There are not three apples but four.", 4),
        ("It isn't two, it's three.", 3),
        ("There are no apples, just two pears.", 0),
        ("There aren't any apples.", 0),
        ("There are none.", 0),
        ("No, there is an apple.", 1),
        ("No idea.", None),
        ("3.5 apples", None),
        ("A three-legged stool", 1),
        ("The 2nd apple", None),
        ("one, two", None),
        ("Let me count: one, two, three. There are three apples.", 3),
        ("one two", None),
        ("**Four** apples", 4),
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
        ("The cherry is green.", ["green"]),
        ("The sky is grey.", ["grey"]),
        ("It is sky blue.", ["blue"]),
        ("Cherry tomatoes are green.", ["green"]),
        ("The orange is green.", ["green"]),
        ("An orange cat.", ["orange"]),
        ("It is orange.", ["orange"]),
        ("It is cream with brown spots.", ["white", "brown"]),
        ("light peach", ["orange"]),
        ("Cherry.", ["red"]),
        ("cherry red", ["red"]),
        ("It is lemon coloured.", ["yellow"]),
        ("A lemon on the table.", []),
        ("The colour is **blue**, not red.", ["blue"]),
        ("Anything but red.", []),
        ("Hues of gold and silver.", ["yellow", "grey"]),
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
        ("The apple is not on the left; it is on the right.", "right"),
        ("The apple is not on the left but on the right.", "right"),
        ("It is on the right, not on the left.", "right"),
        ("It isn't on the left.", ""),
        ("On the left there is no apple. It is on the right.", "right"),
        ("To the left of the dog is the apple.", "left"),
        ("To the left of the apple is the dog.", "right"),
        ("Left of the big brown dog there is an apple.", "left"),
        ("On the left of the picture is the apple and to its right the dog.", "left"),
        ("The apple is on the _left_.", "left"),
        ("It is on the **right** side.", "right"),
        ("The apple is right next to the dog, on the left.", "left"),
        ("It is on the right in the picture.", "right"),
        ("The apple is in the top left corner.", "left"),
        ("A dog on the right and an apple on the left.", "left"),
        ("An apple on the right and a dog on the left.", "right"),
        ("The dog is on the left.", ""),
        ("The apple next to the dog is on the left.", "left"),
        ("Below the dog is the apple.", "below"),
        ("The dog is below the apple.", "above"),
        ("To the left of the apples, there is a dog.", "right"),
    ],
)
def test_sides_belong_to_the_thing_asked_about(text, side):
    assert side_said(text, ["apple"], ["dog"]) == side


def test_an_endless_answer_is_read_in_no_time():
    started = time.process_time()
    for babble in ("no ", "twenty ", "hundred and ", "left of the ", "is not ", "_"):
        text = babble * (6000 // len(babble))  # more than the 600 tokens that an answer may have
        yes_or_no(text, ["dog"]), number_said(text, ["dog"]), colours_said(text), side_said(text, ["dog"], ["cat"])
    assert time.process_time() - started < 1


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

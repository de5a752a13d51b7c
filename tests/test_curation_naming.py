"""Sentences that only name a thing again are told from those that say more."""

import pytest

from minigpt4_model.curation.mending import mend
from minigpt4_model.curation.naming import names_again
from minigpt4_model.curation.rules import Setting, Text, findings
from minigpt4_model.curation.sentences import split_sentences


@pytest.mark.parametrize(
    "text",
    [
        "The picture shows a switch. It is a switch.",
        "This is a photo of a mountain. The image shows a mountain.",
        "This is a photo of a wheel. The wheel is a wheel.",
        "This is a photo of a small, dark object. The object is a small, dark object.",
        "This is a picture of two women. They are both in the middle, with a small baby on top. Two women.",
        "The yurt is a traditional Turkish garment. This is a traditional Turkish garment.",
        "There’s a dog sitting on the sofa. It’s a dog.",
        "The image shows mountains. In the picture there are mountains.",
        "A man with a dog stands there. This is a picture of a man with a dog.",
        "A cat, a dog and a ball are there. There is a dog in the picture.",
    ],
)
def test_a_sentence_that_only_names_again(text):
    *before, last = split_sentences(text)
    assert names_again(last, before)
    assert "names-again" in findings(Text(text), Setting())
    assert mend(text)[0] == " ".join(before)


@pytest.mark.parametrize(
    "text",
    [
        "The picture shows a switch. It is a light switch.",
        "This is a hot dog. It is a dog.",
        "A dog house is there. It is a dog.",
        "This is a photo of a sheep. The sheep is a small animal.",
        "The cat is black. The dog is white. It is black.",
        "The cat chases the dog. The dog chases the cat.",
        "There is no dog on the sofa. There is a dog.",
        "A house with a red roof stands beside a barn. It has a red roof.",
        "The dog is on the left. A cat is on the right. The cat is on the left.",
        "There is a tree. There are two trees.",
        "A man with a dog and a woman with a ball. It is a man with a ball.",
        "This is a cup. The cup is a cup of tea.",
    ],
)
def test_a_sentence_that_may_say_more(text):
    sentences = split_sentences(text)
    assert not any(names_again(sentence, sentences[:place]) for place, sentence in enumerate(sentences))
    assert mend(text) == (text, [])


def test_a_text_that_is_nothing_but_a_name_stays():
    assert mend("The wheel is a wheel.") == ("The wheel is a wheel.", [])

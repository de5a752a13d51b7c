"""What is wrong with a text: each rule finds its fault, and finds nothing in good descriptions; mending takes faults out."""

import sys

import pytest

from minigpt4_model.curation import languages
from minigpt4_model.curation.duplicates import near_duplicates
from minigpt4_model.curation.errors import CurationError
from minigpt4_model.curation.languages import check_language, foreign_sentence, foreign_word
from minigpt4_model.curation.mending import mend
from minigpt4_model.curation.rules import RULES, Setting, Text, findings
from minigpt4_model.curation.sentences import is_finished, says_again, split_sentences, words_of

ASKED = "Describe this image in detail. Give as many details as possible. Say everything you see."
SETTING = Setting(min_words=5, questions=(ASKED,))

GOOD = (
    "The image shows a brown dog on the grass. It is looking at a red ball, which lies in front of it.",
    "Two women stand at a bus stop in St. Petersburg at 5.30 p.m. and talk. One has an umbrella; the other's coat is yellow!",
    'There is a sign on the wall that says "Stop here". The human hand in front of it points to the left.',
    "A cat, a cat toy and a second cat are on the sofa. The first cat sleeps, and the second one plays.",
    "The leaf has brown necrotic lesions 3 mm wide, typical of Phytophthora infestans, and a pale margin of about 5 µm.",
    "The user interface of a phone is shown. A system of roads can be seen on its map.",
    "It's a photograph of an old bridge over a river. I think that the season is autumn, as the leaves are orange.",
    "A soup bowl, a spoon & a napkin stand on a table. The price is <5 euros. The time was 10-12.",
)

FAULTS = [
    ("too-short", "A dog.", "2 words"),
    ("repeated-sentence", "The dog is brown and big. It is day. The dog is brown, and big!", "The dog is brown, and big!"),
    ("nothing-new", "This is a photo of a piece of cheese. This is a piece of cheese.", "This is a piece of cheese."),
    ("names-again", "The picture shows a switch. It is a switch.", "It is a switch."),
    ("repeated-words", "There is a dog dog dog on the green grass.", "dog dog dog"),
    ("repeated-words", "A man on a horse, then a man on a horse, and again a man on a horse.", "a man on a (×3)"),
    ("unfinished", "The dog is on the grass. It is looking at the", "It is looking at the"),
    ("template-leak", "A dog is on the grass. ### Human: What else? ", "### Human:"),
    ("template-leak", "A dog is on <Img><ImageHere></Img> the green grass.", "<Img>"),
    ("template-leak", "A dog is on the green grass.<|im_end|>", "<|im_end|>"),
    ("template-leak", "A dog is on the green grass. Assistant: There is more.", ". Assistant:"),
    ("foreign-script", "The sign on the wall says 你好 in red.", "你好"),
    ("foreign-language", "A dog is on the grass. Der Hund steht auf der Wiese und bellt.", "Der Hund steht auf der Wiese und bellt. (de)"),
    ("speaks-of-itself", "As an AI language model, I have to describe a dog.", "As an AI language model"),
    ("speaks-of-itself", "I cannot see the image that you speak of.", "I cannot see"),
    ("apologises", "I'm sorry, I made a mistake. There is a dog.", "I'm sorry"),
    ("apologises", "I apologize for that. There is a dog there.", "I apologize"),
    ("mentions-instruction", "Here is the corrected paragraph: A dog is there.", "Here is the corrected"),
    ("mentions-instruction", "Give as many details as possible of the dog there.", "give as many details as"),
    ("boxes", "A dog is at [0.12, 0.3, 0.5, 0.77] on the grass.", "[0.12, 0.3, 0.5, 0.77]"),
    ("boxes", "A dog {<12><30><50><77>} is there on the grass.", "{<12><30><50><77>}"),
    ("links", "A dog is shown on https://dogs.example/a.jpg there.", "https://dogs.example/a.jpg"),
    ("links", "Write to anna@dogs.example if it is your dog.", "anna@dogs.example"),
    ("markup", "A <b>dog</b> is there on the grass today.", "<b>"),
    ("markup", "- A dog on the grass\n- A red ball in front of it.", "-"),
    ("odd-characters", "A dog is on the gr\ufffdss and looks up.", "\ufffd"),
    ("odd-characters", "A dog sits in a cafÃ© and looks at you.", "Ã©"),
    ("odd-characters", "A dog is there!!!!!! It looks at a ball.", "!!!!!!"),
]


@pytest.mark.parametrize("text", GOOD)
def test_good_texts_are_left_alone(text):
    assert findings(Text(text), SETTING) == {}
    assert mend(text) == (text, [])


@pytest.mark.parametrize(("rule", "text", "detail"), FAULTS)
def test_a_fault_is_found_and_named(rule, text, detail):
    assert findings(Text(text), SETTING)[rule] == detail


def test_every_rule_is_tried():
    assert {rule.name for rule in RULES} == {rule for rule, _, _ in FAULTS} | {"rewritten"}
    assert all(rule.reason.endswith(".") for rule in RULES)


def test_a_correction_that_invents_is_found():
    before = "A dog is on the grass and it looks at a ball."
    same = "A dog is on the grass. It looks at a red ball."
    other = "The magnificent golden retriever enjoys sunshine while children wearing colourful shirts cheer loudly behind wooden fences."
    assert "rewritten" not in findings(Text(same, before), SETTING)
    assert findings(Text(other, before), SETTING)["rewritten"].startswith("15 of 16 words are new: magnificent, golden")


def test_rules_can_be_left_out_and_told_things():
    text = Text("Der Hund steht auf der Wiese und bellt laut.")
    assert set(findings(text, SETTING)) == {"foreign-language"}
    assert findings(text, SETTING, frozenset({"foreign-language"})) == {}
    assert findings(text, Setting(min_words=5, language="")) == {} == findings(text, Setting(min_words=5, language="de"))
    assert findings(Text("这张图片显示一只狗在草地上。它看着球。"), Setting(min_words=5, language="zh")) == {}


# --- languages and sentences


def test_words_in_other_letters():
    assert foreign_word("The word Привет is there, and α is a sign.", "en") == "Привет"
    assert foreign_word("Слово hello стоит здесь.", "ru") == ""
    assert foreign_word("これはテスト文です。Aー", "ja") == "" == foreign_word("Café, naïve, Ångström, 5 µm", "en")


def test_short_or_unsure_sentences_are_not_judged():
    assert foreign_sentence("Bonjour mes amis. A dog is on the grass.", "en") == ("", "")
    assert foreign_sentence("Phytophthora infestans Solanum tuberosum Alternaria solani.", "en")[1] in ("", "la", "eu", "pt", "it", "es")


def test_a_language_that_is_none():
    with pytest.raises(CurationError, match="--language xx: there is no such language.*de, .*en"):
        check_language("xx")


def test_sentences():
    text = 'He said "Stop." Dr. Smith left at 3.5 p.m. today... Really?! Yes\n\nNew one. 这是狗。那是猫。 end'
    assert split_sentences(text) == [
        'He said "Stop."',
        "Dr. Smith left at 3.5 p.m. today...",
        "Really?!",
        "Yes",
        "New one.",
        "这是狗。",
        "那是猫。",
        "end",
    ]
    assert split_sentences("") == [] == split_sentences("  \n ")
    assert words_of("It's a semi-final, 3.5 m. 这是狗 Don’t") == ["it's", "a", "semi-final", "3.5", "m", "这", "是", "狗", "don’t"]
    assert is_finished('He said "no."') and is_finished("这是狗。") and not is_finished("He said") and not is_finished("One, ")


def test_saying_again_keeps_the_order():
    assert says_again("A dog is there.", ["A brown dog is over there."])
    assert not says_again("The dog chases the cat.", ["The cat chases the dog."]) and not says_again("A dog.", ["A dog."])


MENDING, DUPLICATES = (lambda: mend("A dog is on the green grass.")), (lambda: near_duplicates(["a"], 0.8))


@pytest.mark.parametrize(("package", "call"), [("py3langid.langid", MENDING), ("rensa", DUPLICATES)])
def test_a_missing_package_is_named_with_the_command(monkeypatch, package, call):
    languages._identifier.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    name = package.partition(".")[0]
    with pytest.raises(CurationError, match=rf"{name}.* is missing.*pip install.*rensa==.*Or .*--(language|skip-rule)"):
        call()


# --- near duplicates


def test_near_duplicates_are_of_the_first_one():
    texts = [
        "A woman with a red umbrella stands at the bus stop and waits for the bus to come.",
        "A man on a horse rides along the beach while the sun goes down behind the hills.",
        "A woman with a red umbrella stands at the bus stop and waits for the bus to come soon.",
        "A woman with a red umbrella stands at the bus stop and waits for the bus to come soon!",
        "",
        "Two words",
        "Two words",
        "",
    ]
    assert near_duplicates(texts, 0.8) == {2: 0, 3: 0, 6: 5}
    assert near_duplicates(texts, 1.0) == {3: 2, 6: 5}
    assert near_duplicates([], 0.8) == {}


def test_near_duplicates_are_found_among_many():
    def text(number: int, other: int = 0) -> str:
        return " ".join(f"w{(number * 7919 + place * 104729) % 5003}x{number}" for place in range(60 - other)) + " end" * other

    found = near_duplicates([*(text(number) for number in range(500)), *(text(number, 4) for number in range(0, 500, 10))], 0.8)
    assert found == {500 + place: number for place, number in enumerate(range(0, 500, 10))}


# --- mending


@pytest.mark.parametrize(
    ("text", "mended", "done"),
    [
        ("A dog is there.###Human: What else? ###Assistant: A cat.", "A dog is there.", "cut at a template's mark"),
        ("### Assistant: A dog is there.", "A dog is there.", "cut at a template's mark"),
        ("A dog is there. Human: go on", "A dog is there.", "cut at a template's mark"),
        ("I'm sorry, I made a mistake. A dog is there.", "A dog is there.", "took out talk about itself or the task"),
        ("A dog is there. As an AI, I see no more.", "A dog is there.", "took out talk about itself or the task"),
        ("A dog is there. Der Hund steht auf der Wiese und bellt.", "A dog is there.", "took out sentences in another language"),
        ("A dog is is on the the grass.", "A dog is on the grass.", "took out repeated words"),
        ("A dog and a cat, a dog and a cat are there.", "A dog and a cat are there.", "took out repeated words"),
        ("A dog is there. It is big. A dog is there!", "A dog is there. It is big.", "took out sentences said before"),
        ("A photo of a piece of cheese. A piece of cheese.", "A photo of a piece of cheese.", "took out sentences said before"),
        ("A photo of a mosque. The photo shows a mosque.", "A photo of a mosque.", "took out sentences that only name again"),
        ("A dog is there. It is looking at the", "A dog is there.", "took out an unfinished sentence"),
        ("A dog\ufffd is there!!!!! <b>It</b> barks {<1><2><3><4>}.", "A dog is there! It barks.", "took out characters that mean nothing"),
        ("A  dog , a cat\nand a bird .", "A dog, a cat and a bird.", "set blanks right"),
    ],
)  # fmt: skip
def test_mending(text, mended, done):
    found, steps = mend(text)
    assert found == mended and done in steps
    assert mend(found) == (found, [])


@pytest.mark.parametrize("text", ["As an AI, I cannot.", "I'm sorry.", "###", ""])
def test_a_text_of_which_nothing_would_be_left_stays(text):
    assert mend(text) == (text, [])


def test_what_may_be_meant_stays():
    for text in ("She had had enough of it.", "It is very very big.", "The number is 10 10 10.", "A dog without a full stop"):
        assert mend(text)[0] == text


def test_other_languages_can_be_wanted():
    assert (
        mend("Der Hund steht auf der Wiese und bellt.", "de")[1]
        == []
        == mend("Le chien est sur le grand canapé. A dog is on the grass.", "")[1]
    )

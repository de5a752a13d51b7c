"""Which writing system letters and tokens are of, and which ones a person asked for."""

import pytest

from minigpt4_model.chat.writing_systems import ALL, TokenSystems, allowed_systems, first_foreign, system_of, systems_in
from tests.tiny_chat import chatml_tokenizer, llama_tokenizer

LATIN = frozenset({"LATIN"})


@pytest.mark.parametrize(
    "letter, system",
    [
        ("a", "LATIN"),
        ("é", "LATIN"),
        ("Ｆ", "LATIN"),
        ("я", "CYRILLIC"),
        ("猫", "CJK"),
        ("々", "CJK"),
        ("ね", "HIRAGANA"),
        ("ｱ", "KATAKANA"),
    ]
    + [(sign, "") for sign in "1 .½µª𝐀ℵ🦜٣"],
)
def test_the_system_of_a_letter(letter, system):
    assert system_of(letter) == system


@pytest.mark.parametrize(
    "text, more",
    [
        ("What is this?", set()),
        ("Her chin, the core of rust", set()),
        ("Что это?", {"CYRILLIC"}),
        ("Say it in Chinese", {"CJK", "BOPOMOFO"}),
        ("auf Russisch, bitte", {"CYRILLIC"}),
        ("en japonais", {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"}),
        ("これは何ですか", {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK", "BOPOMOFO"}),
        ("これは", {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"}),
        ("Write the formula", {"GREEK"}),
    ],
)
def test_what_is_asked_for_is_allowed(text, more):
    found = allowed_systems(["Hello", text])
    assert found - {"BOPOMOFO"} == LATIN | more - {"BOPOMOFO"}


def test_whoever_speaks_of_languages_may_get_any():
    assert allowed_systems(["Translate this."]) is ALL and allowed_systems(["In welcher Sprache?"]) is ALL


def test_the_first_foreign_letter_is_found():
    assert first_foreign("A cat — 3 µm 🦜", LATIN) == -1
    assert first_foreign("A 猫.", LATIN) == 2
    assert first_foreign("A 猫.", LATIN | {"CJK"}) == -1


TEXTS = {
    "LATIN": "naïve “quotes” — Tiếng Việt œuvre ½ 3 µm ❤️ 🦜 <tag> §",
    "CYRILLIC": "Привет",
    "CJK": "猫你他不人",
    "HANGUL": "한국어",
    "HEBREW": "שלום",
    "DEVANAGARI": "नमस्ते",
}


@pytest.mark.parametrize("make", [chatml_tokenizer, llama_tokenizer])
@pytest.mark.parametrize("system", TEXTS)
def test_tokens_of_a_text_are_foreign_where_its_system_is(make, system):
    """Byte-level and sentencepiece: each letter of a foreign text has a foreign token, and no text of an allowed system has one."""
    tokenizer = make()
    systems = TokenSystems(tokenizer)
    foreign = set(systems.foreign_tokens(LATIN))
    for letter in filter(lambda letter: system == "LATIN" or letter.isalpha(), TEXTS[system]):
        ids = tokenizer(letter, add_special_tokens=False).input_ids
        assert bool(foreign & set(ids)) == bool(systems_in(letter) - LATIN), letter
    allowed = set(systems.foreign_tokens(LATIN | {system}))
    assert not allowed & set(tokenizer(TEXTS[system], add_special_tokens=False).input_ids)
    assert not foreign & set(tokenizer.all_special_ids)

"""The guards: loops seen when they are ones, template text never shown, no letter of a system that nobody used."""

import json
import random
from functools import lru_cache

import pytest
import torch

from minigpt4_model.chat.backends.base import Answer
from minigpt4_model.chat.decoding import AnswerWriter, StopRules, TextAssembler, TokenSampler
from minigpt4_model.chat.guards import LEAKED, LOOPED, SWITCHED, GuardFactory, Guards, is_looping, leaks_of
from minigpt4_model.chat.messages import Turn
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.chat.templates import CHATML, LLAMA2, TEMPLATES, VICUNA_V0
from minigpt4_model.chat.writing_systems import systems_in
from tests.tiny_chat import chatml_tokenizer, llama_tokenizer
from tests.tiny_models import PARITY

FIXTURES = json.loads((PARITY / "fixtures.json").read_text())
ALL_ON = GenerationSettings(temperature=0, script_guard=True)


def tokenizer_of(template):
    return chatml_tokenizer() if template is CHATML else llama_tokenizer()


@lru_cache
def factory(name) -> GuardFactory:
    template = TEMPLATES[name]
    tokenizer = tokenizer_of(template)
    return GuardFactory(template, tokenizer, StopRules.from_template(template, tokenizer).end_tokens)


def build(template, said="What is this?", settings=ALL_ON) -> Guards:
    return factory(template.name).build(settings, [Turn("user", (said,))])


@pytest.mark.parametrize("period", [1, 2, 5, 7, 24, 60])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_loop_is_seen_as_soon_as_it_is_one(period, repeats):
    ids = list(range(100, 150)) + list(range(period)) * 40
    lengths = [length for length in range(len(ids) + 1) if is_looping(ids[:length], repeats)]
    whole = (repeats + 1) * period
    assert lengths[0] == 50 + (whole if whole >= 24 else 24 + -24 % period)


def test_what_only_looks_like_a_loop_is_none():
    assert not is_looping(list(range(40)) + [7] * 23, 3)
    assert not is_looping(list(range(30)) * 3, 3)
    assert not is_looping([1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 3 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 1], 3)
    assert not is_looping([], 1)


def show(template, text, guards, size):
    assembler = TextAssembler(tokenizer_of(template), template, guards)
    pieces = [assembler.push_text(text[start : start + size]) for start in range(0, len(text), size)]
    return "".join([*pieces, assembler.finish()]), assembler.stopped_by


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "template, text, shown",
    [
        (VICUNA_V0, "A cat.\nHuman: And now?", "A cat."),
        (VICUNA_V0, "Human: What is it?", ""),
        (VICUNA_V0, "A cat.\n\nAssistant: A dog.", "A cat."),
        (VICUNA_V0, "A cat <Img>ImageContent</Img>", "A cat"),
        (VICUNA_V0, "Sure. You will be able to see the image once I provide it to you. Yes", "Sure."),
        (LLAMA2, "A cat. [/INST] A dog", "A cat."),
        (CHATML, "A cat.\nuser\nAnd now?", "A cat."),
        (CHATML, "user\nAnd now?", ""),
        (CHATML, "A cat.<ImageHere>", "A cat."),
    ],
)
def test_template_text_is_never_shown(template, text, shown, size):
    assert show(template, text, build(template), size) == (shown, LEAKED)


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize(
    "template, text",
    [
        (VICUNA_V0, "Humans: two. <img src='a.png'> The Human: Nature show. Please answer my questions."),
        (VICUNA_V0, "Assistants help.\nHumans too.\nHuman"),
        (CHATML, "### Title\nuser manual\n\nThe user\n[INST] Human: hi\nuser"),
        (LLAMA2, "INST [0] <Im>"),
    ],
)
def test_text_that_only_resembles_it_is_shown(template, text, size):
    assert show(template, text, build(template), size) == (text, "")


def test_an_answer_that_ends_as_it_should_was_not_stopped_by_a_guard():
    assert show(VICUNA_V0, "A cat.###Human: And?", build(VICUNA_V0), 3) == ("A cat.", "")
    assert show(VICUNA_V0, "Assistant: A cat.###", build(VICUNA_V0), 3) == ("A cat.", "")


@pytest.mark.parametrize("text, expected", FIXTURES["text_cut"])
def test_the_original_s_cuts_stay_the_same(text, expected):
    shown, _ = show(VICUNA_V0, text, build(VICUNA_V0), 2)
    if text.startswith("Human:"):  # the model speaks for the person: shown by the original
        assert shown == ""
    elif "x Assistant:" in text:  # what was shown cannot be taken back
        assert shown == text
    else:
        assert shown == expected


@pytest.mark.parametrize(
    "said, text",
    [
        ("Write a dialogue of a human and an assistant.", "Human: Hi\nAssistant: Hello\nHuman: Bye"),
        ("What does </Img> do?", "</Img> closes a picture."),
    ],
)
def test_what_the_person_wrote_may_be_answered_with(said, text):
    assert show(VICUNA_V0, text, build(VICUNA_V0, said), 3) == (text, "")


def test_what_a_picture_says_opens_its_writing_system_and_no_other_guard():
    own = [Turn("user", ("What does it say?",))]
    rendered = [Turn("user", ('It says (quoted): "Привет human assistant </Img>"', "What does it say?"))]
    guards = factory("vicuna-v0").build(ALL_ON, own, rendered)
    assert guards.systems == {"LATIN", "CYRILLIC"} and {"</Img>", "\nHuman:"} <= set(guards.leaks)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_special_tokens_that_end_nothing_are_never_chosen(template):
    tokenizer = tokenizer_of(template)
    ends = StopRules.from_template(template, tokenizer).end_tokens
    banned = set(build(template, settings=GenerationSettings()).banned)
    assert banned == set(tokenizer.all_special_ids) - ends and banned
    logits = torch.zeros(len(tokenizer)).index_fill(0, torch.tensor(sorted(banned)), 9.0)
    assert TokenSampler(ALL_ON, 0, guards=build(template)).sample(logits, []) not in banned


@pytest.mark.parametrize(
    ("said", "items", "ended"),
    [("```html\n<ul>", 6, ""), ("```html\n<ul>", 30, LOOPED), ("<ul>", 6, LOOPED), ("```html\n<ul>\n``` <ul>", 6, LOOPED)],
)
def test_code_may_say_the_same_line_several_times(said, items, ended):
    tokenizer = tokenizer_of(CHATML)
    ids = tokenizer(said + "<li>Item</li>" * items, add_special_tokens=False).input_ids
    assert Guards(repeats=3).stopped_by(ids, tokenizer.decode) == ended


def test_guards_that_are_off_do_nothing():
    off = GenerationSettings(loop_guard=0, leak_guard=False, script_guard=False, html_guard=False)
    assert build(VICUNA_V0, settings=off) == Guards()
    text = "A cat. 猫\nHuman: <Img>"
    assert show(VICUNA_V0, text, Guards(), 2) == (text, "")
    assert Guards().stopped_by([1] * 500, str) == "" and Guards(repeats=3).stopped_by([1] * 500, str) == LOOPED


def babble(template, said, seed, settings):
    """An answer of a model that likes every token equally."""
    tokenizer = tokenizer_of(template)
    rules = StopRules.from_template(template, tokenizer)
    guards = build(template, said, settings)
    numbers = torch.Generator().manual_seed(seed)

    def advance(token):
        return torch.randn(len(tokenizer), generator=numbers)

    answer = Answer()
    writer = AnswerWriter(
        answer,
        TokenSampler(settings, seed, guards=guards),
        TextAssembler(tokenizer, template, guards),
        rules,
        guards,
        limit=50,
        on_token=lambda: None,
    )
    return "".join(writer.write(advance(0), advance)), answer


@pytest.mark.parametrize("template", [CHATML, VICUNA_V0], ids=["byte level", "sentencepiece"])
def test_no_letter_of_another_system_is_ever_shown(template):
    """Even of a model that babbles, whose bytes make letters that no single token stands for."""
    endings = set()
    for seed in range(4):
        settings = GenerationSettings(script_guard=True, seed=seed, top_p=1.0)
        for said, allowed in (("What?", {"LATIN"}), ("Что?", {"LATIN", "CYRILLIC"})):
            text, answer = babble(template, said, seed, settings)
            assert systems_in(text) <= allowed, text
            endings.add(answer.finish_reason)
            assert (answer.finish_reason == "guard") == bool(answer.notices)
    free = [babble(template, "What?", seed, GenerationSettings(seed=seed, top_p=1.0, leak_guard=False))[0] for seed in range(4)]
    assert any(systems_in(text) - {"LATIN"} for text in free)
    assert "guard" in endings or "length" in endings


def test_a_switch_that_no_token_gave_away_ends_the_answer():
    guards = build(CHATML)
    assert show(CHATML, "A cat 한 dog", guards, 3) == ("A cat", SWITCHED)
    assert show(CHATML, "A cat 한 dog", build(CHATML, "In Korean please"), 3) == ("A cat 한 dog", "")


def test_the_assembler_never_shows_what_a_guard_finds():
    """Pieces of any size, cut anywhere: no leak and no half of one that follows."""
    draw = random.Random(0)
    leaks = leaks_of(VICUNA_V0, "")
    guards = build(VICUNA_V0)
    for _ in range(200):
        parts = draw.choices([*leaks, "\n", "Hum", "A cat.", " ", "<", "Assistant", "You will be"], k=4)
        text = "".join(parts)
        shown, _ = show(VICUNA_V0, text, guards, draw.randint(1, 5))
        assert not any(leak in "\n" + shown for leak in leaks if leak != "\nAssistant:"), (text, shown)
        assert text.lstrip().startswith(shown) or "Assistant:" in text

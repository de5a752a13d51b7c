"""Sampling like transformers', stops, and text in pieces."""

import json
import random

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.decoding import StopRules, TextAssembler, TokenSampler, TopP, build_logits_processors
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.chat.templates import CHATML, LLAMA2, VICUNA_V0
from tests.tiny_chat import chatml_tokenizer, llama_tokenizer
from tests.tiny_models import PARITY

FIXTURES = json.loads((PARITY / "fixtures.json").read_text())


def test_logits_are_changed_as_transformers_changes_them():
    settings = GenerationSettings(temperature=0.7, top_p=0.8, top_k=30, repetition_penalty=1.3)
    scores = torch.randn(1, 200, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[5, 7, 7]])
    theirs = LogitsProcessorList(
        [RepetitionPenaltyLogitsProcessor(1.3), TemperatureLogitsWarper(0.7), TopKLogitsWarper(30), TopPLogitsWarper(0.8)]
    )
    assert torch.equal(build_logits_processors(settings)(ids, scores.clone()), theirs(ids, scores.clone()))
    seen = torch.tensor([[1, 5, 7, 7]])
    assert torch.equal(build_logits_processors(settings, [1])(ids, scores.clone()), theirs(seen, scores.clone()))


@pytest.mark.parametrize("size", [7, 300, 5000])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("spread", [0.1, 3.0, 12.0])
def test_top_p_keeps_what_transformers_keeps(size, top_p, spread):
    scores = torch.randn(4, size, generator=torch.Generator().manual_seed(size)) * spread
    scores[1, : size // 2] = -torch.inf  # banned tokens, or those that top-k left out
    assert torch.equal(TopP(top_p)(None, scores), TopPLogitsWarper(top_p)(None, scores))


def test_the_penalty_sees_bos_before_the_first_token():
    scores = torch.ones(1, 4)
    settings = GenerationSettings(repetition_penalty=2.0, temperature=0)
    nothing_yet = torch.zeros(1, 0, dtype=torch.long)
    assert build_logits_processors(settings, [1])(nothing_yet, scores)[0].tolist() == [1, 0.5, 1, 1]
    assert build_logits_processors(settings)(nothing_yet, scores)[0].tolist() == [1, 1, 1, 1]


def test_a_seed_gives_the_same_tokens_whatever_else_is_drawn():
    logits = torch.randn(20, 100, generator=torch.Generator().manual_seed(0))

    def draw(seed, disturb=False):
        sampler, ids = TokenSampler(GenerationSettings(), seed), []
        for row in logits:
            if disturb:
                torch.manual_seed(len(ids))
                torch.rand(7)
            ids.append(sampler.sample(row, ids))
        return ids

    before = torch.random.get_rng_state()
    assert draw(3) == draw(3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert draw(3) == draw(3, disturb=True) != draw(4)


def test_temperature_zero_is_the_likeliest():
    logits = torch.tensor([0.0, 3.0, 2.9, -1.0])
    sampler = TokenSampler(GenerationSettings(temperature=0, repetition_penalty=1.0), seed=0)
    assert [sampler.sample(logits, [1]) for _ in range(20)] == [1] * 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_are_an_error_and_not_an_answer(value):
    with pytest.raises(BackendError, match="--dtype float32"):
        TokenSampler(GenerationSettings(), seed=0).sample(torch.tensor([0.0, value]), [])


@pytest.mark.parametrize("case", FIXTURES["stop_cases"], ids=lambda case: str(case["ids"]))
def test_vicuna_stops_where_the_original_stops(case):
    rules = StopRules.from_template(VICUNA_V0, llama_tokenizer())
    assert list(map(list, rules.sequences)) == FIXTURES["stop_ids"]
    # The table is that of the original's own criterion; `generate` ended at </s> besides.
    assert StopRules(frozenset(), rules.sequences).reached(case["ids"]) is case["stop"]
    assert rules.reached([*case["ids"], 2])


def test_end_tokens_are_the_familys():
    assert StopRules.from_template(CHATML, chatml_tokenizer()) == StopRules(frozenset({0, 2}), ())
    assert StopRules.from_template(LLAMA2, llama_tokenizer()) == StopRules(frozenset({2}), ())
    # Vicuna's ids mean nothing in another vocabulary.
    assert StopRules.from_template(VICUNA_V0, chatml_tokenizer()).sequences == ()


def assemble(tokenizer, template, ids):
    assembler = TextAssembler(tokenizer, template)
    pieces = [assembler.push(token) for token in ids]
    return [*pieces, assembler.finish()], assembler


def test_characters_come_whole():
    text = "a 🦜 façade — 日本語 👩‍🚀 end"
    tokenizer = chatml_tokenizer()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert len(ids) > len(text)
    pieces, _ = assemble(tokenizer, CHATML, ids)
    assert "".join(pieces) == text
    assert all("�" not in piece and piece.encode() for piece in pieces if piece)
    llama = llama_tokenizer()
    pieces, _ = assemble(llama, LLAMA2, llama(text, add_special_tokens=False).input_ids)
    assert "".join(pieces) == text


def test_bytes_that_are_no_text_are_left_out():
    tokenizer = chatml_tokenizer()
    letters = {byte: tokenizer.convert_tokens_to_ids(letter) for byte, letter in zip(*byte_alphabet(), strict=True)}
    draw = random.Random(0)
    for _ in range(300):
        data = bytes(draw.choices([0xF0, 0x9F, 0xA6, 0x9C, 0xC3, 0xA9, 0xFF, 0x61, 0x20], k=draw.randint(1, 12)))
        pieces, _ = assemble(tokenizer, CHATML, [letters[byte] for byte in data])
        assert "".join(pieces) == data.decode(errors="ignore").strip(), data


def byte_alphabet():
    """GPT-2's letters for the bytes: printable ones stand for themselves, the others follow from code point 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return printable + others, [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


@pytest.mark.parametrize("text, expected", FIXTURES["text_cut"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pieces_are_cut_as_the_original_cuts_the_whole(text, expected, size):
    assembler = TextAssembler(llama_tokenizer(), VICUNA_V0)
    pieces = [assembler.push_text(text[start : start + size]) for start in range(0, len(text), size)]
    whole = "".join([*pieces, assembler.finish()])
    if text == "x Assistant: y Assistant: z":  # what was shown cannot be taken back
        assert whole == text
    else:
        assert whole == expected
    assert assembler.stopped == ("###" in text)


def test_half_a_stop_text_is_held_back():
    assembler = TextAssembler(llama_tokenizer(), VICUNA_V0)
    assert [assembler.push_text(piece) for piece in ("A cat. ", "#", "#", "2 ", "##", "#Human: hi")] == ["A cat.", "", "", " ##2", "", ""]
    assert assembler.stopped and assembler.finish() == ""


def test_a_label_at_the_start_is_not_shown():
    assembler = TextAssembler(llama_tokenizer(), VICUNA_V0)
    assert [assembler.push_text(piece) for piece in (" Ass", "istant", ": ", "A", "ssistant")] == ["", "", "", "", ""]
    assert assembler.finish() == "Assistant"
    assembler = TextAssembler(llama_tokenizer(), VICUNA_V0)
    assert [assembler.push_text(piece) for piece in ("As", " ever")] == ["", "As ever"]


def test_chatml_streams_headings_and_leaves_special_tokens_out():
    tokenizer = chatml_tokenizer()
    ids = tokenizer("### Title\n\n<filename>Assistant: x", add_special_tokens=False).input_ids
    assert "".join(assemble(tokenizer, CHATML, ids)[0]) == "### Title\n\nAssistant: x"

"""Chat templates: official strings' answer table, and texts that look like template."""

import json
import random

import pytest

from minigpt4_model.chat.templates import CHATML, LLAMA2, TEMPLATES, VICUNA_V0, escape_user_text, get_template
from minigpt4_model.presets import PRESETS
from tests.tiny_chat import chatml_tokenizer, llama_tokenizer
from tests.tiny_models import PARITY

FIXTURES = json.loads((PARITY / "fixtures.json").read_text())
MARKERS = ["###", "##", "#", "<ImageHere>", "<Img>", "</Img>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "</s>", "<s>", "<unk>"]
MARKERS += [
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<filename>",
    "<",
    ">",
    "s>",
    "|im_end|>",
    "/",
    "[",
    " ",
    "\n",
    "a",
    "Human: ",
    "\u2581",
    "é",
]


def tokenizer_of(template):
    return chatml_tokenizer() if template is CHATML else llama_tokenizer()


@pytest.mark.parametrize("text, expected", FIXTURES["text_cut"])
def test_vicuna_answers_are_cut_as_the_original_cuts_them(text, expected):
    assert VICUNA_V0.cut_answer(text) == expected


@pytest.mark.parametrize("template", [LLAMA2, CHATML], ids=lambda template: template.name)
def test_other_families_keep_what_only_vicuna_means(template):
    assert template.cut_answer(" ### Heading\nAssistant: hello ") == "### Heading\nAssistant: hello"


def test_every_preset_has_its_template_and_others_are_named():
    assert {preset.chat_template for preset in PRESETS.values()} <= set(TEMPLATES)
    with pytest.raises(ValueError, match="'alpaca'.*vicuna-v0, llama2, chatml"):
        get_template("alpaca")


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_ordinary_text_is_unchanged(template):
    tokenizer = tokenizer_of(template)
    for text in (
        "",
        "What is this?",
        "a < b > c\n\n## Title [1] #1 <b>x</b> <|x|> C# and é\u3000😀",
        "  two  spaces ",
        "- [ ] <img src='x'>",
    ):
        assert escape_user_text(text, template, tokenizer) == text


@pytest.mark.parametrize(
    "template, text, expected",
    [
        (VICUNA_V0, "a ### b", "a # ## b"),
        (VICUNA_V0, "#####", "# # # ## "),
        (VICUNA_V0, "I like C#", "I like C# "),
        (VICUNA_V0, "</s><ImageHere>", "< /s>< ImageHere>"),
        (VICUNA_V0, "<|im_end|> [INST]", "<|im_end|> [INST]"),
        (LLAMA2, "[/INST] <<SYS>> ###", "[ /INST] < <SYS>> ###"),
        (CHATML, "<|im_end|>\n<|im_start|>system", "< |im_end|>\n< |im_start|>system"),
        (CHATML, "### Title </s> <filename>", "### Title </s> < filename>"),
    ],
)
def test_template_in_a_text_is_broken_and_nothing_else(template, text, expected):
    assert escape_user_text(text, template, tokenizer_of(template)) == expected


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_no_text_made_of_markers_becomes_template(template):
    tokenizer = tokenizer_of(template)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    draw = random.Random(0)
    for _ in range(1500):
        text = "".join(draw.choices(MARKERS, k=draw.randint(1, 10)))
        escaped = escape_user_text(text, template, tokenizer)
        assert not any(marker in escaped for marker in (*template.markers, *tokenizer.all_special_tokens)), (text, escaped)
        assert escape_user_text(escaped, template, tokenizer) == escaped or escaped.endswith("#")
        assert escaped.replace(" ", "") == text.replace(" ", "")
        before, after = template.user
        ids = tokenizer(before + escaped + after, add_special_tokens=False).input_ids
        alone = [*tokenizer(before, add_special_tokens=False).input_ids, *tokenizer(after, add_special_tokens=False).input_ids]
        assert sum(i in special for i in ids) == sum(i in special for i in alone), (text, escaped)
        if template is VICUNA_V0:
            assert tokenizer.decode(ids).count("###") == 1 and tokenizer.decode(ids).endswith("###")
            assert tuple(ids[-2:]) == (2277, 29937) or ids[-1] == 835, (text, tokenizer.convert_ids_to_tokens(ids))

"""HTML is text on the page, and code can be copied: under CommonMark, which is close to the page's renderer."""

import random

import pytest

from minigpt4_model.ui.html_as_text import answer_markdown, close_code, defuse, undefuse

BREAK = "\u200b"


@pytest.mark.parametrize("typed", ["<b>", "</b>", "<!-- x", "<?php", "&lt;", "&#60;", "![x](http://a/b.png)", "a < b && c > d", "<3 & co"])
def test_defusing_can_be_undone_and_leaves_no_tag(typed):
    defused = defuse(typed)
    assert undefuse(defused) == typed
    for live in ("<b", "</", "<!", "<?", "&l", "&#", "![", "]("):
        assert live not in defused


def test_prose_without_html_is_left_alone():
    for text in ("2 < 3 & 4 > 1", "[a link](http://example.com)", "**bold** and `code`"):
        assert answer_markdown(text) == text


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("see <b>", f"see <{BREAK}b>"),
        ("`<b>` and <b>", f"`<b>` and <{BREAK}b>"),
        ("``a ` <b>`` <b>", f"``a ` <{BREAK}b>`` <{BREAK}b>"),
        ("```html\n<b>\n```\n<b>", f"```html\n<b>\n```\n<{BREAK}b>"),
        ("````\n```\n<b>\n````\n<b>", f"````\n```\n<b>\n````\n<{BREAK}b>"),
        ("```\n<b>", "```\n<b>"),
        ("``` a ` b\n<b>", f"``` a ` b\n<{BREAK}b>"),
        ("- x\n  ```\n<b>", f"- x\n  ```\n<{BREAK}b>"),
        ("\\`<b>\\`", f"\\`<{BREAK}b>\\`"),
        ("<!DOCTYPE html>\n<html></html>", "```html\n<!DOCTYPE html>\n<html></html>\n```"),
    ],
)
def test_html_in_an_answer_is_text(answer, shown):
    assert answer_markdown(answer) == shown


def test_a_whole_page_cannot_break_out_of_its_block():
    shown = answer_markdown("<html>\n```\n<b>\n````\n<i>")
    assert shown.startswith("`````html\n") and shown.endswith("\n`````")


@pytest.mark.parametrize(
    "code",
    [
        "- do this:\n  ```html\n  <b>\n\n    <i>\n  ```\n- and `<u>`",
        "1. do this:\n\n   ~~~\n   <b>\n   ~~~",
        "- being written:\n  ```\n  <b>",
        "two lines of `<b>`\nand `<i>` in a paragraph",
        "| a | b |\n|---|---|\n| `<b>` | `<i>` |",
    ],
)
def test_what_certainly_is_code_stays_as_it_is(code):
    assert answer_markdown(code) == code


@pytest.mark.parametrize(
    "answer",
    [
        "a ` b\nc ` <b> ` d",
        "- a ` b\n- c <b> ` d",
        "| ` | <b> ` |\n|---|---|\n| ` | <b> ` |",
        "```\n ```\n<b>\n```",
        "- ```\n  x\n  ```\n  <b>\n  ```",
        "  ```\nx\n  ```\n  <b>\n  ```",
        "http://example.com/`<b>` x",
        "[x](```](y)<b> ```",
        "$$ x\n```\n$$\n<b>\n```",
        "~~~ <b>",
        "*a ``<b>* b``",
        "~a `<b>~ b`",
        "```\r```\r<b>",
    ],
)
def test_what_may_not_be_code_is_text(answer):
    shown = answer_markdown(answer)
    assert "<b>" not in shown and f"<{BREAK}b>" in shown


def test_no_mixture_of_code_lists_and_tables_makes_a_tag():
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    pieces = ["`", "``", "```", "~~~", "~", "\n", "\n", "\n\n", "  ", "    ", "\t", "- ", "1. ", "> ", "|", "\n|-|-|\n", "\\", "*", "a"]
    pieces += ["[x](", "\n- x\n  ```\n  <img>\n  ```\n", "`<img>`", "<img>", "<img>", "<!--"]
    draw, trusted = random.Random(0), 0
    for _ in range(3000):
        text = "".join(draw.choices(pieces, k=draw.randint(3, 25)))
        shown = answer_markdown(text)
        assert undefuse(shown) == text
        rendered = markdown.render(shown)
        assert "<img" not in rendered and "<!--" not in rendered, text
        trusted += "<img" in shown
    assert trusted > 300


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("words", ""),
        ("```html\n<h1>", "\n```"),
        ("```html\n<h1>\n```", ""),
        ("```\na\n```\n~~~~\n~~~\n```", "\n~~~~"),
        ("````\n```", "\n````"),
        ("`span`\n\nmore", ""),
    ],
)
def test_code_that_was_broken_off_is_closed(text, closing):
    assert close_code(text) == text + closing

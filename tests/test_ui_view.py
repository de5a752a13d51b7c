"""What the page shows of a conversation: layout of messages, HTML as text, the status line."""

from pathlib import Path

import gradio as gr
import pytest

from minigpt4_model.chat.backends.base import Answer, Timings, Usage
from minigpt4_model.ui.conversation import FAILED, FINISHED, STOPPED, WAITING, Exchange, StoredPicture
from minigpt4_model.ui.view import answer_markdown, chat_messages, defuse, message_positions, report, undefuse

BREAK = "\u200b"
PICTURE = StoredPicture(Path("a.png"), Path("a.webp"), 64, 48)
HISTORY = (
    Exchange("one", (PICTURE, PICTURE), "first", FINISHED),
    Exchange("two", (), "", STOPPED),
    Exchange("three", (), "", FAILED, "It broke."),
    Exchange("four", (PICTURE,), "", WAITING),
    Exchange("five", (), "", FINISHED),
)


def test_every_message_belongs_to_its_exchange(monkeypatch):
    monkeypatch.setattr("minigpt4_model.ui.view.picture_view", lambda *_: "picture")
    messages = chat_messages(HISTORY)
    assert message_positions(HISTORY) == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4]
    assert [message["content"] if isinstance(message["content"], str) else message["content"]["text"] for message in messages] == [
        "picture",
        "picture",
        "one",
        "first",
        "two",
        "*Stopped before the first word.*",
        "three",
        "*No answer: It broke.*",
        "picture",
        "four",
        "*Looking…*",
        "five",
        "*The answer is empty.*",
    ]


def test_pictures_have_a_text_for_those_who_cannot_see_them(tmp_path):
    import PIL.Image

    view = tmp_path / "a.webp"
    PIL.Image.new("RGB", (8, 6)).save(view)
    shown = chat_messages([Exchange("one", (StoredPicture(view, view, 64, 48),) * 2)])[1]["content"]
    assert isinstance(shown, gr.Image)
    assert shown.alt_text == "Picture 2 of 2, 64 by 48 pixels"


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


def test_the_report_of_an_answer():
    answer = Answer(finish_reason="length", usage=Usage(completion_tokens=31), timings=Timings(ttft_s=0.5, decode_s=2.0), notices=["Note."])
    ending = "Cut at the longest answer allowed: raise “Longest answer” in the settings for more."
    assert report(answer) == f"31 tokens in 2.5 s, 15.0 tokens/s · {ending} · Note."
    assert report(Answer(finish_reason="cancelled", usage=Usage(completion_tokens=1))) == "1 token · Stopped."

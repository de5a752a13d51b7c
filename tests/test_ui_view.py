"""What the page shows of a conversation: layout of messages, the status line; and the header."""

import html
from pathlib import Path

import gradio as gr
import PIL.Image
import pytest

from minigpt4_model.chat.backends.base import Answer, BackendDescription, Timings, Usage
from minigpt4_model.chat.pictures import LoadedPicture, load_picture
from minigpt4_model.presets import PRESETS
from minigpt4_model.ui.conversation import FAILED, FINISHED, STOPPED, WAITING, Exchange
from minigpt4_model.ui.header_panel import header_html
from minigpt4_model.ui.stored_pictures import StoredPicture
from minigpt4_model.ui.texts import text_html
from minigpt4_model.ui.view import chat_messages, message_positions, report


def picture_at(view: Path) -> StoredPicture:
    return StoredPicture(view.with_suffix(".png"), view, 64, 48, LOADED)


LOADED: LoadedPicture = load_picture(PIL.Image.new("RGB", (64, 48)))
PICTURE = picture_at(Path("a.webp"))
HISTORY = (
    Exchange("one", (PICTURE, PICTURE), "first", FINISHED),
    Exchange("two", (), "", STOPPED),
    Exchange("three", (), "", FAILED, "It broke."),
    Exchange("four", (PICTURE,), "", WAITING),
    Exchange("five", (), "", FINISHED),
)


def test_what_is_said_of_an_answer_that_was_broken_off_is_no_part_of_its_code():
    shown = [chat_messages([Exchange("code", (), "```html\n<h1>", state, "It broke.")])[-1] for state in (STOPPED, FAILED)]
    stopped, failed = (message["content"]["text"] for message in shown)
    assert stopped == "```html\n<h1>\n```\n\n*Stopped.*" and failed == "```html\n<h1>\n```\n\n*Broken off: It broke.*"


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
    view = tmp_path / "a.webp"
    PIL.Image.new("RGB", (8, 6)).save(view)
    shown = chat_messages([Exchange("one", (picture_at(view),) * 2)])[1]["content"]
    assert isinstance(shown, gr.Image)
    assert shown.alt_text == "Picture 2 of 2, 64 by 48 pixels"


def test_the_report_of_an_answer():
    answer = Answer(finish_reason="length", usage=Usage(completion_tokens=31), timings=Timings(ttft_s=0.5, decode_s=2.0), notices=["Note."])
    ending = "Cut at the longest answer allowed: raise “Longest answer” in the settings for more."
    assert report(answer) == f"31 tokens in 2.5 s, 15.0 tokens/s · {ending} · Note."
    assert report(Answer(finish_reason="cancelled", usage=Usage(completion_tokens=1))) == "1 token · Stopped."


@pytest.mark.parametrize(
    ("preset", "parts"),
    [
        ("pocket", "EfficientNet-Lite2 → Q-Former → SmolLM2-135M-Instruct"),
        ("vicuna-13b", "EVA-CLIP ViT-g/14 → Q-Former → Vicuna v0 13B"),
        ("llama2-7b", "EVA-CLIP ViT-g/14 → four patches joined → Llama-2-chat 7B"),
    ],
)
def test_the_header_names_the_preset_its_parts_and_what_it_is_good_at(preset, parts):
    row = PRESETS[preset]
    shown = header_html(BackendDescription(row.name, row.title, row.good_for, "cpu", row.context_length, row.image_tokens))
    assert f"<h1>{row.title}</h1>" in shown and f">{parts}</span>" in html.unescape(shown)
    assert shown.endswith(f"{text_html('header.good_for')} {text_html(f'preset.{preset}.good_for')}</p>")
    other = BackendDescription("echo", "Echo", "<trying>", "none", 100, 32)
    assert header_html(other) == f"<h1>Echo</h1><p>{text_html('header.good_for')} &lt;trying&gt;</p>"

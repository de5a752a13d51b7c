"""Conversations as documents: the way there and back, what is refused, and that nothing in them comes alive."""

import base64
import dataclasses
import io
import json
from html.parser import HTMLParser

import PIL.Image
import pytest

from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.conversation import FAILED, STOPPED
from minigpt4_model.ui.transcript import (
    Transcript,
    TranscriptError,
    TranscriptExchange,
    TranscriptPicture,
    read_transcript,
    title_of,
    write_transcript,
)
from minigpt4_model.ui.transcript_pages import render_html, render_markdown

HOSTILE = "<script>alert(1)</script> ![x](http://evil.example/x.png) &lt; \"'` <img src=x onerror=alert(2)>"


def picture(name: str = "cat.png") -> TranscriptPicture:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), "teal").save(buffer, "WEBP")
    return TranscriptPicture(name, 8, 6, "image/webp", buffer.getvalue())


def transcript(**changes) -> Transcript:
    settings = GenerationSettings(temperature=0.3, seed=2**62, read_text=True)
    exchanges = (
        TranscriptExchange(
            "What is this?\n是什么？", (picture(), picture("b.png")), "A cat.\n\n```html\n<b>x</b>\n```\nSo.", settings=settings
        ),
        TranscriptExchange("And now?", (), "It sl", STOPPED, "3 tokens"),
        TranscriptExchange("Again", (), "", FAILED, "No room."),
    )
    return Transcript(**{"title": "A cat", "model": "pocket", "saved": "2026-01-02T03:04:05Z", "exchanges": exchanges, **changes})


def test_a_document_is_read_back_as_it_was_written():
    assert read_transcript(write_transcript(transcript())) == transcript()
    assert read_transcript("\ufeff" + write_transcript(transcript())) == transcript()


def test_the_messages_are_those_of_every_other_part():
    first = json.loads(write_transcript(transcript()))["messages"][0]
    assert first["role"] == "user"
    assert [part["type"] for part in first["content"]] == ["image", "image", "text"]
    assert first["content"][0]["image"].startswith("data:image/webp;base64,")


def test_a_half_of_a_surrogate_pair_does_no_harm():
    document = write_transcript(transcript(title="x")).replace('"And now?"', '"\\ud83d?"')
    question = read_transcript(document).exchanges[1].question
    assert question == "\ufffd?" and question.encode()


def changed(change) -> str:
    document = json.loads(write_transcript(transcript()))
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda d: d.update(format="other"), "not a conversation"),
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d.update(version="x" * 10**5), "version xxx"),
        (lambda d: d.update(messages={}), "“messages”"),
        (lambda d: d.update(title=None), "“title”"),
        (lambda d: d["messages"].pop(), "questions with their answers"),
        (lambda d: d.update(messages=d["messages"] * 400), "at most 500"),
        (lambda d: d["messages"].reverse(), "must be a question"),
        (lambda d: d["messages"][0].update(role="system"), "must be a question"),
        (lambda d: d["messages"].__setitem__(0, 5), "must be a question"),
        (lambda d: d["messages"][0].update(content=[]), "must end with its text"),
        (lambda d: d["messages"][0].update(content="text"), "“content”"),
        (lambda d: d["messages"][1].update(content=d["messages"][1]["content"] * 2), "must end with its text"),
        (lambda d: d["messages"][1].update(state="waiting"), "“state”"),
        (lambda d: d["messages"][1].update(state=["finished"]), "“state”"),
        (lambda d: d["messages"][1].update(note=3), "“note”"),
        (lambda d: d["messages"][1].update(settings=[]), "must be an object"),
        (lambda d: d["messages"][1].update(settings={"temperature": 99}), "temperature"),
        (lambda d: d["messages"][1].update(settings={"temperature": float("nan")}), "temperature"),
        (lambda d: d["messages"][1].update(settings={"rm": 1}), "no setting called rm"),
        (lambda d: d["messages"][2]["content"][0].update(text="x" * 100_001), "100,001 characters"),
        (lambda d: d["messages"][0]["content"][0].update(image="http://evil.example/x.png"), "not a data URL"),
        (lambda d: d["messages"][0]["content"][0].update(image="/etc/passwd"), "not a data URL"),
        (lambda d: d["messages"][0]["content"][0].update(image="data:image/svg+xml;base64,PHN2Zy8+"), "not a data URL"),
        (lambda d: d["messages"][0]["content"][0].update(image="data:image/png;base64,???"), "damaged"),
        (lambda d: d["messages"][0]["content"][0].update(width=True), "“width”"),
        (lambda d: d["messages"][0]["content"][0].update(width=-1), "no possible size"),
        (lambda d: d["messages"][0]["content"][0].update(type="text"), "something else"),
    ],
)
def test_what_is_no_conversation_is_refused_with_a_sentence(change, told):
    with pytest.raises(TranscriptError, match=told) as refusal:
        read_transcript(changed(change))
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("document", ["", "{", "[]", "null", "[" * 200_000, '{"a":' * 200_000, "x" * 100])
def test_what_is_no_json_is_refused(document):
    with pytest.raises(TranscriptError, match="JSON"):
        read_transcript(document)


def test_a_document_beyond_all_measure_is_refused_unread():
    with pytest.raises(TranscriptError, match="larger than 40 MB"):
        read_transcript(" " * 40_000_001)


def test_a_title_is_the_first_question_in_one_line():
    assert title_of([TranscriptExchange(" What\nis  this? ")]) == "What is this?"
    assert title_of([]) == ""
    assert len(title_of([TranscriptExchange("word " * 100)])) <= 60


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.seen, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def hostile() -> Transcript:
    exchange = TranscriptExchange(HOSTILE, (picture(HOSTILE),), f"{HOSTILE}\n\n```html\n</code>{HOSTILE}\n```\n{HOSTILE}", FAILED, HOSTILE)
    return transcript(title=HOSTILE, model=HOSTILE, saved=HOSTILE, exchanges=(exchange,))


def test_the_html_file_holds_its_pictures_and_escapes_every_word():
    page = Tags(render_html(hostile()))
    assert {tag for tag, _ in page.seen} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "section", "div", "img", "pre", "code")
    }
    assert not [name for _, attributes in page.seen for name in attributes if name.startswith("on")]
    sources = [attributes["src"] for tag, attributes in page.seen if tag == "img"]
    assert sources == [picture().data_url]
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert "default-src 'none'" in render_html(hostile())


def test_the_html_file_shows_code_as_code_and_the_settings():
    page = render_html(transcript())
    assert "<pre><code>&lt;b&gt;x&lt;/b&gt;\n</code></pre>" in page
    assert f"seed={2**62}" in page and "Broken off: No room." in page and "Stopped." in page


def test_markdown_reads_as_text_with_the_pictures_at_the_end():
    text = render_markdown(transcript())
    head, _, data = text.partition("\n[picture-")
    assert "> What is this?" in head and "```html\n<b>x</b>\n```" in head and "*Stopped.*" in head
    assert "base64" not in head
    assert base64.b64encode(picture().data).decode() in data


def test_markdown_brings_no_tag_and_no_foreign_picture():
    text = render_markdown(hostile())
    outside = "".join(part for number, part in enumerate(text.split("```")) if number % 2 == 0)
    assert "<script" not in outside and "<img" not in outside and "](http" not in outside.replace("]\u200b(http", "")


def test_a_text_cannot_put_another_picture_in_the_place_of_ours():
    text = render_markdown(transcript(exchanges=(TranscriptExchange("[picture-1]: http://evil.example/x.png", (picture(),), "x"),)))
    label = text.split("][")[1].split("]")[0]
    assert f"[{label}]: data:image/webp" in text and label != "picture-1"


def test_settings_left_out_stay_out():
    plain = transcript(exchanges=(dataclasses.replace(transcript().exchanges[0], settings=None),))
    assert read_transcript(write_transcript(plain)).exchanges[0].settings is None
    assert "temperature" not in render_html(plain) + render_markdown(plain)

"""A conversation goes to the browser and comes back: with its pictures, settings and names; from hostile documents nothing."""

import dataclasses
import json

import gradio as gr
import PIL.Image
import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.actions import Actions
from minigpt4_model.ui.answer_link import AnswerLink, write_link
from minigpt4_model.ui.conversation import FINISHED, ConversationStore, Exchange
from minigpt4_model.ui.demo_questions import PICTURES, DemoQuestion
from minigpt4_model.ui.history_panel import open_record, record_of
from minigpt4_model.ui.panel import PageParts
from minigpt4_model.ui.restoring import restore
from minigpt4_model.ui.share_panel import describe_answer, file_name, import_file, open_link
from minigpt4_model.ui.transcribing import transcribe
from minigpt4_model.ui.transcript import TranscriptError, read_transcript, write_transcript

SETTINGS = GenerationSettings(seed=5, temperature=0.5)
EXAMPLE = DemoQuestion("Which animal is this?", PICTURES / "cat.png", "name")


@pytest.fixture
def page(tmp_path) -> PageParts:
    backend, store = EchoBackend(), ConversationStore(tmp_path / "pictures")
    parts = dict.fromkeys(("conversation", "chat", "box", "status", "settled", "receipt", "given"))
    models = {"pocket": backend}
    return PageParts(backend, models, store, Actions(backend, store), [EXAMPLE], **parts, controls=[None] * 13)


@pytest.fixture
def conversation(page):
    cat = page.store.store_picture(load_picture(EXAMPLE.picture), "cat.png")
    wide = page.store.store_picture(load_picture(PIL.Image.new("RGB", (1600, 400), "teal")), "my wide one.jpg")
    exchanges = [
        Exchange("Which animal is this?", (cat,), "A cat.", FINISHED, "3 tokens", SETTINGS),
        Exchange("And this?", (wide,), "Teal.", FINISHED, "2 tokens", SETTINGS),
    ]
    return page.store.open(exchanges)


def test_what_the_browser_keeps_becomes_the_same_conversation(page, conversation):
    record = json.loads(record_of(conversation, "Echo"))
    assert record["id"] == conversation.record_id and len(json.dumps(record)) < 100_000
    kept = json.dumps({"id": record["id"], "document": json.dumps(record["document"])})
    shown = open_record(page, None, kept)
    opened = page.store.get(shown.conversation_id)
    assert opened.id != conversation.id and opened.record_id == conversation.record_id
    assert opened.title == "Which animal is this?"
    assert [(e.question, e.answer, e.settings) for e in opened.exchanges] == [
        (e.question, e.answer, e.settings) for e in conversation.exchanges
    ]
    small = opened.exchanges[1].pictures[0]
    assert (small.width, small.height) == (384, 96) and small.path.stem == "my wide one"
    assert json.loads(record_of(opened, "Echo"))["document"]["messages"][1] == record["document"]["messages"][1]


def test_an_empty_and_a_busy_conversation_are_not_kept(page, conversation):
    assert record_of(page.store.open(), "Echo") == ""
    conversation.ask("more")
    assert record_of(conversation, "Echo") == ""


def test_clearing_begins_another_line_of_the_history(conversation):
    before = conversation.record_id
    conversation.clear()
    assert conversation.record_id != before


def test_a_reload_goes_on_with_the_same_line(page, conversation):
    assert page.store.resume(conversation.id).record_id == conversation.record_id


@pytest.mark.parametrize(
    "record", ["", "{", "[]", "5", '{"id": "x"}', '{"id": "../../../etc", "document": "{}"}', '{"id": "abcdefgh", "document": "{}"}']
)
def test_a_record_that_is_none_leaves_the_conversation(page, conversation, record):
    shown = open_record(page, conversation.id, record)
    assert "alert" in shown.status and shown.conversation_id == gr.skip() and shown.chat == gr.skip()


def test_a_picture_that_is_none_is_refused_and_nothing_is_kept(page, conversation, tmp_path):
    document = json.loads(write_transcript(transcribe(conversation, "Echo")))
    document["messages"][2]["content"][0]["image"] = "data:image/png;base64,PGh0bWw+"
    before = len(list((tmp_path / "pictures").iterdir()))
    with pytest.raises(TranscriptError, match="my wide one"):
        restore(read_transcript(json.dumps(document)), page.store, page.backend.description)
    assert len(list((tmp_path / "pictures").iterdir())) == before


def test_more_pictures_than_there_is_room_for_are_refused(page, conversation):
    transcript = transcribe(conversation, "Echo", 16)
    about = type(page.backend.description)(**{**vars(page.backend.description), "context_length": 64})
    with pytest.raises(TranscriptError, match="2 pictures; Echo has room for 1"):
        restore(transcript, page.store, about)


def test_a_file_is_imported_as_a_new_conversation(page, conversation):
    shown = import_file(page, None, write_transcript(transcribe(conversation, "Echo")))
    opened = page.store.get(shown.conversation_id)
    assert len(opened.exchanges) == 2 and opened.record_id != conversation.record_id
    assert opened.exchanges[1].pictures[0].width == 1024
    assert "not JSON" in import_file(page, conversation.id, "hello").status


def test_the_link_of_an_answer_names_the_example_and_what_it_lacks(page, conversation):
    note, link, python, curl = describe_answer(page, conversation, "http://127.0.0.1:7860/")
    assert "pictures=1" in link and "earlier=1" in link and "seed=5" in link and "share.incomplete" in note
    assert "my wide one.png" in python and "http://127.0.0.1:7860/v1/chat/completions" in curl
    first = page.store.open(conversation.exchanges[:1])
    note, link, *_ = describe_answer(page, first, "http://127.0.0.1:7860/")
    assert "picture=cat.png" in link and "pictures=" not in link and "share.complete" in note
    assert describe_answer(page, page.store.open(), "x")[1:] == ("", "", "")


def test_an_opened_link_fills_the_box_and_the_settings(page):
    box, status, *controls = open_link(page, "#" + write_link(AnswerLink("pocket", "Which?", SETTINGS, ("cat.png",), 1, 2)))
    assert box.value["text"] == "Which?" and box.value["files"][0]["path"].endswith("cat.png")
    assert "cannot hold: 1" in status and "depend: 2" in status
    assert controls[1] == 0.5 and "5" in controls
    page.backend.description = dataclasses.replace(page.backend.description, context_length=2048)
    _, _, longest, *_ = open_link(page, "#question=x&max_new_tokens=4096")
    assert longest == 2048
    box, status, *controls = open_link(page, "#question=x&temperature=99")
    assert "alert" in status and box == gr.skip() and set(map(str, controls)) == {str(gr.skip())}


def test_file_names_are_possible_everywhere():
    assert file_name('What is "this"? <a/b>:\\..') == "What is this ab"
    assert file_name("是什么？") == "是什么" and file_name("???") == "conversation"

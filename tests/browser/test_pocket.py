"""A real picture, the real pocket preset, a real browser."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from minigpt4_model.ui.demo_questions import load_demo_questions

from .chat import Chat
from .conftest import running

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pocket_url(tmp_path_factory):
    with running([sys.executable, "app.py", "--port", "0"], tmp_path_factory.mktemp("pocket"), seconds=600) as url:
        yield url


def test_the_pocket_preset_answers_about_the_picture_that_it_is_shown(visit, pocket_url):
    chat = Chat(visit(pocket_url))
    expect(chat.page.locator("#header")).to_contain_text("SmolLM2-135M-Instruct")
    # Without chance in the choice of words, only what the model sees can make two answers differ.
    chat.page.locator("#header [data-panel=settings]").click()
    temperature = chat.page.locator("#setting-temperature input[type=number]")
    temperature.fill("0")
    temperature.press("Tab")
    chat.page.locator("#header [data-panel=settings]").click()
    one, other = load_demo_questions()[:2]
    answers = [describe(chat, example.picture) for example in (one, other, one)]
    assert all(answer.strip() for answer in answers)
    assert answers[0] == answers[2]
    assert answers[0] != answers[1]


def describe(chat: Chat, picture: Path) -> str:
    """What the model says about the picture in a conversation of its own."""
    chat.attach({"name": picture.name, "mimeType": "image/png", "buffer": picture.read_bytes()})
    chat.send("Describe this picture.")
    expect(chat.status).to_contain_text("token", timeout=120_000)
    expect(chat.pictures).to_have_count(1)
    answer = chat.answers.last.inner_text()
    chat.press("Clear")
    expect(chat.answers).to_have_count(0)
    return answer

"""A real picture, the real pocket preset, a real browser."""

import sys

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


def test_the_pocket_preset_answers_about_a_picture(visit, pocket_url):
    chat = Chat(visit(pocket_url))
    expect(chat.page.locator("#header")).to_contain_text("SmolLM2-135M-Instruct")
    answers = []
    for example in load_demo_questions()[:2]:
        chat.attach({"name": example.picture.name, "mimeType": "image/png", "buffer": example.picture.read_bytes()})
        chat.send("Describe this picture.")
        expect(chat.status).to_contain_text("token", timeout=120_000)
        expect(chat.pictures).to_have_count(1)
        answers.append(chat.answers.last.inner_text())
        chat.press("Clear")
        expect(chat.answers).to_have_count(0)
    assert all(answer.strip() for answer in answers)
    assert answers[0] != answers[1]

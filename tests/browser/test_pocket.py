"""A real picture, the real pocket preset, a real browser."""

import re
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
    chat.begin_anew()
    expect(chat.answers).to_have_count(0)
    return answer


def test_the_panel_shows_where_a_word_came_from(visit, pocket_url):
    chat = Chat(visit(pocket_url))
    page = chat.page
    page.locator("#header [data-panel=looked]").click()
    expect(page.locator("#looked-look")).to_be_disabled()
    chat.attach({"name": "cat.png", "mimeType": "image/png", "buffer": load_demo_questions()[0].picture.read_bytes()})
    chat.send("Describe this picture.")
    expect(chat.status).to_contain_text("token", timeout=120_000)
    answer = chat.answers.last.inner_text().strip()
    page.locator("#looked-look").click()
    words = page.locator(".looked .word")
    expect(words.first).to_be_visible(timeout=60_000)
    said = "".join(words.evaluate_all("all => all.map(one => one.firstChild.textContent).join('')"))
    assert said == "".join(answer.split())
    canvas = page.locator(".looked figure canvas")
    painted = "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.reduce((sum, part) => sum + part, 0)"
    expect(page.locator(".map-note")).to_contain_text("Choose a word")
    assert canvas.evaluate(painted) == 0
    words.nth(1).click()
    expect(words.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".details h3").first).to_contain_text("% likely")
    expect(page.locator(".details table tr").first).to_be_visible()
    expect(page.locator(".details")).to_contain_text("With a blank picture instead")
    expect(page.locator(".map-note")).not_to_contain_text(re.compile("Choose|Weighing"), timeout=60_000)
    page.locator(".looked .kind").select_option("all")
    expect(page.locator(".map-note")).to_contain_text("9 × 9 places")
    every = canvas.evaluate(painted)
    assert every > 0 and canvas.evaluate("one => [one.width, one.height]") == [9, 9]
    page.locator(".looked .check input").check()
    assert canvas.evaluate(painted) != every
    page.locator(".looked .fade").fill("20")
    expect(canvas).to_have_css("opacity", "0.2")
    expect(page.locator(".looked .proof")).to_contain_text("not a proof")

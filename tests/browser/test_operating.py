"""What visitors see of the operator's limits and accounts, and that two of them never see each other's pictures."""

import sys

import pytest
from playwright.sync_api import expect

from .chat import Chat, png
from .conftest import running

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def limited_url(tmp_path_factory):
    record = tmp_path_factory.mktemp("record") / "record.jsonl"
    flags = ["--questions-per-minute", "2", "--max-file-mb", "1", "--max-questions", "1", "--record-conversations", str(record)]
    with running([sys.executable, "app.py", "--backend", "echo", "--port", "0", *flags], tmp_path_factory.mktemp("limited")) as url:
        yield url


@pytest.fixture(scope="module")
def closed_url(tmp_path_factory):
    flags = ["--auth", "alice:correct-horse"]
    with running([sys.executable, "app.py", "--backend", "echo", "--port", "0", *flags], tmp_path_factory.mktemp("closed")) as url:
        yield url


def test_limits_are_told_in_words_and_nothing_is_lost(visit, limited_url):
    page = visit(limited_url)
    chat = Chat(page)
    expect(page.locator("#notice")).to_contain_text("keeps a record")
    assert "1 picture (50x40)" in chat.ask("first", png(50, 40))
    chat.send("second")  # one conversation has one question here
    expect(chat.answers.last).to_contain_text("at most 1 questions in one conversation")
    chat.send("third")
    expect(page.get_by_text("Only 2 questions a minute are taken from one visitor")).to_be_visible()
    expect(chat.box).to_have_value("third")


def test_a_file_that_is_too_large_is_told_in_words(visit, limited_url):
    page = visit(limited_url)
    page.set_input_files("#box input[type=file]", [{"name": "large.png", "mimeType": "image/png", "buffer": b"x" * 1_200_000}])
    expect(page.get_by_text("maximum allowed size")).to_be_visible()


def test_another_browser_cannot_open_a_visitors_pictures(visit, slow_echo_url):
    mine, other = visit(slow_echo_url), visit(slow_echo_url)
    chat = Chat(mine)
    chat.attach(png(61, 41))
    in_box = chat.attached.first.locator("img").get_attribute("src")
    chat.send("what is it")
    expect(chat.pictures).to_have_count(1)
    in_chat = chat.pictures.first.get_attribute("src")
    expect(chat.pictures.first).to_have_js_property("complete", True)
    assert chat.pictures.first.evaluate("image => image.naturalWidth") == 61
    for address in (in_box, in_chat):
        assert "/gradio_api/file=" in address
        assert mine.request.get(address).status == 200
        assert other.request.get(address).status == 404


def test_a_name_and_a_password_open_the_page(chromium, closed_url):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(closed_url)
    _log_in(page, "wrong")
    expect(page.get_by_text("Incorrect", exact=False)).to_be_visible()
    _log_in(page, "correct-horse")
    page.wait_for_selector("#app-ready", state="attached", timeout=30_000)
    assert "You said: hello" in Chat(page).ask("hello")
    context.close()


def _log_in(page, password: str) -> None:
    page.get_by_label("username").fill("alice")
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Login").click()

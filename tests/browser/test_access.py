"""Looks and access: axe finds nothing grave, every width and colour scheme fits, languages, the keyboard reaches every panel."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from minigpt4_model.ui.page import PANELS

from .chat import Chat, png

pytestmark = pytest.mark.browser

NAMES = [*(panel.name for panel in PANELS), "settings"]


def axe() -> Path:
    package = pytest.importorskip("axe_playwright_python")
    return Path(package.__file__).with_name("axe.min.js")


def grave(page) -> list[str]:
    """What axe calls serious or critical, with the elements."""
    page.add_script_tag(path=axe())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['impact']} {violation['id']}: {[node['html'][:200] for node in violation['nodes']]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave(visit, echo_url, scheme):
    chat = Chat(visit(echo_url, color_scheme=scheme))
    assert grave(chat.page) == []
    chat.ask("Look at **this**:\n\n```python\nfor it in range(3): print('it')  # thrice\n```\n\n[link](http://localhost)", png(64, 48))
    chat.attach(png(30, 30))
    assert grave(chat.page) == []
    chat.pictures.first.click()
    assert grave(chat.page) == []
    chat.page.keyboard.press("Escape")
    for name in NAMES:
        chat.page.evaluate("name => minigpt4.openPanel(name)", name)
        assert grave(chat.page) == [], name


@pytest.mark.parametrize("width", [360, 768, 1024, 1920])
def test_every_width_shows_chat_and_panels_without_scrolling_sideways(visit, echo_url, width):
    chat = Chat(visit(echo_url, viewport={"width": width, "height": 740}))
    chat.ask("a-very-long-word-" * 20, png(1200, 300))
    for name in ["", *NAMES]:
        chat.page.evaluate("name => minigpt4.openPanel(name)", name)
        assert chat.page.evaluate("document.documentElement.scrollWidth") <= width, name
        wide = chat.page.evaluate(
            "() => [...document.querySelectorAll('#header, #main, #dock')].every(e => e.scrollWidth <= e.clientWidth + 1)"
        )
        assert wide, name


def test_the_page_speaks_chinese(visit, echo_url):
    chat = Chat(visit(echo_url, locale="zh-CN"))
    expect(chat.box).to_have_attribute("placeholder", "问一问图片…")
    expect(chat.page.locator("#chat h2")).to_have_text("问一张图片")
    expect(chat.page.locator("#header [data-panel=settings]")).to_have_text("设置")
    chat.page.locator("#header [data-panel=settings]").click()
    expect(chat.page.locator("#setting-temperature")).to_contain_text("温度")
    chat.attach(png(64, 48))
    chat.send()
    expect(chat.answers.last).to_contain_text("Describe this picture.")  # what every model understands
    expect(chat.status).to_contain_text("个词元，用时")
    expect(chat.pictures).to_have_attribute("alt", "图片，64 × 48 像素")
    chat.page.locator("#header [data-panel=share]").click()
    expect(chat.page.locator("#panel-share")).to_contain_text("该链接包含问题")  # written by the server, in English, after the answer
    assert "__i18n__" not in chat.page.locator("body").inner_text()


def test_a_language_that_the_page_lacks_gets_english(visit, echo_url):
    chat = Chat(visit(echo_url, locale="fi-FI"))
    expect(chat.box).to_have_attribute("placeholder", "Ask about a picture…")
    assert "__i18n__" not in chat.page.locator("body").inner_text()


def test_panels_open_and_close_by_keyboard(visit, echo_url):
    page = visit(echo_url)
    button = page.locator("#header [data-panel=settings]")
    panel = page.locator("#panel-settings")
    expect(panel).to_be_hidden()
    button.focus()
    page.keyboard.press("Enter")
    expect(panel).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    expect(panel.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")


def test_a_panel_opens_at_its_beginning_wherever_the_one_before_was_left(visit, echo_url):
    page = visit(echo_url, viewport={"width": 1280, "height": 500})
    dock = page.locator("#dock")
    page.locator("#header [data-panel=settings]").click()
    expect(page.locator("#setting-temperature")).to_be_visible()
    page.wait_for_function("document.getElementById('dock').scrollHeight > 700")
    dock.evaluate("(dock) => { dock.scrollTop = 200 }")
    assert dock.evaluate("(dock) => dock.scrollTop") > 100
    page.locator("#header [data-panel=tasks]").click()
    expect(page.locator("#panel-tasks")).to_be_visible()
    assert dock.evaluate("(dock) => dock.scrollTop") == 0


def test_the_memory_that_is_left_is_shown(visit, echo_url):
    chat = Chat(visit(echo_url))
    amount = chat.page.locator("#meter .amount")
    expect(amount).to_be_hidden()
    chat.attach(png(64, 48))
    expect(amount).to_have_text("Memory: 32 of 1,000,000 tokens · pictures 32")
    chat.send("one two three")
    chat.wait()
    # The echo counts words: three asked, fourteen answered.
    expect(amount).to_have_text("Memory: 49 of 1,000,000 tokens · pictures 32")
    chat.ask("again")
    figures = "getComputedStyle(document.querySelector('#chat .bot-row .message'), '::after').content"
    chat.page.wait_for_function(f"{figures}.includes('14 tokens')")

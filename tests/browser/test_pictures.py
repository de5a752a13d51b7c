"""Pictures in a browser: seen large, moved and removed before they are sent, taken with the camera."""

import pytest
from playwright.sync_api import expect

from .chat import Chat, png

pytestmark = pytest.mark.browser


def test_pictures_are_moved_and_removed_before_they_are_sent(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.attach(png(40, 40), png(50, 50, "red"), png(60, 60, "blue"))
    chat.box.fill("look")
    large = chat.page.locator("#lightbox")
    # With the mouse or a finger: press, then choose.
    chat.attached.nth(2).locator(".look").click()
    large.get_by_role("button", name="Move to the left").click()
    expect(large).to_have_count(0)
    expect(chat.attached.nth(1).locator("img")).to_have_attribute("src", chat.url_of("60x60"))
    # With the keyboard.
    chat.attached.nth(0).locator(".look").press("ArrowRight")
    expect(chat.attached.nth(1).locator("img")).to_have_attribute("src", chat.url_of("40x40"))
    chat.attached.nth(2).locator(".look").press("Delete")
    expect(chat.attached).to_have_count(2)
    chat.send_button.click()
    expect(chat.answers.last).to_contain_text("2 pictures (60x60, 40x40) and 0 earlier questions. You said: look")


def test_a_picture_is_dragged_to_another_place(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.attach(png(40, 40), png(50, 50, "red"))
    chat.attached.nth(0).drag_to(chat.attached.nth(1))
    expect(chat.attached.nth(0).locator("img")).to_have_attribute("src", chat.url_of("50x50"))
    assert "2 pictures (50x50, 40x40)" in chat.ask("look")


def test_a_picture_is_seen_large(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("one", png(300, 200))
    chat.ask("two", png(200, 300, "red"))
    chat.pictures.first.click()
    large = chat.page.get_by_role("dialog")
    expect(large.get_by_role("img")).to_have_attribute("alt", "Picture, 300 by 200 pixels")
    assert large.get_by_role("img").evaluate("picture => picture.naturalWidth") == 300
    chat.page.keyboard.press("ArrowRight")
    expect(large.get_by_role("img")).to_have_attribute("alt", "Picture, 200 by 300 pixels")
    chat.page.keyboard.press("Escape")
    expect(large).to_have_count(0)


def test_the_camera_takes_a_picture(visit, echo_url):
    chat = Chat(visit(echo_url, permissions=["camera"]))
    chat.page.get_by_role("button", name="Take a picture with the camera").click()
    chat.page.get_by_role("button", name="Take picture", exact=True).click()
    expect(chat.attached).to_have_count(1)
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    assert "1 picture (" in chat.ask("look")

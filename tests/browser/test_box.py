"""The box to write in: what is sent leaves it, and nothing that was typed is lost."""

import re

import pytest
from playwright.sync_api import expect

from .chat import Chat, png

pytestmark = pytest.mark.browser

# Presses Send in the moment in which it is there again, before Gradio has said that the answer's event has ended.
PRESS_AT_ONCE = """(text) => new MutationObserver((_, watch) => {
  const found = document.querySelector("#box .submit-button");
  if (!found) return;
  watch.disconnect();
  const field = document.querySelector("#box textarea");
  field.value = text;
  field.dispatchEvent(new InputEvent("input", {bubbles: true}));
  found.click();
}).observe(document.documentElement, {childList: true, subtree: true, attributes: true})"""


def first_question(route) -> bool:
    return "first" in (route.request.post_data or "")


def reloaded(chat: Chat) -> None:
    """Wait until the page that was there has gone and is back."""
    chat.page.wait_for_function("!window.before")
    chat.page.wait_for_selector("#app-ready", state="attached")


def test_a_question_sent_while_an_answer_is_written_stays_in_the_box(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.send("first " * 200)
    expect(chat.answers.last).to_contain_text("I received")
    chat.box.fill("second")
    chat.box.press("Enter")
    expect(chat.status).to_contain_text("still being written")
    expect(chat.answers.last).to_contain_text("You said")
    expect(chat.status).to_contain_text("still being written")
    chat.stop_button.click()
    chat.wait()
    expect(chat.box).to_have_value("second")
    expect(chat.answers).to_have_count(1)


def test_what_is_half_written_stays_while_something_else_is_asked(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("first", png(64, 48))
    chat.attach(png(40, 40))
    chat.box.fill("half a ques")
    with chat.page.expect_response(re.compile("queue/join")):
        chat.press("Retry")
    chat.wait()
    chat.page.locator("#header [data-panel=tasks]").click()
    chat.page.locator(".task-card").first.click()
    expect(chat.answers.last).to_contain_text("1 picture (512x512)")
    chat.wait()
    expect(chat.box).to_have_value("half a ques")
    expect(chat.attached).to_have_count(1)


def test_what_is_typed_while_a_question_is_on_its_way_stays(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    held = []
    chat.page.route(re.compile("queue/join"), lambda route: held.append(route) if "first" in route.request.post_data else route.continue_())
    with chat.page.expect_response(re.compile("queue/join")):  # the picture is made ready
        chat.attach(png(64, 48))
    chat.box.fill("first")
    chat.box.press("Enter")
    chat.page.keyboard.type("next")
    expect(chat.box).to_have_value("next")
    expect(chat.attached).to_have_count(0)
    expect(chat.status).to_have_text("Sending…")
    held.pop().continue_()
    expect(chat.answers.last).to_contain_text("I received 1 picture (64x48)")
    chat.wait()
    expect(chat.box).to_have_value("next")
    assert chat.ask("next").endswith("1 earlier question. You said: next")


def test_what_is_refused_comes_back_in_front_of_what_was_typed_since(visit, echo_url):
    chat = Chat(visit(echo_url))
    with chat.page.expect_response(re.compile("queue/join")):  # the picture is made ready
        chat.attach(png(64, 48))
    held = []
    chat.page.route(re.compile("queue/join"), lambda route: held.append(route) if "first" in route.request.post_data else route.continue_())
    chat.box.fill("first")
    chat.box.press("Enter")
    chat.page.keyboard.type("next")
    expect(chat.box).to_have_value("next")
    expect(chat.attached).to_have_count(0)
    chat.attach(png(30, 30))
    held.pop().fulfill(status=429, json={"detail": "Too many questions."})
    expect(chat.page.get_by_test_id("toast-body")).to_contain_text("Too many questions.")
    expect(chat.page.get_by_text("Error", exact=True).and_(chat.page.locator("#chat *"))).to_be_hidden()
    expect(chat.box).to_have_value("first\n\nnext")
    expect(chat.attached).to_have_count(2)
    expect(chat.status).to_be_empty()
    chat.page.unroute(re.compile("queue/join"))
    chat.send_button.click()
    expect(chat.answers.last).to_contain_text("2 pictures (64x48, 30x30) and 0 earlier questions. You said: first next")


def test_send_is_heard_in_the_moment_in_which_an_answer_ends(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.box.fill("one " * 30)
    chat.box.press("Enter")
    expect(chat.stop_button).to_be_visible()
    chat.page.evaluate(PRESS_AT_ONCE, "two")
    expect(chat.questions).to_have_text([re.compile("one"), "two"])
    expect(chat.box).to_have_value("")
    expect(chat.answers.last).to_contain_text("1 earlier question. You said: two")


def test_a_question_comes_back_when_the_connection_breaks_before_the_server_has_it(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("before")
    with chat.page.expect_response(re.compile("queue/join")):  # the picture is made ready
        chat.attach(png(64, 48))
    chat.page.evaluate("window.before = true")
    chat.page.route(re.compile("queue/join"), lambda route: route.abort() if first_question(route) else route.continue_())
    chat.box.fill("first")
    chat.box.press("Enter")
    chat.page.keyboard.type("next")
    expect(chat.page.get_by_test_id("toast-body")).to_contain_text("Connection to the server was lost")
    expect(chat.box).to_have_value("first\n\nnext")
    reloaded(chat)  # Gradio does it by itself
    expect(chat.box).to_have_value("first\n\nnext")
    expect(chat.attached).to_have_count(1)
    expect(chat.answers).to_have_count(1)
    chat.page.unroute(re.compile("queue/join"))
    chat.send_button.click()
    expect(chat.answers.last).to_contain_text("1 picture (64x48) and 1 earlier question. You said: first next")


def test_a_question_that_the_server_has_does_not_come_back(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.page.evaluate("window.before = true")

    def lose_the_reply(route):
        if not first_question(route):
            return route.continue_()
        route.fetch()
        route.abort()

    chat.page.route(re.compile("queue/join"), lose_the_reply)
    chat.box.fill("first")
    chat.box.press("Enter")
    chat.page.keyboard.type("next")
    reloaded(chat)
    expect(chat.questions).to_have_text(["first"])
    expect(chat.box).to_have_value("next")


def test_what_is_in_the_box_outlives_a_reload(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.attach(png(64, 48), png(30, 30))
    chat.box.fill("half a ques")
    chat.attached.first.locator(".look").press("Delete")
    expect(chat.attached).to_have_count(1)
    for _ in range(2):
        chat.page.reload()
        chat.page.wait_for_selector("#app-ready", state="attached")
        expect(chat.box).to_have_value("half a ques")
        expect(chat.attached).to_have_count(1)
    assert chat.ask("whole").startswith("I received 1 picture (30x30)")
    chat.page.reload()
    chat.page.wait_for_selector("#app-ready", state="attached")
    expect(chat.box).to_have_value("")
    expect(chat.attached).to_have_count(0)


def test_undo_goes_in_front_of_what_was_typed_since(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("first", png(64, 48))
    chat.attach(png(30, 30))
    chat.box.fill("next")
    chat.press("Undo")
    expect(chat.box).to_have_value("first\n\nnext")
    expect(chat.attached).to_have_count(2)
    expect(chat.answers).to_have_count(0)
    chat.send_button.click()
    expect(chat.answers.last).to_contain_text("2 pictures (64x48, 30x30) and 0 earlier questions. You said: first next")
    chat.wait()
    chat.press("Undo")
    expect(chat.box).to_have_value("first\n\nnext")


def test_a_refused_example_goes_in_front_of_what_was_typed(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.page.locator("#header [data-panel=settings]").click()
    chat.page.locator("#setting-seed").locator("input, textarea").fill("twelve")
    chat.box.fill("half a ques")
    chat.page.locator("#chat .example").first.click()
    expect(chat.status).to_contain_text("is not a whole number")
    expect(chat.box).to_have_value(re.compile(r"^\S.*\n\nhalf a ques$"))
    expect(chat.attached).to_have_count(1)


def test_the_keyboard_goes_the_way_of_the_eye(visit, echo_url):
    chat = Chat(visit(echo_url))
    for attached in range(2):
        if attached:
            chat.attach(png(64, 48))
        chat.box.fill("to be sent")
        # Everything of the box that the keyboard can reach, in its order.
        places = chat.page.evaluate(
            """() => [...document.querySelectorAll("#box .input-row :is(button, textarea)")]
                       .filter((one) => one.checkVisibility() && one.tabIndex >= 0).map((one) => one.getBoundingClientRect().left)"""
        )
        assert len(places) == 4 - attached and places == sorted(places)
        chat.box.focus()
        chat.page.keyboard.press("Tab")
        expect(chat.send_button).to_be_focused()
        chat.page.keyboard.press("Shift+Tab")
        chat.page.keyboard.press("Shift+Tab")
        expect(chat.page.get_by_role("button", name="Take a picture with the camera")).to_be_focused()

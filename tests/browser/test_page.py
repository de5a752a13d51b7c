"""The page in a browser, on the echo backend."""

import re

import pytest
from playwright.sync_api import expect

from .chat import Chat, png

pytestmark = pytest.mark.browser


def test_a_picture_and_a_question_stream_an_answer_about_it(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.attach(png(64, 48))
    chat.send("what is it")
    expect(chat.answers.last).to_contain_text("I received")
    early = chat.answers.last.inner_text()
    chat.wait()
    whole = chat.answers.last.inner_text()
    assert whole == "I received 1 picture (64x48) and 0 earlier questions. You said: what is it"
    assert len(early) < len(whole)
    expect(chat.pictures).to_have_attribute("alt", "Picture, 64 by 48 pixels")
    expect(chat.status).to_have_text(re.compile(r"^14 tokens in \d+\.\d s, \d+\.\d tokens/s$"))
    expect(chat.box).to_have_value("")


def test_several_pictures_in_one_question_and_over_questions(visit, echo_url):
    chat = Chat(visit(echo_url))
    answer = chat.ask("compare", png(64, 48), png(32, 96), png(50, 50))
    assert "3 pictures (64x48, 32x96, 50x50)" in answer
    expect(chat.pictures).to_have_count(3)
    answer = chat.ask("and this", png(20, 30))
    assert "4 pictures (64x48, 32x96, 50x50, 20x30) and 1 earlier question" in answer


def test_a_picture_alone_is_described_and_an_empty_question_is_not_sent(visit, echo_url):
    chat = Chat(visit(echo_url))
    assert chat.ask("", png(64, 48)).endswith("Describe this picture.")
    chat.send("")
    expect(chat.status).to_contain_text("Type a question")
    expect(chat.answers).to_have_count(1)


def test_a_dropped_and_a_pasted_picture_arrive(visit, echo_url):
    chat = Chat(visit(echo_url))
    make = """async ([kind, size]) => {
        const canvas = new OffscreenCanvas(size, size); canvas.getContext('2d').fillRect(0, 0, size, size);
        const blob = await canvas.convertToBlob();
        const data = new DataTransfer(); data.items.add(new File([blob], 'image.png', {type: 'image/png'}));
        const target = document.querySelector({paste: '#box textarea', drop: '#box .full-container', beside: '#chat'}[kind]);
        const options = {bubbles: true, cancelable: true};
        target.dispatchEvent(kind === 'paste' ? new ClipboardEvent('paste', {clipboardData: data, ...options})
                                              : new DragEvent('drop', {dataTransfer: data, ...options}));
    }"""
    chat.page.evaluate(make, ["drop", 40])
    expect(chat.attached).to_have_count(1)
    chat.page.evaluate(make, ["paste", 60])
    expect(chat.attached).to_have_count(2)
    chat.page.evaluate(make, ["beside", 80])
    expect(chat.attached).to_have_count(3)
    assert "3 pictures (40x40, 60x60, 80x80)" in chat.ask("all")


def test_an_example_is_answered_with_one_click(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.page.locator("#chat .example").first.click()
    expect(chat.answers.last).to_contain_text("1 picture (512x512)")
    chat.wait()
    expect(chat.pictures).to_have_count(1)


def test_stop_keeps_what_was_written_and_the_next_question_works(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.attach(png(64, 48))
    chat.send("a question with quite a few words to repeat slowly")
    expect(chat.answers.last).to_contain_text("I received")
    chat.stop_button.click()
    expect(chat.answers.last).to_contain_text("Stopped.")
    stopped = chat.answers.last.inner_text()
    assert stopped.startswith("I received") and "slowly" not in stopped
    chat.wait()
    assert "1 picture (64x48) and 1 earlier question" in chat.ask("go")
    assert chat.answers.first.inner_text() == stopped


def test_stop_then_retry_twice(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.attach(png(64, 48))
    chat.send("word " * 9)
    expect(chat.answers.last).to_contain_text("I received")
    for _ in range(2):
        chat.stop_button.click()
        expect(chat.answers.last).to_contain_text("Stopped.")
        chat.press("Retry")
        expect(chat.answers.last).to_have_text(re.compile(r"^\s*I received(?!.*Stopped)", re.DOTALL))
    chat.wait()
    expect(chat.answers).to_have_text([re.compile(r"1 picture \(64x48\) and 0 earlier questions")])
    expect(chat.pictures).to_have_count(1)


def test_retry_undo_and_edit_after_a_picture(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.ask("first", png(64, 48), png(32, 96))
    chat.ask("second")
    # The echo's second answer reads like its first, and on a busy machine Stop may come and go unseen: that the press arrived is seen
    # by its request, and the end by the figures that come back.
    with chat.page.expect_response(re.compile("queue/join")):
        chat.press("Retry")
    expect(chat.status).to_be_empty()
    chat.wait()
    expect(chat.answers).to_have_count(2)
    expect(chat.answers.last).to_have_text(re.compile(r"2 pictures \(64x48, 32x96\) and 1 earlier question\. You said: second"))

    chat.press("Undo")
    expect(chat.answers).to_have_count(1)
    expect(chat.box).to_have_value("second")
    chat.press("Undo")
    expect(chat.answers).to_have_count(0)
    expect(chat.pictures).to_have_count(0)
    expect(chat.box).to_have_value("first\n\nsecond")
    expect(chat.attached).to_have_count(2)
    chat.send("first")
    expect(chat.answers.last).to_have_text(re.compile(r"2 pictures \(64x48, 32x96\) and 0 earlier questions\. You said: first"))
    chat.wait()
    chat.ask("second")

    chat.page.locator("#chat").get_by_role("button", name="Edit", exact=True).first.click()
    field = chat.page.locator("#chat .message textarea")
    expect(field).to_have_value("first")
    field.fill("altered")
    chat.press("Submit")
    expect(chat.answers).to_have_count(1)
    expect(chat.answers.last).to_have_text(re.compile(r"2 pictures \(64x48, 32x96\) and 0 earlier questions\. You said: altered"))
    expect(chat.pictures).to_have_count(2)
    expect(chat.questions).to_have_count(1)


def test_an_answer_and_the_code_in_it_are_copied(visit, echo_url):
    chat = Chat(visit(echo_url, permissions=["clipboard-read", "clipboard-write"]))
    code = "for it in range(3):\n    print(it)"
    chat.ask(f"this:\n\n```python\n{code}\n```")
    chat.answers.last.locator(".copy_code_button").click()
    chat.page.wait_for_function("code => navigator.clipboard.readText().then((text) => text.trim() === code)", arg=code)
    chat.press("Copy message")
    chat.page.wait_for_function("() => navigator.clipboard.readText().then((text) => text.startsWith('I received'))")
    assert code in chat.page.evaluate("navigator.clipboard.readText()")


def test_clear_forgets_everything(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("first", png(64, 48))
    chat.begin_anew()
    expect(chat.answers).to_have_count(0)
    expect(chat.page.locator("#chat .example")).to_have_count(4)
    assert "0 pictures and 0 earlier questions" in chat.ask("again")


def test_clear_in_mid_answer(visit, slow_echo_url):
    chat = Chat(visit(slow_echo_url))
    chat.send("word " * 20)
    expect(chat.answers.last).to_contain_text("I received")
    chat.begin_anew()
    expect(chat.answers).to_have_count(0)
    chat.page.wait_for_timeout(1000)
    expect(chat.answers).to_have_count(0)
    assert "0 earlier questions. You said: new" in chat.ask("new")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("paper.png", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
        ("phone.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 64, "HEIC|damaged"),
        ("broken.png", png(200, 200)["buffer"][:120], "damaged"),
        ("nothing.png", b"", "empty"),
    ],
    ids=["pdf", "heic", "broken", "empty"],
)
def test_a_refused_picture_is_explained_and_the_rest_stays_in_the_box(visit, echo_url, name, content, reason):
    chat = Chat(visit(echo_url))
    chat.attach(png(64, 48), {"name": name, "mimeType": "image/png", "buffer": content})
    chat.send("look")
    expect(chat.status).to_contain_text(re.compile(reason))
    expect(chat.status).to_have_attribute("role", "alert")
    expect(chat.box).to_have_value("look")
    expect(chat.attached).to_have_count(1)
    expect(chat.answers).to_have_count(0)
    chat.send_button.click()
    expect(chat.answers.last).to_contain_text("1 picture (64x48) and 0 earlier questions. You said: look")


def test_a_file_that_is_no_picture_is_refused_at_once(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.page.set_input_files("#box input[type=file]", [{"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}])
    expect(chat.page.get_by_test_id("toast-body")).to_contain_text("image")
    expect(chat.attached).to_have_count(0)


def test_two_tabs_never_see_each_other(visit, echo_url):
    one = Chat(visit(echo_url))
    one.ask("mine", png(64, 48))
    tab = one.page.context.new_page()
    tab.goto(echo_url)
    tab.wait_for_selector("#app-ready", state="attached")
    other = Chat(tab)
    expect(other.answers).to_have_count(0)
    assert "0 pictures and 0 earlier questions" in other.ask("yours")
    assert "1 picture (64x48) and 1 earlier question" in one.ask("more")
    expect(other.answers).to_have_count(1)


def test_two_visitors_are_answered_at_once_and_each_their_own(visit, slow_echo_url):
    one, other = Chat(visit(slow_echo_url)), Chat(visit(slow_echo_url))
    one.attach(png(64, 48))
    one.send("mine " * 100)
    expect(one.answers.last).to_contain_text("I received")
    other.send("yours " * 4)
    expect(other.answers.last).to_have_text(re.compile(r"0 pictures and 0 earlier questions\. You said:( yours){4}"))
    other.wait()
    expect(one.stop_button).to_be_visible()
    one.stop_button.click()
    one.wait()
    expect(one.answers).to_contain_text(["1 picture (64x48) and 0 earlier questions"])
    expect(other.answers).to_have_count(1)


def test_a_reload_keeps_the_conversation(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("before", png(64, 48))
    chat.page.reload()
    chat.page.wait_for_selector("#app-ready", state="attached")
    expect(chat.answers).to_have_count(1)
    expect(chat.pictures).to_have_count(1)
    assert "1 picture (64x48) and 1 earlier question" in chat.ask("after")


def test_a_conversation_that_is_no_longer_kept_begins_anew_in_words(visit, echo_url):
    page = visit(echo_url)
    page.evaluate("sessionStorage.setItem('minigpt4-conversation', 'from an earlier run of the server')")
    page.reload()
    page.wait_for_selector("#app-ready", state="attached")
    chat = Chat(page)
    expect(chat.status).to_contain_text("no longer kept")
    assert "0 earlier questions" in chat.ask("new")


def test_html_is_text_in_questions_and_answers(visit, echo_url):
    chat = Chat(visit(echo_url))
    typed = "<b id=live>bold</b> <button>press</button> &lt; <Img><ImageHere></Img> ![x](http://example.com/x.png) <script>x</script>"
    answer = chat.ask(typed)
    shown = answer.replace("\u200b", "")
    assert typed in shown
    assert typed in chat.questions.last.inner_text().replace("\u200b", "")
    assert chat.page.locator("#chat .message #live, #chat .message button, #chat .message img, #chat .message script").count() == 0
    chat.press("Edit")
    chat.press("Submit")
    chat.wait()
    assert typed in chat.answers.last.inner_text().replace("\u200b", "")


def test_a_setting_reaches_the_backend_and_can_be_put_back(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.page.locator("#header [data-panel=settings]").click()
    tokens = chat.page.locator("#setting-max_new_tokens input[type=number]")
    tokens.fill("3")
    tokens.press("Tab")
    seed = chat.page.locator("#setting-seed").locator("input, textarea")
    expect(seed).to_have_value("")
    assert chat.ask("hello") == "I received 0"
    expect(chat.status).to_contain_text("Cut at the longest answer")
    seed.fill("twelve")
    chat.send("hello")
    expect(chat.status).to_contain_text("Seed: 'twelve' is not a whole number")
    expect(chat.box).to_have_value("hello")
    chat.page.locator("#reset-settings").click()
    expect(tokens).to_have_value("300")
    expect(seed).to_have_value("")
    assert chat.ask("hello").endswith("You said: hello")


def test_a_fault_is_told_and_the_question_can_be_edited(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.attach(png(64, 48))
    chat.send("fail")
    expect(chat.status).to_contain_text("The echo was asked to fail.")
    expect(chat.answers.last).to_contain_text("The echo was asked to fail.")
    expect(chat.pictures).to_have_count(1)
    chat.press("Edit")
    chat.page.locator("#chat .message textarea").fill("work")
    chat.press("Submit")
    expect(chat.answers.last).to_contain_text("1 picture (64x48) and 0 earlier questions. You said: work")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(visit, echo_url, scheme):
    chat = Chat(visit(echo_url, viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True))
    chat.ask("a-very-long-word-" * 20, png(1200, 300))
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= 390
    for part in (chat.box, chat.send_button, chat.page.get_by_role("heading", level=1), chat.status):
        expect(part).to_be_in_viewport(ratio=0.9)


def test_the_keyboard_alone_is_enough(visit, slow_echo_url):
    page = visit(slow_echo_url)
    chat = Chat(page)
    expect(chat.box).to_be_focused()
    page.keyboard.type("hello there")
    page.keyboard.press("Enter")
    expect(chat.answers.last).to_contain_text("I received")
    page.keyboard.press("Tab")
    expect(chat.stop_button).to_be_focused()
    page.keyboard.press("Enter")
    expect(chat.answers.last).to_contain_text("Stopped.")
    names = []
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        names.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.className"))
    assert {"Retry", "Undo", "Edit"} <= set(names)
    assert page.evaluate("[...document.querySelectorAll('#dock input')].every(input => !input.checkVisibility())")

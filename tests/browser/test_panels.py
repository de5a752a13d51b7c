"""Tasks, history, sharing and comparing as a person uses them, on the echo backend."""

import json
import re

import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from minigpt4_model.ui.demo_questions import load_demo_questions

from .chat import Chat, png

pytestmark = pytest.mark.browser


# The second of the two writes of a transaction finds no room; the first must then not be kept either.
FULL = """() => {
  const put = IDBObjectStore.prototype.put;
  window.emptied = () => { IDBObjectStore.prototype.put = put; };
  IDBObjectStore.prototype.put = function (value) {
    if (this.name === "summaries") throw new DOMException("full", "QuotaExceededError");
    return put.call(this, value);
  };
}"""


PRESS_WHEN_STOP_GOES = """() => new MutationObserver((_, watch) => {
  if (document.querySelector("#compare-stop")?.checkVisibility()) return;
  watch.disconnect();
  document.getElementById("compare-ask").click();
}).observe(document.documentElement, {childList: true, subtree: true, attributes: true})"""


def open_panel(page: Page, name: str) -> None:
    page.locator(f"#header [data-panel={name}]").click()
    expect(page.locator(f"#panel-{name} h2")).to_be_visible()


def lines(page: Page):
    return page.locator("#history-list li")


def test_an_example_begins_a_conversation_of_its_own_and_the_old_one_is_kept(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    chat.ask("before")
    open_panel(page, "tasks")
    card = page.locator(".task-card", has_text="What is funny")
    expect(card.locator("img")).to_be_visible()
    card.click()
    expect(chat.questions.first).to_have_text("What is funny about this picture?")
    chat.wait()
    expect(chat.answers).to_have_count(1)
    assert "1 picture (512x512) and 0 earlier" in chat.answers.last.inner_text()
    open_panel(page, "history")
    expect(lines(page)).to_have_count(2)


def test_every_example_is_asked_by_one_click(visit, echo_url):
    chat = Chat(visit(echo_url))
    open_panel(chat.page, "tasks")
    cards = chat.page.locator(".task-card")
    examples = load_demo_questions()
    expect(cards).to_have_count(len(examples))
    for number, example in enumerate(examples):
        width, height = PIL.Image.open(example.picture).size
        cards.nth(number).click()
        expect(chat.answers).to_have_count(1)
        expect(chat.answers).to_contain_text(f"1 picture ({width}x{height}) and 0 earlier questions. You said: {example.question}")
        chat.wait()


def test_history_is_kept_found_renamed_opened_and_deleted(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    chat.ask("a first <b>question</b>", png(64, 48))
    chat.begin_anew()
    expect(chat.answers).to_have_count(0)
    chat.ask("something else")
    page.reload()
    page.wait_for_selector("#app-ready", state="attached")
    open_panel(page, "history")
    expect(lines(page)).to_have_count(2)
    expect(lines(page).first).to_contain_text("something else")
    expect(lines(page).nth(1).locator(".title")).to_have_text("a first <b>question</b>")
    expect(lines(page).nth(1).locator("img")).to_be_visible()

    page.locator("#history-search").fill("FIRST received")
    expect(lines(page)).to_have_count(1)
    lines(page).locator(".rename").click()
    name = lines(page).locator("input")
    name.fill("My tree")
    name.press("Enter")
    expect(lines(page).locator(".title")).to_have_text("My tree")
    page.locator("#history-search").fill("")
    expect(lines(page)).to_have_count(2)

    lines(page).filter(has_text="My tree").locator(".open").click()
    expect(chat.questions).to_have_text(["a first <b>question</b>"])
    expect(chat.pictures).to_have_count(1)
    assert "1 picture (64x48) and 1 earlier question" in chat.ask("go on")
    expect(lines(page).first.locator(".title")).to_have_text("My tree")
    expect(lines(page)).to_have_count(2)

    delete = lines(page).first.locator(".delete")
    delete.click()
    expect(delete).to_have_text("Really delete?")
    expect(delete).to_have_text("Delete")
    expect(lines(page)).to_have_count(2)
    delete.dblclick()
    expect(lines(page)).to_have_count(1)
    expect(lines(page)).to_contain_text("something else")


def test_a_duplicated_tab_has_a_line_of_its_own_once_it_goes_on(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    chat.ask("shared")
    page.reload()
    page.wait_for_selector("#app-ready", state="attached")
    chat.ask("after a reload")
    # What a browser does when a tab is duplicated: another page, with a copy of what the tab has stored for its session.
    stored = page.evaluate("JSON.stringify({...sessionStorage})")
    other = page.context.new_page()
    other.add_init_script(
        f"if (!sessionStorage.length) for (const [key, value] of Object.entries({stored})) sessionStorage.setItem(key, value)"
    )
    other.goto(echo_url)
    other.wait_for_selector("#app-ready", state="attached")
    duplicate = Chat(other)
    expect(duplicate.questions).to_have_text(["shared", "after a reload"])
    duplicate.ask("only in the duplicate")
    chat.ask("only in the first")
    open_panel(page, "history")
    expect(lines(page)).to_have_count(2)
    kept = page.evaluate("minigpt4History.all()")
    assert sorted(line["questions"] for line in kept) == [3, 3]
    assert sum("only in the duplicate" in line["text"] for line in kept) == sum("only in the first" in line["text"] for line in kept) == 1


def test_a_browser_that_is_full_says_so_and_loses_nothing(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    chat.ask("the first", png(64, 48))
    open_panel(page, "history")
    expect(lines(page)).to_have_count(1)
    page.evaluate(FULL)
    chat.ask("a second one")
    expect(page.locator("#history-note")).to_contain_text("no room left")
    page.evaluate("window.emptied()")
    expect(lines(page)).to_have_count(1)
    assert [line["questions"] for line in page.evaluate("minigpt4History.all()")] == [1]
    lines(page).locator(".open").click()
    expect(chat.questions).to_have_text(["the first"])
    chat.ask("a third one")
    expect(lines(page)).to_have_count(1)
    page.wait_for_function("async () => (await minigpt4History.all())[0].questions === 2")
    expect(page.locator("#history-note")).to_be_empty()


def test_nothing_is_kept_when_a_visitor_does_not_want_it(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    open_panel(page, "history")
    expect(page.locator("#history-empty")).to_have_text("Nothing is kept yet.")
    page.locator("#history-keep").uncheck()
    chat.ask("not to be kept")
    page.locator("#history-keep").check()
    chat.begin_anew()
    expect(chat.answers).to_have_count(0)
    chat.ask("to be kept")
    expect(lines(page)).to_have_count(1)
    expect(lines(page)).to_contain_text("to be kept")


def test_an_exported_conversation_is_opened_again_in_another_browser(visit, echo_url, tmp_path):
    page = visit(echo_url)
    chat = Chat(page)
    chat.ask("what <i>is</i> it", png(64, 48))
    open_panel(page, "share")
    files = {}
    for kind in ("markdown", "html", "json"):
        with page.expect_download() as download:
            page.locator(f"#export-{kind}").click()
        files[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[kind])
    assert {path.name for path in files.values()} == {f"what iisi it.{suffix}" for suffix in ("md", "html", "json")}
    assert "data:image/webp;base64," in files["markdown"].read_text("utf-8")
    assert json.loads(files["json"].read_text("utf-8"))["format"] == "minigpt4-conversation"

    shown = page.context.new_page()
    shown.goto(f"data:text/html;charset=utf-8,{files['html'].read_text('utf-8').replace('%', '%25').replace('#', '%23')}")
    expect(shown.locator("img")).to_have_js_property("naturalWidth", 64)
    expect(shown.locator(".question")).to_have_text("what <i>is</i> it")
    shown.close()

    other = visit(echo_url)
    open_panel(other, "share")
    with other.expect_file_chooser() as chooser:
        other.locator("#import").click()
    chooser.value.set_files(files["json"])
    there = Chat(other)
    expect(there.questions).to_have_text(["what <i>is</i> it"])
    assert "1 picture (64x48) and 1 earlier question" in there.ask("and now")
    with other.expect_file_chooser() as chooser:
        other.locator("#import").click()
    chooser.value.set_files(files["html"])
    expect(there.status).to_contain_text("not JSON")
    expect(there.answers).to_have_count(2)


def test_a_link_brings_question_settings_seed_and_example(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    open_panel(page, "settings")
    temperature = page.locator("#setting-temperature input[type=number]")
    temperature.fill("0.35")
    temperature.press("Tab")
    open_panel(page, "tasks")
    page.locator(".task-card", has_text="Which animal").click()
    chat.wait()
    open_panel(page, "share")
    link = page.locator("#share-link textarea")
    expect(page.locator("#share-note")).to_contain_text("same question again")
    address = link.input_value()
    assert "temperature=0.35" in address and "seed=" in address and "picture=cat.png" in address
    expect(page.locator("#share-python textarea")).to_have_value(re.compile("load_engine"))
    expect(page.locator("#share-curl textarea")).to_have_value(re.compile("/v1/chat/completions"))

    other = visit(echo_url)
    other.goto("about:blank")
    other.goto(address)
    there = Chat(other)
    expect(there.box).to_have_value("Which animal is this?")
    expect(there.attached).to_have_count(1)
    assert "#" not in other.url
    there.send_button.click()
    there.wait()
    open_panel(other, "share")
    expect(other.locator("#share-link textarea")).to_have_value(address)


def test_two_answers_stand_side_by_side(visit, echo_url):
    page = visit(echo_url)
    chat = Chat(page)
    chat.ask("look at this", png(64, 48))
    open_panel(page, "compare")
    page.locator("#compare-from-chat").click()
    expect(page.locator("#compare-question textarea")).to_have_value("look at this")
    expect(page.locator("#compare-picture img")).to_be_visible()
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-a [data-testid=markdown]")).to_contain_text("1 picture (64x48)")
    expect(page.locator("#compare-verdict")).to_contain_text("same, word for word")
    expect(page.locator("#compare-stop")).to_be_hidden()
    expect(page.locator("#compare-b .compared-note p")).to_contain_text("tokens")
    expect(chat.answers).to_have_count(1)


def test_what_is_no_question_is_not_compared(visit, echo_url):
    page = visit(echo_url)
    open_panel(page, "compare")
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-verdict")).to_contain_text("Type a question")
    expect(page.locator("#compare-stop")).to_be_hidden()


def test_a_comparison_is_stopped(visit, echo_url):
    page = visit(echo_url)
    open_panel(page, "compare")
    ask, stop, verdict = (page.locator(f"#compare-{name}") for name in ("ask", "stop", "verdict"))
    expect(stop).to_be_hidden()
    page.locator("#compare-question textarea").fill("word " * 300)
    ask.click()
    expect(page.locator("#compare-b [data-testid=markdown]")).to_contain_text("I received")
    stop.click()
    expect(verdict).to_contain_text("Stopped.")
    expect(page.locator(".compared-note p").last).to_contain_text("Stopped.")
    expect(stop).to_be_hidden()
    expect(ask).to_be_focused()


def test_a_comparison_is_begun_again_in_the_moment_in_which_it_ends(visit, echo_url):
    page = visit(echo_url)
    open_panel(page, "compare")
    ask, stop, answer = page.locator("#compare-ask"), page.locator("#compare-stop"), page.locator("#compare-a [data-testid=markdown]")
    question = page.locator("#compare-question textarea")
    question.fill("one " * 30)
    ask.click()
    expect(stop).to_be_visible()
    question.fill("two")
    page.evaluate(PRESS_WHEN_STOP_GOES)
    expect(answer).to_contain_text("You said: two")
    expect(stop).to_be_hidden()
    # While one is written, too: the last press counts.
    question.fill("word " * 300)
    ask.click()
    expect(stop).to_be_visible()
    question.fill("three")
    ask.click()
    expect(answer).to_contain_text("You said: three")
    expect(page.locator("#compare-verdict")).to_contain_text("same, word for word")
    expect(stop).to_be_hidden()


def test_the_panels_speak_the_visitors_language_and_fit_a_phone(visit, echo_url):
    page = visit(echo_url, viewport={"width": 360, "height": 740}, locale="zh-CN")
    for name, said in (("tasks", "草图转 HTML"), ("compare", "同时提问"), ("history", "全部删除"), ("share", "当前对话")):
        open_panel(page, name)
        expect(page.locator(f"#panel-{name}")).to_contain_text(said)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
        page.locator(f"#panel-{name} .panel-title button").click()
    assert "__i18n__" not in page.locator("body").inner_text()

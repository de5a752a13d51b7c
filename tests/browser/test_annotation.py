"""The annotation page in a browser: keys, edits that survive everything, several people, filters, agreement."""

import re
import sqlite3
import sys
import threading
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from minigpt4_model.curation.annotate import build_annotation_server
from minigpt4_model.curation.project import add_text
from minigpt4_model.serving.address import listen
from tests.browser.conftest import running
from tests.curation_project import build_project, description

pytestmark = pytest.mark.browser


@pytest.fixture
def project(tmp_path):
    """Five corrected texts; the second is marked, and holds what must stay text."""
    project = build_project(tmp_path, 5, corrected=True)
    with project.writing() as connection:
        text = add_text(connection, 2, "refine", "mender", "A <b>bold</b> <img src=x onerror=alert(1)> claim.", 4)
        connection.execute("INSERT INTO marks VALUES (?, 'markup', '<b>')", (text,))
    return project


@contextmanager
def process(project, folder, port=0):
    """The page as the command serves it."""
    with running(
        [sys.executable, "-m", "minigpt4_model", "curate", "annotate", "--project", str(project.folder), "--port", str(port)], folder
    ) as url:
        yield url


@pytest.fixture
def url(project):
    """The page in a thread of the tests, where every item is shown to two people."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(build_annotation_server(project, 1.0), log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


class Annotator:
    """The page as a person uses it."""

    def __init__(self, page: Page, name: str | None = None):
        self.page = page
        self.box = page.locator("#text textarea")
        self.note = page.locator("#note p")
        self.item = page.locator("#about p")
        self.change = page.locator("#change")
        if name is not None:
            page.locator("#name input, #name textarea").fill(name)
            page.locator("#begin").click()
            expect(self.item).to_be_visible()

    def press(self, key: str, note: str) -> None:
        self.page.wait_for_function("!window.curation.busy()")
        self.page.keyboard.press(key)
        expect(self.note).to_contain_text(note)

    def sees(self, item: int) -> None:
        expect(self.item).to_have_attribute("data-item", str(item))


def rows(project, sql: str) -> list[tuple]:
    """Read by a connection of its own, as any other program would."""
    with sqlite3.connect(project.database) as connection:
        return connection.execute(sql).fetchall()


def test_an_afternoon_with_keys(project, url, visit):
    anna = Annotator(visit(url), "Anna")
    anna.sees(1)
    expect(anna.box).to_have_value(description(1))
    picture = anna.page.locator("#picture img")
    expect(picture).to_have_attribute("alt", "Picture of item 1, 40 by 30 pixels")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 40
    expect(anna.change.locator("h2")).to_have_text("What mender changed of the text by describer: 3 words out, 0 in")
    expect(anna.change.locator("del")).to_have_text("I am sorry.")
    assert anna.change.locator("del").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(251, 213, 208)"

    anna.press("k", "Item 1 kept.")
    anna.sees(2)
    expect(anna.box).to_have_value("A <b>bold</b> <img src=x onerror=alert(1)> claim.")
    expect(anna.page.locator("#about .marks li")).to_have_text("markup <b>")
    expect(anna.change.locator("b, img")).to_have_count(0)

    anna.page.keyboard.press("e")
    expect(anna.box).to_be_focused()
    anna.box.press("Control+a")
    anna.page.keyboard.type("A dark claim.")  # k and d are letters here
    expect(anna.change.locator("ins").first).to_contain_text("dark")
    expect(anna.page.locator("#keep")).to_have_text("Save edit (Ctrl+Enter)")
    anna.press("Control+Enter", "Item 2 saved with your edit.")
    anna.sees(3)
    expect(anna.page.locator("#keep")).to_have_text("Keep (K)")
    anna.press("d", "Item 3 dropped.")
    anna.sees(4)
    expect(anna.page.locator("#progress p")).to_contain_text(
        re.compile(r"^3 of 5 judged · Anna: 3, 3 in the last 24 hours · \d+ s each · 2 to do")
    )

    anna.press("u", "item 3 is undone")
    anna.sees(3)
    anna.press("u", "item 2 is undone")
    expect(anna.box).to_have_value("A dark claim.")
    anna.press("k", "Item 2 saved with your edit.")
    anna.press("k", "Item 3 kept.")
    anna.page.keyboard.press("ArrowRight")
    anna.sees(5)
    anna.page.keyboard.press("ArrowLeft")
    anna.sees(4)
    anna.press("k", "Item 4 kept.")
    anna.press("k", "Item 5 kept. There is nothing (more) to show.")
    expect(anna.page.locator("#keep")).to_be_disabled()
    assert rows(project, "SELECT status FROM items ORDER BY id") == [("kept",), ("edited",), ("kept",), ("kept",), ("kept",)]
    assert rows(project, "SELECT author, text FROM texts WHERE step = 'edit'")[-1] == ("person:Anna", "A dark claim.")


def test_nothing_is_lost_by_a_reload_or_a_restart(project, tmp_path, visit):
    with process(project, tmp_path) as url:
        port = int(url.rsplit(":", 1)[1])
        anna = Annotator(visit(url), "Anna")
        anna.press("k", "Item 1 kept.")
        anna.page.keyboard.press("ArrowRight")
        anna.sees(3)
        anna.box.click()
        anna.page.keyboard.press("End")
        anna.page.keyboard.type(" And a half sent")
        expect(anna.change.locator("ins")).to_contain_text("And a half sent")
        written = anna.box.input_value()
        anna.page.reload()
        anna.page.wait_for_selector("#app-ready", state="attached")
        anna.sees(3)
        expect(anna.box).to_have_value(written)
    with process(project, tmp_path, port):
        # The page that was open all the while goes on with the new server, without a reload.
        anna.page.wait_for_function("fetch('/healthz').then(answer => answer.ok, () => false)")
        anna.page.locator("#keep").click()
        expect(anna.note).to_contain_text("Item 3 saved with your edit.")
        anna.page.goto(f"http://127.0.0.1:{port}")
        anna.page.wait_for_selector("#app-ready", state="attached")
        expect(anna.page.locator("#progress p")).to_contain_text("2 of 5 judged · Anna: 2")
        anna.press("u", "item 3 is undone")
        expect(anna.box).to_have_value(written)
    assert rows(project, "SELECT verdict FROM decisions WHERE item_id = 3 AND undone_at IS NOT NULL") == [("edit",)]


def test_two_people_get_different_items_and_see_how_far_they_agree(project, url, visit):
    anna, ben = Annotator(visit(url), "Anna"), Annotator(visit(url), "Ben")
    anna.sees(1)
    ben.sees(2)
    for one, keys in ((anna, "kkd"), (ben, "kkk")):
        for key in keys:
            before = one.item.get_attribute("data-item")
            one.press(key, f"Item {before} {'kept' if key == 'k' else 'dropped'}")
    judged = dict(rows(project, "SELECT annotator, COUNT(DISTINCT item_id) FROM decisions GROUP BY annotator"))
    assert judged == {"Anna": 3, "Ben": 3}
    both = rows(project, "SELECT COUNT(*) FROM (SELECT item_id FROM decisions GROUP BY item_id HAVING COUNT(DISTINCT annotator) = 2)")[0][0]
    assert both >= 1
    anna.page.locator("#agreement button").first.click()
    expect(anna.page.locator("#agreed td").nth(0)).to_have_text("Anna and Ben")
    expect(anna.page.locator("#agreed td").nth(1)).to_have_text(str(both))


def test_a_dispute_is_settled(project, url, visit):
    anna, ben = Annotator(visit(url), "Anna"), Annotator(visit(url), "Ben")
    anna.press("k", "Item 1 kept.")
    choose(ben.page, "#status-filter", "kept")
    ben.sees(1)
    expect(ben.item).to_have_text("Item 1: kept. Anna: keep.")
    ben.press("d", "Item 1 dropped.")
    cleo = Annotator(visit(url), "Cleo")
    choose(cleo.page, "#status-filter", "disputed")
    cleo.sees(1)
    expect(cleo.item).to_have_text("Item 1: disputed: please settle it. Anna: keep. Ben: drop.")
    cleo.press("k", "Item 1 kept.")
    assert rows(project, "SELECT status FROM items WHERE id = 1") == [("kept",)]


def test_filters(project, url, visit):
    anna = Annotator(visit(url), "Anna")
    choose(anna.page, "#rule-filter", "markup")
    anna.sees(2)
    choose(anna.page, "#rule-filter", "links")
    expect(anna.note).to_contain_text("There is nothing (more) to show.")
    choose(anna.page, "#rule-filter", "every item")
    anna.sees(1)
    anna.page.reload()
    anna.page.wait_for_selector("#app-ready", state="attached")
    anna.sees(1)


def test_a_key_pressed_twice_decides_once(project, url, visit):
    anna = Annotator(visit(url), "Anna")
    anna.page.evaluate("for (const key of 'kd') document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))")
    expect(anna.note).to_contain_text("Item 1 kept.")
    anna.sees(2)
    # The mouse is quicker than the page.
    anna.page.evaluate("document.getElementById('keep').click(); document.getElementById('drop').click()")
    anna.sees(3)
    anna.press("k", "Item 3 kept.")
    assert rows(project, "SELECT item_id, verdict FROM decisions ORDER BY id") == [(1, "keep"), (2, "keep"), (3, "keep")]


def test_names(project, url, visit):
    page = visit(url)
    page.locator("#begin").click()
    expect(page.locator("#note p")).to_have_attribute("role", "alert")
    anna = Annotator(page, "  Anna   B ")
    anna.press("k", "kept")
    page.locator("#leave").click()
    expect(page.locator("#sign-in")).to_be_visible()
    again = Annotator(page, "anna b")
    expect(page.locator("#progress p")).to_contain_text("Anna B: 1")
    again.press("u", "item 1 is undone")


def test_only_the_projects_pictures_are_served(project, url, visit, tmp_path):
    page = visit(url)
    digest = rows(project, "SELECT digest FROM items")[0][0]
    codes = [
        page.request.get(f"{url}/pictures/{name}").status for name in (f"{digest}.jpg", digest, "0" * 64 + ".jpg", "..%2f..%2fcuration.db")
    ]
    assert codes == [200, 404, 404, 404]


def test_it_fits_a_telephone(project, url, visit):
    anna = Annotator(visit(url, viewport={"width": 390, "height": 844}, color_scheme="dark"), "Anna")
    assert anna.page.evaluate("document.documentElement.scrollWidth") == 390
    anna.page.locator("#drop").click()
    expect(anna.note).to_contain_text("dropped")
    assert anna.change.locator("del").first.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(93, 33, 27)"


def choose(page: Page, place: str, option: str) -> None:
    page.locator(f"{place} input").click()
    page.get_by_role("option", name=option, exact=True).click()

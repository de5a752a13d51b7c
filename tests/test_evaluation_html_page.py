"""Pages of HTML: validity, structure, rendering."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from minigpt4_model.evaluation.html_page import extract_html, open_browser, read_page, structure_f1

PAGE = """<!DOCTYPE html>
<html><head><title>Shop</title></head><body>
<header><h1>Shop</h1><nav><ul><li><a href="#">Home</a><li><a href="#">News</a></ul></nav></header>
<div class="columns"><p>One</p><img src="a.png" alt="a"></div>
<form><input type="text" name="q"><button>Send</button></form>
</body></html>"""


def edges(html: str) -> list[tuple[str, str]]:
    return list(read_page(html).root.edges())


def test_a_page_is_read_as_its_eight_kinds():
    assert read_page(PAGE).valid
    assert edges(PAGE) == [
        ("page", "header"), ("header", "text"), ("header", "nav"), ("nav", "list"), ("page", "columns"), ("columns", "text"),
        ("columns", "image"), ("page", "form"), ("form", "button"),
    ]  # fmt: skip


def test_two_ways_to_write_a_page_are_the_same_tree():
    other = (
        "<main><header><h2>X</h2><nav><ol></ol></nav></header>"
        '<section style="display: flex"><div><p>y</p></div><svg><rect/></svg></section>'
        '<form><input type="submit"></form></main>'
    )
    assert structure_f1(read_page(other).root, read_page(PAGE).root) == 1.0


def test_structure_f1_counts_edges():
    # Three of the nine wanted edges, and one that is not wanted: 2 * 3 / (4 + 9).
    found = read_page("<header><h1>a</h1></header><form></form><button>b</button>").root
    assert structure_f1(found, read_page(PAGE).root) == pytest.approx(6 / 13)
    assert structure_f1(read_page("<div>x</div>").root, read_page(PAGE).root) == 0.0


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<div><p>a</div></p>", "</p> closes nothing"),
        ("<div>a", "<div> is never closed"),
        ("<b><i>a</b></i>", "</b> comes before </i>"),
        ("<buton>a</buton>", "<buton> is no element"),
        ("<svg><rect/></svg><rect></rect>", "<rect> is no element"),
        ("<p id='a'>x</p><p id='a'>y</p>", "comes twice"),
        ("<p>x</p><img src=", "breaks off inside a tag"),
        ("a<br></br>", "</br> closes an element"),
        ("<p><![CDR]]>a</p>", "<![ begins nothing"),
        ("", "there is no HTML"),
    ],
)
def test_faults_are_named(html, fault):
    page = read_page(html)
    assert not page.valid
    assert any(fault in told for told in page.faults), page.faults


def test_an_empty_page_is_not_valid():
    page = read_page("<html><head><title>x</title></head><body></body></html>")
    assert not page.faults and not page.valid


@pytest.mark.parametrize(
    "html",
    [
        "<p hidden>text</p>",
        "<div hidden><form><button>Send</button></form></div>",
        "<noscript>Please allow scripts.</noscript>",
        '<p style="color: red; display:none">text</p>',
        '<p style="visibility: hidden">text</p>',
        '<img hidden src="a.png">',
        "<template><p>text</p></template>",
        "<dialog><p>text</p></dialog>",
    ],
)
def test_what_is_not_shown_is_not_visible(html):
    assert not read_page(html).visible and not read_page(html).valid
    assert read_page(f"{html}<p>seen</p>").valid  # hiding ends with the element


@pytest.mark.parametrize(
    ("answer", "html"),
    [
        ("Here it is:\n```html\n<p>a</p>\n```\nDone.", "<p>a</p>"),
        ("```html\n<p>a</p>", "<p>a</p>"),
        ("Sure. <p>a</p> That is it.", "<p>a</p>"),
        ("<p>a</p><im", "<p>a</p><im"),
        ("There is no page: 1 < 2.", ""),
    ],
)
def test_html_is_found_in_an_answer(answer, html):
    assert extract_html(answer) == html


@pytest.mark.browser
@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="no Chromium")
def test_chromium_shows_what_there_is_and_runs_nothing():
    def shown() -> list[bool]:
        with open_browser() as browser:
            return [browser.shows(html) for html in (PAGE, "<p></p>", "<script>document.body.innerHTML = '<p>text</p>'</script>")]

    with ThreadPoolExecutor(1) as thread:  # Playwright allows one browser in a thread, and the other tests' is in this one
        assert thread.submit(shown).result() == [True, False, False]

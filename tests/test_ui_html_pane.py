"""HTML in answers: found, shut in, and asked to be mended."""

import html
import re

import pytest

from minigpt4_model.ui.html_preview import find_html, fix_request, preview_frame

PAGE = "<main>\n<h1>Title</h1>\n</main>"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (f"Here it is:\n```html\n{PAGE}\n```\nEnjoy.", PAGE),
        (f"~~~HTML\n{PAGE}\n~~~", PAGE),
        (f"```html\n<p>old</p>\n```\nBetter:\n```html\n{PAGE}\n```", PAGE),
        (f"````html\n{PAGE}\n```\ninside\n````", f"{PAGE}\n```\ninside"),
        (f"```html\n{PAGE}", PAGE),  # cut at the longest answer
        (f"Sure! <!DOCTYPE html>\n<html>{PAGE}</html> That is all.", f"<!DOCTYPE html>\n<html>{PAGE}</html>"),
        (f"{PAGE}\nIt has a title.", PAGE),
        ("A <b>bold</b> claim.", ""),
        ("Use <div to divide; 3 < 4 > 2.", ""),
        ("```python\nprint('hello')\n```", ""),
        ("", ""),
    ],
)
def test_html_is_found_where_an_answer_holds_it(answer, found):
    assert find_html(answer) == found


def test_the_frame_allows_nothing_and_its_code_cannot_leave_the_attribute():
    attack = '"></iframe><script>alert(1)</script><img src=x onerror="alert(2)">{{constructor}}${alert(3)}`'
    frame = preview_frame(attack, 'a "title" {x}')
    assert frame.startswith('<iframe sandbox="" ') and frame.count("<") == 2  # the frame's own two tags
    assert not re.search(r"[{}$`\\]", frame)  # nothing that a template in the browser would fill in
    document = html.unescape(re.search(r'srcdoc="([^"]*)"', frame).group(1))
    assert document.index("default-src 'none'") < document.index("alert(1)")
    assert attack.replace("</iframe>", "</no-iframe>") in document


@pytest.mark.parametrize(
    "leads",
    [
        '<a href="https://example.org">',
        "<A HREF\n=https://example.org>",
        '<link rel="preconnect" href="https://example.org">',
        '<svg><a xlink:href="https://example.org">',
        '<svg><a><set attributeName="href" to="https://example.org">',
        '<base href="https://example.org/">',
        "<iframe src=https://example.org></iframe>",
        "<OBJECT data=https://example.org>",
    ],
)
def test_nothing_leads_anywhere(leads):
    document = html.unescape(preview_frame(leads, "t"))
    assert not re.search(r"[^-](href|attributename)\s*=|<(iframe|object)", document[document.index("</style>") :], re.IGNORECASE)
    assert "no-" in document and "example.org" in document


def test_a_request_to_mend_holds_the_code_and_the_wish():
    asked = fix_request(PAGE, "make it blue")
    assert find_html(asked) == PAGE and "make it blue" in asked
    assert "mend it" in fix_request(PAGE, "  ")
    assert find_html(fix_request("<p>```</p>\n```\n<p>x</p>", "x")) == "<p>```</p>\n```\n<p>x</p>"

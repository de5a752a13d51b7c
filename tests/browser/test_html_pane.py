"""The page in an answer, in a browser: shown, changed, mended, and shut in whatever it tries."""

import contextlib
import re
import socket
import threading

import pytest
from playwright.sync_api import expect

from .chat import Chat

pytestmark = pytest.mark.browser

PAGE = '<main><h1 style="color:teal">Hello</h1><p>Some text.</p><a href="#">Home</a></main>'

# Everything that loads by itself, and everything that leads out by a click, to an address that notices any connection.
ATTACKS = """<main><h1>Still here</h1>
<script>parent.document.title = 'escaped'; top.location = '{there}/script'; fetch('{there}/fetch')</script>
<img src="{there}/img" srcset="{there}/srcset 2x" onerror="parent.document.title = 'escaped'">
<img src="x" onerror="fetch('{there}/onerror')"><img src="/healthz">
<svg onload="fetch('{there}/svg')"><image href="{there}/svg-image"/></svg>
<style>@import url('{there}/import'); @font-face {{ font-family: f; src: url('{there}/font') }}
body {{ background: url('{there}/css'); font-family: f }} a {{ pointer-events: auto !important }}</style>
<link rel="stylesheet" href="{there}/link"><link rel="preconnect" href="{there}"><link rel="prefetch" href="{there}/prefetch">
<link rel="dns-prefetch" href="{there}">
<meta http-equiv="refresh" content="0; url={there}/refresh"><base href="{there}/" target="_top">
<iframe src="{there}/iframe"></iframe><iframe srcdoc="<script>top.location='{there}/nested'</script>"></iframe>
<object data="{there}/object"></object><embed src="{there}/embed"><video src="{there}/video" poster="{there}/poster" autoplay></video>
<audio src="{there}/audio" autoplay></audio><input type="image" src="{there}/input">
<form action="{there}/form" method="post" target="_top"><button id="send">Send</button></form>
<a id="top" href="{there}/top" target="_top" ping="{there}/ping">top</a> <a id="self" href="{there}/self" target="_self">self</a>
<a id="blank" href="{there}/blank" target="_blank">blank</a> <a id="script" href="javascript:parent.document.title='escaped'">script</a>
</main>"""


@pytest.fixture
def listener():
    """An address, and what each connection to it asked for."""
    noticed = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                noticed.append(asked := bytearray())
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(2)
                    asked += connection.recv(4096)

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", noticed


def test_a_page_in_an_answer_is_shown_changed_downloaded_and_mended(visit, echo_url, tmp_path):
    chat = Chat(visit(echo_url))
    page = chat.page
    page.locator("#header [data-panel=html]").click()
    expect(page.locator("#html-empty")).to_contain_text("When an answer holds HTML")
    page.locator("#panel-html .panel-title button").click()
    chat.ask(PAGE)
    expect(page.locator("#html-preview iframe")).to_be_visible()  # it opens by itself
    shown = page.frame_locator("#html-preview iframe")
    expect(shown.locator("h1")).to_have_text("Hello")
    expect(shown.locator("h1")).to_have_css("color", "rgb(0, 128, 128)")
    page.get_by_role("button", name="Open large").click()
    page.wait_for_function("document.fullscreenElement?.closest('#html-preview')")
    page.evaluate("document.exitFullscreen()")
    with page.expect_download() as download:
        page.locator("#html-download").click()
    download.value.save_as(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == PAGE
    page.locator("#html-code .cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("<p>Typed</p>")
    expect(shown.locator("p").first).to_have_text("Typed")
    page.locator("#html-wish textarea").fill("make it green")
    page.locator("#html-fix").click()
    expect(chat.questions).to_have_count(2)
    expect(chat.questions.last).to_contain_text("make it green")
    expect(chat.questions.last).to_contain_text("<p>Typed</p>")
    chat.wait()


@pytest.fixture
def bystander(chromium, echo_url):
    """The page, for attacks: those that are kept in count as requests to `visit`, though none leaves the browser."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto(echo_url)
    page.wait_for_selector("#app-ready", state="attached")
    yield page
    context.close()


def test_nothing_in_the_preview_reaches_the_page_or_the_network(bystander, echo_url, listener):
    there, noticed = listener
    page, chat = bystander, Chat(bystander)
    title = page.title()
    chat.ask(ATTACKS.format(there=there))
    shown = page.frame_locator("#html-preview iframe")
    expect(shown.locator("h1")).to_have_text("Still here")
    for way_out in ("#send", "#top", "#self", "#blank", "#script"):
        shown.locator(way_out).dispatch_event("click")
        shown.locator(way_out).click(force=True)
        expect(shown.locator("h1")).to_have_text("Still here")
    shown.locator("#send").press("Enter")
    expect(shown.locator("h1")).to_have_text("Still here")
    page.wait_for_timeout(1500)  # what would have gone out has had its time
    assert noticed == []
    assert page.url.rstrip("/") == echo_url and page.title() == title
    assert len(page.context.pages) == 1
    assert chat.ask("still working").endswith("still working")


def test_the_page_s_own_policy_lets_no_frame_go_anywhere(bystander, echo_url, listener):
    """Were the sandbox and the document's policy forgotten, the frame could still not leave."""
    there, noticed = listener
    page = bystander
    assert re.search(r"frame-src 'none'", page.request.get(echo_url).headers["content-security-policy"])
    page.evaluate("there => { const frame = document.createElement('iframe'); frame.src = there; document.body.append(frame) }", there)
    page.wait_for_timeout(1000)
    # Chromium may open a connection before it looks at the policy; nothing is asked over it.
    assert not any(noticed)

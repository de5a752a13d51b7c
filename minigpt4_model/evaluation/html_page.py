"""Judging a page of HTML: is it valid, has it the structure that was asked for, does it render?

Structure is a tree over eight kinds: header, nav, text, button, image, form, list, columns. Everything else (`div`, `main`, `li`) is
seen through, so that two ways to write the same page are the same tree. The F1 compares the trees' edges, "a button in a
form", each as often as it occurs; what the texts say does not count.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser

from ..chat.html_tags import DRAWN, ENDS, KNOWN, MAY_STAY_OPEN, VOID

logger = logging.getLogger(__name__)

KINDS = ("header", "nav", "text", "button", "image", "form", "list", "columns")
_BY_TAG = {
    "header": "header", "nav": "nav", "button": "button", "img": "image", "svg": "image", "picture": "image", "form": "form",
    "ul": "list", "ol": "list", "dl": "list", "p": "text", "h1": "text", "h2": "text", "h3": "text", "h4": "text", "h5": "text",
    "h6": "text", "blockquote": "text", "pre": "text",
}  # fmt: skip
_UNSEEN = frozenset({"script", "style", "title", "template", "noscript", "datalist"})
_HIDDEN_STYLE = re.compile(r"(?:display:\s*none|visibility:\s*(?:hidden|collapse))\b")
_COLUMNS = re.compile(r"\b(?:columns?|row|flex|grid)\b|column-count|display:\s*(?:inline-)?(?:flex|grid)")


@dataclass
class Node:
    """An element of one of the eight kinds and what stands in it; the root's kind is "page"."""

    kind: str
    children: list["Node"] = field(default_factory=list)

    def edges(self) -> Iterator[tuple[str, str]]:
        """(kind of the parent, kind of the child) for everything below."""
        for child in self.children:
            yield self.kind, child.kind
            yield from child.edges()


@dataclass
class Page:
    """What was read: the tree, and every fault against HTML's rules. `visible`: whether there is anything to see."""

    root: Node
    faults: list[str]
    visible: bool

    @property
    def valid(self) -> bool:
        return not self.faults and self.visible


def extract_html(answer: str) -> str:
    """The HTML in an answer: a ```html fence's, all of an answer that begins with a tag, else from the first tag to the last; or ""."""
    fence = re.search(r"```(?:html)?[ \t]*\n(.*?)(?:```|\Z)", answer, re.DOTALL | re.IGNORECASE)
    if fence and "<" in fence[1]:
        return fence[1].strip()
    if re.match(r"\s*<[!a-zA-Z]", answer):
        return answer.strip()  # to its end, also where it breaks off
    tags = re.search(r"<[!a-zA-Z].*>", answer, re.DOTALL)
    return tags[0].strip() if tags else ""


@dataclass
class _Open:
    """An element that is not closed yet, its node where it is of a kind, and whether it or one around it is not shown."""

    tag: str
    node: Node | None
    hidden: bool


def _hides(tag: str, given: dict[str, str]) -> bool:
    """Whether a browser that runs scripts shows nothing of such an element."""
    unseen = tag in _UNSEEN or (tag == "dialog" and "open" not in given) or (tag == "input" and given.get("type", "").lower() == "hidden")
    return unseen or "hidden" in given or bool(_HIDDEN_STYLE.search(given.get("style", "").lower()))


def read_page(html: str) -> Page:
    """Parses strictly: unknown elements, tags that close nothing or are closed by none, and repeated ids are faults."""
    reader = _Reader()
    reader.feed(html)
    reader.finish(html)
    return Page(reader.root, reader.faults, reader.visible)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("page")
        self.faults: list[str] = []
        self.visible = False
        self._open: list[_Open] = []
        self._ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self._open and self._open[-1].tag in ENDS.get(tag, ()):
            self._open.pop()
        if tag not in KNOWN or (tag in DRAWN and not any(one.tag == "svg" for one in self._open)):
            self.faults.append(f"<{tag}> is no element of HTML")
        given = {name: value or "" for name, value in attrs}
        if given.get("id") and given["id"] in self._ids:
            self.faults.append(f'id="{given["id"]}" comes twice')
        self._ids.add(given.get("id", ""))
        kind = self._kind(tag, given)
        node = Node(kind) if kind else None
        hidden = self._hidden() or _hides(tag, given)
        if node:
            self._parent().children.append(node)
            self.visible |= kind in ("image", "button", "form") and not hidden
        if tag not in VOID:
            self._open.append(_Open(tag, node, hidden))

    def parse_html_declaration(self, i: int) -> int:
        """What begins with "<![" is a comment with a fault, as in browsers; the parser's own way raises AssertionError for most of it."""
        if not self.rawdata.startswith("<![", i):
            return super().parse_html_declaration(i)
        self.faults.append("<![ begins nothing in HTML")
        return self.parse_bogus_comment(i)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()  # "<path/>" of a drawing

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            self.faults.append(f"</{tag}> closes an element that has no end tag")
            return
        tags = [one.tag for one in self._open]
        if tag not in tags:
            self.faults.append(f"</{tag}> closes nothing")
            return
        while self._open:
            closed = self._open.pop().tag
            if closed == tag:
                return
            if closed not in MAY_STAY_OPEN:
                self.faults.append(f"</{tag}> comes before </{closed}>")

    def handle_data(self, data: str) -> None:
        self.visible |= bool(data.strip()) and not self._hidden()

    def finish(self, html: str) -> None:
        self.close()
        self.faults += [f"<{one.tag}> is never closed" for one in self._open if one.tag not in MAY_STAY_OPEN]
        if html.rfind("<") > html.rfind(">"):
            self.faults.append("the page breaks off inside a tag")
        if not html.strip():
            self.faults.append("there is no HTML")

    def _parent(self) -> Node:
        return next((one.node for one in reversed(self._open) if one.node), self.root)

    def _hidden(self) -> bool:
        return bool(self._open) and self._open[-1].hidden

    def _kind(self, tag: str, given: dict[str, str]) -> str:
        if tag == "input":
            return "button" if given.get("type", "").lower() in ("submit", "button", "reset") else ""
        if tag == "a":
            return "button" if {"button", "btn"} & set(given.get("class", "").lower().split()) or given.get("role") == "button" else ""
        if tag in ("div", "section", "main", "table"):
            return "columns" if tag == "table" or _COLUMNS.search(f"{given.get('class', '')} {given.get('style', '')}".lower()) else ""
        # An image inside <picture> and lines inside <svg> are one image; a text inside a quotation is one text.
        kind = _BY_TAG.get(tag, "")
        return "" if kind in ("image", "text") and self._parent().kind == kind else kind


def structure_f1(found: Node, wanted: Node) -> float:
    """F1 over the two trees' edges as multisets; 1 for two pages without any of the eight kinds."""
    have, want = Counter(found.edges()), Counter(wanted.edges())
    if not have and not want:
        return 1.0
    return 2 * (have & want).total() / (have.total() + want.total())


class Browser:
    """Headless Chromium that shows pages without scripts and without a network."""

    def __init__(self, page) -> None:
        self._page = page

    def shows(self, html: str) -> bool:
        """Whether something of the page can be seen: an element with an area, text or a control."""
        self._page.set_content(html, wait_until="domcontentloaded", timeout=5000)
        return self._page.evaluate(
            "() => [...document.body.querySelectorAll('*')].some(element => { const box = element.getBoundingClientRect();"
            " return box.width > 1 && box.height > 1 && (element.textContent.trim() || element.matches('img,input,button,svg,hr')); })"
        )


@contextmanager
def open_browser() -> Iterator[Browser | None]:
    """A browser, or None where Playwright or Chromium is missing: then rendering is judged by the strict parser alone."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError:
        yield None
        return
    import shutil

    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("chromium-browser"))
        except Error as error:
            logger.info("no Chromium: %s", error)
            yield None
            return
        # What a model writes is shown, never run, and fetches nothing.
        context = chromium.new_context(java_script_enabled=False)
        page = context.new_page()
        page.route("**/*", lambda route: route.abort())
        try:
            yield Browser(page)
        finally:
            chromium.close()

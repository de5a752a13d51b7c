"""Keeps HTML whole while it is written: only what can still become a well-formed page may follow.

A small LLM forgets which elements are open: it closes a list twice, a label with a button's end, or begins a figure in a figure for ever.
What may follow is known from what stands there, so such tokens are never chosen. Says nothing about what a page should hold.
Knows text and token ids, never a model. Tables of elements are `html_tags.py`.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from .html_tags import BLOCKS, DRAWN, ENDS, HEADINGS, KNOWN, LINES, MAY_STAY_OPEN, NEVER_IN_THEMSELVES, ONLY, ONLY_IN, RAW, VOID

MOST_ALIKE = 6  # elements in a row that are the same to the letter, with the words before each: a model that goes on so never ends
MOST_ALIKE_IN_TABLES = 10  # empty cells of a calendar or of a board, and rows of these
DEEPEST = 12  # elements in each other; pages that people write have fewer, and a model that opens one after another never ends

# To end the tag that is being written, and the code block; to end an element.
_TOKENS_TO_CLOSE, _TOKENS_OF_AN_END = 12, 4

_FENCE = re.compile(r"```(\w*)[ \t]*\n")
_COMMENT, _DOCTYPE = "<!--", "<!doctype html>"
_COMMENTS = re.compile(r"<!--.*?-->", re.DOTALL)
_QUOTES = "\"'"
_TEXT, _TAG, _NAME, _INSIDE, _END_TAG, _MARK, _DONE = range(7)


class OpenPage:
    """HTML as far as it is written: `feed` takes more, sign by sign, and says whether that can still become a page."""

    __slots__ = ("_begun", "_closing", "_last", "_marked", "_mode", "_name", "_open", "_quote", "_runs", "_text", "_ticks")

    def __init__(self) -> None:
        self._text = ""
        self._open: tuple[str, ...] = ()
        self._begun: tuple[int, ...] = ()  # where in the text each of those begins
        # Within the page and within each of those: the element that ended last, with the words before it; its tag; how often that came in
        # a row; and where it ended.
        self._runs: tuple[tuple[str, str, int, int], ...] = (("", "", 0, 0),)
        self._mode, self._name, self._last, self._quote, self._ticks = _TEXT, "", "", "", 0
        self._marked = 0  # where the comment or the doctype that is being written begins
        self._closing = False

    def copy(self) -> "OpenPage":
        other = OpenPage.__new__(OpenPage)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def feed(self, text: str) -> bool:
        """False as soon as a sign cannot stand there; nothing may be fed after that."""
        for sign in text:
            self._text += sign
            if not self._take(sign):
                return False
        return True

    @property
    def stranded(self) -> bool:
        """Whether what is written of a tag is a whole name that cannot stand there: a longer one may, but is hardly what is meant.

        Outside of drawings "text" is no name, but the beginning of "textarea".
        """
        return self._mode == _NAME and self._name in KNOWN - DRAWN and not self._fits(self._name)

    @property
    def left(self) -> bool:
        """Whether the page's code block has ended."""
        return self._mode == _DONE

    @property
    def may_end(self) -> bool:
        """Whether nothing is open that has to be closed. What follows the page's code block is free."""
        return self.left or (self._mode == _TEXT and MAY_STAY_OPEN.issuperset(self._open))

    def close_within(self, tokens: int) -> None:
        """Where no more than so many tokens are left and they will be needed: from here on nothing new begins, all that is open ends."""
        self._closing = tokens <= _TOKENS_TO_CLOSE + _TOKENS_OF_AN_END * len(self._open)

    def _take(self, sign: str) -> bool:
        if self._closing and not self._closes(sign):
            return False
        if self._mode == _TEXT:
            return self._take_text(sign)
        if self._mode == _INSIDE:
            return self._take_inside(sign)
        if self._mode == _TAG:
            return self._begin_tag(sign)
        if self._mode == _NAME:
            return self._take_name(sign)
        if self._mode == _END_TAG:
            return self._take_end_tag(sign)
        return self._mode == _DONE or self._take_mark()

    def _closes(self, sign: str) -> bool:
        """Whether a sign leads to the page's end and nowhere else."""
        if self._mode == _TEXT:
            return sign == "`" or (sign == "<" and bool(self._open)) or (sign == "\n" and not self._text.endswith("\n\n"))
        if self._mode == _TAG:
            return sign == "/"
        if self._mode == _INSIDE:
            return sign == self._quote if self._quote else sign == ">" or (sign in _QUOTES and self._last == "=")
        return sign in "->" if self._mode == _MARK else True

    def _take_mark(self) -> bool:
        """A comment, or before all but comments the page's doctype."""
        mark = self._text[self._marked :].lower()
        if mark.startswith(_COMMENT):
            ended = mark.endswith("-->") and len(mark) >= len("<!---->")
        elif _COMMENT.startswith(mark):
            return True
        else:
            ended = mark == _DOCTYPE
            if not _DOCTYPE.startswith(mark) or _COMMENTS.sub("", self._text[: self._marked]).strip():
                return False
        self._mode = _TEXT if ended else _MARK
        return True

    def _take_text(self, sign: str) -> bool:
        self._ticks = self._ticks + 1 if sign == "`" else 0
        if self._ticks == 3:
            ends, self._mode = self.may_end, _DONE
            return ends
        if sign == "<":
            self._mode = _TAG
        return True

    def _end_elements(self, kept: int, end: int) -> None:
        """Leaves the outermost `kept` elements open; the text up to `end` is what the others are."""
        while len(self._open) > kept:
            self._count(len(self._open) - 1, self._open[-1], end)
            self._open, self._begun = self._open[:-1], self._begun[:-1]

    def _count(self, depth: int, tag: str, end: int) -> None:
        before, _, times, ended = self._runs[depth]
        element = self._text[ended:end].strip()
        self._runs = (*self._runs[:depth], (element, tag, times + 1 if element == before else 1, end))

    def _begin_tag(self, sign: str) -> bool:
        self._name = ""
        if sign == "/":
            self._mode = _END_TAG
            return bool(self._open)
        if self._in_raw():
            return self._go_on_in_raw(sign)
        if sign == "!":
            self._mode, self._marked = _MARK, len(self._text) - 2
            return True
        self._mode = _NAME
        return sign.isalpha() and self._take_name(sign)

    def _take_name(self, sign: str) -> bool:
        if sign.isascii() and sign.isalnum():
            self._name += sign.lower()
            return any(tag.startswith(self._name) and self._fits(tag) for tag in KNOWN)
        self._mode, self._last = _INSIDE, ""
        return self._name in KNOWN and self._fits(self._name) and sign in " \t\n/>" and self._take_inside(sign)

    def _take_inside(self, sign: str) -> bool:
        """Attributes. A quotation that forgets its end would swallow the page: it has to end before a tag, and in its line."""
        last, self._last = self._last, sign
        if self._quote:
            self._quote = "" if sign == self._quote else self._quote
            return sign not in "<>\n"
        if sign in _QUOTES:
            self._quote = sign
            return last == "="
        if sign == ">":
            return self._begin_element(at_once=last == "/")
        return sign not in "<`"

    def _begin_element(self, at_once: bool) -> bool:
        """`at_once` is for what has no end tag, and for drawings: browsers take "<div/>" for the beginning of one."""
        self._mode = _TEXT
        begun = self._text.rindex("<")
        self._end_elements(len(self._around(self._name)), begun)
        if self._name in VOID or at_once:
            self._count(len(self._open), self._name, len(self._text))
            return self._name in VOID or "svg" in self._open
        self._open, self._begun = (*self._open, self._name), (*self._begun, begun)
        self._runs = (*self._runs, ("", "", 0, len(self._text)))
        return True

    def _take_end_tag(self, sign: str) -> bool:
        closable = self._closable()
        if sign.isascii() and sign.isalnum():
            self._name += sign.lower()
            if any(tag.startswith(self._name) for tag in closable):
                return True
        elif sign == ">" and self._name in closable:
            last = len(self._open) - 1 - self._open[::-1].index(self._name)
            self._end_elements(last, len(self._text))
            self._mode = _TEXT
            return True
        return self._in_raw() and self._go_on_in_raw(sign)

    def _closable(self) -> set[str]:
        """The innermost element and, where that may stay open, the one around it, and so on."""
        found = set()
        for tag in reversed(self._open):
            found.add(tag)
            if tag not in MAY_STAY_OPEN:
                break
        return found

    def _around(self, tag: str) -> tuple[str, ...]:
        """What is open when `tag` begins: it ends some elements."""
        around = self._open
        while around and (around[-1] in ENDS.get(tag, ()) or (around[-1] == "p" and tag in BLOCKS)):
            around = around[:-1]
        return around

    def _fits(self, tag: str) -> bool:
        around = self._around(tag)
        if "svg" in around:
            return True
        inner = around[-1] if around else ""
        if tag in DRAWN or self._goes_on_alike(tag, len(around)) or (len(around) < len(self._open) and self._is_empty()):
            return False
        if tag in NEVER_IN_THEMSELVES and tag in around:
            return False
        if (inner in ONLY and tag not in ONLY[inner]) or (tag in ONLY_IN and inner not in ONLY_IN[tag]):
            return False
        if inner == "summary" and tag in HEADINGS:
            return True
        return not (tag in BLOCKS and inner in LINES) and (len(around) < DEEPEST or tag in VOID)

    def _go_on_in_raw(self, sign: str) -> bool:
        """What began like an end tag was none."""
        self._mode = _TAG if sign == "<" else _TEXT
        return True

    def _goes_on_alike(self, tag: str, depth: int) -> bool:
        """Whether another `tag` there would begin as those of a long run did, the words before it included."""
        before, last, times, ended = self._runs[depth]
        begun = self._begun[depth] if depth < len(self._open) else self._text.rindex("<")
        most = MOST_ALIKE_IN_TABLES if tag in ("td", "th", "tr") else MOST_ALIKE
        return tag == last and times >= most and before.startswith(self._text[ended:begun].lstrip() + "<")

    def _is_empty(self) -> bool:
        """Whether the innermost element holds nothing so far but the tag that is being written."""
        return not self._text[self._text.index(">", self._begun[-1]) + 1 : self._text.rindex("<")].strip()

    def _in_raw(self) -> bool:
        return bool(self._open) and self._open[-1] in RAW


def open_page(text: str) -> OpenPage | None:
    """The page that `text` ends in: in a ```html fence, in one that begins with a tag, or all of an answer that does; None without one.

    None, too, where the page is beyond mending already: it was begun without the guard.
    """
    html = _html_at_the_end(text)
    page = OpenPage()
    return page if html is not None and page.feed(html) else None


def _html_at_the_end(text: str) -> str | None:
    if "```" not in text:
        return text if text.lstrip().startswith("<") else None
    fences = list(_FENCE.finditer(text))
    if not fences or text.count("```") % 2 == 0:
        return None
    html = text[fences[-1].end() :]
    return html if fences[-1][1].lower() == "html" or (not fences[-1][1] and html.lstrip().startswith("<")) else None


class HtmlGuard:
    """Which tokens may follow in a page. `decode` gives the text of ids; `end_tokens` end an answer."""

    def __init__(self, decode: Callable[[Sequence[int]], str], end_tokens: Iterable[int]):
        self._decode, self._end_tokens = decode, frozenset(end_tokens)
        self._pieces: dict[int, str] = {}

    def page(self, ids: Sequence[int], before: OpenPage | None = None) -> OpenPage | None:
        """The page that an answer of these tokens ends in, or None.

        `before` is that of all tokens but the last, where it is known: reading a long page anew takes longer than a small LLM's step.
        """
        page = before and before.copy()
        if page and page.feed(self._piece(ids[-1])) and not page.left:
            return page
        return open_page("".join(map(self._piece, ids)))

    def fits(self, page: OpenPage, token: int) -> bool:
        if token in self._end_tokens:
            return page.may_end
        after = page.copy()
        return after.feed(self._piece(token)) and not after.stranded

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self._decode([token])
        return self._pieces[token]

"""The HTML of a page's elements: short, valid, and one string for one page, so that a small LLM can learn to write it.

What a sketch cannot say to an encoder of 9 x 9 patches, the words, is always the same. Every block begins a line.
"""

import re
from collections.abc import Sequence
from typing import Protocol

TITLE, BUTTON, SEND, ITEM = "Title", "Button", "Send", "Item"
LINKS = ("Home", "About", "Blog", "Contact")
LABELS = ("Name", "Email", "Text")
FENCE = "```"


class Block(Protocol):
    """What is written: `layout.Element`."""

    kind: str
    count: int
    columns: tuple[tuple["Block", ...], ...]


def render_html(elements: Sequence[Block]) -> str:
    """The header and the navigation bar, then everything else in `<main>`, with ids for nothing and styles for columns only."""
    before = [_block(element) for element in elements if element.kind in ("header", "nav")]
    content = [_block(element) for element in elements if element.kind not in ("header", "nav")]
    return "\n".join([*before, "<main>", *content, "</main>"] if content else before)


def length_of(html: str) -> int:
    """About how many tokens a page has: words, runs of signs and line ends, which is nearly how the pocket LLM cuts it."""
    return len(re.findall(r"\w+|[^\w\s]+|\n", html))


def fenced(html: str) -> str:
    """As an answer: a code block, which chat pages show as code to copy."""
    return f"{FENCE}html\n{html}\n{FENCE}"


def _block(element: Block) -> str:
    match element.kind:
        case "header":
            return f"<header><h1>{TITLE}</h1></header>"
        case "nav":
            return "<nav>" + " ".join(f'<a href="#">{word}</a>' for word in LINKS[: element.count]) + "</nav>"
        case "text":
            return "<p>Some text.</p>"
        case "button":
            return f"<button>{BUTTON}</button>"
        case "image":
            # A bare image would stand in a line with what follows.
            return '<figure><img src="image.png" alt="Image"></figure>'
        case "list":
            return "<ul>" + f"<li>{ITEM}</li>" * element.count + "</ul>"
        case "form":
            inputs = "".join(f"<label>{word} <input></label><br>" for word in LABELS[: element.count])
            return f"<form>{inputs}<button>{SEND}</button></form>"
        case "columns":
            columns = ["<div>" + "".join(map(_block, column)) + "</div>" for column in element.columns]
            return "\n".join(['<div style="display:flex;gap:2em">', *columns, "</div>"])
    raise ValueError(f"There is no element of the kind {element.kind!r} on a sketched page.")

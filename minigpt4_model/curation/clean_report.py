"""What a cleaning found: a table for the terminal and a page with examples, complete in itself."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from ..training.page import build_page, data_address
from ..weights.cache import write_atomically

_STYLE = """
main { padding-bottom: 48px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 6px 10px; text-align: left; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
td.number, th.number { text-align: right; white-space: nowrap; }
h2 { margin: 0 0 4px; }
.example { display: flex; gap: 16px; align-items: flex-start; margin: 12px 0; }
.example img { width: 112px; flex: none; border-radius: 8px; }
.example p { margin: 0 0 4px; white-space: pre-wrap; overflow-wrap: anywhere; min-width: 0; }
.example div { min-width: 0; }
mark { padding: 0 2px; border-radius: 3px; }
small { color: var(--quiet); }
"""


@dataclass(frozen=True)
class Example:
    item: int
    text: str
    detail: str
    picture: Path


@dataclass(frozen=True)
class RuleCount:
    name: str
    reason: str
    count: int
    examples: Sequence[Example]


@dataclass(frozen=True)
class Summary:
    texts: int
    marked: int
    rules: Sequence[RuleCount]


def table(summary: Summary) -> str:
    """The rules that found something, most first."""
    found = sorted((one for one in summary.rules if one.count), key=lambda one: -one.count)
    lines = [f"{one.count:6}  {one.count / summary.texts:5.1%}  {one.name:20} {one.reason}" for one in found]
    clean = [one.name for one in summary.rules if not one.count]
    lines.append(f"Nothing found by: {', '.join(clean)}." if clean else "")
    lines.append(f"{summary.marked} of {summary.texts} texts are marked, {summary.texts - summary.marked} are not.")
    return "\n".join(filter(None, lines))


def write_report(path: Path, name: str, summary: Summary) -> None:
    """Writes the page."""
    about = f"{summary.marked} of {summary.texts} texts are marked. Nothing was changed or taken away."
    rows = "".join(
        f"<tr><td>{_linked(one)}</td><td>{html.escape(one.reason)}</td>"
        f'<td class="number">{one.count}</td><td class="number">{one.count / summary.texts:.1%}</td></tr>'
        for one in summary.rules
    )
    head = '<tr><th>rule</th><th>what is wrong</th><th class="number">texts</th><th class="number">share</th></tr>'
    sections = "".join(map(_section, (one for one in summary.rules if one.count)))
    body = f'<main><div class="block"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>{sections}</main>'
    write_atomically(path, build_page(f"Cleaning of {name}", html.escape(about), body, _STYLE).encode())


def _linked(rule: RuleCount) -> str:
    """The rule's name, leading to its examples where it has some."""
    return f'<a href="#{rule.name}">{rule.name}</a>' if rule.count else rule.name


def _section(rule: RuleCount) -> str:
    examples = "".join(map(_example, rule.examples))
    told = f"{html.escape(rule.reason)} {rule.count} texts."
    return f'<section class="block" id="{rule.name}"><h2>{rule.name}</h2><p>{told}</p>{examples}</section>'


def _example(example: Example) -> str:
    with PIL.Image.open(example.picture) as picture:
        address = data_address(picture)
    text = _marked(example.text, example.detail)
    return (
        f'<div class="example"><img alt="" src="{address}"><div><p>{text}</p>'
        f"<small>item {example.item}: {html.escape(example.detail)}</small></div></div>"
    )


def _marked(text: str, detail: str) -> str:
    """The text as HTML with the places that are meant marked, where the detail is a part of it."""
    quoted = detail if detail in text else detail.rpartition(" (")[0]
    start = text.casefold().find(quoted.casefold()) if quoted else -1
    if start < 0 or len(text.casefold()) != len(text):
        return html.escape(text)
    end = start + len(quoted)
    return f"{html.escape(text[:start])}<mark>{html.escape(text[start:end])}</mark>{html.escape(text[end:])}"

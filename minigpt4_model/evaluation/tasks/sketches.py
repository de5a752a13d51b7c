"""A sketch of a page, turned into HTML: valid, of the right structure, and does it render?

Items come from a JSON-lines file: {"id", "image": path beside the file, "html": the page that the sketch means, "question": optional}.
The pocket corpus' own file is `SKETCHES` in its cache; while it is not there the task says so and asks nothing.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chat.messages import question
from ...training.pocket.collections import corpus_home
from ..html_page import extract_html, open_browser, read_page, structure_f1
from ..items import EvaluationError, Figure, Item, Judged, Task, Verdict
from ..statistics import mean, share, share_of

QUESTION = "Write the HTML of this page."
SKETCHES = Path("sketches", "held-out.jsonl")  # below the corpus' folder


def judge_page(item: Item, answer: str) -> Verdict:
    """Right when the HTML is valid and has just the wanted structure; see `html_page`."""
    html = extract_html(answer)
    page, wanted = read_page(html), read_page(item.expected["html"])
    score = structure_f1(page.root, wanted.root) if html else 0.0
    note = "; ".join(page.faults[:3]) or f"structure F1 {score:.2f}"
    return Verdict(page.valid and score == 1.0, {"valid": page.valid, "f1": score, "html": html}, note)


def page_figures(judged: Sequence[Judged], shown: dict[str, bool] | None = None) -> list[Figure]:
    """`shown` remembers which pages a browser has shown already."""
    found = [
        share_of(judged, "valid HTML", "valid", least=0.90, aim=0.99, looks=False),
        mean("structure F1", [one.verdict.values["f1"] for one in judged], least=0.60, aim=0.85),
    ]
    shown = {} if shown is None else shown
    pages = [one.verdict.values["html"] for one in judged]
    if any(html not in shown for html in pages):
        with open_browser() as browser:
            if browser is not None:
                shown.update({html: bool(html) and browser.shows(html) for html in set(pages) - set(shown)})
    renders = [shown[html] for html in pages if html in shown]
    return [*found, share("renders in Chromium", renders, looks=False)] if renders else found


def read_sketches(file: Path, task: str) -> Iterator[Item]:
    """The items of a file. Raises `EvaluationError` that names the line at fault."""
    # Not splitlines, which also parts at U+2028: JSON lets a string hold it.
    for number, line in enumerate(file.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            image, html, name = file.parent / record["image"], record["html"], str(record["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f'{file}, line {number}: give {{"id", "image", "html"}} ({error}).') from None
        asked = question(record.get("question", QUESTION), [str(image)])
        yield Item(f"{task}/{name}", task, [asked], {"html": html}, html, {"max_new_tokens": 600})


def page_sketches(file: Path | None = None) -> Task:
    """The task over `file`, by default the corpus' own."""
    task, file = "page-sketch", file or corpus_home() / SKETCHES
    shown: dict[str, bool] = {}
    missing = "" if file.is_file() else f"the corpus has no page sketches yet: {file} is not there"
    items = (lambda: read_sketches(file, task)) if file.is_file() else (lambda: ())
    return Task(task, "Page sketches to HTML", items, judge_page, lambda judged: page_figures(judged, shown), missing, own_text=False)

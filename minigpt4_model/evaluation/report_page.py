"""The report as one HTML file: figures with their intervals, then every question with its picture, answer and verdict.

Self-contained (pictures, style and script are inside), so it can be sent by mail; nothing is fetched when it is opened. What models wrote
is shown as text; a page of HTML that a model wrote is shown in a frame that may run and fetch nothing.
"""

import html
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..chat.pictures import PictureError, load_picture
from ..training.page import build_page, data_address
from .items import Figure, Item, Judged
from .report import Report, TaskReport, asked_for, goals_in_words, is_certain, shown, verdict_on

MOST_ITEMS = 300  # of one task: beyond that a page of pictures is slow to open
_HERE = Path(__file__).parent


def render_page(report: Report) -> str:
    """The whole page."""
    about = report.about
    title = f"{about['model']}: suite {Path(about['suite']).stem}"
    facts = " · ".join(filter(None, (html.escape(about["device"]), about["time"].replace("T", " ")[:16])))
    limit = f" · the first {about['limit']} items of each task" if about.get("limit") else ""
    cards = "".join(card for one in report.tasks for card in _cards(one))
    tasks = "".join(
        f'<option value="{html.escape(one.task.name)}">{html.escape(one.task.title)}</option>' for one in report.tasks if one.judged
    )
    body = f"""<main>
<section aria-label="Figures">{_figures(report)}</section>
<section aria-label="Questions and answers">
<form class="filters" id="filters">
<label>Task <select name="task"><option value="">all tasks</option>{tasks}</select></label>
<fieldset><legend>Verdict</legend>
<label><input type="radio" name="verdict" value="" checked> all</label>
<label><input type="radio" name="verdict" value="right"> right</label>
<label><input type="radio" name="verdict" value="wrong"> wrong</label>
</fieldset>
<label>Words <input type="search" name="words" placeholder="in question or answer"></label>
<output id="shown" aria-live="polite"></output>
</form>
<div class="cards" id="cards">{cards}</div>
<p id="none" hidden>No item fits these filters.</p>
</section>
</main>"""
    return build_page(title, f"{facts}{limit} · greedy answers · 95 % intervals", body, _asset("report_page.css"), _asset("report_page.js"))


def _asset(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _figures(report: Report) -> str:
    goals = asked_for(report)
    parts = [_block("What is asked of the model", goals, f'<p class="note">{goals_in_words(goals)}</p>')] if goals else []
    for one in report.tasks:
        note = f'<p class="note">{html.escape(one.task.missing)}.</p>' if one.task.missing else ""
        if one.unanswered:
            note += (
                f'<p class="note">{len(one.unanswered)} items could not be asked: {html.escape(next(iter(one.unanswered.values())))}</p>'
            )
        if one.figures or note:
            parts.append(_block(one.task.title, one.figures, note))
    if report.language:
        parts.append(_block("Language of all answers", report.language))
    marks = {"bar": "value", "whisker": "95 % interval", "chance": "by chance", "goal": "asked for (at least, aim)"}
    legend = f'<p class="legend">{"".join(f"<i class={mark!r}></i> {text} " for mark, text in marks.items())}</p>'
    return f'{legend}<div class="blocks">{"".join(parts)}</div>'


def _block(title: str, figures: Sequence[Figure], note: str = "") -> str:
    rows = "".join(_row(figure) for figure in figures)
    table = f"<table><tbody>{rows}</tbody></table>" if rows else ""
    return f'<article class="block"><h2>{html.escape(title)}</h2>{table}{note}</article>'


def _row(figure: Figure) -> str:
    verdict = verdict_on(figure) if is_certain(figure) else ""  # colours say what is proven
    name = html.escape(figure.name) + (" <small>less is better</small>" if figure.less_is_better else "")
    interval = f"{shown(figure.low, figure.unit)} to {shown(figure.high, figure.unit)}"
    goals = "".join(f'<i class="goal" style="left:{_percent(goal)}"></i>' for goal in (figure.least, figure.aim) if goal is not None)
    asked = f", asked: {shown(figure.least, figure.unit)}, aim {shown(figure.aim, figure.unit)}" if figure.least is not None else ""
    chance = "" if figure.chance is None else f", by chance {shown(figure.chance, figure.unit)}"
    chart = ""
    if figure.unit == "share" and not math.isnan(figure.value):
        tick = "" if figure.chance is None else f'<i class="chance" style="left:{_percent(figure.chance)}"></i>'
        chart = (
            f'<div class="chart" aria-hidden="true"><i class="bar" style="width:{_percent(figure.value)}"></i>'
            f'<i class="whisker" style="left:{_percent(figure.low)};width:{_percent(figure.high - figure.low)}"></i>{tick}{goals}</div>'
        )
    title = html.escape(f"{interval}, {figure.count} judgements{chance}{asked}")
    return (
        f'<tr class="{verdict}" title="{title}"><th scope="row">{name}</th><td class="value">{shown(figure.value, figure.unit)}</td>'
        f'<td class="detail">{chart}<small>{interval}<span>n {figure.count}</span></small></td></tr>'
    )


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0), 1):.1f}%"


def _cards(one: TaskReport) -> Iterator[str]:
    for judged in one.judged[:MOST_ITEMS]:
        yield _card(one.task.title, judged)
    if len(one.judged) > MOST_ITEMS:
        left = len(one.judged) - MOST_ITEMS
        told = html.escape(f"{left} more of {one.task.title} are in report.json.")
        yield f'<article class="card" data-task="{html.escape(one.task.name)}" data-verdict=""><p>{told}</p></article>'


_WORDS = {True: "right", False: "wrong", None: "not judged"}


def _card(title: str, judged: Judged) -> str:
    verdict = _WORDS[judged.verdict.right]
    item = judged.item
    pictures = "".join(f'<img src="{source}" alt="" loading="lazy">' for source in _pictures(item))
    note = f"<dt>Judge</dt><dd>{html.escape(judged.verdict.note)}</dd>" if judged.verdict.note else ""
    frame = judged.verdict.values.get("html")
    page = f'<iframe sandbox="" title="the page as it renders" srcdoc="{html.escape(frame)}" loading="lazy"></iframe>' if frame else ""
    return (
        f'<article class="card" data-task="{html.escape(item.task)}" data-verdict="{verdict}" id="{html.escape(item.id)}">'
        f'<div class="pictures">{pictures or "<span>no picture</span>"}</div><div class="said">'
        f'<p class="head"><span class="chip {verdict.split()[0]}">{verdict}</span><small>{html.escape(title)}</small></p>'
        f'<dl>{_conversation(item)}<dt>Answer</dt><dd class="answer">{html.escape(judged.answer) or "<em>empty</em>"}</dd>'
        f"<dt>Expected</dt><dd>{html.escape(item.shown)}</dd>{note}</dl>{page}</div></article>"
    )


def _parts(content: Any) -> list[dict]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _conversation(item: Item) -> str:
    names = {"user": "Question", "assistant": "Before", "system": "System"}
    rows = []
    for message in item.messages:
        text = " ".join(part["text"] for part in _parts(message["content"]) if part["type"] == "text")
        rows.append(f"<dt>{names[message['role']]}</dt><dd>{html.escape(text)}</dd>")
    return "".join(rows)


def _pictures(item: Item) -> Iterator[str]:
    """The conversation's pictures as small JPEGs in data addresses."""
    for message in item.messages:
        for part in _parts(message["content"]):
            if part["type"] != "image":
                continue
            try:
                picture = load_picture(part["image"]).image
            except PictureError:
                continue
            yield data_address(picture)

"""From an item to what the annotation page shows: HTML in which everything that people or models wrote is text."""

import html

from .agreement import Agreement, Pace
from .clean import ALL_RULES
from .differences import count_changes, difference_html
from .schema import DISPUTED, DROPPED, EDITED, KEPT, OPEN
from .worklist import Shown

_STATUS = {OPEN: "not judged yet", KEPT: "kept", EDITED: "kept with an edit", DROPPED: "dropped", DISPUTED: "disputed: please settle it"}


def picture_html(shown: Shown | None) -> str:
    if shown is None:
        return ""
    where = "".join(f"<li>{html.escape(place)}</li>" for place in shown.places)
    alt = f"Picture of item {shown.view.item}, {shown.width} by {shown.height} pixels"
    return (
        f'<a href="pictures/{shown.digest}.jpg" target="_blank" rel="noopener" tabindex="-1">'
        f'<img src="pictures/{shown.digest}.jpg" alt="{alt}"></a><ul class="places">{where}</ul>'
    )


def about_html(shown: Shown | None) -> str:
    """The item's number and status, what others said where that may be known, and what the rules found."""
    if shown is None:
        return ""
    others = "".join(f" {html.escape(name)}: {verdict}." for name, verdict in shown.others)
    marks = "".join(
        f'<li title="{html.escape(ALL_RULES.get(rule, ""))}"><b>{html.escape(rule)}</b> {html.escape(detail)}</li>'
        for rule, detail in shown.marks.items()
    )
    head = f'<p data-item="{shown.view.item}">Item {shown.view.item}: {_STATUS[shown.status]}.{others}</p>'
    return head + (f'<ul class="marks">{marks}</ul>' if marks else "")


def change_html(shown: Shown | None, text: str) -> str:
    """What the text in the box changes; while nothing is changed, what the version in the box changed of the one before."""
    if shown is None:
        return ""
    if text.strip() != shown.base_text:
        return _change("Your changes", shown.base_text, text.strip())
    if shown.previous_text is None:
        return f"<h2>First version, by {_name(shown.base_author)}</h2>"
    if shown.previous_text == shown.base_text:
        return f"<h2>{_name(shown.base_author)} changed nothing of the text by {_name(shown.previous_author)}</h2>"
    return _change(
        f"What {_name(shown.base_author)} changed of the text by {_name(shown.previous_author)}", shown.previous_text, shown.base_text
    )


def progress_html(annotator: str, judged: int, total: int, left: int, own: Pace) -> str:
    """How far everybody is, and how fast the annotator goes."""
    told = [f"{judged} of {total} judged", f"{html.escape(annotator)}: {own.decided}, {own.today} in the last 24 hours"]
    if own.seconds is not None:
        told.append(f"{own.seconds:.0f} s each")
        if left:
            told.append(f"{left} to do: about {_duration(own.seconds * left)}")
    share = f'<progress max="{max(total, 1)}" value="{judged}" aria-label="judged"></progress>'
    return f"{share}<p>{' · '.join(told)}</p>"


def agreement_html(agreements: list[Agreement]) -> str:
    if not agreements:
        return "<p>No item was judged by two people yet. curate annotate --overlap 0.1 shows every tenth to two.</p>"
    rows = "".join(
        f"<tr><td>{html.escape(' and '.join(one.annotators))}</td><td>{one.items}</td>"
        f"<td>{_agreed(one.passing, one.passing_kappa)}</td><td>{_agreed(one.verdicts, one.verdicts_kappa)}</td></tr>"
        for one in agreements
    )
    head = "<tr><th>who</th><th>items both judged</th><th>agree on pass or drop</th><th>agree on keep, edit or drop</th></tr>"
    note = (
        "<p>Kappa is Cohen's: 0 is what chance would give, 1 is full agreement. What was settled later counts as it was judged first.</p>"
    )
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{note}"


def note_html(note: str, warning: bool = False) -> str:
    role = "alert" if warning and note else "status"
    return f'<p role="{role}"{" class=warning" if warning and note else ""}>{html.escape(note)}</p>'


def _change(title: str, before: str, after: str) -> str:
    lost, new = count_changes(before, after)
    return f'<h2>{title}: {lost} words out, {new} in</h2><p class="difference">{difference_html(before, after)}</p>'


def _name(author: str) -> str:
    return html.escape(author.removeprefix("person:"))


def _agreed(share: float, kappa: float | None) -> str:
    return f"{share:.0%}, kappa {kappa:.2f}" if kappa is not None else f"{share:.0%}"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{max(1, round(minutes))} min" if minutes < 90 else f"{minutes / 60:.1f} h"

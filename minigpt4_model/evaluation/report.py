"""From answers to a report: every answer judged, every figure with count, interval and chance level; as JSON and as a table.

By chance: each answer is judged against what a random other item of its task expects, several times. It is what a model reaches
that answers in the same words without looking, and shows how lenient a judge is.
"""

import dataclasses
import datetime
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .answering import Answers, limited
from .items import Figure, Item, Judged, Task
from .language import broken_words, foreign_script, repeats
from .statistics import share

_SHUFFLES = 4  # how often every answer is judged against another item's expectation


@dataclass
class TaskReport:
    """What came of one task. `judged` are in the order of the items; `unanswered` could not be asked, with the reason."""

    task: Task
    judged: list[Judged]
    figures: list[Figure]
    unanswered: dict[str, str]


@dataclass
class Report:
    """A whole run. `language` are figures over all answers in the model's own words; `about` says what was run, when and where."""

    about: dict[str, Any]
    tasks: list[TaskReport]
    language: list[Figure] = field(default_factory=list)

    def figures(self) -> list[tuple[str, Figure]]:
        """(task's title, figure) in the order of the table."""
        rows = [(one.task.title, figure) for one in self.tasks for figure in one.figures]
        return rows + [("Language of all answers", figure) for figure in self.language]


def build_report(about: dict[str, Any], tasks: Sequence[Task], answers: Answers, limit: int | None) -> Report:
    """Judges everything that was answered. Needs no model."""
    reports = [judge_task(task, list(limited(task, limit)), answers) for task in tasks]
    report = Report({**about, "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}, reports)
    own = [(one.item.id, one.answer) for task in reports if task.task.own_text for one in task.judged]
    report.language = language_figures([text for _, text in own], [answers.said[identity] for identity, _ in own])
    return report


def judge_task(task: Task, items: Sequence[Item], answers: Answers) -> TaskReport:
    answered = [(item, text) for item in items if (text := answers.text(item)) is not None]
    judged = [Judged(item, text, task.judge(item, text)) for item, text in answered]
    figures = task.figures(judged) if judged else []
    figures = [
        dataclasses.replace(figure, chance=chance) for figure, chance in zip(figures, chance_levels(task, judged, figures), strict=True)
    ]
    unanswered = {item.id: answers.errors[item.id] for item in items if item.id in answers.errors}
    return TaskReport(task, judged, figures, unanswered)


def chance_levels(task: Task, judged: Sequence[Judged], figures: Sequence[Figure]) -> list[float | None]:
    """For each figure its mean when answers are judged against other items; None where that means nothing."""
    if len(judged) < 2 or not any(figure.looks for figure in figures):
        return [None] * len(figures)
    found: dict[str, list[float]] = {}
    for seed in range(_SHUFFLES):
        places = list(range(len(judged)))
        random.Random(seed).shuffle(places)
        pairs = [(judged[place].item, one) for place, one in zip(places, judged, strict=True)]
        others = [Judged(item, one.answer, task.judge(item, one.answer)) for item, one in pairs if _another(item, one.item)]
        for figure in task.figures(others) if others else ():
            if not math.isnan(figure.value):
                found.setdefault(figure.name, []).append(figure.value)
    return [sum(found[figure.name]) / len(found[figure.name]) if figure.looks and figure.name in found else None for figure in figures]


def _another(item: Item, own: Item) -> bool:
    """Whether `item` is another one that expects the same kind of thing: a side cannot be judged as two names."""
    return item.id != own.id and item.expected.keys() == own.expected.keys()


def language_figures(texts: Sequence[str], records: Sequence[dict]) -> list[Figure]:
    """How the answers read, whatever they say."""
    if not texts:
        return []
    less: dict[str, Any] = {"less_is_better": True, "looks": False}
    return [
        share(
            "a repeated 4-gram or a change of script",
            [repeats(text) or foreign_script(text) for text in texts],
            least=0.02,
            aim=0.0,
            **less,
        ),
        share("a repeated 4-gram", [repeats(text) for text in texts], **less),
        share("a change of script", [foreign_script(text) for text in texts], **less),
        share("stretched or endless words", [broken_words(text) for text in texts], **less),
        share("empty answers", [not text.strip() for text in texts], **less),
        share("cut off or stopped as a loop", [record["finish_reason"] in ("length", "guard") for record in records], **less),
    ]


def asked_for(report: Report) -> list[Figure]:
    """The figures that something is asked of, each with its task in its name."""
    return [dataclasses.replace(figure, name=f"{title}: {figure.name}") for title, figure in report.figures() if verdict_on(figure)]


def verdict_on(figure: Figure) -> str:
    """ "aim", "least" or "below" for the value of a figure that something is asked of, else ""."""
    if figure.least is None or math.isnan(figure.value):
        return ""

    aim = figure.aim is not None and _reaches(figure, figure.value, figure.aim)
    return "aim" if aim else "least" if _reaches(figure, figure.value, figure.least) else "below"


def is_certain(figure: Figure) -> bool:
    """Whether the whole 95 % interval is on the side of `least` on which the value is; False where nothing is asked."""
    verdict = verdict_on(figure)
    if not verdict:
        return False
    worst, best = (figure.high, figure.low) if figure.less_is_better else (figure.low, figure.high)
    return not _reaches(figure, best, figure.least) if verdict == "below" else _reaches(figure, worst, figure.least)


def _reaches(figure: Figure, value: float, goal: float) -> bool:
    # "< 2 %" is strict; an aim of none at all is reached by none at all.
    return (value < goal or value == goal == 0) if figure.less_is_better else value >= goal


def shown(value: float | None, unit: str = "share") -> str:
    """A value as people read it: shares in per cent."""
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.3f}"


_HEAD = ("measure", "value", "95 % interval", "count", "by chance", "at least", "aim", "")
_VERDICTS = {"aim": "aim reached", "least": "reached", "below": "below", "": ""}


def table(report: Report) -> str:
    """The figures for a terminal: a line for each, under their task's title."""
    rows: list[tuple[str, ...] | str] = []
    title = None
    for name, figure in report.figures():
        if name != title:
            rows.append(title := name)
        goals = [shown(goal, figure.unit) if goal is not None else "" for goal in (figure.least, figure.aim)]
        sign = "< " if figure.less_is_better and goals[0] else ""
        interval = f"{shown(figure.low, figure.unit)} to {shown(figure.high, figure.unit)}"
        chance = "" if figure.chance is None else shown(figure.chance, figure.unit)
        better = " (less is better)" if figure.less_is_better else ""
        rows.append(
            (
                "  " + figure.name + better,
                shown(figure.value, figure.unit),
                interval,
                str(figure.count),
                chance,
                sign + goals[0],
                goals[1],
                _verdict_in_words(figure),
            )
        )
    widths = [max(len(row[column]) for row in [_HEAD, *(row for row in rows if isinstance(row, tuple))]) for column in range(len(_HEAD))]
    lines = [_line(_HEAD, widths)]
    lines += [row if isinstance(row, str) else _line(row, widths) for row in rows]
    lines += [f"{one.task.title}: {one.task.missing}." for one in report.tasks if one.task.missing]
    for one in report.tasks:
        if one.unanswered:
            lines.append(f"{one.task.title}: {len(one.unanswered)} items could not be asked: {next(iter(one.unanswered.values()))}")
    if goals := asked_for(report):
        lines.append(goals_in_words(goals))
    return "\n".join(lines)


def goals_in_words(goals: Sequence[Figure]) -> str:
    """How many of the figures that something is asked of reach it."""
    verdicts = [verdict_on(figure) for figure in goals]
    uncertain = sum(not is_certain(figure) for figure in goals)
    text = f"Goals reached: {len(goals) - verdicts.count('below')} of {len(goals)}. Aims reached: {verdicts.count('aim')} of {len(goals)}."
    return text + (f" Not certain (the interval reaches beyond the goal): {uncertain} of {len(goals)}." if uncertain else "")


def _verdict_in_words(figure: Figure) -> str:
    verdict = verdict_on(figure)
    return _VERDICTS[verdict] + (", not certain" if verdict and not is_certain(figure) else "")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:7], widths[1:7], strict=True)), row[7]]
    return "  ".join(cells).rstrip()


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values; pictures are left out, NaN is null."""
    return {
        **report.about,
        "tasks": [
            {
                "task": one.task.name,
                "title": one.task.title,
                "missing": one.task.missing,
                "figures": [_plain(figure) for figure in one.figures],
                "unanswered": one.unanswered,
                "items": [
                    {
                        "id": each.item.id,
                        "shown": each.item.shown,
                        "answer": each.answer,
                        "right": each.verdict.right,
                        "note": each.verdict.note,
                    }
                    for each in one.judged
                ],
            }
            for one in report.tasks
        ],
        "language": [_plain(figure) for figure in report.language],
    }


def _plain(figure: Figure) -> dict[str, Any]:
    values = dataclasses.asdict(figure) | {"verdict": verdict_on(figure), "certain": is_certain(figure)}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}

"""Questions of one's own, from a JSON-lines file: {"id", "question", "images": [...]} or {"id", "messages"}, and what is expected.

`"expected"` goes with a `"judge"`: `names` (words, one of which must be said), `exact` (whole answers, one of which it must be), `yes-no`
("yes" or "no"), `number`, `colour` (of the eleven names, the main one first), `html` (a page). Without a judge, a list means `names`,
"yes" and "no" mean `yes-no`, a number means `number`. `"task"` groups lines; each group gets its own figure.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...chat.messages import question
from ...training.pocket.colours import COLOURS
from ...training.pocket.judge import plain, says
from ..items import EvaluationError, Item, Judge, Task, Verdict
from ..numerals import number_said
from ..statistics import share_right
from .scenes import judge_colour
from .sketches import judge_page, page_figures
from .yes_no import detection_figures, judge_yes_no


def judge_names(item: Item, answer: str) -> Verdict:
    return Verdict(says(answer, item.expected["names"]))


def judge_exact(item: Item, answer: str) -> Verdict:
    """Right when the whole answer, without case and its final mark, is one of those expected."""
    return Verdict(plain(answer).rstrip(".!") in {plain(text).rstrip(".!") for text in item.expected["answers"]})


def judge_number(item: Item, answer: str) -> Verdict:
    number = number_said(answer)
    return Verdict(number == item.expected["number"], note=f"said: {number}")


def _listed(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value])]


# name -> (what "expected" becomes, the judge)
JUDGES: dict[str, tuple[Callable[[Any], dict], Judge]] = {
    "names": (lambda value: {"names": _listed(value)}, judge_names),
    "exact": (lambda value: {"answers": _listed(value)}, judge_exact),
    "yes-no": (lambda value: {"answer": str(value).lower()}, judge_yes_no),
    "number": (lambda value: {"number": int(value)}, judge_number),
    "colour": (lambda value: {"colour": _listed(value)[0], "accepted": _listed(value), "colours": _listed(value)}, judge_colour),
    "html": (lambda value: {"html": str(value)}, judge_page),
}
_FIGURES = {"yes-no": detection_figures, "html": page_figures}


def _judge_name(record: dict) -> str:
    expected = record["expected"]
    if "judge" in record:
        return record["judge"]
    if isinstance(expected, str) and expected.lower() in ("yes", "no"):
        return "yes-no"
    return "number" if isinstance(expected, int) and not isinstance(expected, bool) else "names"


def _messages(record: dict, folder: Path) -> list[dict]:
    """The conversation of a line, picture paths taken from beside the file."""
    messages = record.get("messages") or [question(record["question"], [str(path) for path in record.get("images", [])])]
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part.get("type") == "image":
                part["image"] = str(folder / part["image"])
    return messages


def read_tasks(file: Path) -> list[Task]:
    """One task for each `"task"` and judge of the file. Raises `EvaluationError` that names the line and the fault."""
    groups: dict[tuple[str, str], list[Item]] = {}
    seen: set[str] = set()
    try:
        lines = file.read_text("utf-8").split("\n")  # not splitlines: a string may hold U+2028
    except OSError as error:
        raise EvaluationError(f"--suite {file}: {error.strerror}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            judge = _judge_name(record)
            task, identity = str(record.get("task", file.stem)), str(record["id"])
            if judge not in JUDGES:
                raise EvaluationError(f"there is no judge {judge!r}; there are {', '.join(JUDGES)}")
            if identity in seen:
                raise EvaluationError(f"the id {identity!r} comes twice")
            expected = JUDGES[judge][0](record["expected"])
            if judge == "colour":
                _check_colours(expected["accepted"])
            item = Item(identity, task, _messages(record, file.parent), expected, _shown(record["expected"]), record.get("settings", {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            told = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise EvaluationError(f"--suite {file}, line {number}: {told}.") from None
        seen.add(identity)
        groups.setdefault((task, judge), []).append(item)
    if not groups:
        raise EvaluationError(f"--suite {file} holds no questions.")
    names = [task for task, _ in groups]
    return [_task(task if names.count(task) == 1 else f"{task} ({judge})", judge, items) for (task, judge), items in groups.items()]


def _check_colours(named: list[str]) -> None:
    for colour in named:
        if colour not in COLOURS:
            raise EvaluationError(f"{colour!r} is none of {', '.join(COLOURS)}")


def _shown(expected: Any) -> str:
    return ", ".join(_listed(expected))


def _task(name: str, judge: str, items: Iterable[Item]) -> Task:
    items = [replace(item, task=name) for item in items]
    return Task(name, name, lambda: items, JUDGES[judge][1], _FIGURES.get(judge) or share_right("right"), own_text=judge != "html")

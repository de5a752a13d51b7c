"""`bench guards`: what each guard and each way of looking closer changes in the answers of a model, and what it costs.

Every question is asked once each way, in turn and from a cold start, so times are compared within a run, and answers question by
question: beside a figure stands how many answers became right and how many became wrong. Everything but the way under test is off.
"""

import argparse
import contextlib
import itertools
import json
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, process_time
from typing import Any

from ..chat.backends import open_backend
from ..chat.backends.base import Answer, BackendError
from ..chat.backends.flags import add_model_flags, model_options
from ..chat.guards import leaks_of
from ..chat.settings import GenerationSettings, SettingsError, add_flags
from ..training.pocket.collections import CorpusError
from .answering import limited
from .items import EvaluationError, Figure, Judged, Task
from .language import broken_words, foreign_script, repeats
from .report import shown
from .statistics import share
from .suites import build_tasks
from .tasks.printed_text import printed_text

TASKS = ("yes-no", "description", "name-held-out-files", "two-objects", "count", "colour", "no-picture")
_SWITCHES = ("script_guard", "leak_guard", "html_guard", "image_crops", "read_text")
OFF = {"visual_contrast": 0.0, "loop_guard": 0, **dict.fromkeys(_SWITCHES, False)}
# The name of a way, and the settings that make it.
WAYS: dict[str, dict[str, Any]] = {
    "contrast 0.5": {"visual_contrast": 0.5},
    "contrast 1": {"visual_contrast": 1.0},
    "loop": {"loop_guard": 3},
    "script": {"script_guard": True},
    "leak": {"leak_guard": True},
    "html": {"html_guard": True},
    "crops": {"image_crops": True},
    "read text": {"read_text": True},
}
NONE = "none"


@dataclass
class Asked:
    """One question, what each way answered, and the processor time that it took, reading the picture included."""

    task: Task
    item: Any
    answers: dict[str, Answer] = field(default_factory=dict)
    processor_s: dict[str, float] = field(default_factory=dict)

    def judged(self, way: str) -> Judged:
        text = self.answers[way].text
        return Judged(self.item, text, self.task.judge(self.item, text))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model bench guards",
        description="Ask the questions of the pocket suite with each guard, and with none. Prints a table and, as its last line, one JSON "
        "document. A generation setting given here holds for all ways; greedy unless --temperature says otherwise.",
    )
    add_model_flags(parser)
    parser.add_argument(
        "--tasks", nargs="+", default=[*TASKS, "printed-text"], metavar="T", help=f"default: {' '.join(TASKS)} printed-text"
    )
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="W", help=f"of {', '.join(WAYS)} (default: all)"
    )
    parser.add_argument("--limit", type=int, default=40, metavar="N", help="only the first N items of each task (default: 40)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="M", help="stop asking after M minutes, or at Ctrl-C, and report what was asked"
    )
    add_flags(parser)
    return parser


def ask_all(
    backend,
    tasks: Sequence[Task],
    ways: dict[str, dict],
    settings: GenerationSettings,
    given: dict,
    limit: int,
    minutes: float = math.inf,
) -> list[Asked]:
    """Every question each way, until `minutes` have passed or Ctrl-C is pressed; what was asked by then is whole.

    Tasks take turns, so that their counts stay alike. The first way of a question changes from one to the next, so that none always
    finds warm caches.
    """
    start = monotonic()
    found: list[Asked] = []
    with contextlib.suppress(KeyboardInterrupt):
        for one in _questions(tasks, limit):
            if monotonic() - start > 60 * minutes:
                break
            _ask_each_way(backend, one, ways, settings, given, len(found))
            found.append(one)
    return found


def _questions(tasks: Sequence[Task], limit: int) -> Iterator[Asked]:
    """The first of each task, then the second of each, with a bar for people to see."""
    from tqdm import tqdm

    by_task = [[Asked(task, item) for item in limited(task, limit)] for task in tasks]
    questions = [one for turn in itertools.zip_longest(*by_task) for one in turn if one is not None]
    return iter(tqdm(questions, unit="question", disable=not sys.stderr.isatty()))


def _ask_each_way(backend, one: Asked, ways: dict[str, dict], settings: GenerationSettings, given: dict, place: int) -> None:
    names = list(ways)
    for step in range(len(names)):
        way = names[(place + step) % len(names)]
        backend.forget()
        options = {**one.item.settings, **given, **ways[way]}
        before = process_time()
        one.answers[way] = backend.answer(one.item.messages, GenerationSettings.from_mapping(options, settings))
        one.processor_s[way] = process_time() - before
    if not sys.stderr.isatty() and place % 10 == 9:
        print(f"{place + 1} questions", file=sys.stderr, flush=True)


def compare(asked: Sequence[Asked], ways: Sequence[str], leaks: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """For each way its rows: {"task", "name", "value", "low", "high", "count", "unit"}, and {"task", "better", "worse"} beside `NONE`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for way in ways:
        rows: list[dict[str, Any]] = []
        for task in dict.fromkeys(one.task.name for one in asked):
            some = [one for one in asked if one.task.name == task]
            judged = [one.judged(way) for one in some]
            rows += [_row(task, figure) for figure in some[0].task.figures(judged)]
            before = [one.judged(NONE).verdict.right for one in some]
            pairs = list(zip(before, [one.verdict.right for one in judged], strict=True))
            rows.append({"task": task, "name": "better / worse", "better": pairs.count((False, True)), "worse": pairs.count((True, False))})
        answers = [one.answers[way] for one in asked]
        texts = [answer.text for answer in answers]
        rows += [_row("all answers", figure) for figure in _language(texts, answers, leaks)]
        changed = [one.answers[way].text != one.answers[NONE].text for one in asked]
        rows += [_row("all answers", share("changed", changed)), *_costs(asked, way)]
        found[way] = rows
    return found


def _language(texts: Sequence[str], answers: Sequence[Answer], leaks: Sequence[str]) -> list[Figure]:
    return [
        share("a repeated 4-gram", [repeats(text) for text in texts]),
        share("a change of script", [foreign_script(text) for text in texts]),
        share("stretched or endless words", [broken_words(text) for text in texts]),
        share("text of the template", [any(leak in "\n" + text for leak in leaks) for text in texts]),
        share("cut at the longest answer", [answer.finish_reason == "length" for answer in answers]),
        share("ended by a guard", [answer.finish_reason == "guard" for answer in answers]),
    ]


def _costs(asked: Sequence[Asked], way: str) -> list[dict[str, Any]]:
    """Medians over the questions of this way's time beside that of `NONE`; of processor time the sums, which other work disturbs least."""

    def seconds_a_token(answer: Answer) -> float | None:
        later = answer.usage.completion_tokens - 1
        return answer.timings.decode_s / later if later > 0 and answer.timings.decode_s else None

    def ratio(of) -> float | None:
        pairs = [(of(one.answers[way]), of(one.answers[NONE])) for one in asked]
        ratios = [ours / theirs for ours, theirs in pairs if ours and theirs]
        return statistics.median(ratios) if ratios else None

    spent = {each: sum(one.processor_s[each] for one in asked) for each in (way, NONE)}
    return [
        {
            "task": "cost",
            "name": "processor time, times none",
            "value": spent[way] / spent[NONE] if spent[NONE] else None,
            "unit": "number",
        },
        {"task": "cost", "name": "first token, times none", "value": ratio(lambda answer: answer.timings.ttft_s), "unit": "number"},
        {"task": "cost", "name": "each further token, times none", "value": ratio(seconds_a_token), "unit": "number"},
        {"task": "cost", "name": "prompt tokens, times none", "value": ratio(lambda answer: answer.usage.prompt_tokens), "unit": "number"},
    ]


def _row(task: str, figure: Figure) -> dict[str, Any]:
    return {"task": task, **{name: getattr(figure, name) for name in ("name", "value", "low", "high", "count", "unit")}}


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A line a figure, a column a way."""
    ways = list(found)
    labels = [(row["task"], row["name"]) for row in found[NONE]]
    cells = {way: {(row["task"], row["name"]): _cell(row) for row in found[way]} for way in ways}
    first = max(len("  " + name) for _, name in labels)
    widths = [max(len(way), *(len(cells[way].get(label, "")) for label in labels)) for way in ways]
    lines = ["  ".join([" " * first, *(way.rjust(width) for way, width in zip(ways, widths, strict=True))])]
    task = None
    for label in labels:
        if label[0] != task:
            lines.append(task := label[0])
        values = (cells[way].get(label, "").rjust(width) for way, width in zip(ways, widths, strict=True))
        lines.append("  ".join([("  " + label[1]).ljust(first), *values]))
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if "better" in row:
        return f"{row['better']} / {row['worse']}"
    return shown(row["value"], row["unit"]) if row["unit"] == "share" or row["value"] is None else f"{row['value']:.2f}"


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.limit < 1:
        parser.error(f"--limit must be at least 1, not {args.limit}.")
    given = {name: getattr(args, name) for name in GenerationSettings.__dataclass_fields__ if getattr(args, name) is not None}
    try:
        GenerationSettings.from_mapping(given)
        suite = build_tasks("pocket", only=[name for name in args.tasks if name != "printed-text"] or ["count"])
        tasks = [task for task in suite if task.name in args.tasks] + ([printed_text()] if "printed-text" in args.tasks else [])
        engine = open_backend("torch", **model_options(args))
        settings = replace(GenerationSettings.from_mapping(OFF, engine.description.settings), temperature=0.0, seed=0)
        ways = {NONE: {}, **{way: WAYS[way] for way in args.ways}}
        asked = ask_all(engine, tasks, ways, settings, given, args.limit, args.minutes)
    except (BackendError, CorpusError, EvaluationError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (EvaluationError, SettingsError)) else 1
    if not asked:
        print("error: nothing was asked in that time: give --minutes more.", file=sys.stderr)
        return 1
    found = compare(asked, list(ways), leaks_of(engine.template, ""))
    used = GenerationSettings.from_mapping(given, settings)
    print(f"{engine.description.title} on {engine.description.device}: {len(asked)} questions, temperature {used.temperature:g}")
    print(table(found))
    print(json.dumps({"device": engine.description.device, "questions": len(asked), "given": given, "ways": found}))
    return 0

"""`curate clean`: every rule looks at every text; what it finds is marked and reported. No text is changed or taken away.

Marks are those of the last run, and replaced whole by the next one, so that a kill in between leaves the ones before.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .clean_report import Example, RuleCount, Summary, table, write_report
from .duplicates import NEAR_TEXT, REASONS, SAME_PICTURE, near_duplicates, same_pictures
from .flags import add_project_flag, open_described
from .languages import check_language
from .progress_bar import bar
from .project import Project, recorded_run, storable
from .rules import RULES, Setting, Text, findings
from .schema import DESCRIBE

ALL_RULES = {**{rule.name: rule.reason for rule in RULES}, **REASONS}
_EXAMPLES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "rules:\n" + "\n".join(f"  {name:20} {reason}" for name, reason in ALL_RULES.items())
    add_project_flag(parser)
    parser.add_argument(
        "--language", default="en", metavar="L", help="the texts' language, ISO 639-1; '' judges none (default: %(default)s)"
    )
    parser.add_argument("--min-words", type=int, default=20, metavar="N", help="fewer are too few (default: %(default)s)")
    parser.add_argument(
        "--similarity",
        type=float,
        default=0.8,
        metavar="X",
        help="share of common runs of three words of near duplicates (default: %(default)s)",
    )
    parser.add_argument("--skip-rule", action="append", default=[], choices=list(ALL_RULES), metavar="RULE", help="leave a rule out")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="where the report goes (default: clean.html in the project)")


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.min_words < 0:
        parser.error(f"--min-words must not be below 0, but is {args.min_words}.")
    if not 0 < args.similarity <= 1:
        parser.error(f"--similarity must be above 0 and at most 1, not {args.similarity:g}.")


@dataclass(frozen=True)
class CurrentText:
    """The text of an item that counts until people decide, with the version before it."""

    id: int
    item: int
    text: str
    before: str
    digest: str
    thumbnail: bytes


def run(args: argparse.Namespace) -> int:
    if args.language:
        check_language(args.language)
    project = open_described(args.project)
    texts = current_texts(project)
    setting = Setting(args.min_words, args.language, asked_questions(project))
    skip = frozenset(args.skip_rule)
    told = {"language": args.language, "min_words": args.min_words, "similarity": args.similarity, "skip_rule": sorted(skip)}
    with recorded_run(project, "clean", told) as summary:
        marks = find_marks(texts, setting, args.similarity, skip)
        _store(project, marks)
        counted = _count(project, texts, marks, skip)
        summary.update(texts=counted.texts, marked=counted.marked, rules={one.name: one.count for one in counted.rules})
    report = args.report or args.project / "clean.html"
    write_report(report, str(args.project), counted)
    print(table(counted))
    print(f"\nReport: {report}", file=sys.stderr)
    return 0


def current_texts(project: Project) -> list[CurrentText]:
    rows = project.rows(
        "SELECT c.id, c.item_id, c.text, COALESCE(p.text, '') AS before, i.digest, i.thumbnail FROM current c "
        "JOIN items i ON i.id = c.item_id LEFT JOIN texts p ON p.id = c.parent_id ORDER BY c.item_id"
    )
    return [CurrentText(row["id"], row["item_id"], row["text"], row["before"], row["digest"], row["thumbnail"]) for row in rows]


def asked_questions(project: Project) -> tuple[str, ...]:
    """What describing models were asked in this project: a text should not repeat it."""
    rows = project.rows("SELECT DISTINCT json_extract(settings, '$.question') AS question FROM runs WHERE step = ?", DESCRIBE)
    return tuple(row["question"] for row in rows if row["question"])


def find_marks(texts: Sequence[CurrentText], setting: Setting, similarity: float, skip: frozenset[str]) -> dict[int, dict[str, str]]:
    """What is wrong with each text, by its id: rule and detail."""
    marks = {one.id: findings(Text(one.text, one.before), setting, skip) for one in bar(texts, "texts")}
    if NEAR_TEXT not in skip:
        for position, first in near_duplicates([one.text for one in texts], similarity).items():
            marks[texts[position].id][NEAR_TEXT] = f"of item {texts[first].item}"
    if SAME_PICTURE not in skip:
        for position, first in same_pictures([one.thumbnail for one in texts]).items():
            marks[texts[position].id][SAME_PICTURE] = f"as item {texts[first].item}"
    return marks


def _store(project: Project, marks: dict[int, dict[str, str]]) -> None:
    with project.writing() as connection:
        connection.execute("DELETE FROM marks")
        rows = [(text, rule, storable(detail)) for text, found in marks.items() for rule, detail in found.items()]
        connection.executemany("INSERT INTO marks VALUES (?, ?, ?)", rows)


def _count(project: Project, texts: Sequence[CurrentText], marks: dict[int, dict[str, str]], skip: frozenset[str]) -> Summary:
    counts = []
    for name, reason in ALL_RULES.items():
        if name in skip:
            continue
        hit = [one for one in texts if name in marks[one.id]]
        # Spread over the set: the first ones are often of one folder.
        shown = hit[:: max(1, len(hit) // _EXAMPLES)][:_EXAMPLES]
        examples = [Example(one.item, one.text, marks[one.id][name], project.picture_file(one.digest)) for one in shown]
        counts.append(RuleCount(name, reason, len(hit), examples))
    return Summary(len(texts), sum(bool(found) for found in marks.values()), counts)


def counts_by_rule(project: Project) -> dict[str, int]:
    """How many current texts each rule of the last cleaning marked, most first."""
    rows = project.rows(
        "SELECT rule, COUNT(*) AS count FROM marks JOIN current ON current.id = text_id GROUP BY rule ORDER BY count DESC, rule"
    )
    return {row["rule"]: row["count"] for row in rows}


def last_cleaning(project: Project) -> dict | None:
    """The settings of the last finished cleaning."""
    found = project.value("SELECT settings FROM runs WHERE step = 'clean' AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1")
    return json.loads(found) if found else None

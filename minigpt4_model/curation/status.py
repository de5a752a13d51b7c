"""`curate status`: what a project holds and what could be done next."""

import argparse
from collections.abc import Iterator

from .agreement import agreements, described, pace
from .clean import counts_by_rule, last_cleaning
from .flags import add_project_flag
from .project import Project
from .schema import OPEN, REFINE, STATUSES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Nothing can contradict."""


def run(args: argparse.Namespace) -> int:
    print("\n".join(_lines(Project(args.project))))
    return 0


def _lines(project: Project) -> Iterator[str]:
    count = project.value
    items, texts = count("SELECT COUNT(*) FROM items"), count("SELECT COUNT(*) FROM current")
    refined = count("SELECT COUNT(*) FROM current WHERE step = ?", REFINE)
    unusable = count("SELECT COUNT(*) FROM places WHERE item_id IS NULL")
    yield f"{project.folder}: {items} pictures, {texts} with a text, {refined} of them corrected; {unusable} files that cannot be used."
    for row in project.rows(
        "SELECT name, licence, COUNT(item_id) AS count FROM sources LEFT JOIN places ON source_id = sources.id GROUP BY sources.id"
    ):
        yield f"  {row['count']:6} from {row['name']} ({row['licence'] or 'no licence stated'})"
    if last_cleaning(project) is None:
        yield "No rule has looked at the texts yet: curate clean."
    else:
        marked = count("SELECT COUNT(DISTINCT text_id) FROM marks JOIN current ON current.id = text_id")
        yield f"{marked} {'text is' if marked == 1 else 'texts are'} marked" + (":" if marked else ".")
        yield from (f"  {hit:6} {rule}" for rule, hit in counts_by_rule(project).items())
    # A picture without a text is nobody's to judge yet.
    by_status = dict(project.rows("SELECT status, COUNT(*) FROM items WHERE id IN (SELECT item_id FROM current) GROUP BY status"))
    yield (
        "Judged: " + ", ".join(f"{by_status.get(status, 0)} {status}" for status in STATUSES if status != OPEN or by_status.get(OPEN)) + "."
    )
    for row in project.rows("SELECT DISTINCT annotator FROM decisions WHERE undone_at IS NULL ORDER BY annotator"):
        own = pace(project, row["annotator"])
        yield f"  {row['annotator']}: {own.decided} items, {own.seconds:.0f} s each"
    yield from (described(one) for one in agreements(project))
    failures = project.rows("SELECT step, problem, COUNT(*) AS count FROM failures GROUP BY step, problem ORDER BY count DESC LIMIT 3")
    yield from (f"Failed to {row['step']} {row['count']} times: {row['problem']}" for row in failures)

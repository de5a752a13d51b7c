"""A data set's card: what is in it, where it comes from, under which licences, and everything that was done to it, counted."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from .agreement import agreements, described
from .clean import ALL_RULES, counts_by_rule, last_cleaning
from .project import Project
from .schema import DESCRIBE, EDITED, EDITING, GIVEN, KEPT, OPEN, REFINE
from .selection import Chosen, Selection
from .sentences import words_of

_WRITERS = {GIVEN: "came with the pictures", DESCRIBE: "described", REFINE: "corrected", EDITING: "edited"}
_STATUS = {KEPT: "judged and kept as they were", EDITED: "edited by a person", OPEN: "judged by nobody, and marked by no rule"}
_FILES = {
    "alignment": "`filter_cap.json` and `image/`, as the original's stage-2 folder",
    "webdataset": "`00000.tar` and so on, with `KEY.jpg`, `KEY.txt` and `KEY.json`",
    "llava": "`conversations.json`, as LLaVA writes it, and `images/`",
}


def build_card(project: Project, selection: Selection, title: str, layout: str, held_out: float, only_checked: bool) -> str:
    """The card as Markdown with a front matter that the Hugging Face Hub reads."""
    chosen = selection.chosen
    parts = [
        _front_matter(title, len(chosen)),
        f"# {title}",
        f"Pictures with descriptions, made on {time.strftime('%Y-%m-%d')} the way MiniGPT-4's stage-2 data were (Zhu et al. 2023, "
        "section 3.2): a model describes, the text is corrected and checked by rules, people judge.",
        _table(
            ("split", "pictures", "words a text, median", "longest"),
            [_split_row("train", selection.train), _split_row("held out", selection.held_out)],
        ),
        f"Files: {_FILES[layout]}; the held-out part is in `held_out/`, in the same form. `provenance.json` says of each picture where "
        f"it was found and what its text went through. The side of a picture follows from its pixels ({held_out:.0%} are to be held "
        "out), and pictures that look the same are on one side.",
        "## Where the pictures come from\n\n" + _sources(project, chosen),
        "## How the texts were made\n\n" + _making(project, chosen),
        "## What the rules found\n\n" + _rules(project),
        "## What people judged\n\n" + _judging(project, selection, only_checked),
        "## What is left out\n\n" + _left_out(selection),
        "## What to keep in mind\n\nThe descriptions are a model's: they tell of things that are not there wherever nobody took them out. "
        "Texts that no person judged were checked for form, not for truth.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(title: str, count: int) -> str:
    size = next(
        name for most, name in ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M")) if count < most
    )
    return f"---\npretty_name: {json.dumps(title)}\ntask_categories:\n- image-to-text\nsize_categories:\n- {size}\n---"


def _split_row(name: str, chosen: Sequence[Chosen]) -> tuple:
    lengths = [len(words_of(one.text)) for one in chosen]
    return name, len(chosen), f"{median(lengths):g}" if lengths else "–", max(lengths, default="–")


def _sources(project: Project, chosen: Sequence[Chosen]) -> str:
    rows = project.rows("SELECT s.*, p.item_id FROM sources s JOIN places p ON p.source_id = s.id WHERE p.item_id IS NOT NULL")
    inside = {one.item for one in chosen}
    counted = Counter((row["name"], row["licence"]) for row in rows if row["item_id"] in inside)
    told = [(name, count, licence or "**not stated**") for (name, licence), count in counted.most_common()]
    text = _table(("source", "pictures", "licence"), told)
    if any(not licence for _, licence in counted):
        text += "\n\nWhere no licence is stated, nobody has said whether the pictures may be passed on."
    return text + "\n\nPictures are upright JPEGs, made smaller where they were large, without the camera's metadata."


def _making(project: Project, chosen: Sequence[Chosen]) -> str:
    counted = Counter(step for one in chosen for step in dict.fromkeys(one.history))
    rows = [(_WRITERS[step], author, count) for (step, author), count in counted.most_common()]
    text = _table(("texts were", "by", "of these pictures"), rows)
    # Also runs that were killed: what they had written counts.
    runs = project.rows(
        "SELECT step, settings FROM runs WHERE step IN (?, ?) AND EXISTS (SELECT 1 FROM texts WHERE texts.step = runs.step AND "
        "added_at >= started_at AND (finished_at IS NULL OR added_at <= finished_at)) ORDER BY id",
        DESCRIBE,
        REFINE,
    )
    told = list(dict.fromkeys((row["step"], json.dumps(json.loads(row["settings"]), ensure_ascii=False)) for row in runs))
    return text + "".join(f"\n\nSettings of {step}: `{settings}`" for step, settings in told)


def _rules(project: Project) -> str:
    settings = last_cleaning(project)
    if settings is None:
        return "No rule has looked at these texts."
    counts = counts_by_rule(project)
    left_out = settings.get("skip_rule", [])
    asked = {name: reason for name, reason in ALL_RULES.items() if name not in left_out}
    rows = [(name, counts[name], reason) for name, reason in asked.items() if counts.get(name)]
    silent = [name for name in asked if not counts.get(name)]
    texts = project.value("SELECT COUNT(*) FROM current")
    told = f"Of all {texts} texts, before people judged (`{json.dumps(settings)}`):\n\n" + _table(("rule", "texts", "what is wrong"), rows)
    return told + (f"\n\nNothing was found by: {', '.join(silent)}." if silent else "")


def _judging(project: Project, selection: Selection, only_checked: bool) -> str:
    counted = Counter(one.status for one in selection.chosen)
    people = project.value("SELECT COUNT(DISTINCT annotator) FROM decisions WHERE undone_at IS NULL")
    text = _table(("texts in this set", "count"), [(words, counted[status]) for status, words in _STATUS.items() if counted[status]])
    text += f"\n\nPeople who judged: {people}." + (" Only what they let pass is in." if only_checked else "")
    for one in agreements(project):
        text += f"\n{described(one)}"
    return text


def _left_out(selection: Selection) -> str:
    if not selection.left_out:
        return "Nothing."
    return _table(("reason", "pictures"), selection.left_out.most_common())


def _table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines)

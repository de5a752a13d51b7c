"""`samples.html`: fixed pictures with the model's answers, one column a step, so that people see what changes.

The page is one file, pictures included. What was said is kept in `samples.json`, from which the page is written anew. On a narrow
screen a picture's answers stand below it, each with its step.
"""

import html
import json
from pathlib import Path
from typing import Any

from ..weights.cache import write_atomically
from .objective import SampleAnswer
from .page import build_page, data_address

SAMPLES_FILE = "samples.json"
SAMPLES_PAGE = "samples.html"
_STYLE = """
main { max-width: none; padding-bottom: 48px; }
header { max-width: none; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
table { border-collapse: collapse; }
th, td { padding: 10px 14px; vertical-align: top; text-align: left; overflow-wrap: anywhere; min-width: 14rem; max-width: 24rem; }
thead th { color: var(--quiet); font-size: 0.8rem; }
tbody tr > * { border-top: 1px solid var(--line); }
tr > :first-child { position: sticky; left: 0; background: var(--card); border-right: 1px solid var(--line); font-weight: 400; }
img { display: block; max-width: 100%; margin-bottom: 6px; border-radius: 8px; }
td { white-space: pre-wrap; }
small { display: block; }
@media (max-width: 640px) {
  thead { display: none; }
  table, tbody, tr, th, td { display: block; max-width: none; }
  tbody tr > * { border: 0; padding: 4px 14px; }
  tbody tr { padding: 8px 0; }
  tbody tr + tr { border-top: 1px solid var(--line); }
  tr > :first-child { position: static; border: 0; }
  td::before { content: attr(data-step); display: block; color: var(--quiet); font-size: 0.8rem; }
}
"""


def add_samples(directory: Path, step: int, answers: list[SampleAnswer]) -> None:
    """Adds a column and writes the page. Columns of later steps are of a run that was killed, and go."""
    known = read_samples(directory)
    if len(known["rows"]) != len(answers):
        rows = [{"picture": data_address(said.picture), "question": said.question, "expected": said.expected} for said in answers]
        known = {"rows": rows, "columns": []}
    known["columns"] = [column for column in known["columns"] if column["step"] < step]
    known["columns"].append({"step": step, "answers": [said.answer for said in answers]})
    write_atomically(directory / SAMPLES_FILE, json.dumps(known, ensure_ascii=False).encode())
    write_atomically(directory / SAMPLES_PAGE, render_page(directory.name, known["rows"], known["columns"]).encode())


def read_samples(directory: Path) -> dict[str, Any]:
    """`rows`, each with a picture (an address that holds it), a question and what is expected, and `columns` of step and answers."""
    path = directory / SAMPLES_FILE
    return json.loads(path.read_text("utf-8")) if path.exists() else {"rows": [], "columns": []}


def answer_as_html(answer: str) -> str:
    return html.escape(answer) or "<em>nothing</em>"


def render_page(title: str, rows: list[dict[str, str]], columns: list[dict[str, Any]]) -> str:
    """The table as HTML; every text is escaped."""
    heads = "".join(f"<th>step {column['step']}</th>" for column in columns)
    lines = []
    for number, row in enumerate(rows):
        expected = f"<small>wanted: {html.escape(row['expected'])}</small>" if row["expected"] else ""
        cell = f'<th scope="row"><img src="{row["picture"]}" alt="">{html.escape(row["question"])}{expected}</th>'
        said = "".join(f'<td data-step="step {column["step"]}">{answer_as_html(column["answers"][number])}</td>' for column in columns)
        lines.append(f"<tr>{cell}{said}</tr>")
    body = (
        f'<main><div class="scroll" tabindex="0"><table><thead><tr><th>picture</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></main>"
    )
    return build_page(f"Samples of {title}", "What the model says of the same pictures as it learns", body, _STYLE)

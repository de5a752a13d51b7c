"""`samples.html`: fixed pictures with the model's answers, one column a step, so that people see what changes.

The page is one file, pictures included. What was said is kept in `samples.json`, from which the page is written anew.
"""

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

import PIL.Image

from ..weights.cache import write_atomically
from .objective import SampleAnswer

SAMPLES_FILE = "samples.json"
_SIDE = 224
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1d2430; background: #fff; }
table { border-collapse: collapse; } th, td { border: 1px solid #d8dde6; padding: .5rem .7rem; vertical-align: top; text-align: left; }
td.said { min-width: 14rem; max-width: 26rem; } img { display: block; max-width: 224px; } .soft { color: #667085; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
"""


def add_samples(directory: Path, step: int, answers: list[SampleAnswer]) -> None:
    """Adds a column and writes the page. Columns of later steps are of a run that was killed, and go."""
    path = directory / SAMPLES_FILE
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if len(known.get("rows", [])) != len(answers):
        rows = [{"picture": data_url(said.picture), "question": said.question, "expected": said.expected} for said in answers]
        known = {"rows": rows, "columns": []}
    known["columns"] = [column for column in known["columns"] if column["step"] < step]
    known["columns"].append({"step": step, "answers": [said.answer for said in answers]})
    write_atomically(path, json.dumps(known, ensure_ascii=False).encode())
    write_atomically(directory / "samples.html", render_page(directory.name, known["rows"], known["columns"]).encode())


def data_url(picture: PIL.Image.Image) -> str:
    """The picture, made small, as text that a page can hold."""
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def render_page(title: str, rows: list[dict[str, str]], columns: list[dict[str, Any]]) -> str:
    """The table as HTML; every text is escaped."""
    heads = "".join(f"<th>step {column['step']}</th>" for column in columns)
    lines = []
    for number, row in enumerate(rows):
        expected = f'<div class="soft">wanted: {html.escape(row["expected"])}</div>' if row["expected"] else ""
        cell = f'<td><img src="{row["picture"]}" alt="">{html.escape(row["question"])}{expected}</td>'
        said = "".join(f'<td class="said">{html.escape(column["answers"][number]) or "<i>nothing</i>"}</td>' for column in columns)
        lines.append(f"<tr>{cell}{said}</tr>")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Samples of {html.escape(title)}</title><style>{STYLE}</style>'
        f"<h1>Samples of {html.escape(title)}</h1><table><tr><th>picture</th>{heads}</tr>{''.join(lines)}</table></html>\n"
    )

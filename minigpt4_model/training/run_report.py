"""`report.json` and `report.html`: what a finished run was, took and reached, with its curve and its samples."""

import base64
import html
import json
import platform
from pathlib import Path
from typing import Any

from ..weights.cache import write_atomically
from .run_log import read_log
from .sample_page import STYLE

REPORT_FILE = "report.json"  # written last: a run that has one is finished
VERSIONS = ("torch", "transformers", "accelerate", "timm")


def write_report(directory: Path, facts: dict[str, Any]) -> None:
    """Writes both files. `facts` are the run's; losses and held-out figures are read from its log, the machine is this one."""
    records = read_log(directory)
    losses = [record for record in records if "loss" in record]
    evaluated = [record for record in records if any(name.startswith("eval_") for name in record)]
    report = {
        **facts,
        "evaluation": {name.removeprefix("eval_"): value for name, value in evaluated[-1].items() if name != "step"} if evaluated else {},
        "first_loss": losses[0]["loss"] if losses else None,
        "last_loss": losses[-1]["loss"] if losses else None,
        "samples_per_s": losses[-1].get("samples_per_s") if losses else None,
        "machine": {"system": platform.platform(), "python": platform.python_version(), **_versions()},
    }
    write_atomically(directory / "report.html", render_report(directory, report).encode())
    write_atomically(directory / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in VERSIONS}


def render_report(directory: Path, report: dict[str, Any]) -> str:
    """The report as one HTML file, the curve included; it links to the samples."""
    curve = directory / "loss.png"
    picture = ""
    if curve.exists():
        picture = f'<img style="max-width:100%" alt="loss over steps" src="data:image/png;base64,{_base64(curve)}">'
    samples = '<p><a href="samples.html">Sample answers</a></p>' if (directory / "samples.html").exists() else ""
    tables = {
        "Run": {
            key: report[key]
            for key in ("steps", "seconds", "samples_per_s", "first_loss", "last_loss", "best_score", "processes", "device")
        },
        "On held-out data": report["evaluation"],
        "Settings": report["settings"],
        "Machine": report["machine"],
    }
    body = "".join(f"<h2>{name}</h2>{_table(rows)}" for name, rows in tables.items() if rows)
    notices = "".join(f"<li>{html.escape(notice)}</li>" for notice in report["notices"])
    if notices:
        body += f"<h2>Notices</h2><ul>{notices}</ul>"
    title = html.escape(f"Training run {directory.name}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title}</h1>{picture}{samples}{body}</html>\n"
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _table(rows: dict[str, Any]) -> str:
    lines = "".join(f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(_shown(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{lines}</table>"


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)

"""`report.json` and `report.html`: what a finished run was, took and reached, with its curve and its last sample answers."""

import base64
import html
import json
import os
import platform
from pathlib import Path
from typing import Any

from ..weights.cache import write_atomically
from .loss_plot import best_record
from .page import build_page
from .run_log import read_log
from .sample_page import SAMPLES_PAGE, answer_as_html, read_samples

REPORT_FILE = "report.json"  # written last: a run that has one is finished
VERSIONS = ("torch", "transformers", "accelerate", "timm")
_STYLE = """
main { padding-bottom: 48px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 12px; margin-bottom: 16px; }
.figures .block { margin: 0; }
.figures strong { display: block; font-size: 1.35rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.curve { display: block; width: 100%; max-width: 900px; margin: 0 auto; background: #fff; border-radius: 8px; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 16px; }
figure { margin: 0; overflow-wrap: anywhere; }
figure img { display: block; max-width: 100%; border-radius: 8px; }
figure small { display: block; }
figcaption { font-weight: 600; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 5px 12px 5px 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 400; width: 40%; color: var(--quiet); }
tr + tr > * { border-top: 1px solid var(--line); }
.tables { columns: 360px auto; column-gap: 16px; }
li { overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin-top: 8px; }
"""


def write_report(directory: Path, facts: dict[str, Any]) -> None:
    """Writes both files. Losses and held-out figures are read from the run's log, the machine is this one.

    `facts`: "steps", "seconds", "processes", "device", "notices" (sentences), "settings" (flag -> what was given), and further ones
    for the JSON file; "changed" may name the settings that differ from their defaults.
    """
    records = read_log(directory)
    losses = [record for record in records if "loss" in record]
    evaluated = [record for record in records if any(name.startswith("eval_") for name in record)]
    best = best_record(records)
    report = {
        **facts,
        "evaluation": {name.removeprefix("eval_"): value for name, value in evaluated[-1].items() if name != "step"} if evaluated else {},
        "best_step": best["step"] if best else None,
        "first_loss": losses[0]["loss"] if losses else None,
        "last_loss": losses[-1]["loss"] if losses else None,
        "samples_per_s": losses[-1].get("samples_per_s") if losses else None,
        "machine": {"system": platform.platform(), "CPUs": os.cpu_count(), "Python": platform.python_version(), **_versions()},
    }
    write_atomically(directory / "report.html", render_report(directory, report, best).encode())
    write_atomically(directory / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in VERSIONS}


def render_report(directory: Path, report: dict[str, Any], best: dict[str, Any] | None = None) -> str:
    """The report as one HTML file, curve and pictures included; it links to the samples of all steps. `best` is the log's record."""
    settings, changed = report["settings"], report.get("changed", list(report["settings"]))
    given = {name: settings[name] for name in changed}
    others = {name: value for name, value in settings.items() if name not in given}
    rest = f"<details><summary>{len(others)} more, which have their defaults</summary>{_table(others)}</details>" if others else ""
    notices = "".join(f"<li>{html.escape(notice)}</li>" for notice in report["notices"])
    tables = [
        _block("Settings", _table(given) + rest),
        _block(f"On held-out data after step {report['steps']}", _table(_named(report["evaluation"]))) if report["evaluation"] else "",
        _block("Machine", _table({"device": report["device"], "processes": report["processes"], **report["machine"]})),
    ]
    body = (
        f'<main><section class="figures">{_headline(report, best)}</section>'
        f"{_block('Notices', f'<ul>{notices}</ul>') if notices else ''}{_curve(directory)}{_samples(directory)}"
        f'<div class="tables">{"".join(tables)}</div></main>'
    )
    about = f"{report['steps']:,} steps in {duration(report['seconds'])} on {html.escape(report['device'])}"
    return build_page(f"Training run {directory.name}", about, body, _STYLE)


def _headline(report: dict[str, Any], best: dict[str, Any] | None) -> str:
    cards = []
    if report["last_loss"] is not None:
        cards.append(("loss of the last step", shown(report["last_loss"]), f"{shown(report['first_loss'])} at the start"))
    if best:
        # Where there is a held-out loss, the score is no more than it with its sign turned, or it stands beside it.
        turned = best["eval_score"] == -best.get("eval_loss", float("nan"))
        name, value = ("best held-out loss", best["eval_loss"]) if turned else ("best held-out score", best["eval_score"])
        cards.append((name, shown(value), f"at step {best['step']:,}, kept in best/"))
    cards.append(("steps", f"{report['steps']:,}", ""))
    cards.append(("duration", duration(report["seconds"]), ""))
    if report["samples_per_s"] is not None:
        cards.append(("samples a second", shown(report["samples_per_s"]), "while it learned"))
    return "".join(
        f'<div class="block"><small>{name}</small><strong>{value}</strong><small>{below}</small></div>' for name, value, below in cards
    )


def _curve(directory: Path) -> str:
    path = directory / "loss.png"
    if not path.exists():
        return ""
    address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    return _block("Loss", f'<img class="curve" alt="loss over steps" src="{address}">')


def _samples(directory: Path) -> str:
    """What was said last of the fixed pictures."""
    known = read_samples(directory)
    if not known["columns"] or not (directory / SAMPLES_PAGE).exists():
        return ""
    last = known["columns"][-1]
    figures = []
    for row, answer in zip(known["rows"], last["answers"], strict=True):
        wanted = f"<small>wanted: {html.escape(row['expected'])}</small>" if row["expected"] else ""
        figures.append(
            f'<figure><img src="{row["picture"]}" alt=""><small>{html.escape(row["question"])}</small>'
            f"<figcaption>{answer_as_html(answer)}</figcaption>{wanted}</figure>"
        )
    link = f'<p><a href="{SAMPLES_PAGE}">Answers at every step</a></p>'
    return _block(f"Answers at step {last['step']:,}", f'<div class="samples">{"".join(figures)}</div>{link}')


def _block(title: str, inner: str) -> str:
    return f'<article class="block"><h2>{html.escape(title)}</h2>{inner}</article>'


def _named(figures: dict[str, float]) -> dict[str, str]:
    return {name.replace("_", " "): shown(value) for name, value in figures.items()}


def _table(rows: dict[str, Any]) -> str:
    texts = [(html.escape(name), html.escape(shown(value))) for name, value in rows.items()]
    lines = "".join(f'<tr><th scope="row">{name}</th><td>{text}</td></tr>' for name, text in texts)
    return f"<table><tbody>{lines}</tbody></table>"


def shown(value: Any) -> str:
    """A value of a report as text; numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """ "2 hours 5 minutes", in the largest unit and the next smaller one."""
    if seconds < 1:
        return "less than a second"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute"), (left, "second")]
    first = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}{'s' if amount != 1 else ''}" for amount, unit in parts[first : first + 2] if amount)

"""A conversation to read elsewhere: as Markdown and as one HTML file, its pictures inside. Nothing is fetched when they are opened.

What visitors and models wrote is shown, never interpreted as HTML; the HTML file has a content security policy besides.
"""

import dataclasses
import hashlib
import html
import re

from .conversation import FAILED, STOPPED
from .html_as_text import answer_markdown, defuse
from .transcript import Transcript, TranscriptExchange, TranscriptPicture

_FENCED = re.compile(r"^(`{3,})[^`\n]*\n(.*?)(?:^\1`*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem; font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.35rem; overflow-wrap: anywhere; }
header p, .note, details { font-size: .85rem; opacity: .75; }
.question { margin: 1.5rem 0 .5rem auto; padding: .6rem .9rem; border-radius: 1rem; background: #14b8a622; }
.question { width: fit-content; max-width: 88%; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; justify-content: flex-end; margin-top: 1.5rem; }
.pictures img { max-width: min(20rem, 100%); max-height: 16rem; border-radius: .75rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }
pre { overflow-x: auto; padding: .75rem; border-radius: .5rem; background: #8881; }
"""


def render_markdown(transcript: Transcript) -> str:
    """The conversation as Markdown. The pictures' data stand at the end, so that the text can be read as it is."""
    blocks = [f"# {_one_line(defuse(transcript.title))}", _one_line(defuse(_caption(transcript)))]
    data = {}
    for exchange in transcript.exchanges:
        for number, picture in enumerate(exchange.pictures, start=1):
            # Not numbered: a text that defines `picture-1` as some web address would replace the picture.
            label = f"picture-{hashlib.sha256(picture.data).hexdigest()[:16]}"
            data[label] = picture.data_url
            alt = re.sub(r"[\[\]\\]", "", _alt(picture, number, len(exchange.pictures)))
            blocks.append(f"![{_one_line(defuse(alt))}][{label}]")
        blocks.append("\n".join(f"> {line}".rstrip() for line in defuse(exchange.question).splitlines() or [""]))
        blocks.append(answer_markdown(exchange.answer) or "*No answer.*")
        if remark := _remark(exchange):
            blocks.append(f"*{_one_line(defuse(remark)).replace('*', '')}*")
        if exchange.settings is not None:
            blocks.append(f"`{_settings(exchange)}`")
    blocks += [f"[{label}]: {url}" for label, url in data.items()]
    return "\n\n".join(blocks) + "\n"


def render_html(transcript: Transcript) -> str:
    """The conversation as one HTML file that needs nothing else."""
    title = html.escape(transcript.title)
    parts = []
    for exchange in transcript.exchanges:
        count = len(exchange.pictures)
        pictures = "".join(
            f'<img src="{html.escape(picture.data_url)}" alt="{html.escape(_alt(picture, number, count))}">'
            for number, picture in enumerate(exchange.pictures, start=1)
        )
        parts.append(
            "<section>"
            + (f'<div class="pictures">{pictures}</div>' if pictures else "")
            + f'<div class="question"><div class="text">{html.escape(exchange.question)}</div></div>'
            + f'<div class="answer">{_answer_html(exchange.answer)}</div>'
            + (f'<p class="note">{html.escape(_remark(exchange))}</p>' if _remark(exchange) else "")
            + (
                f"<details><summary>Settings</summary><code>{html.escape(_settings(exchange))}</code></details>"
                if exchange.settings
                else ""
            )
            + "</section>"
        )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{title}</h1><p>{html.escape(_caption(transcript))}</p></header>
<main>
{chr(10).join(parts)}
</main>
</body>
</html>
"""


def _answer_html(answer: str) -> str:
    """Text as it was written, and what stands between fences as code."""
    pieces, end = [], 0
    for fenced in _FENCED.finditer(answer):
        pieces += [_text_html(answer[end : fenced.start()]), f"<pre><code>{html.escape(fenced.group(2))}</code></pre>"]
        end = fenced.end()
    return "".join([*pieces, _text_html(answer[end:])])


def _text_html(text: str) -> str:
    return f'<div class="text">{html.escape(text.strip())}</div>' if text.strip() else ""


def _caption(transcript: Transcript) -> str:
    return f"Answered by {transcript.model}, saved {transcript.saved[:16].replace('T', ' ')}. The answers may be wrong."


def _alt(picture: TranscriptPicture, number: int, count: int) -> str:
    which = f"Picture {number} of {count}" if count > 1 else "Picture"
    return f"{which}: {picture.name}, {picture.width} by {picture.height} pixels"


def _remark(exchange: TranscriptExchange) -> str:
    if exchange.state == STOPPED:
        return "Stopped."
    return f"Broken off: {exchange.note}" if exchange.state == FAILED else ""


def _settings(exchange: TranscriptExchange) -> str:
    return ", ".join(f"{name}={value}" for name, value in dataclasses.asdict(exchange.settings).items() if value is not None)


def _one_line(text: str) -> str:
    return " ".join(text.split())

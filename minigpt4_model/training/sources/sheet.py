"""A page of pictures with the words that go with them, in one file: people would rather look than read."""

import html
from collections.abc import Sequence
from pathlib import Path

from ...weights.cache import write_atomically
from ..page import build_page, data_address
from .sample import Sample

_STYLE = """
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 16px; padding-bottom: 48px; }
figure.block { margin: 0; overflow-wrap: anywhere; }
figure img { max-width: 100%; border-radius: 8px; }
figure p { margin: 4px 0; }
"""


def write_sheet(path: Path, title: str, samples: Sequence[Sample]) -> None:
    """Writes the page for samples whose pictures are open. Needs nothing beside it and loads nothing."""
    figures = "\n".join(map(_figure, samples))
    write_atomically(path, build_page(title, f"samples shown: {len(samples)}", f"<main>\n{figures}\n</main>", _STYLE).encode())


def _figure(sample: Sample) -> str:
    out = []
    for message in sample.messages:
        speaker = f"{message['role']}: " if len(sample.messages) > 2 else ""  # a caption needs no speaker
        for part in message["content"]:
            if part["type"] == "image":
                out.append(f'<img alt="" src="{data_address(part["image"].image)}">')
            else:
                out.append(f"<p>{html.escape(speaker + part['text'])}</p>")
    return f'<figure class="block">{"".join(out)}<small>{html.escape(sample.key)}</small></figure>'

"""A page of pictures with the words that go with them, in one file: people would rather look than read."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from ...weights.cache import write_atomically
from .sample import Sample

_SIDE = 224
_STYLE = """body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color-scheme:light dark}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1.5rem}
figure{margin:0;overflow-wrap:anywhere}img{max-width:100%;border-radius:4px}small{opacity:.6}p{margin:.3rem 0}"""


def write_sheet(path: Path, title: str, samples: Sequence[Sample]) -> None:
    """Writes the page for samples whose pictures are open. Needs nothing beside it and loads nothing."""
    figures = "\n".join(map(_figure, samples))
    name = html.escape(title)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_STYLE}</style><h1>{name}</h1><main>\n{figures}\n</main></html>\n"
    )
    write_atomically(path, page.encode())


def _figure(sample: Sample) -> str:
    out = []
    for message in sample.messages:
        speaker = f"{message['role']}: " if len(sample.messages) > 2 else ""  # a caption needs no speaker
        for part in message["content"]:
            if part["type"] == "image":
                out.append(f'<img alt="" src="data:image/jpeg;base64,{_thumbnail(part["image"].image)}">')
            else:
                out.append(f"<p>{html.escape(speaker + part['text'])}</p>")
    return f"<figure>{''.join(out)}<small>{html.escape(sample.key)}</small></figure>"


def _thumbnail(image) -> str:
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()

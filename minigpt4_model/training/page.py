"""The look of every page of HTML that is written to a file: light and dark, wide and narrow, complete in itself.

A page holds its style, script and pictures, so it can be sent by mail; nothing is fetched when it is opened.
"""

import base64
import html
import io
from pathlib import Path

import PIL.Image

_SIDE = 224
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def build_page(title: str, about: str, body: str, style: str = "", script: str = "") -> str:
    """A whole page. `title` is text; `about`, the line below it, and `body` are HTML whose texts are escaped."""
    policy = _POLICY + ("; script-src 'unsafe-inline'" if script else "")
    name, base = html.escape(title), Path(__file__).with_name("page.css").read_text("utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{name}</title>
<style>{base}{style}</style>
</head>
<body>
<header><h1>{name}</h1><p>{about}</p></header>
{body}
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""


def data_address(picture: PIL.Image.Image) -> str:
    """The picture, made small, as an address that holds it."""
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()

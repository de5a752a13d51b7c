"""The HTML in an answer, and a frame that shows it shut off from the page and from the network. Knows nothing of Gradio.

Links lead nowhere, and there are three walls, each enough by itself for most of what they keep out: the frame's sandbox allows nothing
(no scripts, forms, windows, moving of the page; an origin of its own), the document's content security policy lets it load nothing but
what is written inside it, and the page's own policy (`serving.headers`, `frame-src 'none'`) keeps the frame from going anywhere else.
"""

import html
import re

POLICY = "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"

_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*html?[ \t]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_BLOCKS = "html|body|main|header|nav|section|article|form|table|div|h1|h2|ul|figure|svg|style"
_BARE = re.compile(rf"<!doctype html|<(?:{_BLOCKS})\b[^<>]*>", re.IGNORECASE)
# What leads or may lead somewhere, and frames inside the frame, lose their names: for these a browser opens a connection before any policy
# is asked. Neither an attribute's name nor a tag's can be written in any other way, so nothing has to be parsed for this.
_LEADS = re.compile(
    r"(?P<name>href|attributename)(?=\s*=)|(?P<tag></?)(?=(?:i?frame|frameset|fencedframe|object|embed|portal)\b)", re.IGNORECASE
)
_BRACES = str.maketrans({sign: f"&#{ord(sign)};" for sign in "{}$`\\"})


def find_html(answer: str) -> str:
    """The last block of HTML in `answer`: fenced, or from the first tag of a page's skeleton to the last tag. "" if there is none."""
    fenced = _FENCED.findall(answer)
    if fenced:
        return fenced[-1][1].strip()
    begins = _BARE.search(answer)
    if begins is None or "</" not in answer[begins.start() :]:
        return ""
    return answer[begins.start() : answer.rindex(">") + 1].strip()


def preview_frame(code: str, title: str) -> str:
    """An `iframe` with `code` in it, for a place where HTML is rendered; `title` is what screen readers call it."""
    inert = _LEADS.sub(lambda found: f"{found['tag']}no-" if found["tag"] else f"no-{found['name']}", code)
    document = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta http-equiv="x-dns-prefetch-control" content="off"><meta name="referrer" content="no-referrer">'
        "<style>:root{color-scheme:light;background:#fff;font-family:system-ui,sans-serif}"
        f":where(a){{color:#0b57d0;text-decoration:underline}}</style>{inert}"
    )
    # Whatever fills templates in the browser must find nothing to fill.
    return f'<iframe sandbox="" referrerpolicy="no-referrer" title="{_escape(title)}" srcdoc="{_escape(document)}"></iframe>'


def fix_request(code: str, wish: str) -> str:
    """The question that asks for `code` to be mended. `wish` says in what; "" leaves it to the model."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    wanted = wish.strip() or "Find what is wrong with it and mend it."
    return f"This is the page's code now:\n{fence}html\n{code.strip()}\n{fence}\n{wanted} Answer with the whole code."


def _escape(text: str) -> str:
    return html.escape(text).translate(_BRACES)

"""Markdown in which HTML is text: shown as it was typed, never rendered. Code that certainly is code stays as it is, to be copied.

Where code begins and ends in Markdown depends on lists, quotes and paragraphs over many lines, and what the page's renderer makes
of them. This module does not parse all that: it leaves alone only what is code under every reading, and defuses the rest. Code
that is defused looks the same, but holds an invisible character when it is copied.
"""

import re

# Invisible and without width: after `<`, `&` or `!` it keeps Markdown from seeing a tag, an entity or an embedded picture,
# and unlike an entity it looks right in the box where a question is edited.
_BREAK = "\u200b"
_LIVE = re.compile(r"<(?=[A-Za-z/!?])|&(?=[#A-Za-z])|!(?=\[)")
_EMBEDDED = re.compile(r"!\[([^\[\]\n]*)\](?=[(\[])")
_WHOLE_PAGE = re.compile(r"^\s*(<!doctype html|<html)\b", re.IGNORECASE)

# A fence: its indentation and its mark. Further to the right it belongs to a list, to a quote or to no code at all.
_FENCE = re.compile(r"^( {0,3})(`{3,}(?=[^`]*$)|~{3,})")
_FENCE_ELSEWHERE = re.compile(r"^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t>]+)*(?:```|~~~)")
_CODE_SPAN = re.compile(r"(?<![`\\])`[^`\n]+`(?!`)")
# The renderer takes the backtick for a part of the address.
_ADDRESS_WITH_BACKTICK = re.compile(r"(?:://|www\.)[^\s<]*`", re.IGNORECASE)
_TABLE_RULE = re.compile(r"^[ \t>|:\-+*\d.)]*-[ \t>|:-]*$")
# Formulas and the definitions of links reach over blank lines, formulas even over fences.
_FAR_REACHING = re.compile(r"\$\$|`[^\]]*\]:")


def defuse(text: str) -> str:
    """`text` with tags, entities and embedded pictures shown as they were typed. `undefuse` is the way back."""
    text = _EMBEDDED.sub(lambda found: f"![{found.group(1)}]{_BREAK}", text)
    return _LIVE.sub(lambda found: found.group() + _BREAK, text)


def undefuse(text: str) -> str:
    """What a visitor meant by a text that `defuse` may have been through."""
    return text.replace(_BREAK, "")


def answer_markdown(text: str) -> str:
    """An answer as Markdown in which HTML is text: left alone inside code, defused elsewhere; a whole HTML page becomes a code block."""
    if _WHOLE_PAGE.match(text):
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        return f"{fence}html\n{text.strip()}\n{fence}"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    shown: list[str] = []
    paragraph: list[str] = []
    sure = True  # that no fence may be open which the loop has not seen
    while len(shown) + len(paragraph) < len(lines):
        position = len(shown) + len(paragraph)
        line = lines[position]
        fence = _FENCE.match(line)
        if fence and not fence.group(1):
            sure = True  # at the very left it ends every list and quote, and with them their fences
        # With a `|` it may be the head of a table.
        end = _end_of_fence(lines, position, fence) if fence and sure and "|" not in line else None
        if _FAR_REACHING.search(line) or (fence and end is None):
            return "\n".join([*shown, *_defuse_outside_spans(paragraph), *map(defuse, lines[position:])])
        if end is not None:
            shown += [*_defuse_outside_spans(paragraph), defuse(line), *lines[position + 1 : end]]
            paragraph = []
        elif line.strip(" "):
            if line[0] not in " \t":
                sure = True
            sure = sure and not _FENCE_ELSEWHERE.match(line)
            paragraph.append(line)
        else:
            shown += [*_defuse_outside_spans(paragraph), line]
            paragraph = []
    return "\n".join([*shown, *_defuse_outside_spans(paragraph)])


def close_code(markdown: str) -> str:
    """`markdown` with the code closed that is still open at its end, so that what follows is none."""
    mark = ""
    for line in markdown.split("\n"):
        fence, closing = _FENCE.match(line), line.strip()
        if mark and closing.startswith(mark) and not closing.strip(mark[0]):
            mark = ""
        elif fence and not mark:
            mark = fence.group(2)
    return f"{markdown}\n{mark}" if mark else markdown


def _end_of_fence(lines: list[str], start: int, fence: re.Match) -> int | None:
    """The line after the code that begins with `fence` in line `start`, or None if that depends on what the fence is inside of.

    An indented fence may belong to a list, or not: it is sure only while no line is less indented, and if it is closed just as far
    to the right as it began.
    """
    indentation, mark = fence.groups()
    for position in range(start + 1, len(lines)):
        line = lines[position]
        closing = line.strip(" \t")
        within = line[: len(line) - len(line.lstrip(" \t"))]
        if closing.startswith(mark) and not closing.strip("`~"):
            closes = line.rstrip(" ") == within + mark[0] * len(closing)
            if closes and (within == indentation or within in (" ", "  ", "   ") and not indentation):
                return position + 1
            if indentation or not within.startswith("    "):
                return None
        elif indentation and line.strip(" ") and ("\t" in within or not line.startswith(indentation)):
            return None
    return len(lines)


def _defuse_outside_spans(paragraph: list[str]) -> list[str]:
    """The lines of a paragraph. Spans are left alone only if every line has its own: then no backtick can pair across lines."""
    table = any("|" in line and _TABLE_RULE.match(line) for line in paragraph)
    # A link may take a backtick for a part of its name or of its address, struck out text may end inside a span.
    certain = not any(mark in line for mark in "[~" for line in paragraph) and all(_pairs_up(line, table) for line in paragraph)
    return [_defuse_around(line) if certain else defuse(line) for line in paragraph]


def _pairs_up(line: str, table: bool) -> bool:
    """Whether every backtick of `line` belongs to a span in it. In a table a `|` ends a cell even inside a span."""
    if _ADDRESS_WITH_BACKTICK.search(line) or table and any("|" in span.group() for span in _CODE_SPAN.finditer(line)):
        return False
    return "`" not in _CODE_SPAN.sub("", line)


def _defuse_around(line: str) -> str:
    pieces, end = [], 0
    for span in _CODE_SPAN.finditer(line):
        pieces += [defuse(line[end : span.start()]), span.group()]
        end = span.end()
    return "".join([*pieces, defuse(line[end:])])

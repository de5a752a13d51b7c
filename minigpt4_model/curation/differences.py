"""What changed between two versions of a text, word by word, as HTML: taken out words struck, new ones underlined, both coloured."""

import html
import re
from difflib import SequenceMatcher

# Words with the blank behind them, so that a change is whole words; of scripts without blanks each character.
_PIECES = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:['’-]\w+)*\s*|\s+|[^\w\s]\s*"
)


def difference_html(before: str, after: str) -> str:
    """`after`, with what it has that `before` has not in <ins>, and what it lost in <del>."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    matcher = SequenceMatcher(None, [piece.strip() for piece in old], [piece.strip() for piece in new], autojunk=False)
    out = []
    for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            # The blank before what was taken out from the end is the old version's.
            pairs = zip(old[old_start:old_end], new[new_start:new_end], strict=True)
            out.append(html.escape("".join(max(pair, key=len) for pair in pairs)))
            continue
        for tag, pieces in (("del", old[old_start:old_end]), ("ins", new[new_start:new_end])):
            if pieces:
                words = "".join(pieces)
                blank = words[len(words.rstrip()) :]
                out.append(f"<{tag}>{html.escape(words.rstrip())}</{tag}>{html.escape(blank)}")
    return "".join(out)


def count_changes(before: str, after: str) -> tuple[int, int]:
    """How many words were taken out and how many are new."""
    shown = difference_html(before, after)
    return tuple(sum(len(words.split()) for words in re.findall(f"<{tag}>(.*?)</{tag}>", shown, re.DOTALL)) for tag in ("del", "ins"))

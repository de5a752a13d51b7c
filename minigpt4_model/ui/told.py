"""What the layers below the page tell a person (notices, refusals), in the person's language.

They speak English and know of no languages. `texts/told/LANGUAGE.json` says their sentences otherwise: each key is the English sentence
with {names} where something stands that differs, each value the translation with the same names. What is not there is told in English.
"""

import json
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "texts" / "told"


def tell(language: str, text: str) -> str:
    """`text`, one or more sentences of the layers below, in `language`."""
    for pattern, translation in _sentences(language):
        if found := pattern.fullmatch(text):
            values = found.groupdict()
            rest = values.pop("_rest")
            said = translation.format(**values)
            return f"{said} {tell(language, rest)}" if rest else said
    return text


@cache
def load_told(language: str) -> dict[str, str]:
    """English sentence -> its translation; empty for English and for a language without a file."""
    path = FOLDER / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@cache
def _sentences(language: str) -> list[tuple[re.Pattern[str], str]]:
    """What a text may begin with, and its translation. The longest sentences come first, since a shorter may be a part of one."""
    told = sorted(load_told(language).items(), key=lambda item: -len(re.sub(r"{\w+}", "", item[0])))
    return [(_pattern(english), translation) for english, translation in told]


def _pattern(english: str) -> re.Pattern[str]:
    fixed_and_names = re.split(r"{(\w+)}", english)
    parts = [f"(?P<{part}>.+?)" if index % 2 else re.escape(part) for index, part in enumerate(fixed_and_names)]
    return re.compile("".join(parts) + r"(?:\s+(?P<_rest>.+))?", re.DOTALL)

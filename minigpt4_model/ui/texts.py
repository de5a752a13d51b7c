"""The page's words in each language: one JSON file per language in `texts/`, named by its code (`en.json`, `zh-CN.json`).

To add a language, copy `en.json`, translate the values and keep what is in {braces}; what a file lacks is said in English. To add a
text, add a key to `en.json` and say it in one of two ways:

- `label(key)` for a component's label, info, placeholder or a button's text: Gradio translates it in the visitor's browser, the first
  one in a string;
- `text_html(key)` inside HTML, where there may be several: `page.js` translates it (and finds its own words by `minigpt4.word(key)`);
- `say(language, key, **values)` for what an action makes while the page runs (status line, HTML); `language_of(request)` is the visitor's.

The settings' English words are their fields' own, those of presets are in `presets`: keys are `setting.FIELD.label`,
`setting.FIELD.info` and `preset.NAME.good_for`.
"""

import dataclasses
import html
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..chat.settings import GenerationSettings
from ..presets import PRESETS

if TYPE_CHECKING:
    import gradio as gr

FOLDER = Path(__file__).parent / "texts"
ENGLISH = "en"


@cache
def load_texts(folder: Path = FOLDER) -> dict[str, dict[str, str]]:
    """Language code -> key -> text, English first; every language has every key."""
    given = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    english = given.pop(ENGLISH)
    for option in dataclasses.fields(GenerationSettings):
        english |= {f"setting.{option.name}.{part}": option.metadata[part] for part in ("label", "info")}
    english |= {f"preset.{preset.name}.good_for": preset.good_for for preset in PRESETS.values()}
    return {ENGLISH: english, **{language: {**english, **texts} for language, texts in given.items()}}


@cache
def build_i18n() -> "gr.I18n":
    """The texts for `gr.mount_gradio_app(i18n=...)`."""
    import gradio as gr

    texts = load_texts()
    # A browser that asks for zh-TW or zh gets zh-CN.
    general = {language.split("-")[0]: words for language, words in texts.items()}
    return gr.I18n(**{**general, **texts})


def label(key: str) -> "gr.I18nData":
    """The text of `key`, translated in the visitor's browser. Raises `KeyError` for a key that is not in `en.json`."""
    load_texts()[ENGLISH][key]
    return build_i18n()(key)


def text_html(key: str) -> str:
    """The text of `key` as HTML that is translated in the visitor's browser. Raises `KeyError` for an unknown key."""
    return f'<span data-text="{html.escape(key)}">{html.escape(load_texts()[ENGLISH][key])}</span>'


def say(language: str, key: str, **values) -> str:
    """The text of `key` in `language`, with `values` in place of its {braces}. Raises `KeyError` for an unknown key."""
    texts = load_texts()
    return texts.get(language, texts[ENGLISH])[key].format(**values)


def language_of(request: "gr.Request | None") -> str:
    """The first language that the visitor's browser asks for and `texts/` has; English otherwise."""
    headers: Mapping[str, str] = getattr(request, "headers", None) or {}
    wanted = []
    for part in headers.get("accept-language", "").split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), len(wanted), tag.lower()))
        except ValueError:
            continue
    for _, _, tag in sorted(wanted):
        for language in load_texts():
            if tag == language.lower() or tag.split("-")[0] == language.lower().split("-")[0]:
                return language
    return ENGLISH

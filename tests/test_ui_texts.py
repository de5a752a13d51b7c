"""The page's words: every language says what it says of keys that exist, with the same {braces}; the visitor's is found."""

import json
import re
from types import SimpleNamespace

import pytest

from minigpt4_model.ui.texts import ENGLISH, FOLDER, build_i18n, label, language_of, load_texts, say, text_html

OTHERS = [path for path in sorted(FOLDER.glob("*.json")) if path.stem != ENGLISH]
# A preset's or a setting's words have their English elsewhere.
KEYS = set(json.loads((FOLDER / "en.json").read_text()))


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_a_language_says_everything_and_nothing_else(path):
    english, given = load_texts()[ENGLISH], json.loads(path.read_text(encoding="utf-8"))
    assert set(given) <= set(english)
    assert KEYS - set(given) == set()
    for key, text in given.items():
        assert set(re.findall(r"{(\w+)", text)) == set(re.findall(r"{(\w+)", english[key])), key


def test_a_key_that_a_language_lacks_is_said_in_english(tmp_path):
    (tmp_path / "en.json").write_text('{"a": "one", "b": "two"}')
    (tmp_path / "xx.json").write_text('{"a": "eins"}')
    texts = load_texts(tmp_path)
    assert texts["xx"]["a"] == "eins" and texts["xx"]["b"] == "two" and texts["xx"]["setting.seed.label"] == "Seed"


def test_texts_have_their_values():
    assert say("en", "status.room", count=3) == "There is room for 3 more pictures in this conversation. Begin a new chat for more."
    assert "3" in say("zh-CN", "status.room", count=3) != say("en", "status.room", count=3)
    assert say("tlh", "status.stopped") == "Stopped."
    with pytest.raises(KeyError):
        say("en", "status.unheard_of")
    with pytest.raises(KeyError):
        label("status.unheard_of")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh-TW", "zh-CN"),
        ("zh", "zh-CN"),
        ("fr-FR,en;q=0.3,zh;q=0.9", "zh-CN"),
        ("en-GB,zh;q=0.9", "en"),
        ("de", "en"),
        ("de;q=much, zh", "zh-CN"),
        ("", "en"),
    ],
)
def test_the_visitors_language(header, language):
    assert language_of(SimpleNamespace(headers={"accept-language": header})) == language
    assert language_of(None) == "en"


def test_gradio_and_the_scripts_have_every_language_and_its_general_name():
    texts = build_i18n().translations_dict
    assert texts["zh"] == texts["zh-CN"] == load_texts()["zh-CN"]
    assert texts["en"]["word.close"] == "Close"


def test_a_text_in_html():
    assert text_html("panel.settings") == '<span data-text="panel.settings">Settings</span>'
    with pytest.raises(KeyError):
        text_html("panel.unheard_of")

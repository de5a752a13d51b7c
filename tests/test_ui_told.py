"""Sentences of the layers below are told in the visitor's language; the translations keep up with what those layers say."""

import re
from pathlib import Path

import PIL.Image
import pytest

import minigpt4_model
from minigpt4_model.chat.guards import LEAKED, LOOPED, SWITCHED
from minigpt4_model.chat.picture_checks import refusal, too_large
from minigpt4_model.chat.pictures import PictureError, load_picture
from minigpt4_model.chat.settings import GenerationSettings, SettingsError
from minigpt4_model.serving.limits import RateLimit
from minigpt4_model.ui.told import FOLDER, load_told, tell

LANGUAGES = [path.stem for path in sorted(FOLDER.glob("*.json"))]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in Path(minigpt4_model.__file__).parent.rglob("*.py"))


def said_by(error, act):
    with pytest.raises(error) as raised:
        act()
    return str(raised.value)


def told_by_the_layers_below():
    yield from (LOOPED, LEAKED, SWITCHED)
    for head in (b"%PDF-1.7", b"%!PS", b"<html>", b"PK\x03\x04", b"P6 1 1", b"<svg/>", b"just text", b"\x89PNG\r\n\x1a\n"):
        yield str(refusal(head, "holiday.png"))
    yield str(too_large("holiday.png", (9000, 9000)))
    for size in ((1, 1), (4000, 20)):
        yield said_by(PictureError, lambda size=size: load_picture(PIL.Image.new("RGB", size)))
    yield load_picture(PIL.Image.new("RGB", (900, 100))).notice
    yield said_by(SettingsError, lambda: GenerationSettings(temperature=5.0))
    yield RateLimit(30).refusal(2.0)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sentence", list(told_by_the_layers_below()))
def test_what_is_really_said_is_translated_whole(sentence, language):
    told = tell(language, sentence)
    assert told != sentence and "{" not in told
    assert re.findall(r"\d+", told) == re.findall(r"\d+", sentence)
    assert not {"the", "is", "picture", "must"} & set(re.findall("[a-z]+", told.replace("The picture", "")))  # which has no name


def test_sentences_in_a_row_are_each_translated_and_unknown_ones_stay():
    both = tell("zh-CN", f"{LOOPED} Only the first of its 3 frames is used. Something new.")
    assert both == f"{tell('zh-CN', LOOPED)} 只使用 3 帧中的第一帧。 Something new."
    assert tell("zh-CN", "Something new.") == "Something new."
    assert tell("en", LOOPED) == LOOPED and tell("xx", LOOPED) == LOOPED


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_have_the_names_of_their_sentences_and_no_sentence_is_gone(language):
    for english, translation in load_told(language).items():
        assert set(re.findall(r"{(\w+)}", translation)) <= set(re.findall(r"{(\w+)}", english)), english
        words = max(re.split(r"{\w+}|[.:;,] ", english), key=len).split()
        # Where a sentence is put together of parts, one of them ends or begins within these.
        assert " ".join(words[:4]) in SOURCES or " ".join(words[-4:]).strip(".") in SOURCES, english

"""What the page is told of an answer that was looked back at."""

import json
import math

import PIL.Image
import pytest

from minigpt4_model.chat.backends.base import TokenLogprob
from minigpt4_model.chat.inspection import InspectedToken, Inspection, PictureReading
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.ui.conversation import FINISHED, WAITING, Conversation, Exchange
from minigpt4_model.ui.looked_panel import answered_exchanges, shorten, view_of
from minigpt4_model.ui.stored_pictures import PictureFiles


def inspection(digest: str) -> Inspection:
    likely, unlikely = TokenLogprob(b" cat", math.log(0.5)), TokenLogprob(b" dog", math.log(0.25))
    seen = TokenLogprob(likely.data, likely.logprob, (likely, unlikely))
    habit = TokenLogprob(likely.data, likely.logprob, (likely,))
    other = TokenLogprob(likely.data, math.log(0.1), (unlikely,))
    maps = ((0.25, 0.25, 0.0, 0.25), (0.0, 0.0, 0.5, 0.0))
    return Inspection(
        (
            InspectedToken("A", seen, other),
            InspectedToken(" cat", seen, habit),
            InspectedToken(" the", seen, habit),
            InspectedToken(".", seen, other),
        ),
        tuple(
            PictureReading(name, part, 2, 2, maps, maps, (0.25, 0.5), True)
            for name, part in ((digest, ""), (digest, "top left"), ("gone", ""))
        ),
        "blank",
    )


def test_the_page_is_told_numbers_and_plain_texts(tmp_path):
    picture = load_picture(PIL.Image.new("RGB", (1000, 500), "teal"))
    files = PictureFiles(tmp_path)
    stored = files.place(picture, "x.png")
    files.write(picture, stored)
    told = view_of(inspection(picture.digest), (stored,), "en")
    json.dumps(told)
    assert [(word["text"], word["habit"]) for word in told["words"]] == [("A", False), (" cat", True), (" the", False), (".", False)]
    assert told["tokens"][1]["top"] == [[" cat", 0.5], [" dog", 0.25]] and told["tokens"][0]["blind"] == pytest.approx(0.1)
    whole, part = told["pictures"]  # a picture that is no longer kept is left out
    assert whole["address"].startswith("data:image/webp;base64,") and part["part"] == "top left"
    assert (whole["index"], part["index"]) == (0, 1)
    assert whole["elsewhere"] == pytest.approx(0.375)
    assert "{rows}" in told["texts"]["grid"] and told["texts"]["no-proof"].startswith("This is a hint, not a proof")
    assert view_of(inspection(picture.digest), (stored,), "zh-CN")["texts"]["fade"] == "强度"


def test_only_answers_that_have_ended_are_offered():
    exchanges = [Exchange("a", answer="x", state=FINISHED), Exchange("b", state=FINISHED), Exchange("c", answer="y", state=WAITING)]
    assert [number for number, _ in answered_exchanges(Conversation(exchanges))] == [0]
    assert shorten("what  is\nit") == "what is it" and len(shorten("x" * 100)) == 60

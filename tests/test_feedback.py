"""Votes are kept where the operator says so, whole, one a line."""

import json
from pathlib import Path

import PIL.Image
import pytest

from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.conversation import FINISHED, Exchange
from minigpt4_model.ui.feedback import FeedbackFile
from minigpt4_model.ui.stored_pictures import StoredPicture

PICTURE = StoredPicture(Path("a.png"), Path("a.webp"), 8, 8, load_picture(PIL.Image.new("RGB", (8, 8))))
EXCHANGE = Exchange("What\nis it?", (PICTURE,), "Ein Käfer.", FINISHED, settings=GenerationSettings(seed=7))


def test_a_vote_and_its_comment(tmp_path):
    file = FeedbackFile(tmp_path / "kept" / "votes.jsonl")
    file.add("one", "pocket", EXCHANGE, "bad")
    file.add("one", "pocket", EXCHANGE, "bad", "It is a spider.")
    first, last = [json.loads(line) for line in (tmp_path / "kept" / "votes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert first["comment"] == "" and last.pop("time") >= first.pop("time")
    assert last == {
        **first,
        "id": "one",
        "preset": "pocket",
        "question": "What\nis it?",
        "pictures": [PICTURE.loaded.digest],
        "answer": "Ein Käfer.",
        "rating": "bad",
        "comment": "It is a spider.",
    }
    assert last["settings"]["seed"] == 7


def test_votes_of_an_earlier_run_stay(tmp_path):
    (tmp_path / "votes.jsonl").write_text("{}\n")
    FeedbackFile(tmp_path / "votes.jsonl").add("one", "pocket", EXCHANGE, "good")
    assert len((tmp_path / "votes.jsonl").read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path):
    with pytest.raises(OSError):
        FeedbackFile(tmp_path)

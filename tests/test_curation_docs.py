"""The promises of docs/curation.md and scripts/curate_pocket.sh: their commands are commands, their numbers are true."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.curation import pocket_pictures
from minigpt4_model.curation.clean import ALL_RULES
from minigpt4_model.curation.curate import build_parser
from minigpt4_model.curation.describe import MIN_TOKENS
from minigpt4_model.curation.pictures import MAX_SIDE
from minigpt4_model.training.pocket.snapshots import Photograph

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "curation.md").read_text("utf-8")
SCRIPT = (ROOT / "scripts" / "curate_pocket.sh").read_text("utf-8").replace("\\\n", " ")


def commands() -> list[list[str]]:
    shown = re.findall(r"^\s*(?:\$curate|curate) (.+)$", DOCUMENT + SCRIPT, re.MULTILINE)
    shown += re.findall(r"`\$curate ([^`]+)`", DOCUMENT)
    lines = [line.replace('"${model[@]}"', "--preset pocket").replace("$BASE_URL", "http://x/v1") for line in shown]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_commands(words):
    if words[-1] == "--help":
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args(words)
        assert ended.value.code == 0
        return
    args = build_parser().parse_args(words)
    args.parser.error = pytest.fail
    __import__(f"minigpt4_model.curation.{args.step}", fromlist=["x"]).check_arguments(args.parser, args)


def test_numbers_are_true():
    assert len(commands()) > 15
    assert len(ALL_RULES) == 19 and "Nineteen rules" in DOCUMENT
    assert f"fewer than {MIN_TOKENS} tokens" in DOCUMENT and f"at most {MAX_SIDE:,} pixels" in DOCUMENT
    extra = re.search(r"^curate = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert extra.replace(", ", " ") in DOCUMENT


def test_pictures_of_the_corpus_lie_in_folders_of_their_licences(tmp_path, monkeypatch, capsys):
    class Pictures:
        def __init__(self, count):
            self.count = count

        def compose(self, index):
            assert index < self.count
            return np.full((4, 4, 3), index % 250, np.uint8), None

    PIL.Image.new("RGBA", (5, 5), (0, 0, 0, 0)).save(tmp_path / "cut.png")
    PIL.Image.new("RGB", (6, 6), "red").save(tmp_path / "red.png")
    shown = [
        Photograph(tmp_path / name, "x", ("x",), "k", licence, "Ann", "http://s")
        for name, licence in (("cut.png", "CC0-1.0"), ("red.png", "Public domain"))
    ]
    monkeypatch.setattr(pocket_pictures, "PocketPictures", Pictures)
    monkeypatch.setattr(pocket_pictures, "load_photographs", lambda: shown)
    assert pocket_pictures.main(["--output", str(tmp_path / "out"), "--drawings", "3", "--photographs", "9"]) == 0
    assert len(list((tmp_path / "out" / "drawings").iterdir())) == 3
    folders = {path.parent.name for path in (tmp_path / "out" / "photographs").glob("*/*.jpg")}
    assert folders == {"CC0-1.0", "Public-domain"} and '"CC0-1.0": 1' in capsys.readouterr().out
    with PIL.Image.open(next((tmp_path / "out" / "photographs" / "CC0-1.0").iterdir())) as picture:
        assert picture.getpixel((2, 2)) == (255, 255, 255)  # what is transparent stands on white
    lines = (tmp_path / "out" / "photographs" / "ATTRIBUTION.jsonl").read_text().splitlines()
    assert {json.loads(line)["author"] for line in lines} == {"Ann"} and len(lines) == 2

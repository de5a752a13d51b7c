"""What docs/datasets.md promises: every `--data` in it can be read, and the example of one's own pictures works as it stands."""

import re
from pathlib import Path

import pytest

from minigpt4_model.training.sources import open_source, parse_data_spec
from minigpt4_model.training.sources.spec import KINDS, SYNTAX

from .test_sources import picture

DOCUMENT = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text("utf-8")
SPECS = sorted(set(re.findall(r"--data ([^\s`\[]+)", DOCUMENT)))


@pytest.mark.parametrize("text", SPECS)
def test_specs_are_readable(text):
    assert parse_data_spec(text).path.startswith("data/")


def test_there_are_specs_and_all_kinds_are_told():
    assert len(SPECS) >= 6 and f"--data {SYNTAX}" in DOCUMENT
    assert all(f"| `{kind}` |" in DOCUMENT for kind in KINDS)


def test_ones_own_pictures(tmp_path):
    table = re.search(r"data/mine/captions.csv\n((?:    .*\n)+)", DOCUMENT)[1]
    (tmp_path / "captions.csv").write_text(re.sub(r"(?m)^    ", "", table))
    (tmp_path / "photos").mkdir()
    for name in ("harbour.jpg", "cat.png"):
        (tmp_path / "photos" / name).write_bytes(picture())
    source = open_source(parse_data_spec(str(tmp_path)))
    answers = [source[index].messages[-1]["content"][0]["text"] for index in range(2)]
    assert answers == ["three fishing boats in a harbour, seen from the quay", "a grey cat asleep on a keyboard"]

"""What is exported: the right items, on the right side, in layouts that training reads as they are, with a true card."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.curation import export, layouts
from minigpt4_model.curation.curate import main
from minigpt4_model.curation.decisions import accept, drop
from minigpt4_model.curation.pictures import take_pictures
from minigpt4_model.curation.project import Project, add_text, recorded_run
from minigpt4_model.curation.selection import select
from minigpt4_model.curation.worklist import Wish, show
from minigpt4_model.training import train
from minigpt4_model.training.sources import open_source, parse_data_spec
from minigpt4_model.training.sources.sample import open_pictures
from tests.curation_project import build_project, description
from tests.tiny_models import build_tiny_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path):
    """Ten items: 1 kept although marked, 2 edited, 3 dropped, 4 disputed, 5 marked; the others are fine and nobody has judged them."""
    project = build_project(tmp_path, 10, corrected=True)
    with project.writing() as connection:
        for item in (1, 5):
            add_text(connection, item, "refine", "mender", description(item) + " See http://x.y/z.", item * 2)
    assert main(["clean", "--project", str(project.folder)]) == 0
    judge(project, "anna", 1)
    judge(project, "anna", 2, "A person's own | words.")
    judge(project, "anna", 3, None)
    judge(project, "anna", 4)
    judge(project, "ben", 4, None)
    judge(project, "ben", 1)
    return project


def judge(project, annotator, item, text=""):
    """Keeps the item; with a text, edits it; with None, drops it."""
    shown = show(project, annotator, item, Wish(overlap=1.0))
    if text is None:
        drop(project, annotator, shown.view)
    else:
        accept(project, annotator, shown.view, text or shown.text)


def run(project, output, *flags) -> int:
    return main(["export", "--project", str(project.folder), "--output", str(output), *flags])


def captions(folder: Path, spec: str = "{}") -> list[str]:
    source = open_source(parse_data_spec(spec.format(folder)))
    samples = [open_pictures(source[index]) for index in range(len(source))]
    assert all(min(picture.image.size) >= 30 for sample in samples for picture in sample.pictures)
    return [sample.messages[-1]["content"][0]["text"] for sample in samples]


# --- what goes in


def test_people_come_before_rules_and_rules_before_nothing(project):
    selection = select(project, 0.0)
    assert [one.item for one in selection.train] == [1, 2, 6, 7, 8, 9, 10]
    assert dict(selection.left_out) == {
        "dropped by people": 1,
        "people are at odds about it": 1,
        "marked by a rule, and nobody has judged it": 1,
    }
    assert selection.train[1].text == "A person's own | words."
    assert [step for step, _ in selection.train[1].history] == ["describe", "refine", "edit"]
    assert [one.item for one in select(project, 0.0, only_checked=True).train] == [1, 2]
    assert 5 in [one.item for one in select(project, 0.0, allowed_rules=["links"]).train]


def test_a_side_is_the_pictures_own(tmp_path):
    project = build_project(tmp_path, 60)
    sides = {one.digest: one.held_out for one in select(project, 0.3).chosen}
    assert 8 <= sum(sides.values()) <= 30
    more = build_project(tmp_path / "more", 80)  # with twenty pictures more, and everything else the same
    others = {one.digest: one.held_out for one in select(more, 0.3).chosen}
    assert {digest: others[digest] for digest in sides} == sides
    larger = {one.digest: one.held_out for one in select(project, 0.6).chosen}
    assert all(larger[digest] for digest, held_out in sides.items() if held_out)


def test_pictures_that_look_the_same_are_on_one_side(tmp_path):
    project = Project(tmp_path / "p", create=True)
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(40):
        picture = PIL.Image.fromarray(noise.integers(40, 216, (3, 3, 3), dtype=np.uint8)).resize((200, 200))
        picture.save(folder / f"{number:02}.png")
        picture.resize((90, 90)).save(folder / f"{number:02}-small.jpg", quality=80)
    take_pictures(project, str(folder))
    with project.writing() as connection:
        for item in [row["id"] for row in connection.execute("SELECT id FROM items")]:
            add_text(connection, item, "given", "source", description(item))
    sides = {}
    for one in select(project, 0.5).chosen:
        sides.setdefault(one.places[0].split(": ")[1][:2], set()).add(one.held_out)
    assert len(sides) == 40 and all(len(side) == 1 for side in sides.values()) and {True, False} == set().union(*sides.values())


# --- what is written


@pytest.mark.parametrize("layout", list(layouts.LAYOUTS))
def test_every_layout_is_read_as_it_is(project, tmp_path, layout, capsys):
    output = tmp_path / "set"
    assert run(project, output, "--format", layout, "--held-out", "0.4") == 0
    told = capsys.readouterr()
    selection = select(project, 0.4)
    assert captions(output) == [one.text for one in selection.train]
    assert captions(output / "held_out") == [one.text for one in selection.held_out] != []
    assert f"bash scripts/train_stage2.sh --data {output} --eval-data {output / 'held_out'}" in told.out
    assert "1 left out: dropped by people" in told.err
    provenance = json.loads((output / "provenance.json").read_text())["items"]
    assert provenance[1]["history"][-1] == {"step": "edit", "author": "person:anna"} and provenance[0]["marks"] == ["links"]


def test_the_official_layout_is_the_originals(project, tmp_path):
    run(project, tmp_path / "set", "--held-out", "0")
    annotations = json.loads((tmp_path / "set" / "filter_cap.json").read_text())["annotations"]
    assert annotations[1] == {"image_id": "2", "caption": "A person's own | words."}
    assert sorted(path.name for path in (tmp_path / "set" / "image").iterdir()) == sorted(f"{one['image_id']}.jpg" for one in annotations)
    assert not (tmp_path / "set" / "held_out").exists()


def test_llavas_questions_are_stage_2s_and_stay(project, tmp_path):
    for name in ("one", "two"):
        run(project, tmp_path / name, "--format", "llava")
    one, two = (json.loads((tmp_path / name / "conversations.json").read_text()) for name in ("one", "two"))
    assert one == two and one[0]["conversations"][0]["value"].startswith("<image>\n")
    asked = {record["conversations"][0]["value"].removeprefix("<image>\n") for record in one}
    assert asked <= {line.split("> ")[-1] for line in (ROOT / "prompts" / "alignment.txt").read_text().splitlines()} and len(asked) > 1


def test_shards_are_the_same_bytes_for_the_same_data(project, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "SHARD_SIZE", 3)
    run(project, tmp_path / "one", "--format", "webdataset", "--held-out", "0")
    time.sleep(1.1)
    run(project, tmp_path / "two", "--format", "webdataset", "--held-out", "0")
    shards = sorted((tmp_path / "one").glob("*.tar"))
    assert [shard.name for shard in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    assert all(shard.read_bytes() == (tmp_path / "two" / shard.name).read_bytes() for shard in shards)


def test_the_card_tells_how_killed_runs_were_asked(project, tmp_path):
    with pytest.raises(KeyboardInterrupt), recorded_run(project, "describe", {"author": "was killed", "engine": "torch"}):
        with project.writing() as connection:
            add_text(connection, 6, "describe", "was killed", description(6))
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), recorded_run(project, "describe", {"author": "said nothing"}):
        raise KeyboardInterrupt
    assert run(project, tmp_path / "set") == 0
    card = (tmp_path / "set" / "README.md").read_text()
    assert 'Settings of describe: `{"author": "was killed", "engine": "torch"}`' in card and "said nothing" not in card


def test_the_card_counts_everything(project, tmp_path):
    run(project, tmp_path / "set", "--title", "My set")
    card = (tmp_path / "set" / "README.md").read_text()
    assert card.startswith('---\npretty_name: "My set"\n')
    for line in (
        "| colours | 7 | CC0-1.0 |",
        "| described | describer | 7 |",
        "| corrected | mender | 7 |",
        "| edited | person:anna | 1 |",
        "| links | 2 | It has an address of the web or of mail. |",
        "| judged and kept as they were | 1 |",
        "| edited by a person | 1 |",
        "| judged by nobody, and marked by no rule | 5 |",
        "| dropped by people | 1 |",
        "People who judged: 2.",
        "anna and ben judged 2 items both",
    ):
        assert line in card, line
    splits = re.findall(r"^\| (train|held out) \| (\d+) \|", card, re.MULTILINE)
    assert sum(int(count) for _, count in splits) == 7


def test_a_licence_that_nobody_stated_is_said_so(tmp_path):
    project = build_project(tmp_path, 2)
    with project.writing() as connection:
        connection.execute("UPDATE sources SET licence = ''")
    run(project, tmp_path / "set", "--held-out", "0")
    assert "| colours | 2 | **not stated** |" in (tmp_path / "set" / "README.md").read_text()


# --- where it is written


def test_nothing_is_overwritten_unasked(project, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert run(project, tmp_path / "mine", "--overwrite") == 2 and "is no export" in capsys.readouterr().err
    assert run(project, project.folder) == 2 and run(project, tmp_path) == 2
    assert run(project, tmp_path / "set") == 0 and run(project, tmp_path / "set") == 2
    (tmp_path / "set" / "image" / "old.jpg").touch()
    assert run(project, tmp_path / "set", "--overwrite") == 0 and not (tmp_path / "set" / "image" / "old.jpg").exists()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "set", "project", "pictures"}


def test_a_failure_in_the_middle_leaves_the_earlier_export(project, tmp_path, monkeypatch, capsys):
    assert run(project, tmp_path / "set") == 0
    before = (tmp_path / "set" / "filter_cap.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "build_card", full)
    judge(project, "anna", 6, None)
    assert run(project, tmp_path / "set", "--overwrite") == 1 and "No space left" in capsys.readouterr().err
    assert (tmp_path / "set" / "filter_cap.json").read_bytes() == before
    assert not list(tmp_path.glob(".set*"))


def test_a_kill_in_the_middle_is_cleared_away_by_the_next_run(project, tmp_path):
    code = (
        "import os, signal; from minigpt4_model.curation import export; from minigpt4_model.curation.curate import main\n"
        "export.build_card = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main(['export', '--project', {str(project.folder)!r}, '--output', {str(tmp_path / 'set')!r}])"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode < 0
    assert not (tmp_path / "set").exists()
    assert run(project, tmp_path / "set") == 0 and not list(tmp_path.glob(".set*"))


def test_a_project_with_nothing_to_export_says_why(tmp_path, capsys):
    project = build_project(tmp_path, 1)
    judge(project, "anna", 1, None)
    assert run(project, tmp_path / "set") == 2
    assert "nothing to export: 1 dropped by people" in capsys.readouterr().err


# --- training


def script_flags() -> list[str]:
    """What scripts/train_stage2.sh passes on, with the continuation lines joined."""
    text = (ROOT / "scripts" / "train_stage2.sh").read_text()
    command = re.search(r"-m minigpt4_model\.training\.train (.*)", text.replace("\\\n", " "))[1]
    return [word for word in shlex.split(command) if word != "$@"]


@pytest.mark.slow
def test_the_script_trains_on_it_as_it_is(project, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run(project, tmp_path / "set", "--held-out", "0.4") == 0
    model, processor = build_tiny_model()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "stage1")
    short = ["--max-steps", "2", "--warmup-steps", "1", "--num-workers", "0", "--device", "cpu", "--eval-steps", "1", "--report-to", "none"]
    data = ["--data", str(tmp_path / "set"), "--eval-data", str(tmp_path / "set" / "held_out")]
    places = ["--init", str(tmp_path / "stage1"), "--output-dir", str(tmp_path / "stage2")]
    assert train.main([*script_flags(), *places, *data, *short]) == 0
    log = [json.loads(line) for line in (tmp_path / "stage2" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log if "eval_loss" in record] == [1, 2]
    assert (tmp_path / "stage2" / "model.safetensors").is_file()

"""The project: tables that only grow, commits that survive a kill, pictures that are taken once."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import PIL.Image
import PIL.ImageFilter
import pytest

from minigpt4_model.curation.duplicates import same_pictures
from minigpt4_model.curation.errors import CurationError
from minigpt4_model.curation.pictures import drawn_lot, take_pictures, thumbnail
from minigpt4_model.curation.project import Project, add_text, recorded_run
from minigpt4_model.training.sources.shards import ShardSource
from tests.curation_project import build_project, description, write_pictures

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project", create=True)


# --- the database


def test_a_folder_without_a_project_is_told(tmp_path):
    with pytest.raises(CurationError, match="no curation.db.*curate describe"):
        Project(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path):
    other = sqlite3.connect(tmp_path / "curation.db")
    other.execute("CREATE TABLE cats (name TEXT)")
    other.commit()
    with pytest.raises(CurationError, match="another program"):
        Project(tmp_path, create=True)
    assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["cats"]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "curation.db").write_text("no database at all, but long enough to be looked at" * 10)
    with pytest.raises(CurationError, match="curation.db.*not a database"):
        Project(tmp_path / "text")


def test_a_later_format_is_refused(project):
    project._connection().execute("PRAGMA user_version = 2")
    with pytest.raises(CurationError, match="format 2, and this program reads 1"):
        Project(project.folder)


def test_it_is_in_wal_mode_and_flushes(project):
    assert project.value("PRAGMA journal_mode") == "wal" and project.value("PRAGMA synchronous") == 2


def test_a_change_is_whole_or_nothing(tmp_path):
    project = build_project(tmp_path, 2)
    before = project.value("SELECT COUNT(*) FROM texts")
    with pytest.raises(ZeroDivisionError), project.writing() as connection:
        add_text(connection, 1, "refine", "x", "half")
        raise ZeroDivisionError
    assert project.value("SELECT COUNT(*) FROM texts") == before


def test_what_is_committed_survives_a_kill(tmp_path):
    project = build_project(tmp_path, 2)
    code = (
        "import os, signal; from pathlib import Path; from minigpt4_model.curation.project import Project, add_text\n"
        f"project = Project(Path({str(project.folder)!r}))\n"
        "with project.writing() as c: add_text(c, 1, 'refine', 'x', 'committed', 1)\n"
        "with project.writing() as c:\n    add_text(c, 2, 'refine', 'x', 'not committed', 2); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    texts = [row["text"] for row in Project(project.folder).rows("SELECT text FROM texts WHERE step = 'refine'")]
    assert texts == ["committed"]


def test_many_threads_write(tmp_path):
    project = build_project(tmp_path, 2)

    def write(name: str):
        for number in range(20):
            with project.writing() as connection:
                add_text(connection, 1, "refine", name, f"{number}")

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert project.value("SELECT COUNT(*) FROM texts WHERE step = 'refine'") == 100


def test_texts_that_no_database_holds(project, tmp_path):
    project = build_project(tmp_path, 1)
    with project.writing() as connection:
        add_text(connection, 1, "refine", "x", " a\0b \ud83d ü 你 \n")
    assert project.value("SELECT text FROM current") == "ab \ufffd ü 你"


def test_a_run_is_recorded_and_an_unfinished_one_is_seen(project):
    with recorded_run(project, "clean", {"a": Path("x")}) as summary:
        summary["n"] = 3
    with pytest.raises(KeyboardInterrupt), recorded_run(project, "clean", {}):
        raise KeyboardInterrupt
    rows = project.rows("SELECT settings, summary, finished_at IS NULL AS cut FROM runs ORDER BY id")
    assert [tuple(row) for row in rows] == [('{"a": "x"}', '{"n": 3}', 0), ("{}", "{}", 1)]


# --- pictures


def test_pictures_are_taken_once_and_a_second_run_takes_only_new_ones(project, tmp_path):
    folder = write_pictures(tmp_path / "pictures", 3)
    (folder / "copy").mkdir()
    (folder / "copy" / "same.png").write_bytes((folder / "001.png").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    first = take_pictures(project, str(folder), name="mine", licence="CC0")
    assert (first.new, first.known, first.unusable) == (3, 1, 0)
    PIL.Image.new("RGB", (9, 9), "red").save(folder / "new.webp")
    second = take_pictures(project, str(folder))
    assert (second.new, second.known, second.unusable) == (1, 4, 0)
    assert tuple(project.row("SELECT name, licence FROM sources")) == ("mine", "CC0")
    assert len(project.rows("SELECT * FROM places WHERE item_id = 2")) == 2


def test_a_picture_that_is_none_is_written_down_and_tried_again(project, tmp_path):
    folder = write_pictures(tmp_path / "pictures", 1)
    (folder / "bad.jpg").write_bytes(b"junk")
    assert take_pictures(project, str(folder)).unusable == 1
    assert "bad.jpg" in project.value("SELECT problem FROM places WHERE place = 'bad.jpg'")
    PIL.Image.new("RGB", (9, 9), "red").save(folder / "bad.jpg")
    again = take_pictures(project, str(folder))
    assert (again.new, again.known, again.unusable) == (1, 1, 0)
    assert project.value("SELECT problem FROM places WHERE place = 'bad.jpg'") == ""


def test_what_is_kept_is_upright_small_and_without_metadata(project, tmp_path):
    picture = PIL.Image.new("RGB", (3000, 1000), "white")
    picture.paste("red", (0, 0, 500, 1000))
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Secret Camera"
    (tmp_path / "p").mkdir()
    picture.save(tmp_path / "p" / "phone.jpg", exif=exif)
    take_pictures(project, str(tmp_path / "p"), max_side=600)
    kept = project.picture_file(project.value("SELECT digest FROM items"))
    with PIL.Image.open(kept) as opened:
        assert opened.format == "JPEG" and max(opened.size) == 600 and opened.height > opened.width
        assert opened.getpixel((100, 20))[1] < 60  # the red end is on top
    assert b"Secret Camera" not in kept.read_bytes() and b"Exif" not in kept.read_bytes()


def test_a_sample_is_the_same_every_time(project, tmp_path):
    folder = str(write_pictures(tmp_path / "pictures", 20))
    take_pictures(project, folder, sample=5, seed=1)
    assert take_pictures(project, folder, sample=5, seed=1).known == 5
    assert project.value("SELECT COUNT(*) FROM items") == 5


def test_shards_with_and_without_captions(project, tmp_path):
    folder = write_pictures(tmp_path / "pictures", 3)
    with tarfile.open(tmp_path / "00000.tar", "w") as shard:
        for name in ("000.png", "001.png", "002.png"):
            shard.add(folder / name, name)
        (tmp_path / "001.txt").write_text("A caption.")
        shard.add(tmp_path / "001.txt", "001.txt")
    assert take_pictures(project, str(tmp_path / "00000.tar")).new == 3
    assert project.value("SELECT COUNT(*) FROM texts") == 0
    again = take_pictures(project, str(tmp_path / "00000.tar"))
    assert (again.new, again.known) == (0, 3)


def test_of_many_pictures_only_those_that_are_drawn_are_looked_for(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "pictures", 9)
    with tarfile.open(tmp_path / "00000.tar", "w") as shard:
        for file in sorted(folder.iterdir()):
            shard.add(file, file.name)
    looked_for = []
    key = ShardSource.key
    monkeypatch.setattr(ShardSource, "key", lambda self, index: looked_for.append(index) or key(self, index))
    project = Project(tmp_path / "project", create=True)
    assert take_pictures(project, str(tmp_path / "00000.tar"), sample=2).new == 2 and len(looked_for) == 2


def test_texts_that_are_there_can_be_taken(project, tmp_path):
    folder = write_pictures(tmp_path / "pictures", 2)
    (folder / "captions.csv").write_text("image,caption\n000.png,A red thing.\n001.png,A green thing.\n")
    take_pictures(project, str(folder), with_texts=True)
    take_pictures(project, str(folder), with_texts=True)
    assert [tuple(row) for row in project.rows("SELECT step, text FROM texts ORDER BY id")] == [
        ("given", "A red thing."),
        ("given", "A green thing."),
    ]


@pytest.mark.parametrize(("make", "told"), [(False, "nothing at this path"), (True, "no picture in this folder")])
def test_a_place_without_pictures(project, tmp_path, make, told):
    if make:
        (tmp_path / "empty").mkdir()
    with pytest.raises(CurationError, match=told):
        take_pictures(project, str(tmp_path / "empty"))


def test_only_broken_pictures_are_an_error(project, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").write_bytes(b"")
    with pytest.raises(CurationError, match="none of 1 pictures.*empty"):
        take_pictures(project, str(tmp_path / "p"))


def test_taking_goes_on_after_a_kill(tmp_path):
    """Killed between writing a picture and storing its item, at every place: the next run takes what is missing."""
    folder = write_pictures(tmp_path / "pictures", 4)
    code = (
        "import os, signal, sys; from pathlib import Path; from minigpt4_model.curation import pictures, project\n"
        "write, left = pictures.write_atomically, int(sys.argv[1])\n"
        "def killed(*a):\n    global left\n    write(*a); left -= 1\n    left or os.kill(os.getpid(), signal.SIGKILL)\n"
        "pictures.write_atomically = killed\n"
        f"pictures.take_pictures(project.Project(Path({str(tmp_path / 'project')!r}), create=True), {str(folder)!r})"
    )
    for left in ("1", "2"):
        assert subprocess.run([sys.executable, "-c", code, left], cwd=ROOT).returncode == -signal.SIGKILL
    project = Project(tmp_path / "project")
    assert project.value("SELECT COUNT(*) FROM items") == 1
    taken = take_pictures(project, str(folder))
    assert (taken.new, taken.known) == (3, 1)
    for row in project.rows("SELECT digest FROM items"):
        assert project.picture_file(row["digest"]).is_file()


def test_pictures_that_look_the_same_are_found(tmp_path):
    noise = PIL.Image.effect_noise((300, 200), 80).convert("RGB").filter(PIL.ImageFilter.GaussianBlur(12))
    other = PIL.Image.new("RGB", (300, 200), "white")
    other.paste("blue", (100, 50, 150, 100))
    moved = PIL.Image.new("RGB", (300, 200), "white")
    moved.paste("blue", (160, 50, 210, 100))
    noise.save(tmp_path / "a.jpg", quality=60)
    with PIL.Image.open(tmp_path / "a.jpg") as again:
        smaller = again.convert("RGB").resize((150, 100))
    shown = [noise, other, smaller, moved, other]
    assert same_pictures([thumbnail(picture) for picture in shown]) == {2: 0, 4: 1}
    assert same_pictures([]) == {}


def test_lots_are_spread_and_independent():
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]
    lots = [(drawn_lot(digest), drawn_lot(digest, 8)) for digest in digests]
    assert all(0 <= value < 1 for pair in lots for value in pair)
    assert 0.08 < sum(first < 0.1 for first, _ in lots) / 2000 < 0.12
    assert 0.03 < sum(first < 0.2 and second < 0.2 for first, second in lots) / 2000 < 0.05


def test_the_text_that_counts_is_the_last_that_no_annotator_wrote(tmp_path):
    project = build_project(tmp_path, 1, corrected=True)
    with project.writing() as connection:
        add_text(connection, 1, "edit", "person:anna", "by hand", 2)
    assert project.value("SELECT text FROM current") == description(1)
    assert os.listdir(project.folder / "pictures")

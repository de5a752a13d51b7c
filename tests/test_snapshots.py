"""Photographs of the pocket corpus: what is taken from the packages, under which licence, and what happens without them. No network."""

import io
import struct
import subprocess
import zlib
from dataclasses import replace

import PIL.Image
import pytest

from minigpt4_model.training.pocket import build, collections, snapshots
from minigpt4_model.training.pocket.attribution import Attribution, open_licence, read_attributions
from minigpt4_model.training.pocket.collections import PHOTOGRAPH_COLLECTIONS, CorpusError, collection, fetch
from minigpt4_model.training.pocket.names import head_noun
from minigpt4_model.training.pocket.qt_resources import read_resources
from minigpt4_model.training.pocket.snapshots import build_photographs, load_photographs, photographs_home, read_table

README = """\
Copyright: Somebody, 2020
License: CC-BY-SA 4.0
Files:
frame.svg

Copyright: © 2014 A. Photographer
Source: https://example.org/File:Horse.jpg
License: Public Domain
Comments: cropping
Files: horse.webp

Copyright: 2000, 2008 Another
License: CC-BY 4.0
castle.webp
Comment: based on a photo by Third Person, license CC-BY 3.0, source at https://example.org/File:Castle.jpg

Copyright:
  Copyright 2005 NASA
  Copyright 2018 Somebody
License: Public domain
Files:
  planets/mars.webp

Copyright: Nobody
License: GPLv3
Files:
hand.webp
"""
TABLE = """\
# a comment
[gcompris] zoo/resource
horse | horse | | pony, Animal
castle | castle | |
hand unlisted gone | hand | |
planets/mars | planet | count | mars

[scratch] Things
lamp | lamp | |
trousers | trousers | plural | trouser
"""


def image(width: int, height: int, mode: str = "RGB", colour="red", file_format: str = "WEBP") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, (width, height), colour).save(buffer, file_format)
    return buffer.getvalue()


def rcc(files: dict[str, bytes], version: int = 3, compressed: tuple[str, ...] = (), flag: int = 1) -> bytes:
    """A Qt resource file, as `rcc --binary` lays it out: contents, names, then the tree breadth first."""
    tree: dict = {}
    for path, content in files.items():
        *folders, name = path.split("/")
        here = tree
        for folder in folders:
            here = here.setdefault(folder, {})
        here[name] = (path, content)
    data, names, rows, waiting, free = b"", b"", [], [("", tree)], 1
    while waiting:
        name, node = waiting.pop(0)
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        if isinstance(node, dict):
            row = struct.pack(">IHII", at, 2, len(node), free)
            free += len(node)
            waiting += node.items()
        else:
            path, content = node
            squeezed = path in compressed
            stored = struct.pack(">I", len(content)) + zlib.compress(content) if squeezed else content
            row = struct.pack(">IHHHI", at, flag if squeezed else 0, 0, 0, len(data))
            data += struct.pack(">I", len(stored)) + stored
        rows.append(row + (b"\0" * 8 if version > 1 else b""))
    start = 24 if version > 2 else 20
    head = b"qres" + struct.pack(">4I", version, start + len(data) + len(names), start, start + len(data))
    return head + b"\0" * (start - 20) + data + names + b"".join(rows)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A cache in which both packages are unpacked already, and a table for them."""
    zoo = "gcompris/src/activities/zoo/resource/"
    files = {
        zoo + "README": README.encode(),
        zoo + "horse.webp": image(1600, 900),
        zoo + "castle.webp": image(300, 200),
        zoo + "hand.webp": image(30, 20),
        zoo + "unlisted.webp": image(30, 20),
        zoo + "planets/mars.webp": image(64, 64, "RGBA", (200, 80, 40, 0)),
        zoo + "frame.svg": b"<svg/>",
    }
    (tmp_path / "gcompris/rcc").mkdir(parents=True)
    (tmp_path / "gcompris/rcc/zoo.rcc").write_bytes(rcc(files, compressed=(zoo + "README",)))
    (tmp_path / "scratch/Media/Things").mkdir(parents=True)
    (tmp_path / "scratch/Media/Things/lamp.gif").write_bytes(image(40, 60, "P", 1, "GIF"))
    (tmp_path / "scratch/Media/Things/trousers.png").write_bytes(b"no picture")
    for row in PHOTOGRAPH_COLLECTIONS:
        (tmp_path / row.name / "archive.sha256").write_text(row.sha256)
    monkeypatch.setattr(snapshots, "read_table", lambda: read_table(TABLE))
    return tmp_path


# Qt resource files


@pytest.mark.parametrize("version", [1, 2, 3])
def test_resource_files_of_every_version_are_read(tmp_path, version):
    files = {"a/b/one.txt": b"one", "a/two é.txt": b"two" * 500, "three": b""}
    (tmp_path / "x.rcc").write_bytes(rcc(files, version, compressed=("a/two é.txt",)))
    assert read_resources(tmp_path / "x.rcc") == files


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\3\4", "not a Qt resource file"),
        (b"qres\0\0", "damaged"),
        (rcc({"a": b"abc"}, version=3).replace(b"\0\0\0\3", b"\0\0\0\7", 1), "version is 7"),
        (rcc({"a": b"abc"})[:-10], "damaged"),
        (rcc({"a": b"abc"}, compressed=("a",), flag=4), "Zstandard"),
    ],
)
def test_other_and_damaged_files_are_refused_by_name(tmp_path, content, problem):
    (tmp_path / "x.rcc").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.rcc.*{problem}"):
        read_resources(tmp_path / "x.rcc")


def test_a_tree_that_holds_itself_is_refused(tmp_path):
    content = bytearray(rcc({"a/b": b"abc"}))
    folder = struct.unpack(">I", content[8:12])[0] + 22  # the second node is the folder "a"
    content[folder + 10 : folder + 14] = struct.pack(">I", 0)  # its first child is the root
    (tmp_path / "x.rcc").write_bytes(content)
    with pytest.raises(ValueError, match="circle"):
        read_resources(tmp_path / "x.rcc")


# licences


def test_attribution_is_read_from_every_way_a_readme_writes_it():
    found = read_attributions(README)
    assert found["horse.webp"] == Attribution("Public domain", "A. Photographer", "https://example.org/File:Horse.jpg")
    assert found["castle.webp"].author == "Third Person (CC-BY-3.0), changed by Another"
    assert found["castle.webp"].licence == "CC-BY-4.0" and found["castle.webp"].source == "https://example.org/File:Castle.jpg"
    assert found["planets/mars.webp"].author == "NASA, Somebody"
    assert set(found) == {"frame.svg", "horse.webp", "castle.webp", "planets/mars.webp", "hand.webp"}


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        ("Public Domain", "Public domain"),
        ("CC0-1.0", "CC0-1.0"),
        ("CC-BY-SA 4.0", "CC-BY-SA-4.0"),
        ("CC-BY-2.0", "CC-BY-2.0"),
        ("CC-BY-NC-4.0", None),
        ("CC-BY-ND 4.0", None),
        ("GPLv2+", None),
        ("GFDL", None),
        ("", None),
    ],
)
def test_only_open_licences_are_open(stated, licence):
    assert open_licence(stated) == licence


# the table


def test_the_table_names_every_file_once_with_words_in_lower_case():
    table = read_table()
    assert len(table) > 300 and {shown.collection for shown in table} == {row.name for row in PHOTOGRAPH_COLLECTIONS}
    for shown in table:
        assert shown.synonyms[0] == shown.label.lower() and len(set(shown.synonyms)) == len(shown.synonyms)
        assert all(word == word.lower().strip() for word in shown.synonyms)
        assert shown.kind in ("plural", "pair") or not head_noun(shown.label).endswith(("rs", "ds", "ls", "ns"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("horse | horse", "four columns"),
        ("horse | | |", "four columns"),
        ("horse | horse | herd |", "'herd' is no kind"),
        ("cow cow | cow | |", "named twice"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(line, problem):
    with pytest.raises(ValueError, match=f"line 2: .*{problem}"):
        read_table(f"[gcompris] zoo\n{line}")


# building and loading


def test_photographs_are_small_named_and_attributed(packages, caplog):
    built = [one for row in PHOTOGRAPH_COLLECTIONS for one in build_photographs(row, packages)]
    assert [one.label for one in built] == ["horse", "castle", "planet", "lamp"]
    assert built == load_photographs(packages)
    horse, castle, planet, lamp = built
    assert PIL.Image.open(horse.path).size == (640, 360) and PIL.Image.open(castle.path).size == (300, 200)
    assert horse.synonyms == ("horse", "pony", "animal") and horse.kind == "count"
    assert (horse.licence, horse.author, horse.source) == ("Public domain", "A. Photographer", "https://example.org/File:Horse.jpg")
    assert (lamp.licence, lamp.author) == ("CC-BY-SA-3.0", "Massachusetts Institute of Technology")
    assert planet.cutout and not castle.cutout
    assert PIL.Image.open(planet.path).convert("RGB").getpixel((30, 30)) == (255, 255, 255)
    for file in ("hand", "unlisted", "gone", "trousers"):  # GPL, no statement, not in the package, broken
        assert file in caplog.text
        assert not list(photographs_home(packages).rglob(f"{file}*"))


def test_built_photographs_are_used_again_until_the_table_changes(packages, monkeypatch):
    row = collection("gcompris")
    first = build_photographs(row, packages)
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "_write_small", lambda content, path: pytest.fail("made again"))
        assert build_photographs(row, packages) == first
    assert len(build_photographs(row, packages, limit=1)) == 1
    renamed = [replace(shown, label="mare") for shown in read_table(TABLE)]
    monkeypatch.setattr(snapshots, "read_table", lambda: renamed)
    assert {one.label for one in build_photographs(row, packages)} == {"mare"}


def test_a_build_that_fails_leaves_the_old_photographs(packages, monkeypatch):
    row = collection("gcompris")
    before = build_photographs(row, packages)
    monkeypatch.setattr(snapshots, "read_table", lambda: read_table("[gcompris] elsewhere\nnothing | nothing | |"))
    with pytest.raises(CorpusError, match="none of its 1 photographs"):
        build_photographs(row, packages)
    assert load_photographs(packages) == before and all(one.path.is_file() for one in before)
    assert [path.name for path in photographs_home(packages).iterdir()] == ["gcompris"]


def test_a_damaged_package_names_what_to_delete(packages):
    (packages / "gcompris/rcc/zoo.rcc").write_bytes(b"qres")
    with pytest.raises(CorpusError, match=r"zoo\.rcc is damaged.*Delete .*gcompris"):
        build_photographs(collection("gcompris"), packages)


def test_missing_photographs_name_the_command(tmp_path):
    with pytest.raises(CorpusError, match=r"python -m minigpt4_model\.training\.pocket\.build"):
        load_photographs(tmp_path)


# fetching


@pytest.mark.parametrize(
    ("apt_says", "policy", "expected"),
    [
        (
            "E: Version '3.1-2' for 'gcompris-qt-data' was not found\n",
            "  Installed: (none)\n  Candidate: 25.0-1\n",
            "offer .* 25.0-1,.*Debian 12",
        ),
        ("E: Unable to locate package gcompris-qt-data\n", "", "apt-get update"),
        ("E: Temporary failure resolving\n", "", "Temporary failure resolving"),
    ],
)
def test_another_debian_is_told_with_the_fix(tmp_path, monkeypatch, apt_says, policy, expected):
    def run(command, **_):
        fails = command[0] == "apt-get"
        return subprocess.CompletedProcess(command, 100 if fails else 0, "" if fails else policy, apt_says if fails else "")

    monkeypatch.setattr(collections.subprocess, "run", run)
    with pytest.raises(CorpusError, match=expected):
        fetch(collection("gcompris"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_wanted_files_of_a_package_are_kept(tmp_path, monkeypatch):
    row = collection("scratch")

    def extract(command, **_):
        whole = tmp_path / "unpacked/whole"
        for file in ("Backgrounds/Nature/lake.jpg", "Costumes/Things/lamp.gif", "Costumes/People/boy.gif", "Sounds/pop.wav"):
            target = whole / row.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"x")
        (whole / "usr/share/doc/scratch").mkdir(parents=True)
        (whole / "usr/share/doc/scratch/copyright").write_text("CC-BY-SA-3.0")

    monkeypatch.setattr(collections.subprocess, "run", extract)
    (tmp_path / "unpacked").mkdir()
    collections._unpack_debian(row, tmp_path / "scratch.deb", tmp_path / "unpacked")
    kept = {path.relative_to(tmp_path / "unpacked").as_posix() for path in (tmp_path / "unpacked").rglob("*") if path.is_file()}
    assert kept == {"Media/Backgrounds/Nature/lake.jpg", "Media/Costumes/Things/lamp.gif", "copyright"}


# the command


@pytest.fixture
def command(packages, monkeypatch):
    for module in (collections, snapshots):
        monkeypatch.setattr(module, "corpus_home", lambda: packages)
    return build.main


def test_the_command_builds_photographs_and_draws_them(command, packages, capsys):
    assert command(["--only", "gcompris", "scratch"]) == 0
    assert "4 photographs with 4 labels: 2 Public domain, 1 CC-BY-4.0, 1 CC-BY-SA-3.0" in capsys.readouterr().out
    assert PIL.Image.open(photographs_home(packages) / "contact-sheet.png").size == (14 * 140, 174)
    assert not (packages / "contact-sheet.png").exists()  # the sheet of the drawings stays as it was


def test_without_apt_the_command_goes_on_and_says_so(command, packages, monkeypatch, caplog, capsys):
    (packages / "gcompris/archive.sha256").unlink()

    def run(arguments, **_):
        raise FileNotFoundError(arguments[0])

    monkeypatch.setattr(collections.subprocess, "run", run)
    assert command(["--only", "gcompris", "scratch"]) == 0
    assert "Going on without the photographs of gcompris: gcompris needs the command `apt-get`" in caplog.text
    assert "1 photographs" in capsys.readouterr().out


def test_photographs_can_be_left_out(command, packages, capsys):
    assert command(["--only", "gcompris", "--no-photographs"]) == 0
    assert not photographs_home(packages).exists()

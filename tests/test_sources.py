"""Each kind of source on real files: what is read, and what is said of files that are not as they should be."""

import csv
import io
import json
import os
import pickle
import tarfile

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.chat.messages import load_turns
from minigpt4_model.training.sources import BrokenSample, SourceError, open_source, parse_data_spec
from minigpt4_model.training.sources.__main__ import main
from minigpt4_model.training.sources.sample import open_pictures, with_question
from minigpt4_model.training.sources.shards import ShardSource, expand_braces


def picture(colour=(200, 30, 30), size=(40, 30), kind="JPEG") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def write_shard(path, members):
    """`members`: (name, bytes) in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pairs(shard, count):
    """As img2dataset writes them: picture, text, JSON."""
    for number in range(count):
        key = f"{shard:05d}{number:04d}"
        yield f"{key}.jpg", picture((shard * 40 % 256, number * 9 % 256, 90))
        yield f"{key}.json", json.dumps({"caption": f"in JSON {key}", "status": "success"}).encode()
        yield f"{key}.txt", f"caption {key}".encode()


@pytest.fixture
def laion(tmp_path):
    folder = tmp_path / "laion"
    for shard in range(3):
        write_shard(folder / f"{shard:05d}.tar", pairs(shard, 5))
    return folder


def answer(sample) -> str:
    return sample.messages[-1]["content"][0]["text"]


def opened(path, **spec):
    text = str(path) + "".join(f",{name}={value}" for name, value in spec.items())
    return open_source(parse_data_spec(text))


class TestShards:
    def test_every_pair_is_found(self, laion):
        source = opened(laion)
        assert len(source) == 15 and source.blocks == [5, 5, 5] and source.notices == [] and source.name == "laion"
        assert [answer(source[index]) for index in (0, 7, 14)] == ["caption 000000000", "caption 000010002", "caption 000020004"]
        assert source[7].key == source.key(7) == "00001.tar/000010002"
        with pytest.raises(IndexError):
            source[15]

    def test_what_stands_in_the_tar_is_what_is_read(self, laion):
        closed = opened(laion)[11]
        assert closed.messages[0] == {"role": "user", "content": [{"type": "image", "image": picture((80, 9, 90))}]}
        turns = load_turns(open_pictures(closed).messages)
        assert turns[0].pictures[0].image.size == (40, 30) and turns[1].text == "caption 000020001"

    @pytest.mark.parametrize("pattern, count", [("{00000..00001}.tar", 10), ("0000[12].tar", 10), ("00002.tar", 5), ("*.tar", 15)])
    def test_ways_to_name_shards(self, laion, pattern, count):
        assert len(opened(laion / pattern)) == count

    def test_missing_shards_of_a_range_are_told(self, laion):
        source = opened(laion / "{00001..00004}.tar")
        assert len(source) == 10 and source.notices == [f"2 of 4 shards are not there, {laion}/00003.tar for one."]

    def test_caption_from_json_and_other_picture_formats(self, tmp_path):
        data = json.dumps({"caption": "from JSON"}).encode()
        source = opened(
            write_shard(
                tmp_path / "x.tar", [("a.png", picture(kind="PNG")), ("a.json", data), ("b.json", data), ("b.webp", picture(kind="WEBP"))]
            )
        )
        assert [answer(open_pictures(source[index])) for index in range(2)] == ["from JSON", "from JSON"]

    def test_long_names_and_folders(self, tmp_path):
        key = "deep/" + "k" * 140
        source = opened(write_shard(tmp_path / "x.tar", [(f"{key}.jpg", picture()), (f"{key}.txt", b"long"), ("other/k.txt", b"n")]))
        assert len(source) == 2 and answer(source[0]) == "long"

    def test_the_index_is_made_once(self, laion, monkeypatch):
        first = opened(laion)
        monkeypatch.setattr("minigpt4_model.training.sources.tar_index._scan", lambda _: pytest.fail("indexed again"))
        again = opened(laion)
        assert again.fingerprint == first.fingerprint and answer(again[3]) == answer(first[3])

    def test_a_changed_shard_is_indexed_again(self, laion):
        before = opened(laion).fingerprint
        write_shard(laion / "00001.tar", pairs(1, 2))
        source = opened(laion)
        assert len(source) == 12 and source.fingerprint != before and answer(source[6]) == "caption 000010001"

    @pytest.mark.parametrize("damage", [b"", b"{", b"[]"])
    def test_a_damaged_index_is_made_again(self, laion, damage):
        opened(laion)
        for facts in (laion / ".minigpt4-index").glob("*.json"):
            facts.write_bytes(damage)
        assert len(opened(laion)) == 15

    def test_an_interrupted_indexing_goes_on(self, laion, monkeypatch):
        from minigpt4_model.training.sources import tar_index

        scan, seen = tar_index._scan, []

        def stops(shard):
            if shard.name == "00001.tar":
                raise KeyboardInterrupt
            return scan(shard)

        monkeypatch.setattr(tar_index, "_scan", stops)
        with pytest.raises(KeyboardInterrupt):
            opened(laion)
        monkeypatch.setattr(tar_index, "_scan", lambda shard: seen.append(shard.name) or scan(shard))
        assert len(opened(laion)) == 15 and "00000.tar" not in seen and "00001.tar" in seen

    def test_a_read_only_folder_keeps_its_index_in_the_cache(self, laion, tmp_path, monkeypatch):
        monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path / "home"))
        (laion / ".minigpt4-index").write_bytes(b"in the way")  # as good as read-only, for root too
        assert len(opened(laion)) == 15
        assert len(list((tmp_path / "home" / "shard-index").glob("*/*.npy"))) == 3

    def test_an_index_that_someone_else_made_is_read(self, laion, monkeypatch):
        opened(laion)
        monkeypatch.setattr("os.access", lambda *_: False)  # nothing can be written beside the shards
        monkeypatch.setattr("minigpt4_model.training.sources.tar_index._scan", lambda _: pytest.fail("indexed again"))
        assert len(opened(laion)) == 15

    def test_a_copy_elsewhere_has_the_same_fingerprint(self, laion, tmp_path):
        before = opened(laion).fingerprint
        (tmp_path / "moved").mkdir()
        os.rename(laion, tmp_path / "moved" / "other")
        assert opened(tmp_path / "moved" / "other").fingerprint == before

    @pytest.mark.parametrize("cut", [1, 300, 700, 1500, 2600])
    def test_a_shard_that_is_cut_off_gives_its_whole_pairs(self, laion, cut):
        shard = laion / "00001.tar"
        with tarfile.open(shard) as tar:
            ends = [member.offset_data + member.size for member in tar]
        os.truncate(shard, ends[-1] - cut)  # within the last pair
        source = opened(laion)
        assert len(source.notices) == 1 and "00001.tar" in source.notices[0] and "whole pairs are used" in source.notices[0]
        assert source.blocks[0] == source.blocks[2] == 5 and source.blocks[1] in (4, 5)
        assert all(answer(open_pictures(source[index])) for index in range(len(source)))

    def test_no_tar_at_all(self, laion):
        (laion / "00001.tar").write_bytes(b"<html>404</html>" * 100)
        (laion / "00002.tar").write_bytes(b"")
        source = opened(laion)
        assert len(source) == 5 and len(source.notices) == 2
        (laion / "00000.tar").unlink()
        with pytest.raises(SourceError, match="holds no pairs.*00001.tar is not a tar file"):
            opened(laion)

    def test_a_shard_that_shrinks_in_use(self, laion):
        source = opened(laion)
        os.truncate(laion / "00002.tar", 2000)
        with pytest.raises(BrokenSample, match="changed while it is in use"):
            source[14]

    def test_works_after_pickling_and_in_a_fork(self, laion):
        source = opened(laion)
        source[0]
        assert answer(pickle.loads(pickle.dumps(source))[4]) == "caption 000000004"
        read, write = os.pipe()
        if not (child := os.fork()):
            os.write(write, answer(source[9]).encode())
            os._exit(0)
        assert answer(source[2]) == "caption 000000002"
        os.waitpid(child, 0)
        assert os.read(read, 100) == b"caption 000010004"

    def test_few_files_are_open_at_a_time(self, tmp_path):
        for shard in range(40):
            write_shard(tmp_path / f"{shard:05d}.tar", pairs(shard, 1))
        source = ShardSource(str(tmp_path))
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for index in np.random.default_rng(0).integers(0, 40, 200):
            source[index]
        assert not before or len(os.listdir("/proc/self/fd")) - before <= 33

    def test_ranges(self):
        assert expand_braces("a{08..10}.tar") == ["a08.tar", "a09.tar", "a10.tar"]
        assert expand_braces("{8..10}") == ["8", "9", "10"]
        assert expand_braces("{x,y}/{0..1}") == ["x/0", "x/1", "y/0", "y/1"]
        with pytest.raises(SourceError, match="ends before it begins"):
            expand_braces("{3..1}")


BROKEN_PAIRS = {
    "no bytes": ([("k.jpg", b""), ("k.txt", b"words")], "the picture has no bytes"),
    "no picture": ([("k.txt", b"words")], "no picture"),
    "no caption": ([("k.jpg", picture())], "no caption"),
    "empty caption": ([("k.jpg", picture()), ("k.txt", b" \n")], "the caption is empty"),
    "null caption": ([("k.jpg", picture()), ("k.json", b'{"caption": null}')], "no caption"),
    "number as caption": ([("k.jpg", picture()), ("k.json", b'{"caption": 7}')], "the caption is not a text"),
    "broken JSON": ([("k.jpg", picture()), ("k.json", b"{")], "the caption's JSON cannot be read"),
    "cut-off picture": ([("k.jpg", picture(size=(300, 300))[:700]), ("k.txt", b"words")], "the picture is damaged or cut off"),
    "a web page": ([("k.jpg", b"<!doctype html>..."), ("k.txt", b"words")], "the picture is a web page, not a picture"),
    "noise": ([("k.jpg", os.urandom(400)), ("k.txt", b"words")], "the picture is not a picture that can be read"),
    "a bomb": ([("k.png", picture(size=(9000, 9000), kind="PNG")), ("k.txt", b"words")], "the picture has more than 50 megapixels"),
    "a dot": ([("k.jpg", picture(size=(1, 1))), ("k.txt", b"words")], "the picture is too small"),
}


@pytest.mark.parametrize("members, reason", BROKEN_PAIRS.values(), ids=BROKEN_PAIRS)
def test_broken_pairs_have_a_reason(tmp_path, members, reason):
    source = opened(write_shard(tmp_path / "x.tar", [("good.jpg", picture()), ("good.txt", b"good"), *members]))
    assert answer(open_pictures(source[0])) == "good"
    with pytest.raises(BrokenSample) as error:
        open_pictures(source[1])
    assert error.value.reason == reason and source.key(1) == "x.tar/k"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "image").mkdir()
    for number in (2, 3):
        (tmp_path / "image" / f"{number}.jpg").write_bytes(picture())
    return tmp_path


class TestAlignment:
    def write(self, folder, annotations):
        (folder / "filter_cap.json").write_text(json.dumps({"annotations": annotations}))

    def test_the_official_folder(self, folder):
        self.write(folder, [{"image_id": "2", "caption": "The image shows a red field."}, {"image_id": 3, "caption": "Red."}])
        source = opened(folder)
        assert len(source) == 2 and answer(source[0]) == "The image shows a red field."
        assert open_pictures(source[1]).pictures[0].image.size == (40, 30)

    @pytest.mark.parametrize(
        "annotation, reason",
        [
            ({"image_id": "9", "caption": "x"}, "the picture's file is missing"),
            ({"caption": "x"}, "no image_id"),
            ({"image_id": "2"}, "no caption"),
            (["2", "x"], "the record is not an object"),
        ],
    )
    def test_broken_annotations(self, folder, annotation, reason):
        self.write(folder, [annotation])
        with pytest.raises(BrokenSample) as error:
            opened(folder)[0]
        assert error.value.reason == reason

    def test_faults_of_the_whole(self, folder, tmp_path):
        with pytest.raises(SourceError, match="there is no filter_cap.json"):
            opened(f"alignment:{folder}")
        (folder / "filter_cap.json").write_text("[]")
        with pytest.raises(SourceError, match='not a JSON file with "annotations"'):
            opened(folder)
        self.write(folder, [])
        (folder / "image").rename(folder / "pictures")
        with pytest.raises(SourceError, match="there is no folder .*image with the pictures"):
            opened(folder)


class TestCaptions:
    def test_jsonl(self, folder):
        lines = [{"file_name": "image/2.jpg", "text": "two"}, "", {"file_name": "image/3.jpg", "text": "three\nlines"}]
        (folder / "metadata.jsonl").write_text("\n".join(line and json.dumps(line) for line in lines))
        source = opened(folder)
        assert [answer(open_pictures(source[index])) for index in range(2)] == ["two", "three lines"]

    def test_a_list_as_blip_has_it(self, folder):
        (folder / "ccs.json").write_text(
            json.dumps([{"image": "image/2.jpg", "caption": "two"}, {"image": "image/3.jpg", "caption": "three"}])
        )
        assert [answer(open_pictures(opened(folder)[index])) for index in range(2)] == ["two", "three"]

    @pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
    def test_tables(self, folder, suffix, delimiter):
        with (folder / f"captions{suffix}").open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, delimiter=delimiter).writerows(
                [["id", "image", "caption"], [1, "2.jpg", 'a "red", big\nthing'], [2, "3.jpg", ""]]
            )
        source = opened(folder / f"captions{suffix}", images=folder / "image")
        assert answer(open_pictures(source[0])) == 'a "red", big thing'
        with pytest.raises(BrokenSample, match="the caption is empty"):
            source[1]

    def test_missing_columns_are_named(self, folder):
        (folder / "c.csv").write_text("picture,caption\n2.jpg,x\n")
        with pytest.raises(SourceError, match="c.csv has no column image or file_name. It has: picture, caption."):
            opened(folder / "c.csv")
        (folder / "c.csv").write_text("a,b\n1,2\n")
        with pytest.raises(SourceError, match="no column image or file_name and no column caption or text"):
            opened(folder / "c.csv")
        (folder / "c.csv").write_text("image,caption\n")
        with pytest.raises(SourceError, match="c.csv holds no records"):
            opened(folder / "c.csv")

    def test_broken_lines_are_broken_samples(self, folder):
        (folder / "c.jsonl").write_text(
            '{"image": "image/2.jpg", "caption": "ok"}\n{"image": \n{"caption": "x"}\n{"image": "image", "caption": "x"}\n'
        )
        (folder / "image" / "empty.jpg").write_bytes(b"")
        source, reasons = opened(folder / "c.jsonl"), []
        for index in range(1, 4):
            with pytest.raises(BrokenSample) as error:
                open_pictures(source[index])
            reasons.append(error.value.reason)
        assert reasons == ["the record is not JSON", "no image", "the picture is a folder"]

    def test_reasons_carry_no_names(self, folder):
        (folder / "image" / "2.jpg").write_bytes(picture(size=(200, 200))[:600])
        (folder / "c.jsonl").write_text('{"image": "image/2.jpg", "caption": "x"}')
        with pytest.raises(BrokenSample) as error:
            open_pictures(opened(folder / "c.jsonl")[0])
        assert error.value.reason == "the picture is damaged or cut off" and "2.jpg" in str(error.value)

    def test_no_utf8(self, folder):
        (folder / "c.csv").write_bytes("image,caption\n2.jpg,grün\n".encode("latin-1"))
        with pytest.raises(SourceError, match="not a table or list in UTF-8"):
            opened(folder / "c.csv")


class TestConversations:
    def write(self, folder, *records):
        path = folder / "chat.json"
        path.write_text(json.dumps(list(records)))
        return path

    def talk(self, *values):
        return [{"from": "gpt" if number % 2 else "human", "value": value} for number, value in enumerate(values)]

    def test_the_picture_stands_where_its_mark_stands(self, folder):
        path = self.write(
            folder,
            {"id": "1", "image": "2.jpg", "conversations": self.talk("<image>\nWhat?", "Red.", "Sure?", "Yes.")},
            {"id": "2", "image": "2.jpg", "conversations": self.talk("What?\n<image>", "Red.")},
            {"id": "3", "conversations": self.talk("Hello", "Hi")},
            {"id": "4", "image": ["2.jpg", "3.jpg"], "conversations": self.talk("First <image> second <image> same?", "Yes.")},
            {"id": "5", "image": "3.jpg", "conversations": self.talk("What?", "Red.")},
        )
        source = opened(path, images=folder / "image")
        shapes = [[part.get("text", "IMAGE") for message in source[index].messages for part in message["content"]] for index in range(5)]
        assert shapes == [
            ["IMAGE", "What?", "Red.", "Sure?", "Yes."],
            ["What?", "IMAGE", "Red."],
            ["Hello", "Hi"],
            ["First", "IMAGE", "second", "IMAGE", "same?", "Yes."],
            ["IMAGE", "What?", "Red."],
        ]
        assert source[0].pictures == [folder / "image" / "2.jpg"] and source[2].pictures == []
        assert [turn.role for turn in load_turns(open_pictures(source[0]).messages)] == ["user", "assistant"] * 2

    @pytest.mark.parametrize(
        "record, reason",
        [
            ({"image": "2.jpg", "conversations": []}, "no conversations"),
            ({"image": "2.jpg", "conversations": [{"from": "human", "value": "<image>"}]}, "the conversation ends without an answer"),
            ({"conversations": [{"from": "human", "value": "<image> x"}, {"from": "gpt", "value": "y"}]}, "more <image> than pictures"),
            (
                {"image": ["2.jpg", "3.jpg"], "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "y"}]},
                "more pictures than <image>",
            ),
            ({"conversations": [{"from": "tool", "value": "x"}]}, 'a turn without a known "from" or without a text'),
            ({"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": " "}]}, "an empty turn"),
            ({"image": "9.jpg", "conversations": []}, "the picture's file is missing"),
            ({"image": 9, "conversations": []}, "image is neither a name nor a list of names"),
        ],
    )
    def test_broken_records(self, folder, record, reason):
        with pytest.raises(BrokenSample) as error:
            opened(self.write(folder, record), images=folder / "image")[0]
        assert error.value.reason == reason

    def test_a_damaged_file(self, folder):
        path = self.write(folder, {"conversations": self.talk("a", "b")}, {"conversations": self.talk("c", "d")})
        assert len(opened(path)) == 2
        assert opened(folder)[0].messages == opened(path)[0].messages  # by its folder
        path.write_text(path.read_text()[:-20])
        with pytest.raises(SourceError, match="chat.json is damaged or cut off.*Fetch it again"):
            opened(path)


class TestSpecs:
    def test_all_parts(self):
        spec = parse_data_spec("conversations:/d/a.json,images=/d/i@2.5")
        assert (spec.kind, spec.path, spec.images, spec.weight) == ("conversations", "/d/a.json", "/d/i", 2.5)
        assert parse_data_spec(r"C:\data\x.csv").path == r"C:\data\x.csv"
        assert parse_data_spec("/home/me@work/data").weight is None

    @pytest.mark.parametrize(
        "text, message",
        [
            ("/d@heavy", "'heavy' after @ is not a weight"),
            ("/d@0", "the weight must be above 0"),
            ("/d@nan", "the weight must be above 0"),
            ("zip:/d", "there is no kind 'zip'. Kinds: shards, alignment, captions, conversations"),
            ("", "names no path"),
            ("shards:@1", "names no path"),
        ],
    )
    def test_bad_specs_are_explained(self, text, message):
        with pytest.raises(SourceError, match=message):
            parse_data_spec(text)

    def test_a_disk_error_is_told(self, laion, monkeypatch):
        def refuse(shard):
            raise PermissionError(13, "Permission denied", str(shard))

        monkeypatch.setattr("minigpt4_model.training.sources.tar_index._scan", refuse)
        with pytest.raises(SourceError, match="--data .*laion: .*00000.tar: Permission denied"):
            opened(laion)

    def test_what_lies_there_is_told(self, folder):
        with pytest.raises(SourceError, match="there is nothing at this path; .* holds: image/"):
            opened(folder / "imags")
        (folder / "photos").mkdir()
        (folder / "photos" / "1.jpg").write_bytes(b"")
        with pytest.raises(SourceError, match="holds pictures and nothing that says what they show. Put a captions.csv there"):
            opened(folder / "photos")
        (folder / "photos" / "1.jpg").unlink()
        (folder / "photos").rmdir()
        with pytest.raises(SourceError, match="the folder holds image/, and none of that is training data"):
            opened(folder)
        for name in ("a.csv", "b.jsonl"):
            (folder / name).write_text("")
        with pytest.raises(SourceError, match="a.csv, b.jsonl could all be meant. Name one of them"):
            opened(folder)
        (folder / "x.txt").write_text("hello")
        with pytest.raises(SourceError, match="none of the kinds that can be recognised"):
            opened(folder / "x.txt")
        with pytest.raises(SourceError, match="images=/nowhere is not a folder"):
            opened(folder / "a.csv", images="/nowhere")


def test_a_question_for_pictures_without_words():
    messages = [
        {"role": "user", "content": [{"type": "image", "image": b"1"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
    ]
    asked = with_question(messages, "Describe it.")
    assert asked[0]["content"] == [{"type": "image", "image": b"1"}, {"type": "text", "text": "Describe it."}]
    assert with_question(asked, "Again?") == asked and len(messages[0]["content"]) == 1


class TestLooking:
    def test_what_is_printed(self, laion, capsys, tmp_path):
        sheet = tmp_path / "sheet.html"
        assert main([str(laion), "--sheet", str(sheet)]) == 0
        out = capsys.readouterr().out
        assert "laion: 15 samples in 3 part(s)" in out and "00000.tar/000000000: [40 x 30] | assistant: caption 000000000" in out
        assert "All of 15 random samples can be used" in out
        page = sheet.read_text()
        assert page.count("<img") == 15 and "caption 000020004" in page and "://" not in page

    def test_words_are_not_markup(self, tmp_path):
        write_shard(tmp_path / "x.tar", [("k.jpg", picture()), ("k.txt", b"<script>alert(1)</script>")])
        assert main([str(tmp_path / "x.tar"), "--sheet", str(tmp_path / "s.html")]) == 0
        assert "<script>" not in (tmp_path / "s.html").read_text()

    def test_too_many_broken_ones_are_a_failure(self, tmp_path, capsys):
        write_shard(tmp_path / "x.tar", [*pairs(0, 3), ("k.jpg", b"junk"), ("k.txt", b"words")])
        assert main([str(tmp_path / "x.tar")]) == 1
        printed = capsys.readouterr()
        assert "1 of 4 samples cannot be used" in printed.out and "x.tar/k" in printed.out
        assert "more than --max-broken 0.1 allows" in printed.err
        assert main([str(tmp_path / "x.tar"), "--max-broken", "0.5"]) == 0

    def test_a_fault_is_a_sentence(self, tmp_path, capsys):
        assert main([str(tmp_path / "nothing")]) == 1
        assert capsys.readouterr().err.startswith("--data ")

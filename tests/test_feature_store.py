"""Kept features: found by content and maker, whole after a kill, shared by several writers, refused when the disk is too small."""

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from minigpt4_model.training import feature_store
from minigpt4_model.training.feature_store import FeatureSpec, FeatureStore, FeatureStoreError, in_words, require_disk

ROOT = Path(__file__).parents[1]
SPEC = FeatureSpec("vision", (3, 4), "a" * 64)


def row(number: int) -> np.ndarray:
    return np.full((3, 4), number, np.float16)


def add(store: FeatureStore, numbers) -> None:
    numbers = list(numbers)
    store.add([f"picture {number}" for number in numbers], np.stack([row(number) for number in numbers]))


def kept(store: FeatureStore, numbers) -> list[int]:
    found = [store.get(f"picture {number}") for number in numbers]
    for number, features in zip(numbers, found, strict=True):
        assert features is None or np.array_equal(features, row(number))
    return [number for number, features in zip(numbers, found, strict=True) if features is not None]


def test_what_was_added_is_found_at_once_and_later(tmp_path):
    with FeatureStore(tmp_path, SPEC) as store:
        assert store.get("picture 1") is None and "picture 1" not in store
        add(store, range(5))
        assert kept(store, range(7)) == [0, 1, 2, 3, 4] and len(store) == 5
    again = FeatureStore(tmp_path, SPEC)
    assert kept(again, range(7)) == [0, 1, 2, 3, 4] and len(again) == 5 and "picture 4" in again
    assert isinstance(again.get("picture 4"), np.memmap)


def test_a_picture_is_kept_once(tmp_path):
    with FeatureStore(tmp_path, SPEC) as store:
        add(store, range(3))
        store.add(["picture 1", "picture 9"], np.stack([row(77), row(9)]))
        assert kept(store, [1, 9]) == [1, 9]
    assert sum(path.stat().st_size for path in store.directory.glob("*.features")) == 4 * SPEC.row_bytes


def test_another_maker_has_another_folder(tmp_path):
    with FeatureStore(tmp_path, SPEC) as store:
        add(store, range(3))
    for other in (FeatureSpec("vision", (3, 4), "b" * 64), FeatureSpec("qformer", (3, 4), "a" * 64)):
        assert kept(FeatureStore(tmp_path, other), range(3)) == []
    with pytest.raises(FeatureStoreError, match="holds other features"):
        FeatureStore(tmp_path, FeatureSpec("vision", (2, 4), "a" * 64))


def test_rows_that_do_not_fit_are_refused(tmp_path):
    store = FeatureStore(tmp_path, SPEC)
    with pytest.raises(ValueError, match="float16"):
        store.add(["x"], np.zeros((1, 3, 4), np.float32))
    with pytest.raises(FeatureStoreError, match="half precision"):
        store.add(["x"], np.full((1, 3, 4), np.inf, np.float16))
    assert len(store) == 0


def test_shards_end_at_their_size(tmp_path):
    with FeatureStore(tmp_path, SPEC, shard_bytes=4 * SPEC.row_bytes) as store:
        add(store, range(10))
        assert kept(store, range(10)) == list(range(10))
    assert len(list(store.directory.glob("*.features"))) == 3
    assert kept(FeatureStore(tmp_path, SPEC), range(10)) == list(range(10))


def test_many_rows_are_found_in_sorted_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "_MERGE_AT", 16)
    with FeatureStore(tmp_path, SPEC) as store:
        for start in range(0, 100, 10):
            add(store, range(start, start + 10))
        assert kept(store, range(101)) == list(range(100)) and len(store) == 100
        assert len(store._keys) > 80


def test_another_reader_sees_new_rows_after_a_refresh(tmp_path):
    writer, reader = FeatureStore(tmp_path, SPEC, flush_s=0), FeatureStore(tmp_path, SPEC, refresh_s=0)
    add(writer, range(3))
    assert kept(reader, range(4)) == [0, 1, 2]
    add(writer, range(3, 6))  # the shard has grown under the reader's map
    assert kept(reader, range(6)) == list(range(6))


def test_a_store_can_be_handed_to_workers(tmp_path):
    store = FeatureStore(tmp_path, SPEC)
    add(store, range(3))
    store.flush()
    copy = pickle.loads(pickle.dumps(store))
    assert kept(copy, range(4)) == [0, 1, 2]
    add(copy, [3])
    copy.close()
    store.refresh()
    assert kept(store, range(4)) == [0, 1, 2, 3]


def _write(root: Path, start: int) -> None:
    with FeatureStore(root, SPEC, flush_s=0) as store:
        for number in range(start, start + 40):
            add(store, [number])


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_several_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, 30 * number)) for number in range(4)]  # neighbours overlap by ten
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = FeatureStore(tmp_path, SPEC)
    assert kept(store, range(131)) == list(range(130)) and len(store) == 130


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_fork_does_not_write_into_its_parents_shard(tmp_path):
    store = FeatureStore(tmp_path, SPEC)
    add(store, range(3))
    child = multiprocessing.get_context("fork").Process(target=lambda: (add(store, range(3, 6)), store.close()))
    child.start()
    child.join(60)
    add(store, range(6, 9))
    store.close()
    assert child.exitcode == 0
    assert kept(FeatureStore(tmp_path, SPEC), range(9)) == list(range(9))
    assert len(list(store.directory.glob("*.index"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_rows_are_whole_after_a_kill(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.test_feature_store import *\n"
        "store = FeatureStore(Path(sys.argv[1]), SPEC, flush_s=0)\n"
        "for number in range(10**6): add(store, [number]); print(number, flush=True)"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    last = 0
    while last < 50:
        last = int(run.stdout.readline())
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    with FeatureStore(tmp_path, SPEC) as store:
        assert kept(store, range(51)) == list(range(51))
        missing = next(number for number in range(10**6) if store.get(f"picture {number}") is None)
        assert missing == len(store)
        add(store, range(missing, missing + 5))
    assert kept(FeatureStore(tmp_path, SPEC), range(missing + 5)) == list(range(missing + 5))


def test_torn_files_hide_only_what_is_torn(tmp_path):
    with FeatureStore(tmp_path, SPEC) as store:
        add(store, range(5))
    index, features = (next(store.directory.glob(f"*.{kind}")) for kind in ("index", "features"))
    os.truncate(features, 4 * SPEC.row_bytes + 7)
    assert kept(FeatureStore(tmp_path, SPEC), range(5)) == [0, 1, 2, 3]
    os.truncate(index, 3 * 16 + 5)
    assert kept(FeatureStore(tmp_path, SPEC), range(5)) == [0, 1, 2]


def test_a_full_disk_ends_the_keeping_but_not_the_training(tmp_path, monkeypatch, caplog):
    usage = namedtuple("usage", "total used free")
    store = FeatureStore(tmp_path, SPEC, shard_bytes=2 * SPEC.row_bytes)
    add(store, range(2))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10))
    add(store, range(2, 4))
    assert store.full and kept(store, range(4)) == [0, 1]
    assert "takes no more features" in caplog.text
    store.close()
    assert kept(FeatureStore(tmp_path, SPEC), range(4)) == [0, 1]


def test_the_cost_is_told_and_a_small_disk_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 7 * 10**11))
    vision, qformer = FeatureSpec("vision", (257, 1408), "a" * 64), FeatureSpec("qformer", (32, 768), "a" * 64)
    with pytest.raises(FeatureStoreError) as refusal:
        require_disk(tmp_path / "not" / "there", vision, 5_000_000, qformer)
    assert "723,712 bytes a picture, 3.62 TB for 5,000,000 pictures" in str(refusal.value)
    assert "700 GB free" in str(refusal.value) and "--cache-features qformer" in str(refusal.value)
    assert "49,152 bytes a picture, 246 GB for 5,000,000 pictures" in str(refusal.value)
    assert not (tmp_path / "not").exists()
    assert require_disk(tmp_path / "not" / "there", qformer, 5_000_000).startswith("49,152 bytes a picture, 246 GB")


def test_what_is_kept_already_needs_no_room(tmp_path, monkeypatch):
    with FeatureStore(tmp_path, SPEC) as store:
        add(store, range(6))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, (1 << 30) + 2 * SPEC.row_bytes))
    assert "for 8 pictures, of which 6 are kept already" in require_disk(tmp_path, SPEC, 8)
    with pytest.raises(FeatureStoreError, match="for 9 pictures, of which 6 are kept already, but"):
        require_disk(tmp_path, SPEC, 9)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (12, "12 bytes"), (1000, "1 kB"), (49152, "49.2 kB"), (3.6e12, "3.6 TB"), (4.2e15, "4200 TB")]
)
def test_bytes_in_words(count, words):
    assert in_words(count) == words

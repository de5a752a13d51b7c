"""The cache: whole or not at all, damage noticed, one maker at a time."""

import json
import multiprocessing
import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from minigpt4_model.weights import cache
from minigpt4_model.weights.errors import WeightsError


class Maker:
    """Fills a directory with one file and counts how often it was asked to."""

    def __init__(self, content=b"weights"):
        self.content, self.calls = content, 0

    def __call__(self, directory: Path) -> None:
        self.calls += 1
        (directory / "sub").mkdir()
        (directory / "sub" / "model.bin").write_bytes(self.content)


def make(tmp_path, maker, recipe="r1", needed=10, progress=cache.silent):
    return cache.cached_directory(tmp_path / "model", recipe, maker, needed, "the model", progress)


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path / "here"))
    assert cache.home() == tmp_path / "here"
    monkeypatch.setenv("MINIGPT4_HOME", "~/there")
    assert cache.home() == Path.home() / "there"
    monkeypatch.delenv("MINIGPT4_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.home() == tmp_path / "minigpt4"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.home() == Path.home() / "Library" / "Caches" / "minigpt4"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache.home() == tmp_path / "local" / "minigpt4"


def test_made_once_then_found(tmp_path):
    maker = Maker()
    first = make(tmp_path, maker)
    assert make(tmp_path, maker) == first
    assert maker.calls == 1
    assert (first / "sub" / "model.bin").read_bytes() == b"weights"
    assert list(tmp_path.glob(".*.partial")) == []


def damage_truncate(directory):
    (directory / "sub" / "model.bin").write_bytes(b"weig")


def damage_same_size(directory):
    (directory / "sub" / "model.bin").write_bytes(b"weightz")


def damage_delete(directory):
    (directory / "sub" / "model.bin").unlink()


def damage_manifest(directory):
    (directory / cache.MANIFEST).write_text("{")


def damage_no_manifest(directory):
    (directory / cache.MANIFEST).unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_same_size, damage_delete, damage_manifest, damage_no_manifest])
def test_damage_is_noticed_and_mended(tmp_path, damage):
    maker, said = Maker(), []
    directory = make(tmp_path, maker)
    damage(directory)
    assert cache.find_faults(directory)
    make(tmp_path, maker, progress=lambda message, fraction: said.append(message))
    assert maker.calls == 2
    assert cache.find_faults(directory, "r1", full=True) == []
    assert any("again" in message for message in said)


def test_a_flipped_bit_behind_an_unchanged_time_is_found_by_a_full_check(tmp_path):
    directory = make(tmp_path, Maker())
    path = directory / "sub" / "model.bin"
    before = path.stat()
    path.write_bytes(b"weightz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.find_faults(directory) == []
    assert "damaged" in cache.find_faults(directory, full=True)[0]


def test_a_touched_but_whole_file_is_read_once_and_its_time_recorded(tmp_path, monkeypatch):
    directory = make(tmp_path, Maker())
    os.utime(directory / "sub" / "model.bin", ns=(1, 1))
    assert cache.find_faults(directory) == []
    monkeypatch.setattr(cache, "sha256_of", lambda *_: pytest.fail("read again"))
    assert cache.find_faults(directory) == []


def test_another_recipe_makes_it_again(tmp_path):
    maker = Maker()
    make(tmp_path, maker, "r1")
    make(tmp_path, maker, "r2")
    assert maker.calls == 2


def test_a_failing_maker_leaves_the_old_directory_and_no_leftovers(tmp_path):
    directory = make(tmp_path, Maker())

    def failing(_):
        raise WeightsError("no network")

    with pytest.raises(WeightsError, match="no network"):
        make(tmp_path, failing, recipe="r2")
    assert cache.find_faults(directory, "r1") == []
    assert list(tmp_path.glob(".*.partial")) == []


def test_leftovers_of_a_killed_process_are_swept(tmp_path):
    leftover = tmp_path / ".model.dead.partial"
    leftover.mkdir()
    (leftover / "half").write_bytes(b"x")
    make(tmp_path, Maker())
    assert not leftover.exists()


def test_too_little_space_is_said_before_work_starts(tmp_path):
    maker = Maker()
    with pytest.raises(WeightsError, match="MINIGPT4_HOME"):
        make(tmp_path, maker, needed=1 << 60)
    assert maker.calls == 0


def test_a_disk_that_fills_up_is_explained(tmp_path):
    def filling(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(WeightsError, match="is full.*MINIGPT4_HOME"):
        make(tmp_path, filling)


def test_files_can_be_read_by_whoever_the_umask_lets(tmp_path):
    def private(directory):
        (directory / "model.bin").write_bytes(b"x")
        (directory / "model.bin").chmod(0o600)

    directory = make(tmp_path, private)
    (tmp_path / "probe").touch()
    assert stat.S_IMODE((directory / "model.bin").stat().st_mode) == stat.S_IMODE((tmp_path / "probe").stat().st_mode)


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    cache.write_atomically(path, b"old")

    def broken(*_):
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError):
        cache.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def _make_slowly(tmp_path, log):
    def maker(directory):
        time.sleep(0.5)
        (directory / "model.bin").write_bytes(str(os.getpid()).encode())

    cache.cached_directory(tmp_path / "model", "r", maker, 10, "the model")
    log.put((tmp_path / "model" / "model.bin").read_bytes())


def test_two_processes_make_it_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    log = context.Queue()
    workers = [context.Process(target=_make_slowly, args=(tmp_path, log)) for _ in range(2)]
    for worker in workers:
        worker.start()
    results = [log.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert results[0] == results[1]
    assert json.loads((tmp_path / "model" / cache.MANIFEST).read_text())["recipe"] == "r"


def test_a_held_lock_makes_the_next_one_wait_and_say_so(tmp_path):
    said, order = [], []
    holding = threading.Event()

    def hold():
        with cache.locked(tmp_path / "lock", "x"):
            holding.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    with cache.locked(tmp_path / "lock", "the model", lambda message, fraction: said.append(message)):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert said == ["Another process is preparing the model; waiting for it."]

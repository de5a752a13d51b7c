"""Checkpoints: what is in them, and that neither a kill nor a full disk loses the last good one."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from minigpt4_model.model import MiniGPT4Config
from minigpt4_model.training import checkpoint
from minigpt4_model.training.checkpoint import (
    STATE_FILE,
    CheckpointError,
    explained,
    find_checkpoints,
    keep_best,
    load_state,
    save_checkpoint,
    trained_state,
    write_projection,
)
from minigpt4_model.weights.load import TRAINED_PREFIXES, read_checkpoint
from tests.tiny_models import build_tiny_model

try:
    import resource
except ImportError:  # Windows
    resource = None


@pytest.fixture(scope="module")
def model():
    return build_tiny_model()[0]


def writes(text: str):
    def write(directory):
        directory.mkdir()
        (directory / "model.safetensors").write_text(text)

    return write


def fails(directory):
    directory.mkdir()
    (directory / "model.safetensors").write_text("half")
    raise OSError(28, "No space left on device")


def test_a_projection_can_be_read_and_holds_nothing_else(model, tmp_path):
    config = MiniGPT4Config.from_dict(model.config.to_dict())
    config.text_config._name_or_path = "/home/someone/llm"
    config.trained_with = {"language_model": {"name": "tiny"}}
    write_projection(tmp_path / "run", trained_state(model), config)
    tensors = read_checkpoint(tmp_path / "run")
    assert all(key.startswith(TRAINED_PREFIXES) for key in tensors) and {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert tensors.keys() == trained_state(model).keys() and "model.language_projection.bias" in tensors
    assert "/home/someone" not in (tmp_path / "run" / "config.json").read_text()
    config = MiniGPT4Config.from_pretrained(tmp_path / "run")
    assert config.trained_with == {"language_model": {"name": "tiny"}} and config.qformer_config.hidden_size == 32


def test_a_projection_alone_is_kept_exactly(model, tmp_path):
    tensors = trained_state(model, prefixes=("model.language_projection.",))
    write_projection(tmp_path, tensors, model.config)
    kept = read_checkpoint(tmp_path)
    assert kept.keys() == {"model.language_projection.weight", "model.language_projection.bias"}
    assert all(torch.equal(kept[key], tensors[key]) for key in kept)


def test_a_failing_write_leaves_the_old_projection(model, tmp_path, monkeypatch):
    write_projection(tmp_path, trained_state(model), model.config)
    (tmp_path / "README.md").write_text("card")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(tensors, path, metadata):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", half)
    changed = {key: tensor + 1 for key, tensor in trained_state(model).items()}
    with pytest.raises(OSError, match="No space left"):
        write_projection(tmp_path, changed, model.config)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_whoever_may_read_the_description_may_read_the_weights(model, tmp_path):
    write_projection(tmp_path, trained_state(model), model.config)
    modes = {(tmp_path / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


def test_checkpoints_are_found_in_the_order_of_their_steps(tmp_path):
    for step in (2, 9, 10):
        save_checkpoint(tmp_path, step, {"step": step}, writes("weights"), keep=9)
    (tmp_path / "checkpoint-99").mkdir()  # without a state it is not one of ours
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-9", "checkpoint-10"]
    assert load_state(tmp_path) == {"step": 10} and load_state(tmp_path / "elsewhere") is None


def test_a_failing_save_leaves_the_checkpoints_there_are(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"step": step}, writes("weights"), keep=2)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 3, {"step": 3}, fails, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"] and load_state(tmp_path) == {"step": 2}


def test_what_a_kill_left_half_written_is_not_a_checkpoint(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1}, writes("weights"), keep=2)
    half = tmp_path / "checkpoint-2.tmp"
    half.mkdir()
    (half / STATE_FILE).write_bytes(b"half")
    assert load_state(tmp_path) == {"step": 1}
    save_checkpoint(tmp_path, 2, {"step": 2}, writes("weights"), keep=2)
    assert load_state(tmp_path) == {"step": 2} and not half.exists()


def test_a_damaged_state_is_named_with_the_way_out(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1}, writes("weights"), keep=2)
    (tmp_path / "checkpoint-1" / STATE_FILE).write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"checkpoint-1/training_state.pt is damaged .* Remove .*checkpoint-1 to start anew"):
        load_state(tmp_path)


def test_behind_a_damaged_state_the_one_before_is_taken(tmp_path, caplog):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": step}, writes("weights"), keep=3)
    (tmp_path / "checkpoint-3" / STATE_FILE).write_bytes((tmp_path / "checkpoint-2" / STATE_FILE).read_bytes()[:-100])
    assert load_state(tmp_path) == {"step": 2}
    assert "checkpoint-3/training_state.pt is damaged" in caplog.text and "checkpoint-2" not in caplog.text
    # The damaged one is not counted among the last that are kept.
    save_checkpoint(tmp_path, 2, {"step": 2, "again": True}, writes("weights"), keep=1)
    assert load_state(tmp_path) == {"step": 2, "again": True} and not (tmp_path / "checkpoint-1").exists()
    save_checkpoint(tmp_path, 3, {"step": 3}, writes("weights"), keep=1)
    assert load_state(tmp_path) == {"step": 3} and [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize("killed_at", [1, 2], ids=["before the old one is set aside", "before the new one is in place"])
def test_saving_a_step_again_never_loses_the_only_checkpoint(tmp_path, monkeypatch, killed_at):
    save_checkpoint(tmp_path, 1, {"step": 1, "saved": "first"}, writes("weights"), keep=1)
    calls, replace = [], checkpoint.os.replace

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(checkpoint.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 1, {"step": 1, "saved": "second"}, writes("weights"), keep=1)
    monkeypatch.undo()
    assert load_state(tmp_path) == {"step": 1, "saved": "first"} and len(find_checkpoints(tmp_path)) == 1
    save_checkpoint(tmp_path, 1, {"step": 1, "saved": "third"}, writes("weights"), keep=1)
    assert load_state(tmp_path)["saved"] == "third" and [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    descriptors = {}

    def opened(path, *arguments, **options):
        descriptor = os_open(path, *arguments, **options)
        descriptors[descriptor] = Path(path).name
        return descriptor

    os_open = os.open
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(descriptors[descriptor]) or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda old, new: done.append(f"now {Path(new).name}") or replace(old, new))
    save_checkpoint(tmp_path, 1, {"step": 1}, writes("weights"), keep=1)
    renamed = done.index("now checkpoint-1")
    assert {"model.safetensors", STATE_FILE, "checkpoint-1.tmp"} <= set(done[:renamed])
    assert os.name == "nt" or tmp_path.name in done[renamed:]


@contextmanager
def no_larger_files_than(size: int):
    """A disk that has no room for more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(resource is None, reason="Windows has no such limits")
@pytest.mark.parametrize("large", ["state", "weights"])
def test_whichever_file_the_disk_has_no_room_for_it_is_one_sentence(model, tmp_path, large):
    save_checkpoint(tmp_path, 1, {"step": 1}, writes("weights"), keep=2)
    state = {"step": 2, "optimizer": torch.zeros(100_000 if large == "state" else 1)}
    tensors = {"model.language_projection.bias": torch.zeros(100_000 if large == "weights" else 1)}
    with (
        no_larger_files_than(100_000),
        pytest.raises(CheckpointError, match=r"cannot be written \(File too large\).*checkpoint-1 is whole"),
        explained(tmp_path),
    ):
        save_checkpoint(tmp_path, 2, state, lambda new: write_projection(new, tensors, model.config), keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_the_best_is_replaced_only_by_a_whole_one(tmp_path):
    writes("old")(tmp_path / "best")
    with pytest.raises(OSError, match="No space left"):
        keep_best(tmp_path / "best", fails)
    assert (tmp_path / "best" / "model.safetensors").read_text() == "old"
    keep_best(tmp_path / "best", writes("new"))
    assert (tmp_path / "best" / "model.safetensors").read_text() == "new"


@pytest.mark.parametrize("killed_at", ["rename 1", "rename 2", "deleting"])
def test_a_kill_never_loses_the_best(tmp_path, monkeypatch, killed_at):
    writes("old")(tmp_path / "best")
    calls, replace, rmtree = [], checkpoint.os.replace, checkpoint.shutil.rmtree

    def killed_rename(*arguments):
        calls.append(f"rename {len(calls) + 1}")
        if calls[-1] == killed_at:
            raise KeyboardInterrupt
        replace(*arguments)

    def killed_delete(path, ignore_errors):
        if path.exists() and killed_at == "deleting":
            raise KeyboardInterrupt
        rmtree(path, ignore_errors)

    monkeypatch.setattr(checkpoint.os, "replace", killed_rename)
    monkeypatch.setattr(checkpoint.shutil, "rmtree", killed_delete)
    with pytest.raises(KeyboardInterrupt):
        keep_best(tmp_path / "best", writes("new"))
    monkeypatch.undo()
    kept = {path.parent.name: path.read_text() for path in tmp_path.glob("*/model.safetensors")}
    assert kept.get("best", kept.get("best.old")) in ("old", "new")

    with pytest.raises(OSError, match="No space left"):
        keep_best(tmp_path / "best", fails)  # the next one fails, and still there is a best one
    assert (tmp_path / "best" / "model.safetensors").read_text() == ("new" if killed_at == "deleting" else "old")
    keep_best(tmp_path / "best", writes("new"))
    assert (tmp_path / "best" / "model.safetensors").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best"]

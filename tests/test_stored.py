"""Tensors read one by one from safetensors files: as safetensors reads them, from whole files only, and mapped no longer than used."""

import json
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.stored import open_directory, open_file, read_all, returned_memory

KINDS = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    kinds = {f"kind {kind}": (torch.randn(3, 5) * 4).to(kind) for kind in KINDS}
    return {**kinds, "scalar": torch.tensor(7.0), "empty": torch.zeros(0, 4), "large": torch.randn(300, 1000), "odd": torch.randn(3)}


def test_every_kind_of_tensor_is_read_as_it_is(tensors, tmp_path):
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    stored = open_file(tmp_path / "a.safetensors")
    assert stored.keys() == tensors.keys()
    theirs = load_file(tmp_path / "a.safetensors")
    for name, tensor in read_all(stored).items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name
        assert stored[name].get_shape() == list(tensor.shape)
    assert stored["large"].get_dtype() == "F32"


def test_what_is_read_belongs_to_the_reader(tensors, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    before, stored = path.read_bytes(), open_file(path)
    first = stored["large"][...]
    first.zero_()
    assert path.read_bytes() == before and torch.equal(stored["large"][...], tensors["large"])


def test_a_file_that_aligns_nothing_is_read_too(tmp_path):
    """Other programs' headers may have any length."""
    values = torch.arange(6, dtype=torch.float32)
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    header += b" " * (5 - len(header) % 4)
    assert len(header) % 4 == 1
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + values.numpy().tobytes())
    assert torch.equal(open_file(tmp_path / "a.safetensors")["a"][...], values.view(2, 3))


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_cut_file_is_refused(tensors, tmp_path, keep):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SafetensorError):
        open_file(path)


def test_missing_files_and_damaged_lists_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is missing"):
        open_directory(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=r"model-00001-of-00001.safetensors is missing"):
        open_directory(tmp_path)
    for damaged in ("{", "[]", '{"weight_map": 3}'):
        index.write_text(damaged)
        with pytest.raises(WeightsError, match=r"index.json is damaged"):
            open_directory(tmp_path)


def test_shards_are_one_model(tmp_path):
    for number, name in enumerate("ab"):
        save_file({name: torch.full((2,), float(number))}, tmp_path / f"{name}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}))
    assert {name: tensor.tolist() for name, tensor in read_all(open_directory(tmp_path)).items()} == {"a": [0.0, 0.0], "b": [1.0, 1.0]}


def mapped(path: Path) -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_only_a_tensor_that_is_in_use_is_mapped(tensors, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    stored = open_file(path)
    assert mapped(path) == []
    tensor = stored["large"][...]
    (line,) = mapped(path)
    start, end = (int(address, 16) for address in line.split()[0].split("-"))
    assert end - start < tensor.numel() * 4 + 3 * 4096
    converted = tensor.to(torch.bfloat16)
    del tensor
    assert mapped(path) == [] and converted.dtype == torch.bfloat16


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_goes_back_inside():
    """Many blocks between others that stay: without it they would stay with them."""
    from minigpt4_model.evaluation.process_memory import memory_of

    def scatter() -> int:
        kept, before = [], memory_of()["RssAnon"]
        for _ in range(60):
            passing = torch.ones(3_000_000, dtype=torch.uint8)
            kept.append(torch.ones(1_200_000, dtype=torch.uint8))
            del passing
        return memory_of()["RssAnon"] - before - len(kept) * 1_200_000

    with returned_memory():
        assert scatter() < 8_000_000

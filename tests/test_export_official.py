"""export-official: what was trained here loads in the original's own way, and comes back unchanged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minigpt4_model.__main__ import main as program
from minigpt4_model.training.checkpoint import write_projection
from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.export_official import export_official
from minigpt4_model.weights.import_official import import_official
from minigpt4_model.weights.load import load_model
from minigpt4_model.weights.pocket import POCKET_CHECKPOINT
from tests.test_import_official import llama2, vicuna
from tests.tiny_official import PROJECTION, QFORMER, read


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("export") / "whole"
    import_official(vicuna(), output)
    return output


def trained(whole: Path, folder: Path, with_qformer: bool = False) -> Path:
    """A checkpoint as the trainer writes it over a whole model: its projection, and its Q-Former where that was trained."""
    prefixes = ("model.language_projection.", *(("model.qformer.", "model.query_tokens") if with_qformer else ()))
    tensors = {name: tensor.float() + 0.5 for name, tensor in load_file(whole / "model.safetensors").items() if name.startswith(prefixes)}
    model, _ = load_model(whole, device="cpu", dtype="float32")
    model.config.frozen_parts = str(whole)
    write_projection(folder, tensors, model.config)
    return folder


class Upstream(nn.Module):
    """The names of upstream's `MiniGPT4` that a checkpoint is loaded into, and its `from_config`'s loading."""

    def __init__(self):
        super().__init__()
        self.llama_proj = nn.Linear(48, 40)
        self.query_tokens = nn.Parameter(torch.zeros(1, 32, 48))

    def load(self, path: Path):
        ckpt = torch.load(path, map_location="cpu", weights_only=True)
        return self.load_state_dict(ckpt["model"], strict=False)


def test_the_official_projection_comes_out_as_it_went_in(whole, tmp_path):
    assert export_official(whole, tmp_path / "out.pth") == ["llama_proj.bias", "llama_proj.weight"]
    mine, theirs = read(tmp_path / "out.pth"), read(PROJECTION)["model"]
    assert all(torch.equal(mine["model"][name], theirs[name]) and mine["model"][name].dtype == torch.float32 for name in mine["model"])


def test_the_original_loads_it(whole, tmp_path, capsys):
    checkpoint = trained(whole, tmp_path / "stage2")
    assert program(["export-official", "--model", str(checkpoint), "--output", str(tmp_path / "out.pth")]) == 0
    assert 'set "ckpt" in eval_configs/' in capsys.readouterr().out
    model = Upstream()
    assert model.load(tmp_path / "out.pth").unexpected_keys == []
    assert torch.equal(model.llama_proj.weight, load_file(checkpoint / "model.safetensors")["model.language_projection.weight"])


def test_it_comes_back_through_import(whole, tmp_path):
    checkpoint = trained(whole, tmp_path / "stage2", with_qformer=True)
    names = export_official(checkpoint, tmp_path / "out.pth")
    assert set(names) == {name for name in read(QFORMER)["model"] if name.startswith("Qformer.bert.") and "position_ids" not in name} | {
        "query_tokens", "llama_proj.bias", "llama_proj.weight",
    }  # fmt: skip
    import_official(vicuna(projection=tmp_path / "out.pth"), tmp_path / "again")
    expected = load_file(whole / "model.safetensors") | load_file(checkpoint / "model.safetensors")
    for name, tensor in load_file(tmp_path / "again" / "model.safetensors").items():
        assert torch.equal(tensor.float(), expected[name].float()), name


def test_which_parts_are_written_can_be_said(whole, tmp_path):
    checkpoint = trained(whole, tmp_path / "stage2", with_qformer=True)
    assert len(export_official(checkpoint, tmp_path / "without.pth", qformer=False)) == 2
    assert "qformer" in read(tmp_path / "without.pth")["trained_with"]
    assert len(export_official(whole, tmp_path / "with.pth", qformer=True)) > 2
    assert "qformer" not in read(tmp_path / "with.pth")["trained_with"], "it brings its own"
    with pytest.raises(WeightsError, match="--qformer: .* has no Q-Former of its own"):
        export_official(trained(whole, tmp_path / "stage1"), tmp_path / "none.pth", qformer=True)


def test_a_whole_model_with_a_changed_q_former_brings_it(whole, tmp_path):
    model, processor = load_model(whole, device="cpu", dtype="float32")
    with torch.no_grad():
        model.model.query_tokens += 1
    model.save_pretrained(tmp_path / "changed")
    processor.save_pretrained(tmp_path / "changed")
    assert "query_tokens" in export_official(tmp_path / "changed", tmp_path / "out.pth")


def test_the_llama2_variant(tmp_path):
    import_official(llama2(tmp_path), tmp_path / "model")
    assert export_official(tmp_path / "model", tmp_path / "out.pth") == ["llama_proj.bias", "llama_proj.weight"]
    mine, theirs = read(tmp_path / "out.pth")["model"], read(tmp_path / "llama2.pth")["model"]
    assert torch.equal(mine["llama_proj.weight"], theirs["llama_proj.weight"])


def test_what_the_original_cannot_run_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="efficientnet_lite2.*the original project runs EVA-CLIP's ViT with LLaMA's family only"):
        export_official(POCKET_CHECKPOINT, tmp_path / "out.pth")
    with pytest.raises(WeightsError, match="there is no such folder"):
        export_official(tmp_path / "nowhere", tmp_path / "out.pth")


def test_nothing_is_overwritten(whole, tmp_path, capsys):
    (tmp_path / "out.pth").write_bytes(b"precious")
    assert program(["export-official", "--model", str(whole), "--output", str(tmp_path / "out.pth")]) == 1
    assert "is there already, and is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "out.pth").read_bytes() == b"precious"


def test_a_checkpoint_over_another_q_former_is_refused_with_both_names(whole, tmp_path):
    """A projection that was trained over an imported model opens over that model only: the Q-Former counts as well."""
    checkpoint = trained(whole, tmp_path / "stage1")
    assert torch.equal(
        load_model(checkpoint, device="cpu", dtype="float32")[0].model.language_projection.bias,
        load_file(checkpoint / "model.safetensors")["model.language_projection.bias"],
    )
    other = tmp_path / "other"
    model, processor = load_model(whole, device="cpu", dtype="float32")
    model.save_pretrained(other)
    processor.save_pretrained(other)
    tensors = load_file(other / "model.safetensors")
    tensors["model.query_tokens"] = tensors["model.query_tokens"] + 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((other / "config.json").read_text())
    config["trained_with"]["qformer"]["name"] = "another Q-Former"
    (other / "config.json").write_text(json.dumps(config))
    description = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**description, "frozen_parts": str(other)}))
    with pytest.raises(PairingError, match="trained with the Q-Former a Q-Former, 48 wide, and this is another Q-Former"):
        load_model(checkpoint, device="cpu", dtype="float32")

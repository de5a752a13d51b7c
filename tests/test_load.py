"""Loading a model to chat with: from the shipped checkpoint, from whole directories, and every way in which that can be refused."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from minigpt4_model.weights import load
from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.load import choose_device, choose_dtype, find_checkpoint, imagenet_classifier, load_model
from minigpt4_model.weights.pocket import POCKET_CHECKPOINT, ensure_pocket
from tests.tiny_models import build_tiny_model

CPU = torch.device("cpu")
PROMPT = "<|im_start|>user\n<ImageHere>What is this?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy of the shipped projection checkpoint, to be broken."""
    return Path(shutil.copytree(POCKET_CHECKPOINT, tmp_path / "checkpoint"))


@pytest.fixture
def whole(tmp_path) -> Path:
    """A tiny model as `save_pretrained` writes it."""
    model, processor = build_tiny_model("llama2")
    model.save_pretrained(tmp_path / "whole")
    processor.save_pretrained(tmp_path / "whole")
    return tmp_path / "whole"


def edit_config(directory: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads((directory / "config.json").read_text())
    edit(content)
    (directory / "config.json").write_text(json.dumps(content))


def edit_weights(directory: Path, edit: Callable[[dict], object]) -> None:
    tensors = {key: tensor.clone() for key, tensor in load_file(directory / "model.safetensors").items()}
    edit(tensors)
    save_file(tensors, directory / "model.safetensors")


# --- what is asked for


def test_a_folder_of_files_goes_with_a_full_size_preset(tmp_path):
    for source in ("pocket", tmp_path):
        with pytest.raises(WeightsError, match=r"--local-dir goes with a full-size preset \(vicuna-7b, vicuna-13b, llama2-7b\), not with"):
            find_checkpoint(source, tmp_path)


def test_a_directory_without_a_model_is_named(tmp_path):
    with pytest.raises(WeightsError, match=f"--model {tmp_path}: there is no config.json"):
        find_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match="--model no/such/place: there is no such folder"):
        find_checkpoint("no/such/place")


def test_pocket_is_the_shipped_checkpoint():
    assert find_checkpoint("pocket") == POCKET_CHECKPOINT


def test_a_shipped_checkpoint_that_is_gone_says_how_to_get_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "POCKET_CHECKPOINT", tmp_path)
    with pytest.raises(WeightsError, match=f"{tmp_path}/config.json is missing. Restore it: .*checkpoints/pocket"):
        find_checkpoint("pocket")


def test_a_path_is_a_directory_also_when_a_preset_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pocket").mkdir()
    (tmp_path / "pocket" / "config.json").touch()
    assert find_checkpoint(Path("pocket")) == Path("pocket") and find_checkpoint("pocket") == POCKET_CHECKPOINT
    with pytest.raises(WeightsError, match="--model vicuna-7b: there is no such folder.* The preset of that name is --preset vicuna-7b."):
        find_checkpoint(Path("vicuna-7b"))


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(WeightsError, match="--device cuda:1: not available on this machine. There is: cpu."):
        choose_device("cuda:1")
    with pytest.raises(WeightsError, match="--device toaster: there is no such device"):
        choose_device("toaster")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device() == torch.device("cuda") and choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(WeightsError, match="--device cuda:9: not available on this machine. Of cuda there is: cuda:0 to cuda:1."):
        choose_device("cuda:9")


def test_precisions(monkeypatch):
    assert choose_dtype("float16", CPU) == torch.float16
    with pytest.raises(WeightsError, match="--dtype int3: choose one of float32, bfloat16, float16"):
        choose_dtype("int3", CPU)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert choose_dtype(None, CPU) == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_dtype("auto", CPU) == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_dtype(None, torch.device("cuda")) == torch.float16


def test_fewer_bits_without_bitsandbytes_name_the_flag(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(WeightsError, match="--load-in-4bit needs the package bitsandbytes, .* -m pip install -r /"):
        load_model("pocket", load_in_4bit=True)


def test_8_and_4_bit_exclude_each_other():
    with pytest.raises(WeightsError, match="--load-in-8bit and --load-in-4bit exclude each other"):
        load_model("pocket", load_in_8bit=True, load_in_4bit=True)


# --- what is in the directory


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(WeightsError, match=r"config.json describes a 'llama' model, not a 'minigpt4' one"):
        load_model(tmp_path)


def test_a_damaged_configuration_is_named(checkpoint):
    (checkpoint / "config.json").write_text('{"model_type"')
    with pytest.raises(WeightsError, match=r"config.json is damaged"):
        load_model(checkpoint)


def test_a_contradictory_configuration_is_named(checkpoint):
    edit_config(checkpoint, lambda content: content["qformer_config"].update(encoder_hidden_size=7))
    with pytest.raises(WeightsError, match=r"config.json: qformer_config.encoder_hidden_size is 7"):
        load_model(checkpoint)


def test_missing_weights_are_named(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"checkpoint/model.safetensors is missing"):
        load_model(checkpoint)


def test_cut_off_weights_are_named(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"checkpoint/model.safetensors is damaged"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda tensors: tensors.pop("model.query_tokens"), r"missing: model\.query_tokens"),
        (lambda tensors: tensors.update({"model.qformer.more": torch.ones(2)}), r"unknown: model\.qformer\.more"),
        (
            lambda tensors: tensors.update({"model.query_tokens": torch.ones(1, 32, 8)}),
            r"of another shape: model\.query_tokens \(1, 32, 8\) instead of \(1, 32, \d+\)",
        ),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_tensors_that_do_not_fit_are_refused_by_name(checkpoint, edit, fault):
    edit_weights(checkpoint, edit)
    with pytest.raises(WeightsError, match=f"checkpoint does not fit its config.json .*{fault}"):
        load_model(checkpoint, dtype="float32")


def test_a_projection_for_another_language_model_is_refused_with_both_names(checkpoint):
    other = {"name": "Vicuna v0 7B", "embedding_fingerprint": "0" * 32}
    edit_config(checkpoint, lambda content: content["trained_with"]["language_model"].update(other))
    with pytest.raises(PairingError, match="was trained with the language model Vicuna v0 7B, and this is SmolLM2-135M-Instruct"):
        load_model(checkpoint)


def test_a_projection_for_another_encoder_is_refused_with_both_names(checkpoint):
    other = {"name": "EVA-CLIP", "fingerprint": "0" * 32}
    edit_config(checkpoint, lambda content: content["trained_with"]["vision_encoder"].update(other))
    with pytest.raises(PairingError, match="was trained with the vision encoder EVA-CLIP, and this is EfficientNet-Lite2"):
        load_model(checkpoint)


def test_a_projection_without_a_record_is_refused(checkpoint):
    edit_config(checkpoint, lambda content: content.pop("trained_with"))
    with pytest.raises(PairingError, match="has no record of the language model it was trained with"):
        load_model(checkpoint)


def test_frozen_parts_that_nobody_has_are_refused(checkpoint):
    edit_config(checkpoint, lambda content: content.update(frozen_parts="somewhere/else"))
    with pytest.raises(WeightsError, match="its frozen parts are those of somewhere/else, and there is no model"):
        load_model(checkpoint)
    with pytest.raises(WeightsError, match="names the frozen parts of 'vicuna-7b', and they are no preset's of that kind"):
        load.frozen_state("vicuna-7b")


# --- what is loaded


def test_pocket_in_its_precisions():
    model, processor = load_model("pocket", device="cpu", dtype="bfloat16")
    assert not model.training and model.device == CPU
    kept = ("model.vision_model.", "model.qformer.", "model.query_tokens", "model.language_projection.")
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if name.startswith(kept) else torch.bfloat16), name
    assert model.lm_head.weight is model.get_input_embeddings().weight
    trained = load_file(POCKET_CHECKPOINT / "model.safetensors")
    assert torch.equal(model.state_dict()["model.query_tokens"], trained["model.query_tokens"].float())
    assert processor.image_token_id == model.config.text_config.vocab_size and processor.add_bos is False
    assert len(processor.tokenizer) <= model.config.text_config.vocab_size


def test_pocket_saved_whole_loads_again(tmp_path):
    model, processor = load_model("pocket", dtype="float32")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, loaded = load_model(tmp_path, dtype="float32")
    inputs = processor(text=PROMPT, images=PIL.Image.new("RGB", (64, 48), "red"))
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
    assert loaded.tokenize_prompt(PROMPT) == processor.tokenize_prompt(PROMPT)


def test_a_whole_directory_loads(whole):
    source, source_processor = build_tiny_model("llama2")
    model, processor = load_model(str(whole), dtype="float32")
    assert not model.training
    theirs = source.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.state_dict().items())
    assert processor.num_image_tokens == 64
    prompt = "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n<Img><ImageHere></Img> hello [/INST] "
    assert processor.tokenize_prompt(prompt) == source_processor.tokenize_prompt(prompt)


def test_a_whole_directory_with_a_tensor_missing_is_refused(whole):
    edit_weights(whole, lambda tensors: tensors.pop("model.language_projection.bias"))
    with pytest.raises(WeightsError, match=r"whole does not fit its config.json .*missing: model\.language_projection\.bias"):
        load_model(whole)


@pytest.mark.parametrize(
    ("name", "fault"), [("model.safetensors", "whole is not whole: .*model.safetensors"), ("tokenizer_config.json", "whole is not whole")]
)
def test_a_whole_directory_with_a_file_missing_is_refused(whole, name, fault):
    (whole / name).unlink()
    (whole / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=fault):
        load_model(whole)


def test_a_whole_directory_with_cut_off_weights_is_refused(whole):
    weights = whole / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="whole: a weights file is damaged"):
        load_model(whole)


@pytest.mark.parametrize(("flag", "kind"), [("load_in_8bit", "Linear8bitLt"), ("load_in_4bit", "Linear4bit")])
def test_only_the_language_models_layers_are_quantised(flag, kind):
    model, processor = load_model("pocket", device="cpu", **{flag: True})
    quantised = [name for name, module in model.named_modules() if type(module).__name__ == kind]
    layers = model.config.text_config.num_hidden_layers
    assert len(quantised) == 7 * layers and all(name.startswith("model.language_model.layers.") for name in quantised)
    assert model.model.language_projection.weight.dtype == torch.float32
    inputs = processor(text=PROMPT, images=PIL.Image.new("RGB", (64, 48), "red"))
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1].float()
        full = load_model("pocket", device="cpu", dtype="float32")[0](**inputs).logits[:, -1]
    assert torch.nn.functional.cosine_similarity(logits, full).item() > 0.9
    assert model.generate(**inputs, max_new_tokens=2, do_sample=False).shape == (1, 2)


def test_the_classifier_that_training_imagines_photographs_with():
    classifier = imagenet_classifier()
    assert {name: tuple(tensor.shape) for name, tensor in classifier.items()} == {"weight": (1000, 1280), "bias": (1000,)}
    state, tokenizer_dir = load.frozen_state("pocket")
    assert not any("classifier" in key for key in state) and tokenizer_dir == ensure_pocket().language_model_dir

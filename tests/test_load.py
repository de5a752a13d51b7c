"""Loading a model to chat with: from the shipped checkpoint, from whole directories, and every way in which that can be refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from minigpt4_model.weights import load, memory_check
from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.load import choose_device, choose_dtype, find_checkpoint, imagenet_classifier, load_model
from minigpt4_model.weights.machine import Device
from minigpt4_model.weights.memory_check import TooLittleMemory
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
    # A T4 says yes and means emulation.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    for capability, dtype in (((7, 5), torch.float16), ((8, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        assert choose_dtype(None, torch.device("cuda")) == dtype


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
    model, processor = load_model("pocket", device="cpu", dtype="bfloat16", **{flag: True})
    quantised = [name for name, module in model.named_modules() if type(module).__name__ == kind]
    layers = model.config.text_config.num_hidden_layers
    assert len(quantised) == 7 * layers and all(name.startswith("model.language_model.layers.") for name in quantised)
    own = model.model
    assert own.query_tokens.dtype == own.language_projection.weight.dtype == torch.float32
    assert {parameter.dtype for parameter in own.qformer.parameters()} == {torch.bfloat16}
    inputs = processor(text=PROMPT, images=PIL.Image.new("RGB", (64, 48), "red"))
    full, _ = load_model("pocket", device="cpu", dtype="float32")
    with torch.no_grad():
        logits, wanted = (each(**inputs).logits[:, -1].float() for each in (model, full))
        seen, there = (each.get_image_features(inputs["pixel_values"]).pooler_output.float() for each in (model, full))
    assert torch.nn.functional.cosine_similarity(logits, wanted).item() > 0.9
    assert torch.nn.functional.cosine_similarity(seen, there, dim=-1).min() > 0.99  # a Q-Former in 16 bits sees the same
    assert model.generate(**inputs, max_new_tokens=2, do_sample=False).shape == (1, 2)


def test_layers_left_on_the_disk_answer_the_same(whole, monkeypatch):
    """accelerate reads them each time; the only offloading that a machine without a GPU can show."""
    monkeypatch.setattr(memory_check, "find_devices", lambda only=None: [Device("cpu", "small", 10**12)])
    size = memory_check.need_of(json.loads((whole / "config.json").read_text()))
    tight = size.needed_bytes("float32", 1) - size.size.layer_bytes("float32") // 2
    spread, processor = load_model(whole, dtype="float32", device_map="cpu,disk", max_memory=f"cpu={tight}")
    # Of two layers none can stay: the one on its way needs the room of the other.
    assert {spread.hf_device_map[f"model.language_model.layers.{index}"] for index in range(2)} == {"disk"}
    assert spread.hf_device_map["lm_head"] == "cpu"
    assert next(spread.model.language_model.layers[1].parameters()).is_meta and spread.device == CPU
    model, _ = load_model(whole, dtype="float32", device="cpu")
    prompt = "[INST] <Img><ImageHere></Img> hello [/INST] "
    inputs = processor(text=prompt, images=PIL.Image.new("RGB", (64, 48), "red"))
    with torch.no_grad():
        assert torch.equal(spread(**inputs).logits, model(**inputs).logits)
    assert torch.equal(
        spread.generate(**inputs, max_new_tokens=4, do_sample=False), model.generate(**inputs, max_new_tokens=4, do_sample=False)
    )


def test_offloading_to_disk_in_other_precisions(whole, monkeypatch):
    """The files are fp32; each reading makes bf16 of them, as loading would."""
    monkeypatch.setattr(memory_check, "find_devices", lambda only=None: [Device("cpu", "small", 10**12)])
    need = memory_check.need_of(json.loads((whole / "config.json").read_text()))
    tight = need.needed_bytes("16 bit", 1) - need.size.layer_bytes("16 bit") // 2
    spread, processor = load_model(whole, dtype="bfloat16", device_map="cpu,disk", max_memory=f"cpu={tight}")
    assert "disk" in spread.hf_device_map.values()
    model, _ = load_model(whole, dtype="bfloat16", device="cpu")
    inputs = processor(text="[INST] hello [/INST] ")
    with torch.no_grad():
        assert torch.equal(spread(**inputs).logits, model(**inputs).logits)


@pytest.mark.gpu
@pytest.mark.parametrize("map", ["cuda:0,cpu", "cuda:0,cuda:1"])
def test_layers_on_several_devices_answer_the_same(whole, map):
    if not torch.cuda.is_available() or (map.endswith("cuda:1") and torch.cuda.device_count() < 2):
        pytest.skip("needs the devices")
    need = memory_check.need_of(json.loads((whole / "config.json").read_text()))
    tight = need.needed_bytes("float32", 1) - need.size.layer_bytes("float32") // 2
    spread, processor = load_model(whole, dtype="float32", device_map=map, max_memory=f"cuda:0={tight}")
    assert len(set(spread.hf_device_map.values())) == 2
    inputs = processor(text="[INST] hello [/INST] ").to("cuda")
    with torch.no_grad():
        expected = load_model(whole, dtype="float32", device="cuda:0")[0](**inputs).logits
        assert torch.allclose(spread(**inputs).logits, expected, atol=1e-4)


def test_loading_in_4_bits_on_a_cpu_says_nothing_of_missing_packages():
    code = "from minigpt4_model.weights.load import load_model; load_model('pocket', device='cpu', load_in_4bit=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert "kernels" not in done.stdout + done.stderr


def test_what_does_not_fit_is_refused_before_anything_is_read(whole, monkeypatch):
    monkeypatch.setattr(memory_check, "find_devices", lambda only=None: [Device("cpu", "small", 100_000_000)])
    monkeypatch.setattr(memory_check, "own_memory", lambda: 0)
    (whole / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(TooLittleMemory, match=f"--model {whole} in float32 needs .* on cpu, and 0.1 GB are free"):
        load_model(whole, device="cpu", dtype="float32")
    with pytest.raises(WeightsError, match="a weights file is damaged"):
        load_model(whole, device="cpu", dtype="float32", memory_check=False)


def test_a_preset_that_does_not_fit_is_refused_before_it_is_fetched(monkeypatch):
    monkeypatch.setattr(memory_check, "find_devices", lambda only=None: [Device("cpu", "small", 2 * 10**9, "bfloat16")])
    monkeypatch.setattr(load, "ensure_official", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(TooLittleMemory, match="--preset vicuna-13b in 4 bit needs "):
        load_model("vicuna-13b", device="cpu", load_in_4bit=True)


def test_placement_flags_that_contradict_each_other():
    with pytest.raises(WeightsError, match="--device cpu and --device-map auto exclude each other"):
        load_model("pocket", device="cpu", device_map="auto")
    with pytest.raises(WeightsError, match="--device-map toaster: there is no such device"):
        load_model("pocket", device_map="toaster,cpu")
    with pytest.raises(WeightsError, match="--model|--preset pocket takes its frozen parts from elsewhere"):
        load_model("pocket", device_map="cpu,disk")


MEASURE = """
import json, sys
from pathlib import Path
import torch, transformers, bitsandbytes
from minigpt4_model.evaluation.process_memory import forget_peak, memory_of
from minigpt4_model.weights.load import load_model
torch.set_num_threads(1)
load_model(Path(sys.argv[1]) / "small", device="cpu", **json.loads(sys.argv[2]))  # what is imported late is imported now
before = memory_of()
forget_peak()
model = load_model(Path(sys.argv[1]) / "large", device="cpu", **json.loads(sys.argv[2]))
after = memory_of()
print(json.dumps([after["VmHWM"] - before["VmRSS"], after["VmRSS"] - before["VmRSS"]]))
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    """Two models in fp16 shards, one large enough to be seen beside the program."""
    from minigpt4_model.evaluation.random_weights import build_random

    folder = tmp_path_factory.mktemp("sharded")
    for name, layers in (("small", 1), ("large", 8)):
        config = build_tiny_model()[0].config
        text = {
            **config.text_config.to_dict(),
            "hidden_size": 1024,
            "intermediate_size": 2816,
            "num_hidden_layers": layers,
            "head_dim": 256,
        }
        config = type(config)(vision_config=config.vision_config, qformer_config=config.qformer_config, text_config=text)
        build_random(config, torch.float16)[0].save_pretrained(folder / name, max_shard_size="100MB")
        build_tiny_model()[1].save_pretrained(folder / name)
    assert len(list((folder / "large").glob("*.safetensors"))) >= 3
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("how", [{"dtype": "bfloat16"}, {"dtype": "float32"}, {"load_in_8bit": True}, {"load_in_4bit": True}], ids=str)
def test_loading_peaks_little_above_what_stays(sharded, how):
    run = subprocess.run([sys.executable, "-c", MEASURE, str(sharded), json.dumps(how)], capture_output=True, text=True)
    peak, stays = json.loads(run.stdout.splitlines()[-1])
    assert stays > 100_000_000, run.stderr
    # The allowance is the largest tensor, the word table: it is a fifth of this model, and 2 % of a 7B one.
    assert peak < 1.1 * stays + 32_000 * 1024 * 2


def test_the_classifier_that_training_imagines_photographs_with():
    classifier = imagenet_classifier()
    assert {name: tuple(tensor.shape) for name, tensor in classifier.items()} == {"weight": (1000, 1280), "bias": (1000,)}
    state, tokenizer_dir = load.frozen_state("pocket")
    assert not any("classifier" in key for key in state) and tokenizer_dir == ensure_pocket().language_model_dir

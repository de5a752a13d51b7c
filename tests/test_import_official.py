"""import-official: the official layouts become one directory that agrees with the original, and everything else is refused by name."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minigpt4_model.__main__ import main as program
from minigpt4_model.model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from minigpt4_model.weights import import_official as verb
from minigpt4_model.weights import tensor_files
from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.import_official import import_official
from minigpt4_model.weights.import_plan import OfficialParts, load_llama_tokenizer
from minigpt4_model.weights.load import load_model
from minigpt4_model.weights.official import OfficialFormatError
from tests.test_parity import CASES, TOLERANCES, measure_stages
from tests.tiny_models import build_parity_model
from tests.tiny_official import (
    LLAMA,
    PROJECTION,
    QFORMER,
    VISION,
    copy_llama,
    edit_json,
    read,
    rewrite,
    write_bin_shards,
    write_llama2_projection,
)


def vicuna(**parts) -> OfficialParts:
    return OfficialParts(
        **{"vision": VISION, "qformer": QFORMER, "projection": PROJECTION, "language_model": LLAMA, "variant": "vicuna", **parts}
    )


def llama2(folder: Path, **parts) -> OfficialParts:
    projection = write_llama2_projection(folder / "llama2.pth")
    return OfficialParts(**{"vision": VISION, "projection": projection, "language_model": LLAMA, "variant": "llama2", **parts})


def flags(parts: OfficialParts, output: Path) -> list[str]:
    named = {"vision": parts.vision, "qformer": parts.qformer, "projection": parts.projection, "language-model": parts.language_model}
    given = [word for name, path in named.items() if path for word in (f"--{name}", str(path))]
    return ["import-official", *given, "--variant", parts.variant, "--output", str(output)]


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("import") / "tiny"
    assert program(flags(vicuna(), output)) == 0
    return output


# --- the model that comes out


def test_the_imported_model_agrees_with_the_original_stage_by_stage(imported):
    model, processor = load_model(imported, device="cpu", dtype="float32")
    worst = measure_stages(model, processor)
    assert worst.keys() == TOLERANCES.keys()
    assert {stage: value for stage, value in worst.items() if value > TOLERANCES[stage]} == {}


@pytest.mark.parametrize("name", CASES["cases"])
def test_the_imported_tokenizer_makes_the_original_s_ids(imported, name):
    _, processor = load_model(imported, device="cpu", dtype="float32")
    case = CASES["cases"][name]
    first, *rest = case["segment_ids"]
    assert processor.tokenize_prompt(case["prompt"]) == first + [i for segment in rest for i in [32000] * 32 + segment]


def test_it_is_a_normal_directory(imported):
    model = MiniGPT4ForConditionalGeneration.from_pretrained(imported)
    assert MiniGPT4Processor.from_pretrained(imported).num_image_tokens == 32
    assert (model.generation_config.bos_token_id, model.generation_config.eos_token_id) == (1, 2)
    assert sorted(path.name for path in imported.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert str(LLAMA) not in (imported / "config.json").read_text()


def test_sizes_are_read_from_the_files(imported):
    config = json.loads((imported / "config.json").read_text())
    vision, qformer, text = config["vision_config"], config["qformer_config"], config["text_config"]
    assert (vision["hidden_size"], vision["num_hidden_layers"], vision["patch_size"], vision["image_size"]) == (88, 3, 14, 224)
    assert (qformer["hidden_size"], qformer["num_hidden_layers"], qformer["intermediate_size"], qformer["cross_attention_frequency"]) == (
        48,
        4,
        96,
        2,
    )
    assert (text["hidden_size"], text["num_hidden_layers"], config["num_query_tokens"]) == (40, 3, 32)
    assert config["chat_template_name"] == "vicuna-v0"


def test_every_tensor_keeps_its_numbers_and_its_precision(imported):
    tensors = load_file(imported / "model.safetensors")
    vision, qformer = read(VISION), read(QFORMER)["model"]
    assert torch.equal(tensors["model.vision_model.trunk.pos_embed"], vision["pos_embed"])
    assert torch.equal(tensors["model.query_tokens"], qformer["query_tokens"])
    assert torch.equal(tensors["lm_head.weight"], load_file(LLAMA / "model.safetensors")["lm_head.weight"])
    dtypes = {name.split(".")[1]: tensor.dtype for name, tensor in tensors.items() if "post_layernorm" not in name}
    assert dtypes == {
        "vision_model": torch.float16, "qformer": torch.float32, "query_tokens": torch.float32,
        "language_projection": torch.float32, "language_model": torch.float16, "weight": torch.float16,
    }  # fmt: skip
    assert tensors["model.vision_model.post_layernorm.weight"].dtype == torch.float32


def test_what_it_was_trained_with_is_recorded(imported):
    record = json.loads((imported / "config.json").read_text())["trained_with"]
    assert record["language_model"]["name"] == "the llama model llama_tiny"
    assert (record["language_model"]["hidden_size"], record["language_model"]["vocab_size"]) == (40, 32000)
    assert all(len(record[part]["fingerprint"]) == 32 for part in ("vision_encoder", "qformer"))


def test_the_llama2_variant_joins_patches_and_keeps_ln_vision_as_initialised(tmp_path):
    plan = import_official(llama2(tmp_path), tmp_path / "out")
    assert plan.config.num_image_tokens == 64 and plan.config.trained_with["qformer"] == {
        "name": "none: patches joined",
        "fingerprint": None,
    }
    model, processor = load_model(tmp_path / "out", device="cpu", dtype="float32")
    assert model.config.chat_template_name == "llama2" and model.model.qformer is None
    norm = model.model.vision_model.post_layernorm
    assert torch.equal(norm.weight, torch.ones(88)) and torch.equal(norm.bias, torch.zeros(88))
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = model.get_image_features(pixels)
        # Upstream MiniGPT4.encode_img without a Q-Former, in its own words.
        embeds = torch.nn.functional.layer_norm(model.model.vision_model.trunk.forward_features(pixels), (88,), eps=1e-5)[:, 1:, :]
        embeds = embeds.view(1, embeds.shape[1] // 4, embeds.shape[2] * 4)
        saved = read(tmp_path / "llama2.pth")["model"]
        expected = torch.nn.functional.linear(embeds, saved["llama_proj.weight"], saved["llama_proj.bias"])
    assert out.pooler_output.shape == (1, 64, 40)
    assert torch.allclose(out.pooler_output, expected, atol=1e-6)
    assert processor.num_image_tokens == 64


def blocks_of(count: int, whole: bool):
    """A ViT file of `count` blocks like the tiny one's first, with or without what comes after them."""

    def edit(tensors: dict) -> None:
        first = {key: tensor for key, tensor in tensors.items() if key.startswith("blocks.0.")}
        for key in [key for key in tensors if key.startswith(("blocks.", "norm.", "head."))]:
            if key.startswith("blocks.") or not whole:
                del tensors[key]
        for block in range(count):
            tensors |= {key.replace("blocks.0.", f"blocks.{block}."): tensor for key, tensor in first.items()}

    return edit


@pytest.mark.parametrize(("count", "whole", "used"), [(40, True, 39), (40, False, 39), (39, True, 39), (39, False, 39), (4, False, 4)])
def test_39_blocks_of_39_or_40(tmp_path, count, whole, used):
    vision = rewrite(VISION, tmp_path / "vit.pth", blocks_of(count, whole))
    plan = import_official(vicuna(vision=vision), tmp_path / "out")
    assert plan.config.vision_config.num_hidden_layers == used
    assert f"model.vision_model.trunk.blocks.{used}.norm1.weight" not in load_file(tmp_path / "out" / "model.safetensors")


def test_bin_shards_with_old_buffers_make_the_same_model(imported, tmp_path):
    import_official(vicuna(language_model=write_bin_shards(tmp_path / "llm")), tmp_path / "out")
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", imported))
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_files_of_torch_before_1_6_are_read_too(imported, tmp_path):
    torch.save(read(PROJECTION), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    import_official(vicuna(projection=tmp_path / "old.pth"), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (imported / "model.safetensors").read_bytes()


def test_a_large_model_is_written_in_shards_and_read_window_by_window(imported, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "_WINDOW", 100_000)
    monkeypatch.setattr("minigpt4_model.weights.safetensors_writer.write_model.__defaults__", (1_000_000, verb.silent))
    import_official(vicuna(), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*-of-*.safetensors"))) > 2
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    whole = load_file(imported / "model.safetensors")
    assert index["weight_map"].keys() == whole.keys()
    model, _ = load_model(tmp_path / "out", device="cpu", dtype="float32")
    assert all(torch.equal(model.state_dict()[name], tensor.float()) for name, tensor in whole.items())


def test_a_tied_output_layer_is_not_asked_for(tmp_path):
    folder = copy_llama(tmp_path / "llm", tie_word_embeddings=True)
    tensors = load_file(LLAMA / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    import_official(vicuna(language_model=folder), tmp_path / "out")
    model, _ = load_model(tmp_path / "out", device="cpu", dtype="float32")
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_an_old_copy_of_llama_with_wrong_special_tokens_is_put_right(tmp_path):
    """Vicuna v0's config.json comes from a copy that says bos 0, eos 1, pad -1; some name a tokenizer class that never was released."""
    folder = copy_llama(tmp_path / "llm", bos_token_id=0, eos_token_id=1, pad_token_id=-1)
    blank = {"bos_token": "", "eos_token": "", "unk_token": "", "tokenizer_class": "LLaMATokenizer", "model_max_length": 2048}
    (folder / "tokenizer_config.json").write_text(json.dumps(blank))
    (folder / "special_tokens_map.json").unlink()
    plan = import_official(vicuna(language_model=folder), tmp_path / "out")
    text = plan.config.text_config
    assert (text.bos_token_id, text.eos_token_id, text.pad_token_id) == (1, 2, None)
    _, processor = load_model(tmp_path / "out", device="cpu", dtype="float32")
    case = CASES["cases"]["a"]
    assert processor.tokenize_prompt(case["prompt"])[:8] == case["segment_ids"][0][:8]


def test_a_q_former_trained_along_takes_the_place_of_blip2_s(tmp_path):
    qformer = read(QFORMER)["model"]
    own = {key: tensor + 0.25 for key, tensor in qformer.items() if key.startswith("Qformer.bert.encoder") or key == "query_tokens"}
    norm = {key: tensor for key, tensor in qformer.items() if key.startswith("Qformer.bert.embeddings.LayerNorm")}
    projection = rewrite(PROJECTION, tmp_path / "own.pth", lambda tensors: tensors.update(own | norm))
    import_official(vicuna(projection=projection), tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(tensors["model.query_tokens"], qformer["query_tokens"] + 0.25)
    incomplete = rewrite(PROJECTION, tmp_path / "part.pth", lambda tensors: tensors.update(query_tokens=qformer["query_tokens"]))
    with pytest.raises(OfficialFormatError, match=r"part\.pth holds a part of a Q-Former only; it lacks model\.qformer\."):
        import_official(vicuna(projection=incomplete), tmp_path / "out2")
    # Files are told apart by what they hold: a plain projection may have the name of the Q-Former's file.
    (tmp_path / "same").mkdir()
    plain = rewrite(PROJECTION, tmp_path / "same" / QFORMER.name, lambda tensors: None)
    import_official(vicuna(projection=plain), tmp_path / "out3")
    assert torch.equal(load_file(tmp_path / "out3" / "model.safetensors")["model.query_tokens"], qformer["query_tokens"])


@pytest.mark.parametrize("record", ["Vicuna", ["Vicuna"], {"language_model": "Vicuna"}, {"language_model": {"name": "Vicuna"}}])
def test_a_record_that_is_none_is_refused(tmp_path, record):
    torch.save({**read(PROJECTION), "trained_with": record}, tmp_path / "odd.pth")
    with pytest.raises(PairingError, match=r"odd\.pth(: its record of what it was trained with is damaged| has no record of the vision)"):
        import_official(vicuna(projection=tmp_path / "odd.pth"), tmp_path / "out")


# --- what is refused


def drop(key: str):
    return lambda tensors: tensors.pop(key)


def add(key: str):
    return lambda tensors: tensors.update({key: torch.zeros(2)})


def reshape(key: str):
    return lambda tensors: tensors.update({key: torch.zeros(3, 3)})


@pytest.mark.parametrize(
    ("part", "edit", "message"),
    [
        ("vision", add("rope.freqs"), r"changed\.pth: 1 keys have no place in EVA-CLIP's ViT: rope\.freqs"),
        ("vision", drop("blocks.1.attn.q_bias"), r"missing \(1\): model\.vision_model\.trunk\.blocks\.1\.attn\.q_bias"),
        ("vision", reshape("blocks.1.mlp.fc2.weight"), r"blocks\.1\.mlp\.fc2\.weight in changed\.pth \(3, 3\) instead of \(88, 384\)"),
        ("vision", drop("patch_embed.proj.weight"), r"changed\.pth has no patch_embed\.proj\.weight"),
        ("vision", lambda tensors: tensors.clear() or tensors.update(x=torch.ones(1)), r"is no EVA-CLIP ViT: it has no blocks\.0"),
        ("qformer", add("t5_model.shared.weight"), r"1 keys have no place in BLIP-2's Q-Former: t5_model\.shared\.weight"),
        ("qformer", add("Qformer.cls.predictions.bias"), r"Qformer\.cls\.predictions\.bias"),
        ("qformer", drop("ln_vision.bias"), r"missing \(1\): model\.vision_model\.post_layernorm\.bias"),
        ("qformer", drop("query_tokens"), r"changed\.pth has no query_tokens"),
        ("projection", drop("llama_proj.bias"), r"must hold llama_proj\.weight and llama_proj\.bias"),
        ("projection", add("llama_model.lora_A.weight"), r"llama_model\.lora_A\.weight\. Adapters \(LoRA\) are MiniGPT-v2's"),
        ("projection", add("visual_encoder.cls_token"), r"visual_encoder\.cls_token\. The ViT is expected in a file of its own"),
        ("projection", lambda tensors: tensors["llama_proj.bias"].fill_(float("nan")), r"llama_proj\.bias holds numbers that aren't"),
    ],
)  # fmt: skip
def test_every_key_has_to_have_a_place(tmp_path, part, edit, message):
    source = {"vision": VISION, "qformer": QFORMER, "projection": PROJECTION}[part]
    changed = rewrite(source, tmp_path / "changed.pth", edit)
    with pytest.raises(WeightsError, match=message):
        import_official(vicuna(**{part: changed}), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed.pth"]


def test_files_given_for_each_other_are_told_apart(tmp_path):
    with pytest.raises(OfficialFormatError, match=r"blip2_qformer_tiny\.pth is no EVA-CLIP ViT: .* give it with --qformer"):
        import_official(vicuna(vision=QFORMER), tmp_path / "out")
    with pytest.raises(OfficialFormatError, match=r"have no place in MiniGPT-4's projection: .*give it with --vision"):
        import_official(vicuna(projection=VISION), tmp_path / "out")


def test_keys_of_the_language_model_count_too(tmp_path):
    for name, edit, message in (
        (
            "more",
            add("model.layers.0.self_attn.q_norm.weight"),
            r"without a place \(1\): model\.layers\.0\.self_attn\.q_norm\.weight in model\.safe",
        ),
        ("less", drop("model.layers.2.mlp.up_proj.weight"), r"missing \(1\): model\.language_model\.layers\.2\.mlp\.up_proj\.weight"),
        ("none", drop("model.embed_tokens.weight"), r"holds no model\.embed_tokens\.weight"),
    ):
        folder = copy_llama(tmp_path / name)
        tensors = load_file(LLAMA / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(WeightsError, match=message):
            import_official(vicuna(language_model=folder), tmp_path / "out")


def test_a_file_that_would_run_code_is_not_opened(tmp_path):
    class Code:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": {"llama_proj.weight": torch.ones(2, 2)}, "config": Code()}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match=r"code\.pth holds more than tensors, and opening it could run code"):
        import_official(vicuna(projection=tmp_path / "code.pth"), tmp_path / "out")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Code(), protocol=2))
    with pytest.raises(WeightsError, match=r"plain\.pth"):
        import_official(vicuna(projection=tmp_path / "plain.pth"), tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>Google Drive - Quota exceeded", "is a web page saved under the name of a file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
            "is a pointer of Git LFS, not the weights. .* git lfs pull",
        ),
        (b"", "damaged or not"),
        (b"PK\x03\x04 cut", "damaged or not"),
    ],
)
def test_what_has_the_name_of_weights_and_is_something_else(tmp_path, content, message):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        import_official(vicuna(projection=tmp_path / "file.pth"), tmp_path / "out")


def test_a_cut_off_file_is_named(tmp_path):
    (tmp_path / "cut.pth").write_bytes(VISION.read_bytes()[:500_000])
    with pytest.raises(WeightsError, match=r"cut\.pth is damaged"):
        import_official(vicuna(vision=tmp_path / "cut.pth"), tmp_path / "out")


@pytest.mark.parametrize("opens", ["torch.load", "safetensors.safe_open"])
def test_a_file_larger_than_memory_is_not_called_damaged(tmp_path, monkeypatch, opens):
    def refuse(*_, **__):
        raise RuntimeError("unable to mmap 26031794632 bytes from file <model>: Cannot allocate memory (12)")

    monkeypatch.setattr(opens, refuse)
    with pytest.raises(WeightsError, match=r"is larger than this machine's memory, .* vm\.overcommit_memory=1"):
        import_official(vicuna(), tmp_path / "out")


def test_an_incomplete_language_model_names_the_file(tmp_path):
    folder = write_bin_shards(tmp_path / "llm")
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(WeightsError, match=r"is not whole: .* names 2 files, and pytorch_model-00002-of-00002\.bin is missing"):
        import_official(vicuna(language_model=folder), tmp_path / "out")
    (folder / "pytorch_model.bin.index.json").unlink()
    with pytest.raises(WeightsError, match="holds no weights in Hugging Face's layout"):
        import_official(vicuna(language_model=folder), tmp_path / "out")
    with pytest.raises(WeightsError, match=r"--language-model .*nowhere is not there"):
        import_official(vicuna(language_model=tmp_path / "nowhere"), tmp_path / "out")


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    folder = copy_llama(tmp_path / "llm", vocab_size=31000)
    with pytest.raises(WeightsError, match="its tokenizer knows 32000 words and its config.json 31000"):
        load_llama_tokenizer(folder, 31000)
    with pytest.raises(WeightsError, match="its tokenizer knows 32000 words and its config.json 64000"):
        load_llama_tokenizer(folder, 64000)
    (folder / "tokenizer.model").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"tokenizer\.model cannot be opened"):
        load_llama_tokenizer(folder, 32000)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(WeightsError, match="has no tokenizer"):
        load_llama_tokenizer(folder, 32000)


def test_heads_are_asked_for_where_nothing_tells_them(tmp_path):
    def widen(tensors: dict) -> None:
        tensors["patch_embed.proj.weight"] = torch.zeros(512, 3, 14, 14)

    wide = rewrite(VISION, tmp_path / "wide.pth", widen)
    with pytest.raises(
        OfficialFormatError, match=r"wide\.pth is 512 wide, and the number of attention heads is in no file .*--vision-heads N"
    ):
        import_official(vicuna(vision=wide), tmp_path / "out")
    with pytest.raises(OfficialFormatError, match="--qformer-heads 5 does not divide the width 48"):
        import_official(vicuna(qformer_heads=5), tmp_path / "out")
    assert import_official(vicuna(vision_heads=8), tmp_path / "out").config.vision_config.num_attention_heads == 8


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(imported, tmp_path, monkeypatch, capsys):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in imported.iterdir())
    assert program(flags(vicuna(), imported)) == 1
    assert "is there already, and nothing in it is overwritten" in capsys.readouterr().err
    assert sorted((path.name, path.stat().st_mtime_ns) for path in imported.iterdir()) == before

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minigpt4_model.weights.safetensors_writer._write_file", fails)
    with pytest.raises(WeightsError, match="--output .* cannot be written .No space left on device"):
        import_official(vicuna(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_told_before_writing(tmp_path, monkeypatch):
    usage = verb.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(verb.shutil, "disk_usage", lambda path: usage._replace(free=1))
    with pytest.raises(WeightsError, match="needs 0.0 GB, and 0.0 GB are free there"):
        import_official(vicuna(), tmp_path / "out")


@pytest.mark.parametrize(
    ("variant", "parts", "message"), [("vicuna", {"qformer": None}, "needs --qformer"), ("llama2", {}, "has no --qformer")]
)
def test_flags_that_contradict_each_other(tmp_path, variant, parts, message, capsys):
    with pytest.raises(SystemExit) as ended:
        program(flags(vicuna(variant=variant, **parts), tmp_path / "out"))
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_the_fixture_s_own_builder_makes_the_same_weights(imported):
    """`tests.tiny_models.build_parity_model` and the verb convert the same way."""
    expected = build_parity_model()[0].state_dict()
    tensors = load_file(imported / "model.safetensors")
    assert tensors.keys() == expected.keys() and all(torch.equal(tensors[name].float(), expected[name]) for name in tensors)
    edit_json(imported / "config.json")  # unchanged, but rewritten: the directory stays one that opens
    assert load_model(imported, device="cpu", dtype="float32")[0].config.trained_with

"""GGUF -> Hugging Face directory: on a tiny file written here, whose answer is known, and on the real one."""

import json
import re

import gguf
import numpy as np
import pytest
import torch

from minigpt4_model.model.torchvision_shim import define_missing_torchvision_ops
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.gguf import convert_gguf
from minigpt4_model.weights.pocket import ensure_pocket

define_missing_torchvision_ops()
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.convert_slow_tokenizer import bytes_to_unicode  # noqa: E402

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("Ġ", "Ġ"), ("h", "i")]
TOKENS = SPECIAL + sorted(bytes_to_unicode().values()) + ["ĠĠ", "hi"]


def tiny_llama(tied=True):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():  # larger than the initial values, so that positions and heads matter in the answer
        parameter.data = (parameter.data * 4 if parameter.dim() > 1 else parameter.data).bfloat16().float()
    return model


def gguf_name(name):
    name = re.sub(r"^model\.layers\.(\d+)\.", r"blk.\1.", name)
    for ours, theirs in {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.o_proj": "attn_output",
        "self_attn.": "attn_",
        "mlp.": "ffn_",
        "_proj": "",
    }.items():
        name = name.replace(ours, theirs)
    return name


def interleave_rotary_halves(weight, heads):
    """As llama.cpp's converter does: row i of a head's first half and row i of its second become neighbours."""
    rows = weight.reshape(heads, 2, -1, weight.shape[1])
    return torch.stack([rows[:, 0], rows[:, 1]], dim=2).reshape(weight.shape)


def write_gguf(path, model, quantise=None, change=None):
    """A GGUF of `model`; `quantise(name)` gives a type for a tensor, `change(tensors, fields)` spoils something."""
    config = model.config
    tensors = {}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if "q_proj" in name:
            weight = interleave_rotary_halves(weight, config.num_attention_heads)
        if "k_proj" in name:
            weight = interleave_rotary_halves(weight, config.num_key_value_heads)
        tensors[gguf_name(name)] = weight.numpy()
    fields = {"arch": "llama", "pre": "smollm"}
    if change:
        change(tensors, fields)
    writer = gguf.GGUFWriter(path, fields["arch"])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(fields["pre"])
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    for kind, index in {"bos": 1, "eos": 2, "unk": 0, "pad": 2}.items():
        getattr(writer, f"add_{kind}_token_id")(index)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for name, array in tensors.items():
        kind = quantise(name) if quantise else None
        if kind is None:
            writer.add_tensor(name, array.astype(np.float32))
        else:
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@torch.inference_mode()
def logits_of(model):
    return model(torch.arange(20)[None]).logits


@pytest.mark.parametrize("tied", [True, False])
def test_the_converted_model_is_the_original(tmp_path, tied):
    model = tiny_llama(tied)
    write_gguf(tmp_path / "tiny.gguf", model)
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")
    converted, report = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    for field in ("rms_norm_eps", "rope_parameters", "num_key_value_heads", "head_dim", "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(converted.config, field) == getattr(model.config, field)
    assert torch.equal(logits_of(converted.eval()), logits_of(model))
    assert converted.generation_config.eos_token_id == 2


def test_quantised_tensors_come_back_within_their_steps(tmp_path):
    model = tiny_llama()
    types = gguf.GGMLQuantizationType
    write_gguf(tmp_path / "tiny.gguf", model, lambda name: types.Q8_0 if "token_embd" in name else types.Q4_1 if "ffn_up" in name else None)
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).state_dict()
    for name, steps in (("model.embed_tokens.weight", 254), ("model.layers.1.mlp.up_proj.weight", 15)):
        original = model.state_dict()[name]
        blocks = original.reshape(-1, 32)
        spread = 2 * blocks.abs().amax(1) if steps == 254 else blocks.amax(1) - blocks.amin(1)
        allowed = (spread / steps * 0.51)[:, None] + blocks.abs() / 256  # half a step, and bfloat16's rounding
        assert ((converted[name].reshape(-1, 32) - blocks).abs() <= allowed).all()
        assert not torch.equal(converted[name], original)


def test_the_tokenizer_splits_digits_and_keeps_every_character(tmp_path):
    write_gguf(tmp_path / "tiny.gguf", tiny_llama())
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("hi  12") == ["hi", "ĠĠ", "1", "2"]
    assert tokenizer("<|im_start|>hi")["input_ids"] == [1, TOKENS.index("hi")]
    assert 1 not in tokenizer("<|im_start|>", split_special_tokens=True)["input_ids"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    for text in ("", " ", "héllo 😀👩‍👩‍👧 日本語", "def f(x):\n\treturn x**2  # hi\n\n", "\x00\u200b", "I 've . , don't"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def drop_tensor(tensors, fields):
    del tensors["blk.1.ffn_up.weight"]


def add_tensor(tensors, fields):
    tensors["blk.0.ffn_gate_exps.weight"] = np.zeros((32, 32), np.float32)


def other_architecture(tensors, fields):
    fields["arch"] = "qwen2"


def other_splitting(tensors, fields):
    fields["pre"] = "llama-bpe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_tensor, r"Missing: model\.layers\.1\.mlp\.up_proj\.weight"),
        (add_tensor, r"Unknown tensors: blk\.0\.ffn_gate_exps\.weight"),
        (other_architecture, "general.architecture is 'qwen2'"),
        (other_splitting, "tokenizer.ggml.pre is 'llama-bpe'"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, change, message):
    write_gguf(tmp_path / "tiny.gguf", tiny_llama(), change=change)
    with pytest.raises(WeightsError, match=message):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 3, 100, 5000])
def test_a_cut_file_is_named(tmp_path, keep):
    write_gguf(tmp_path / "tiny.gguf", tiny_llama())
    (tmp_path / "tiny.gguf").write_bytes((tmp_path / "tiny.gguf").read_bytes()[:keep])
    with pytest.raises(WeightsError, match="tiny.gguf is not a whole GGUF file"):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")


@pytest.mark.network
def test_the_real_model_answers_fluently():
    directory = ensure_pocket().language_model_dir
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    prompt = tokenizer("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n", return_tensors="pt")
    ids = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(ids) == "The capital of France is Paris.<|im_end|>"


@pytest.mark.network
def test_the_real_tokenizer():
    directory = ensure_pocket().language_model_dir
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert len(tokenizer) == 49_152 == json.loads((directory / "config.json").read_text())["vocab_size"]
    assert tokenizer.convert_tokens_to_ids(SPECIAL) == [0, 1, 2]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.tokenize("In 2024,  12 cats") == ["In", "Ġ", "2", "0", "2", "4", ",", "ĠĠ", "1", "2", "Ġcats"]
    assert tokenizer("Hello")["input_ids"] == [19556]
    for text in ("naïve 😀👩‍👩‍👧 日本語 العربية", "def f(x):\n\treturn x**2  # hi\n\n", " lead and trail  "):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text

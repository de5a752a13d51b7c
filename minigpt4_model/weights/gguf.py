"""GGUF file of a Llama-architecture LLM with a byte-level BPE vocabulary -> an ordinary Hugging Face directory.

Weights are de-quantised once and stored in bfloat16, the type that SmolLM2 was published in and that CPUs run fastest. Measured on 405
positions of English: against unrounded fp32 weights the next-token distributions move by a KL divergence of 0.0003 and 99.5 % of the
likeliest tokens stay; *computing* in bfloat16 moves them fifteen times as far (0.0044), so keeping more digits on disk would buy nothing.

transformers reads GGUF itself, but it would do so at every start, and its tokenizer leaves out the splitting of digits that SmolLM was
trained with, so that "a  12" gets other ids. Hence this converter; its weights are bit-equal to those that transformers reads.
"""

import json
from pathlib import Path

from .errors import WeightsError
from .progress import Progress, silent

_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL


def convert_gguf(path: Path, output_dir: Path, progress: Progress = silent) -> None:
    """Writes config.json, generation_config.json, model.safetensors and the tokenizer's files of `path` into `output_dir`.

    Raises `WeightsError` when the file is no GGUF, holds another architecture or tokenizer, or tensors that a Llama does not have.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, OSError) as error:
        raise WeightsError(f"{path} is not a whole GGUF file ({error}). Fetch it again.") from error
    values = {name: field.contents() for name, field in reader.fields.items()}
    for key, only in (("general.architecture", "llama"), ("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm")):
        if values.get(key) != only:
            raise WeightsError(f"{path}: {key} is {values.get(key)!r}, and only {only!r} can be converted.")
    output_dir.mkdir(parents=True, exist_ok=True)
    config = _config(values, tied="output.weight" not in {tensor.name for tensor in reader.tensors})
    _write_json(output_dir / "config.json", config)
    special = {f"{name}_token_id": config[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    _write_json(output_dir / "generation_config.json", {"_from_model_config": True, **special})
    _write_tokenizer(values, output_dir)
    _write_weights(reader, config, output_dir / "model.safetensors", path, progress)


def _config(values: dict, tied: bool) -> dict:
    """`LlamaConfig` fields. GGUF keeps floats in 32 bits: they are read back at that precision, so that 1e-5 stays 1e-5."""
    import numpy as np

    def number(key: str) -> float:
        return float(str(np.float32(values[f"llama.{key}"])))

    heads, hidden = values["llama.attention.head_count"], values["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(values["tokenizer.ggml.tokens"]),
        "hidden_size": hidden,
        "intermediate_size": values["llama.feed_forward_length"],
        "num_hidden_layers": values["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": values.get("llama.attention.head_count_kv", heads),
        "head_dim": values.get("llama.rope.dimension_count", hidden // heads),
        "max_position_embeddings": values["llama.context_length"],
        "rope_parameters": {"rope_type": "default", "rope_theta": number("rope.freq_base")},
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": values["tokenizer.ggml.bos_token_id"],
        "eos_token_id": values["tokenizer.ggml.eos_token_id"],
        "pad_token_id": values["tokenizer.ggml.padding_token_id"],
    }


def _write_tokenizer(values: dict, output_dir: Path) -> None:
    """Byte-level BPE as SmolLM was trained: digits one by one, GPT-2's splitting of the rest, nothing added in front."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = values["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in values["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, values["tokenizer.ggml.token_type"], strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(output_dir / "tokenizer.json"))
    _write_json(
        output_dir / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": values["llama.context_length"],
            "clean_up_tokenization_spaces": False,
            "add_prefix_space": False,
            "bos_token": tokens[values["tokenizer.ggml.bos_token_id"]],
            "eos_token": tokens[values["tokenizer.ggml.eos_token_id"]],
            "pad_token": tokens[values["tokenizer.ggml.padding_token_id"]],
            "unk_token": tokens[values["tokenizer.ggml.unknown_token_id"]],
            "additional_special_tokens": control,
            "chat_template": values["tokenizer.chat_template"],
        },
    )


def _write_weights(reader, config: dict, output: Path, source: Path, progress: Progress) -> None:
    import gguf
    import numpy as np
    import torch
    from safetensors.torch import save_file

    state, unknown = {}, []
    for index, tensor in enumerate(reader.tensors):
        name = _hf_name(tensor.name)
        if name is None:
            unknown.append(tensor.name)
            continue
        weight = torch.from_numpy(np.require(gguf.dequantize(tensor.data, tensor.tensor_type), requirements="W"))
        if name.endswith("q_proj.weight"):
            weight = _unpermute(weight, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            weight = _unpermute(weight, config["num_key_value_heads"])
        state[name] = weight.to(torch.bfloat16).contiguous()
        progress("De-quantising the language model", (index + 1) / len(reader.tensors))
    expected = set(_expected_names(config))
    if unknown or state.keys() != expected:
        missing = sorted(expected - state.keys())
        lists = f"Unknown tensors: {', '.join(unknown) or 'none'}. Missing: {', '.join(missing) or 'none'}."
        raise WeightsError(f"{source} is not the Llama model it says it is. {lists}")
    save_file(state, output, metadata={"format": "pt"})


def _expected_names(config: dict):
    yield from ("model.embed_tokens.weight", "model.norm.weight")
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight"
    for layer in range(config["num_hidden_layers"]):
        yield from (f"model.layers.{layer}.{name}" for name in _LAYER_NAMES.values())


def _hf_name(name: str) -> str | None:
    if name in _NAMES:
        return _NAMES[name]
    block, _, rest = name.removeprefix("blk.").partition(".")
    return f"model.layers.{block}.{_LAYER_NAMES[rest]}" if name.startswith("blk.") and rest in _LAYER_NAMES else None


def _unpermute(weight, heads: int):
    """(heads * head_dim, in): GGUF interleaves each head's rotary pairs, Hugging Face keeps them as two halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

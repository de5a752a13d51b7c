"""The LLM of a tiny Llama-architecture model as a GGUF file in fp32, for llama.cpp to compute the same as torch does."""

from pathlib import Path

import gguf
import numpy as np
import torch

from minigpt4_model.model import MiniGPT4ForConditionalGeneration
from minigpt4_model.weights.gguf import _LAYER_NAMES, _NAMES


def write_gguf(model: MiniGPT4ForConditionalGeneration, path: Path) -> Path:
    text = model.config.text_config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(text.num_hidden_layers)
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_feed_forward_length(text.intermediate_size)
    writer.add_head_count(text.num_attention_heads)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_rope_freq_base(text.rope_parameters["rope_theta"])
    writer.add_vocab_size(text.vocab_size)
    writer.add_tokenizer_model("none")
    state = {f"model.{name}": tensor for name, tensor in model.language_model.state_dict().items()}
    state["lm_head.weight"] = model.lm_head.weight
    for short, name in _NAMES.items():
        writer.add_tensor(short, _array(state[name]))
    for layer in range(text.num_hidden_layers):
        for short, name in _LAYER_NAMES.items():
            tensor = state[f"model.layers.{layer}.{name}"]
            heads = {"attn_q.weight": text.num_attention_heads, "attn_k.weight": text.num_key_value_heads}.get(short)
            writer.add_tensor(f"blk.{layer}.{short}", _array(_permute(tensor, heads) if heads else tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Hugging Face keeps rotary pairs as two halves, GGUF interleaves them."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()

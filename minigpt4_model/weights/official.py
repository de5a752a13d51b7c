"""The original project's checkpoint files (`.pth`) in this project's names.

Three files make one model: the EVA-CLIP vision encoder, BLIP-2's Q-Former with `ln_vision`, and MiniGPT-4's projection.
Every key of a file is either converted, or on a short list of keys known to be unused; anything else is an error.
"""

import re
from pathlib import Path

import torch

from ..model.configuration import MiniGPT4VisionConfig, bert_base_qformer

State = dict[str, torch.Tensor]

USED_BLOCKS = 39  # upstream `create_eva_vit_g` builds the ViT without its 40th block

_QFORMER_RENAMES = (
    ("Qformer.bert.embeddings.LayerNorm.", "model.qformer.layernorm."),
    ("Qformer.bert.", "model.qformer."),
    ("attention.self.", "attention.attention."),
)


class OfficialFormatError(ValueError):
    """A file is not what its flag asks for; the message names the file and the keys at fault."""


def read_official(path: str | Path) -> State:
    """The tensors of a `.pth` file, which may wrap them in `{"model": ...}`. Code in the file is never run."""
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    content = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise OfficialFormatError(f"{path}: expected a dictionary of tensors, or one under the key 'model'.")
    return content


def convert_vision(state: State, used_blocks: int = USED_BLOCKS) -> State:
    """EVA-CLIP ViT keys -> `model.vision_model.trunk.*`. Blocks from `used_blocks` on, `norm` and `head` are not used."""
    converted = {}
    for key, tensor in state.items():
        block = re.match(r"blocks\.(\d+)\.", key)
        if key.startswith(("norm.", "head.", "fc_norm.")) or (block and int(block[1]) >= used_blocks):
            continue
        converted[f"model.vision_model.trunk.{key}"] = tensor
    return converted


def convert_qformer(state: State) -> State:
    """BLIP-2's Q-Former, query tokens and `ln_vision` -> `model.qformer.*`, `model.query_tokens`, `model.vision_model.post_layernorm.*`."""
    converted, unknown = {}, []
    for key, tensor in state.items():
        if key == "query_tokens":
            converted["model.query_tokens"] = tensor
        elif key.startswith("ln_vision."):
            converted["model.vision_model.post_layernorm." + key.removeprefix("ln_vision.")] = tensor
        elif key.startswith("t5_proj.") or key.endswith("embeddings.position_ids"):
            continue  # BLIP-2's own projection into FlanT5, and a buffer of positions 0, 1, 2, ...
        elif key.startswith("Qformer.bert."):
            for old, new in _QFORMER_RENAMES:
                key = key.replace(old, new)
            converted[key] = tensor
        else:
            unknown.append(key)
    if unknown:
        raise OfficialFormatError(f"The Q-Former file has keys that have no place: {', '.join(sorted(unknown)[:10])}.")
    return converted


def convert_projection(state: State) -> State:
    """MiniGPT-4's `llama_proj` -> `model.language_projection.*`. The files carry buffers of other parts, which are not weights."""
    converted, unknown = {}, []
    for key, tensor in state.items():
        if key.startswith("llama_proj."):
            converted["model.language_projection." + key.removeprefix("llama_proj.")] = tensor
        elif not key.endswith(("rotary_emb.inv_freq", "embeddings.position_ids")):
            unknown.append(key)
    if unknown:
        raise OfficialFormatError(f"The projection file has keys that have no place: {', '.join(sorted(unknown)[:10])}.")
    if set(converted) != {"model.language_projection.weight", "model.language_projection.bias"}:
        raise OfficialFormatError("The projection file must hold llama_proj.weight and llama_proj.bias.")
    return converted


def convert_language_model(state: State) -> State:
    """A Llama in transformers' layout -> `model.language_model.*` and `lm_head.*`. Old files carry `inv_freq`, a buffer of constants."""
    return {
        f"model.language_model.{key.removeprefix('model.')}" if key.startswith("model.") else key: tensor
        for key, tensor in state.items()
        if not key.endswith("rotary_emb.inv_freq")
    }


def vision_config_from(state: State, num_attention_heads: int = 16, used_blocks: int = USED_BLOCKS) -> MiniGPT4VisionConfig:
    """Sizes read from the ViT file; the number of heads is in no file."""
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    positions = state["pos_embed"].shape[1] - 1
    return MiniGPT4VisionConfig(
        image_size=int(positions**0.5) * patch,
        patch_size=patch,
        hidden_size=width,
        num_hidden_layers=min(blocks, used_blocks),
        num_attention_heads=num_attention_heads,
        mlp_ratio=(state["blocks.0.mlp.fc1.weight"].shape[0] + 0.5) / width,  # timm truncates ratio * width
    )


def qformer_config_from(state: State, num_attention_heads: int = 12):
    """Sizes read from the Q-Former file; the number of heads is in no file."""
    layer = "Qformer.bert.encoder.layer."
    layers = 1 + max(int(key.removeprefix(layer).split(".")[0]) for key in state if key.startswith(layer))
    crossing = sorted({int(key.removeprefix(layer).split(".")[0]) for key in state if ".crossattention." in key})
    return bert_base_qformer(
        hidden_size=state["query_tokens"].shape[2],
        num_hidden_layers=layers,
        num_attention_heads=num_attention_heads,
        intermediate_size=state[f"{layer}0.intermediate_query.dense.weight"].shape[0],
        encoder_hidden_size=state[f"{layer}0.crossattention.self.key.weight"].shape[1],
        cross_attention_frequency=crossing[1] - crossing[0] if len(crossing) > 1 else layers,
    )

"""The original project's checkpoint files (`.pth`) in this project's names, and their sizes.

Three files make one model: the EVA-CLIP vision encoder, BLIP-2's Q-Former with `ln_vision`, and MiniGPT-4's projection. Every key of
a file is either renamed, or on a short list of keys known to be unused; anything else is an error that lists it.
Names are converted for whatever they stand for: tensors, or what is known of them (`TensorInfo`). Sources: upstream
`minigpt4/models/eva_vit.py`, `blip2.py`, `minigpt4.py`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..model.configuration import MiniGPT4VisionConfig, bert_base_qformer
from .errors import WeightsError
from .tensor_files import TensorFile

T = TypeVar("T")
State = dict[str, torch.Tensor]
VISION, QFORMER, QUERIES = "model.vision_model.", "model.qformer.", "model.query_tokens"
PROJECTION = "model.language_projection."

USED_BLOCKS = 39  # upstream `create_eva_vit_g` builds the ViT without its 40th block
# How many attention heads a network of a width has: the one number that no file tells.
VISION_HEADS = {1408: 16}  # EVA-CLIP ViT-g/14, 88 wide each (`create_eva_vit_g`)
QFORMER_HEADS = {768: 12, 1024: 16}  # BERT-base and BERT-large, 64 wide each
# Narrower than this is no trained model but a miniature for trying things out, for which this project takes four heads.
_MINIATURE, _MINIATURE_HEADS = 256, 4

_UNUSED_VISION = ("norm.", "fc_norm.", "head.")  # features come from before them
_UNUSED_QFORMER = ("t5_proj.", "opt_proj.")  # BLIP-2's own projection into FlanT5 or OPT
_BUFFERS = ("rotary_emb.inv_freq", "embeddings.position_ids")  # constants that old versions wrote down
_QFORMER_RENAMES = (
    ("Qformer.bert.embeddings.LayerNorm.", "model.qformer.layernorm."),
    ("Qformer.bert.", "model.qformer."),
    (".attention.self.", ".attention.attention."),
    (".crossattention.self.", ".crossattention.attention."),
)
_LISTED = 12


class OfficialFormatError(WeightsError):
    """A file is not what its flag asks for; the message names the file and the keys at fault."""


def read_official(path: str | Path) -> State:
    """The tensors of a `.pth` file, which may wrap them in `{"model": ...}`. Code in the file is never run."""
    file = TensorFile(path)
    return {key: file.read(key).clone() for key in file.infos}


def listed(keys: Iterable[str]) -> str:
    """Keys for a message: the first dozen, and how many more there are."""
    found = sorted(keys)
    return ", ".join(found[:_LISTED]) + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")


def _refuse(unknown: list[str], file: str | Path, kind: str) -> None:
    if unknown:
        raise OfficialFormatError(f"{file}: {len(unknown)} keys have no place in {kind}: {listed(unknown)}. {_hint(unknown)}")


def _hint(keys: list[str]) -> str:
    """Which file of the original's the keys are from, if it can be told."""
    signs = (
        ("visual_encoder.", "The ViT is expected in a file of its own, eva_vit_g.pth (--vision)."),
        ("lora_", "Adapters (LoRA) are MiniGPT-v2's, which is another model."),
        ("llama_proj.", "This is a projection: give it with --projection."),
        ("Qformer.", "This is BLIP-2's Q-Former: give it with --qformer."),
        ("blocks.", "This is the vision encoder: give it with --vision."),
    )
    return next((hint for sign, hint in signs if any(sign in key for key in keys)), "Give the original project's file.")


def count_used_blocks(names: Iterable[str], file: str | Path = "The vision encoder's file") -> int:
    """How many blocks of a ViT file the model uses: 39 of 39 or of EVA-CLIP's 40.

    A miniature follows the same rule: a file that also holds what comes after the blocks is the whole network, whose last block is
    not used. Raises `OfficialFormatError` when blocks are missing, or a ViT-g has neither 39 nor 40.
    """
    names = list(names)
    numbers = {int(found[1]) for key in names if (found := re.match(r"blocks\.(\d+)\.", key))}
    count = len(numbers)
    if not numbers or numbers != set(range(count)):
        missing = sorted(set(range(max(numbers, default=0) + 1)) - numbers)
        what = f"blocks {', '.join(map(str, missing[:_LISTED]))} of it are missing" if numbers else "it has no blocks.0, blocks.1, ..."
        raise OfficialFormatError(f"{file} is no EVA-CLIP ViT: {what}. {_hint(names)}")
    if count > USED_BLOCKS + 1:
        raise OfficialFormatError(f"{file} has {count} blocks; MiniGPT-4's ViT-g has 39, and EVA-CLIP's file 40. Give eva_vit_g.pth.")
    if count >= USED_BLOCKS:
        return USED_BLOCKS
    is_whole = any(key.startswith(_UNUSED_VISION) for key in names)
    return count - 1 if is_whole and count > 1 else count


def convert_vision(state: Mapping[str, T], file: str | Path = "The vision encoder's file") -> dict[str, T]:
    """EVA-CLIP ViT keys -> `model.vision_model.trunk.*`. Unused blocks, `norm` and `head` are left out."""
    used = count_used_blocks(state, file)
    converted, unknown = {}, []
    for key, tensor in state.items():
        block = re.match(r"blocks\.(\d+)\.", key)
        if key.startswith(_UNUSED_VISION) or (block and int(block[1]) >= used):
            continue
        if block or key in ("cls_token", "pos_embed") or key.startswith("patch_embed.proj."):
            converted[f"{VISION}trunk.{key}"] = tensor
        else:
            unknown.append(key)
    _refuse(unknown, file, "EVA-CLIP's ViT")
    return converted


def convert_qformer(state: Mapping[str, T], file: str | Path = "The Q-Former's file") -> dict[str, T]:
    """BLIP-2's Q-Former, query tokens and `ln_vision` -> `model.qformer.*`, `model.query_tokens`, `model.vision_model.post_layernorm.*`."""
    converted, unknown = {}, []
    for key, tensor in state.items():
        name = qformer_name(key)
        if name is not None:
            converted[name] = tensor
        elif key.startswith("ln_vision."):
            converted[f"{VISION}post_layernorm." + key.removeprefix("ln_vision.")] = tensor
        elif not key.startswith(_UNUSED_QFORMER) and not key.endswith(_BUFFERS):
            unknown.append(key)
    _refuse(unknown, file, "BLIP-2's Q-Former")
    return converted


def qformer_name(key: str) -> str | None:
    """This project's name of one of the Q-Former's own tensors, or None for any other key."""
    if key == "query_tokens":
        return QUERIES
    if not key.startswith("Qformer.bert.") or key.endswith(_BUFFERS):
        return None
    for old, new in _QFORMER_RENAMES:
        key = key.replace(old, new)
    return key


def is_qformer(name: str) -> bool:
    """Whether this project's `name` is one of the Q-Former's own tensors."""
    return name == QUERIES or name.startswith(QFORMER)


def official_name(name: str) -> str | None:
    """The inverse of the renaming, for what an official projection file may hold: the projection and the Q-Former."""
    if name == QUERIES:
        return "query_tokens"
    if name.startswith(PROJECTION):
        return "llama_proj." + name.removeprefix(PROJECTION)
    if not name.startswith(QFORMER):
        return None
    name = name.replace(f"{QFORMER}layernorm.", f"{QFORMER}embeddings.LayerNorm.")
    for old, new in _QFORMER_RENAMES[1:]:
        name = name.replace(new, old)
    return name


def convert_projection(state: Mapping[str, T], file: str | Path = "The projection's file") -> dict[str, T]:
    """MiniGPT-4's `llama_proj` -> `model.language_projection.*`; with it the Q-Former, where that was trained too.

    The files carry buffers of other parts, which are not weights.
    """
    converted, unknown = {}, []
    for key, tensor in state.items():
        if key.startswith("llama_proj."):
            converted[PROJECTION + key.removeprefix("llama_proj.")] = tensor
        elif name := qformer_name(key):
            converted[name] = tensor
        elif not key.endswith(_BUFFERS):
            unknown.append(key)
    _refuse(unknown, file, "MiniGPT-4's projection")
    if {name for name in converted if name.startswith(PROJECTION)} != {f"{PROJECTION}weight", f"{PROJECTION}bias"}:
        raise OfficialFormatError(f"{file} must hold llama_proj.weight and llama_proj.bias. {_hint(list(state))}")
    return converted


def convert_language_model(state: Mapping[str, T]) -> dict[str, T]:
    """A Llama in transformers' layout -> `model.language_model.*` and `lm_head.*`. Old files carry `inv_freq`, a buffer of constants."""
    return {
        f"model.language_model.{key.removeprefix('model.')}" if key.startswith("model.") else key: tensor
        for key, tensor in state.items()
        if not key.endswith("rotary_emb.inv_freq")
    }


def _heads(given: int | None, width: int, known: Mapping[int, int], flag: str, file: str | Path) -> int:
    heads = given or known.get(width) or (_MINIATURE_HEADS if width < _MINIATURE else None)
    if heads is None:
        sizes = ", ".join(f"{wide} wide: {count}" for wide, count in known.items())
        raise OfficialFormatError(f"{file} is {width} wide, and the number of attention heads is in no file ({sizes}). Give it: {flag} N.")
    if width % heads:
        raise OfficialFormatError(f"{flag} {heads} does not divide the width {width} of {file}. Give the number it was trained with.")
    return heads


def _shape(state: Mapping[str, Any], key: str, file: str | Path, dimensions: int) -> tuple[int, ...]:
    if key not in state or len(state[key].shape) != dimensions:
        fault = "has no" if key not in state else f"has a {tuple(state[key].shape)}"
        raise OfficialFormatError(f"{file} {fault} {key}. {_hint(list(state))}")
    return tuple(state[key].shape)


def vision_config_from(
    state: Mapping[str, Any], num_attention_heads: int | None = None, file: str | Path = "The vision encoder's file"
) -> MiniGPT4VisionConfig:
    """Sizes read from the ViT file; the number of heads is that of the known width where it isn't given."""
    width, _, patch, _ = _shape(state, "patch_embed.proj.weight", file, 4)
    heads = _heads(num_attention_heads, width, VISION_HEADS, "--vision-heads", file)
    blocks = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    if width in VISION_HEADS and blocks < USED_BLOCKS:
        raise OfficialFormatError(f"{file} has {blocks} blocks of EVA-CLIP ViT-g's 39 or 40: it is not whole. Download it again.")
    positions = _shape(state, "pos_embed", file, 3)[1] - 1
    side = round(positions**0.5)
    if side * side != positions:
        raise OfficialFormatError(f"{file}: pos_embed is for {positions} patches, which make no square. Give EVA-CLIP's ViT.")
    return MiniGPT4VisionConfig(
        image_size=side * patch,
        patch_size=patch,
        hidden_size=width,
        num_hidden_layers=count_used_blocks(state, file),
        num_attention_heads=heads,
        mlp_ratio=(_shape(state, "blocks.0.mlp.fc1.weight", file, 2)[0] + 0.5) / width,  # timm truncates ratio * width
    )


def qformer_config_from(state: Mapping[str, Any], num_attention_heads: int | None = None, file: str | Path = "The Q-Former's file"):
    """Sizes read from the Q-Former file; the number of heads is that of the known width where it isn't given."""
    layer = "Qformer.bert.encoder.layer."
    width = _shape(state, "query_tokens", file, 3)[2]
    layers = len({key.removeprefix(layer).split(".")[0] for key in state if key.startswith(layer)})
    crossing = sorted({int(key.removeprefix(layer).split(".")[0]) for key in state if ".crossattention." in key})
    return bert_base_qformer(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=_heads(num_attention_heads, width, QFORMER_HEADS, "--qformer-heads", file),
        intermediate_size=_shape(state, f"{layer}0.intermediate_query.dense.weight", file, 2)[0],
        encoder_hidden_size=_shape(state, f"{layer}0.crossattention.self.key.weight", file, 2)[1],
        cross_attention_frequency=crossing[1] - crossing[0] if len(crossing) > 1 else max(layers, 1),
    )

"""Files in the original project's layouts with random weights: what `import-official` reads, where the real files are not at hand.

Three `.pth` files (the vision encoder with its unused 40th block and head in fp16, the Q-Former with `ln_vision` and BLIP-2's own
projection, MiniGPT-4's projection with the buffers and the optimizer's leavings that it carries) and an LLM's directory of `.bin`
shards with an index, as Vicuna's came. One shard at a time is in memory.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from .random_weights import RandomTensors

_TRUNK, _NORM = "model.vision_model.trunk.", "model.vision_model.post_layernorm."
_PROJECTION, _LLM = "model.language_projection.", "model.language_model."
_T5_WIDTH = 2048  # FlanT5-XL's, into which BLIP-2 projects
_TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class OfficialFiles:
    """Where the files of one model are. `qformer` is None in the Llama-2 variant."""

    vision: Path
    qformer: Path | None
    projection: Path
    language_model: Path

    def import_flags(self, variant: str) -> list[str]:
        """What `import-official` is called with, but for the output."""
        flags = ["--vision", str(self.vision), "--projection", str(self.projection), "--language-model", str(self.language_model)]
        return [*flags, *(["--qformer", str(self.qformer)] if self.qformer else []), "--variant", variant]


def files_in(directory: Path, has_qformer: bool) -> OfficialFiles:
    """The names that `write_official` uses, which are the original's."""
    qformer = directory / "blip2_pretrained_flant5xxl.pth" if has_qformer else None
    return OfficialFiles(directory / "eva_vit_g.pth", qformer, directory / "pretrained_minigpt4.pth", directory / "language-model")


def write_official(config: MiniGPT4Config, directory: Path, tokenizer: Path, shard_bytes: int, seed: int = 0) -> OfficialFiles:
    """Writes the files of a model of `config`; `tokenizer` is a directory whose tokenizer the LLM gets. Returns where they are."""
    files = files_in(directory, config.qformer_config is not None)
    files.language_model.mkdir(parents=True)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in MiniGPT4ForConditionalGeneration(config).state_dict().items()}
    make = RandomTensors(seed)
    torch.save(_vision(shapes, make, config.vision_config.num_hidden_layers), files.vision)
    if files.qformer:
        torch.save({"model": _qformer(shapes, make)}, files.qformer)
    torch.save(_projection(shapes, make), files.projection)
    _write_language_model(config, shapes, make, files.language_model, shard_bytes)
    for name in _TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, files.language_model / name)
    return files


def _vision(shapes: Shapes, make: RandomTensors, blocks: int) -> dict[str, torch.Tensor]:
    named = {name.removeprefix(_TRUNK): shape for name, shape in shapes.items() if name.startswith(_TRUNK)}
    width = named["cls_token"][-1]
    last = f"blocks.{blocks - 1}."
    named |= {name.replace(last, f"blocks.{blocks}."): shape for name, shape in named.items() if name.startswith(last)}
    named |= {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (1000, width), "head.bias": (1000,)}
    return {name: make(name, shape, torch.float16) for name, shape in named.items()}


def _qformer(shapes: Shapes, make: RandomTensors) -> dict[str, torch.Tensor]:
    named: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if name.startswith("model.qformer."):
            inside = name.removeprefix("model.qformer.").replace("attention.attention.", "attention.self.")
            inside = f"embeddings.LayerNorm.{inside.removeprefix('layernorm.')}" if inside.startswith("layernorm.") else inside
            named[f"Qformer.bert.{inside}"] = shape
        elif name == "model.query_tokens":
            named["query_tokens"] = shape
        elif name.startswith(_NORM):
            named[f"ln_vision.{name.removeprefix(_NORM)}"] = shape
    width = named["query_tokens"][-1]
    named |= {"t5_proj.weight": (_T5_WIDTH, width), "t5_proj.bias": (_T5_WIDTH,)}
    tensors = {name: make(name, shape, torch.float32) for name, shape in named.items()}
    return {**tensors, "Qformer.bert.embeddings.position_ids": torch.arange(512)[None]}


def _projection(shapes: Shapes, make: RandomTensors) -> dict:
    named = {f"llama_proj.{name.removeprefix(_PROJECTION)}": shape for name, shape in shapes.items() if name.startswith(_PROJECTION)}
    tensors = {name: make(name, shape, torch.float32) for name, shape in named.items()}
    buffers = {f"llama_model.model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(64) for layer in range(2)}
    return {"model": {**buffers, **tensors}, "optimizer": {"state": {}, "param_groups": []}, "config": {}, "scaler": {}, "epoch": 3}


def _write_language_model(config: MiniGPT4Config, shapes: Shapes, make: RandomTensors, directory: Path, shard_bytes: int) -> None:
    named = {f"model.{name.removeprefix(_LLM)}": shape for name, shape in shapes.items() if name.startswith(_LLM)}
    named |= {"lm_head.weight": shapes["lm_head.weight"]}
    shards = list(_share_out(named, shard_bytes))
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"pytorch_model-{number:05d}-of-{len(shards):05d}.bin"
        torch.save({name: make(name, named[name], torch.float16) for name in shard}, directory / file)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": sum(map(_half_bytes, named.values()))}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    description = {**config.text_config.to_dict(), "architectures": ["LlamaForCausalLM"], "torch_dtype": "float16"}
    (directory / "config.json").write_text(json.dumps(description, default=str), encoding="utf-8")


def _share_out(named: Shapes, shard_bytes: int) -> Iterator[list[str]]:
    """Names in order, shard by shard."""
    shard: list[str] = []
    size = 0
    for name, shape in named.items():
        if shard and size + _half_bytes(shape) > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += _half_bytes(shape)
    yield shard


def _half_bytes(shape: tuple[int, ...]) -> int:
    return 2 * torch.Size(shape).numel()

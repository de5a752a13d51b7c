"""The original project's file layouts in small, on disk: those of the parity fixtures, and variations that tests need."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.tiny_models import PARITY

VISION = PARITY / "eva_vit_tiny.pth"
QFORMER = PARITY / "blip2_qformer_tiny.pth"
PROJECTION = PARITY / "minigpt4_tiny.pth"
LLAMA = PARITY / "llama_tiny"


def read(path: Path) -> dict:
    """Everything in a `.pth` file, its tensors under "model" where the file wraps them."""
    return torch.load(path, weights_only=True)


def rewrite(path: Path, target: Path, edit) -> Path:
    """`path` with its tensors changed by `edit(tensors)`, as `target`."""
    content = read(path)
    edit(content.get("model", content))
    torch.save(content, target)
    return target


def write_llama2_projection(target: Path, out_features: int = 40, seed: int = 0) -> Path:
    """A projection as the Llama-2 variant has it: four patches of the tiny ViT in, with a buffer of the LLM's."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(out_features, 4 * 88, generator=generator) * 0.05
    bias = torch.randn(out_features, generator=generator)
    buffer = {"llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(5)}
    torch.save({"model": {"llama_proj.weight": weight, "llama_proj.bias": bias, **buffer}, "epoch": 3}, target)
    return target


def copy_llama(target: Path, **config) -> Path:
    """The tiny LLM's folder with other values in its config.json."""
    shutil.copytree(LLAMA, target)
    edit_json(target / "config.json", **config)
    return target


def edit_json(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def write_bin_shards(target: Path, shards: int = 2) -> Path:
    """The tiny LLM as Vicuna's files come: `.bin` shards with an index, and the buffers that old versions wrote."""
    shutil.copytree(LLAMA, target, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = load_file(LLAMA / "model.safetensors")
    names, weight_map = sorted(tensors), {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05d}-of-{shards:05d}.bin"
        part = {name: tensors[name] for name in names[shard::shards]}
        part[f"model.layers.{shard}.self_attn.rotary_emb.inv_freq"] = torch.ones(5)
        torch.save(part, target / file)
        weight_map |= dict.fromkeys(part, file)
    (target / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return target

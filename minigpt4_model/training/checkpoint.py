"""Writing what a run has made: a projection checkpoint that `load_model` opens, and a state to resume from.

Every write goes to a temporary name first and is renamed when it is whole, so a killed run leaves the last good one.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..model import MiniGPT4ForConditionalGeneration
from ..weights.load import TRAINED_PREFIXES

STATE_FILE = "training_state.pt"


def trained_state(model: MiniGPT4ForConditionalGeneration, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """The tensors that training changes, by their names in the whole model, copied; cast to `dtype` when given."""
    return {
        key: tensor.detach().to(device="cpu", dtype=dtype or tensor.dtype, copy=True).contiguous()
        for key, tensor in model.state_dict().items()
        if key.startswith(TRAINED_PREFIXES)
    }


def save_projection(model: MiniGPT4ForConditionalGeneration, directory: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """A directory for `load_model`: `config.json` and `model.safetensors` with the trained tensors only.

    Other files in the directory (a model card) stay. The two files are replaced one by one, the weights first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / "model.safetensors.tmp"
    save_file(trained_state(model, dtype), weights, metadata={"format": "pt"})
    os.replace(weights, directory / "model.safetensors")
    config = directory / "config.json.tmp"
    config.write_text(json.dumps(_portable(model.config.to_diff_dict()), indent=2, default=str) + "\n", encoding="utf-8")
    os.replace(config, directory / "config.json")


def _portable(config: dict) -> dict:
    """Without the places on this machine from which the parts were read."""
    parts = {key: _portable(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in parts.items() if key != "_name_or_path"}


def save_state(directory: Path, state: dict) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / (STATE_FILE + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, directory / STATE_FILE)


def load_state(directory: Path) -> dict | None:
    """What `save_state` wrote, or None in a new directory. Never runs code from the file."""
    path = directory / STATE_FILE
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def keep_best(directory: Path, best: Path) -> None:
    """Copies the checkpoint in `directory` to `best`, replacing what was there only when the copy is whole.

    A kill leaves the old one in `best` or, between two renames, in `best.old`, from which the next call takes it back.
    """
    new, old = (best.with_name(best.name + ending) for ending in (".tmp", ".old"))
    if old.exists() and not best.exists():
        os.replace(old, best)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(directory, new, ignore=shutil.ignore_patterns(STATE_FILE + "*"))
    if best.exists():
        os.replace(best, old)
    os.replace(new, best)
    shutil.rmtree(old, ignore_errors=True)

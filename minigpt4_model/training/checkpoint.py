"""Writing what a run has made, and finding it again.

    DIR/config.json, model.safetensors    the last checkpoint; what `--model DIR` opens
    DIR/best/                             the one with the best score
    DIR/checkpoint-200/                   the last K, each with the `training_state.pt` to go on from

Every file and folder is written under another name and renamed when it is whole, so a killed run or a full disk leaves the
last good checkpoint.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from ..weights.load import TRAINED_PREFIXES

STATE_FILE = "training_state.pt"
PROJECTION_PREFIX = "model.language_projection."
_TEMPORARY = ".tmp"

State = dict[str, torch.Tensor]


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or gone on from; the text names the file or flag and the fix."""


def trained_state(
    model: MiniGPT4ForConditionalGeneration, dtype: torch.dtype | None = None, prefixes: tuple[str, ...] = TRAINED_PREFIXES
) -> State:
    """The tensors that training may change, by their names in the whole model, copied; cast to `dtype` when given.

    A tensor that is sharded over processes is put together, so every process has to call this.
    """
    tensors = {}
    for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if key.startswith(prefixes):
            whole = tensor.detach().full_tensor() if hasattr(tensor, "full_tensor") else tensor.detach()
            tensors[key] = whole.to(device="cpu", dtype=dtype or tensor.dtype, copy=True).contiguous()
    persistent = model.state_dict().keys()
    return {key: tensor for key, tensor in tensors.items() if key in persistent}


def load_trained_state(model: MiniGPT4ForConditionalGeneration, tensors: State) -> None:
    """The inverse of `trained_state`; sharded tensors take their share."""
    own = model.state_dict()
    with torch.no_grad():
        for key, tensor in tensors.items():
            target = own[key]
            if hasattr(target, "full_tensor"):
                from torch.distributed.tensor import distribute_tensor

                tensor = distribute_tensor(tensor.to(target.device), target.device_mesh, target.placements)
            target.copy_(tensor)


def write_projection(directory: Path, tensors: State, config: MiniGPT4Config, dtype: torch.dtype | None = None) -> None:
    """A directory for `load_model`: `config.json` and `model.safetensors` with the trained tensors only.

    Without `dtype` a projection alone, which is small, is kept in fp32, and one with its Q-Former in bf16.
    Other files in the directory (a model card) stay. The two files are replaced one by one, the weights first.
    """
    if dtype is None:
        dtype = torch.float32 if all(key.startswith(PROJECTION_PREFIX) for key in tensors) else torch.bfloat16
    directory.mkdir(parents=True, exist_ok=True)
    description, weights = (directory / (name + _TEMPORARY) for name in ("config.json", "model.safetensors"))
    description.write_text(json.dumps(_portable(config.to_diff_dict()), indent=2, default=str) + "\n", encoding="utf-8")
    save_file({key: tensor.to(dtype) for key, tensor in tensors.items()}, weights, metadata={"format": "pt"})
    weights.chmod(description.stat().st_mode)  # safetensors would keep it from everybody else
    os.replace(weights, directory / "model.safetensors")
    os.replace(description, directory / "config.json")


def write_text(path: Path, text: str) -> None:
    """Replaces `path` when the text is written whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + _TEMPORARY)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _portable(config: dict) -> dict:
    """Without the places on this machine from which the parts were read."""
    parts = {key: _portable(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in parts.items() if key != "_name_or_path"}


def save_checkpoint(output_dir: Path, step: int, state: dict, write: Callable[[Path], None], keep: int) -> Path:
    """Makes `checkpoint-<step>` of what `write` puts into it and `state`, and removes all but the last `keep`."""
    final = output_dir / f"checkpoint-{step}"
    temporary = output_dir / (final.name + _TEMPORARY)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        write(temporary)
        torch.save(state, temporary / STATE_FILE)
        if final.exists():  # a run that was stopped right behind a save
            shutil.rmtree(final)
        os.replace(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in find_checkpoints(output_dir)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def find_checkpoints(output_dir: Path) -> list[Path]:
    """Whole checkpoints, the oldest first."""
    numbered = [(int(name[1]), path) for path in output_dir.glob("checkpoint-*") if (name := re.fullmatch(r"checkpoint-(\d+)", path.name))]
    return [path for _, path in sorted(numbered) if (path / STATE_FILE).exists()]


def load_state(output_dir: Path) -> dict | None:
    """The state of the last checkpoint, or None in a new directory. Never runs code from the file. Raises `CheckpointError`."""
    checkpoints = find_checkpoints(output_dir)
    if not checkpoints:
        return None
    path = checkpoints[-1] / STATE_FILE
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path} is damaged ({error}). Remove {path.parent} to go on from the checkpoint before it.") from error


def keep_best(best: Path, write: Callable[[Path], None]) -> None:
    """Replaces `best` by a folder that `write` fills, only when that is whole.

    A kill leaves the old one in `best` or, between two renames, in `best.old`, from which the next call takes it back.
    """
    new, old = (best.with_name(best.name + ending) for ending in (_TEMPORARY, ".old"))
    if old.exists() and not best.exists():
        os.replace(old, best)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    write(new)
    if best.exists():
        os.replace(best, old)
    os.replace(new, best)
    shutil.rmtree(old, ignore_errors=True)


def make_writable(output_dir: Path) -> None:
    """Makes the folder and tries to write there, before hours are spent. Raises `CheckpointError`."""
    trial = output_dir / ("writable" + _TEMPORARY)
    with explained(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
        trial.write_text("", encoding="utf-8")
        trial.unlink()


@contextmanager
def explained(output_dir: Path) -> Iterator[None]:
    """Makes of a failing write a `CheckpointError` that says why, which checkpoint is whole, and how to go on."""
    try:
        yield
    except OSError as error:
        last = next(reversed(find_checkpoints(output_dir)), None) if output_dir.is_dir() else None
        whole = f"{last} is whole: run the same command again to go on from it." if last else "There is no checkpoint yet."
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            free = shutil.disk_usage(output_dir).free / 1e6
            raise CheckpointError(f"The disk that holds {output_dir} is full ({free:.0f} MB free). Free some space. {whole}") from error
        raise CheckpointError(
            f"--output-dir {output_dir} cannot be written ({error.strerror or error}). Mend that or name another folder. {whole}"
        ) from error

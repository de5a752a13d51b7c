"""Writing what a run has made, and finding it again.

    DIR/config.json, model.safetensors    the last checkpoint; what `--model DIR` opens
    DIR/best/                             the one with the best score
    DIR/checkpoint-200/                   the last K, each with the `training_state.pt` to go on from

Every file and folder is written under another name and renamed when it is whole and on the disk, so a kill, a power cut or a full
disk leaves the last good checkpoint.
"""

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from ..weights.load import TRAINED_PREFIXES

logger = logging.getLogger(__name__)

STATE_FILE = "training_state.pt"
PROJECTION_PREFIX = "model.language_projection."
_TEMPORARY, _OLD = ".tmp", ".old"

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
            own[key].copy_(shared_like(own[key], tensor))


def shared_like(target: torch.Tensor, tensor: Any) -> Any:
    """A whole tensor, shared out over processes where `target` is; a scalar as it is. Every process has to call this."""
    if not hasattr(target, "full_tensor") or not isinstance(tensor, torch.Tensor) or tensor.ndim == 0:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(target.device), target.device_mesh, target.placements)


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
    with _disk_errors():
        save_file({key: tensor.to(dtype) for key, tensor in tensors.items()}, weights, metadata={"format": "pt"})
    weights.chmod(description.stat().st_mode)  # safetensors would keep it from everybody else
    for written in (weights, description):
        _flush(written)
    os.replace(weights, directory / "model.safetensors")
    os.replace(description, directory / "config.json")
    _flush(directory)


def _portable(config: dict) -> dict:
    """Without the places on this machine from which the parts were read."""
    parts = {key: _portable(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in parts.items() if key != "_name_or_path"}


def save_checkpoint(output_dir: Path, step: int, state: dict, write: Callable[[Path], None], keep: int) -> Path:
    """Makes `checkpoint-<step>` of what `write` puts into it and `state`, and removes all but the last `keep`.

    One of a later step is damaged (the run would have gone on from it) and does not count; it is replaced when its step comes.
    """
    final = output_dir / f"checkpoint-{step}"

    def write_with_state(new: Path) -> None:
        write(new)
        with (new / STATE_FILE).open("wb") as file, _disk_errors():
            torch.save(state, file)

    _replace_folder(final, write_with_state)
    for old in [path for path in find_checkpoints(output_dir) if _step(path) <= step][:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def find_checkpoints(output_dir: Path) -> list[Path]:
    """Checkpoints that were written to the end, the oldest first."""
    found = [path for path in output_dir.glob("checkpoint-*") if _step(path) is not None and (path / STATE_FILE).exists()]
    # A kill between the two renames of `_replace_folder` leaves the old folder only.
    names = {path.name for path in found}
    return sorted((path for path in found if path.name.removesuffix(_OLD) == path.name or path.stem not in names), key=_step)


def _step(path: Path) -> int | None:
    matched = re.fullmatch(rf"checkpoint-(\d+)({re.escape(_OLD)})?", path.name)
    return int(matched[1]) if matched else None


def load_state(output_dir: Path) -> dict | None:
    """The state of the last checkpoint that can be read, or None in a new directory. Never runs code from the file.

    Raises `CheckpointError` when there are checkpoints and all of them are damaged.
    """
    damaged = None
    for checkpoint in reversed(find_checkpoints(output_dir)):
        path = checkpoint / STATE_FILE
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror or error}). Mend that, or remove {checkpoint}.") from error
        except Exception as error:  # torch raises many kinds for a damaged file
            damaged = CheckpointError(
                f"{path} is damaged ({error}), and there is no whole checkpoint before it. Remove {checkpoint} to start anew."
            )
            damaged.__cause__ = error
            logger.warning("%s is damaged (%s): looking for the checkpoint before it.", path, error)
        else:
            return state
    if damaged:
        raise damaged
    return None


def keep_best(best: Path, write: Callable[[Path], None]) -> None:
    """Replaces `best` by a folder that `write` fills, only when that is whole.

    A kill leaves the old one in `best` or, between two renames, in `best.old`, from which the next call takes it back.
    """
    _replace_folder(best, write)


def _replace_folder(final: Path, write: Callable[[Path], None]) -> None:
    """`write` fills a new folder, which takes the place of `final` when it is whole and on the disk.

    A kill leaves the old one in place or, between two renames, beside it as `.old`, from which the next call takes it back.
    """
    new, old = (final.with_name(final.name + ending) for ending in (_TEMPORARY, _OLD))
    if old.exists() and not final.exists():
        os.replace(old, final)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        write(new)
        for written in (*new.iterdir(), new):
            _flush(written)
        if final.exists():
            os.replace(final, old)
        os.replace(new, final)
    except Exception:  # a full disk should have its room back
        shutil.rmtree(new, ignore_errors=True)
        raise
    _flush(final.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Lets out the `OSError` that torch's and safetensors' writers hide behind errors of their own."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if isinstance(error.__context__, OSError):
            raise OSError(error.__context__.errno, error.__context__.strerror) from error
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            code = int(number[1])
            raise (OSError(0, str(error), None, code) if os.name == "nt" else OSError(code, os.strerror(code))) from error
        raise


def _flush(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk and not only on its way there."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return  # Windows opens no folders, and keeps names in a journal
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not folder:  # some network file systems have no such thing for folders
            raise
    finally:
        os.close(descriptor)


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

"""A model's directory with every tensor in it, and a tokenizer that has a word for pictures: what another server (vLLM) loads.

A projection checkpoint leaves its frozen parts out; here they are written beside it, once, as they are stored, into the cache. A whole
model stays where it is. The tokenizer is a copy in both cases: in it `<ImageHere>` is the token `image_token_id`, which this
project's own engines never need.
"""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import progress as progress_lines
from .cache import cached_directory, home
from .errors import WeightsError
from .progress import Progress

if TYPE_CHECKING:
    from ..model import MiniGPT4Config

_VERSION = 1  # of what is written here


def ensure_whole(source: str | Path, local_dir: Path | None = None, progress: Progress = progress_lines.console) -> Path:
    """The directory of the whole model that a preset's name or a directory means, with its weights and its processor.

    Raises `WeightsError` or `PairingError`, as loading it would.
    """
    from .load import find_checkpoint, read_config

    checkpoint = find_checkpoint(source, local_dir).resolve()
    if read_config(checkpoint).frozen_parts is None:
        return checkpoint
    files = [path for path in sorted(checkpoint.iterdir()) if path.suffix in (".json", ".safetensors")]
    facts = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
    recipe = json.dumps({"version": _VERSION, "checkpoint": str(checkpoint), "files": facts})
    needed = sum(size for size, _ in facts.values()) + 500_000_000

    def make(output: Path) -> None:
        _write_whole(checkpoint, output, progress)

    return cached_directory(home() / "whole" / checkpoint.name, recipe, make, needed, f"The whole model of {checkpoint.name}", progress)


def _write_whole(checkpoint: Path, output: Path, progress: Progress) -> None:
    from .load import assemble_whole
    from .safetensors_writer import PlannedTensor, write_model
    from .tensor_files import TensorInfo

    def plan(name: str, stored: Any) -> PlannedTensor:
        dtype = stored[...].dtype  # mapped from its file, not read
        return PlannedTensor(name, TensorInfo(tuple(stored.shape), dtype), lambda: stored[...])

    state, config, processor = assemble_whole(checkpoint)
    write_model(output, [plan(name, stored) for name, stored in state.items()], progress=progress)
    config.save_pretrained(output)
    processor.save_pretrained(output)


def write_tokenizer(config: "MiniGPT4Config", tokenizer: Any, chat_template: str, output: Path) -> None:
    """`tokenizer` with `<ImageHere>` as token `image_token_id` and with `chat_template`. Raises `WeightsError` where that id is taken."""
    tokenizer = copy.deepcopy(tokenizer)
    for number in range(len(tokenizer), config.image_token_id):  # a vocabulary may have rows that the tokenizer has no word for
        tokenizer.add_tokens([f"<unused{number}>"], special_tokens=True)
    tokenizer.add_tokens([config.image_token], special_tokens=True)
    found = tokenizer.convert_tokens_to_ids(config.image_token)
    if found != config.image_token_id:
        raise WeightsError(f"{config.image_token} must be token {config.image_token_id} of the tokenizer, and it is {found}.")
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(output)
    # As it is in tokenizer.json: its own class would take Llama's old way with spaces (`load_tokenizer`) for the new one.
    settings = output / "tokenizer_config.json"
    told = {**json.loads(settings.read_text(encoding="utf-8")), "tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    config.save_pretrained(output)  # whose tokenizer it is

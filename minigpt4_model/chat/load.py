"""Opening an engine: a preset's name or a directory, and the engine that suits it on this machine."""

import logging
from pathlib import Path
from typing import Any

from ..model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..model.resolution import change_image_size
from ..presets import DEFAULT_PRESET, PRESETS
from ..weights.devices import choose_device
from ..weights.engine_choice import EngineChoice, choose_engine
from ..weights.errors import WeightsError
from ..weights.load import find_checkpoint, load_model, read_config
from ..weights.memory_check import OWN_CONVERSATIONS, conversations_that_fit
from ..weights.sources import OFFICIAL_PRESETS
from .backends.base import BackendDescription
from .engine import Engine, describe_model

log = logging.getLogger(__name__)


def load_engine(
    source: str | Path = DEFAULT_PRESET,
    device: str | None = None,
    dtype: str | None = None,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    reuse_kv: bool = True,
    device_map: str | None = None,
    max_memory: str | None = None,
    memory_check: bool = True,
    local_dir: str | Path | None = None,
    image_size: int | None = None,
    engine: str | None = None,
) -> Engine:
    """An engine for a preset's name or a model's directory (a `Path` is always a directory); see `weights.load.load_model`.

    `image_size` is the side at which pictures are read, where it shall not be the model's own. `engine` says what computes the LLM:
    "torch", "llama.cpp" or "auto", the faster of those that can. As many conversations are kept as the preset wants, or as fit into the
    memory that is left. Raises `WeightsError` that names the file or flag and the fix, and `ValueError` for a size that the vision
    encoder does not read.
    """
    options: dict[str, Any] = {
        "device": device, "dtype": dtype, "load_in_8bit": load_in_8bit, "load_in_4bit": load_in_4bit,
        "device_map": device_map, "max_memory": max_memory, "memory_check": memory_check, "local_dir": local_dir,
    }  # fmt: skip

    def load(**more: Any) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor, BackendDescription]:
        model, processor = load_model(source, **options, **more)
        if image_size is not None:
            change_image_size(model, processor, image_size)
        return model, processor, describe_model(model.config, str(model.device), source)

    def load_torch() -> Engine:
        model, processor, description = load()
        preset = PRESETS.get(source) or PRESETS.get(model.config.frozen_parts or "")
        wanted = preset.kv_slots if preset else OWN_CONVERSATIONS
        width = model.get_input_embeddings().weight.dtype.itemsize
        fitting = conversations_that_fit(model.config.to_dict(), str(model.device), width, description.context_length, wanted)
        return Engine(model, processor, description=description, kv_slots=fitting, reuse_kv=reuse_kv)

    choice = _choose(source, options, engine)
    log.info("The language half runs on %s. %s", choice.name, choice.why)
    if choice.name == "torch":
        return load_torch()
    from .llama_cpp.engine import open_llama_cpp

    unreadable = False

    def load_pictures_half() -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor, BackendDescription]:
        nonlocal unreadable
        unreadable = True  # what stops this stops torch too
        loaded = load(llm_layers=False)
        unreadable = False
        return loaded

    try:
        return open_llama_cpp(load_pictures_half, load_torch, reuse_kv)
    except WeightsError as error:
        if engine == "llama.cpp" or unreadable:
            raise
        log.warning("llama.cpp can't be used, so torch computes, more slowly: %s", error)
        return load_torch()


def _choose(source: str | Path, options: dict[str, Any], engine: str | None) -> EngineChoice:
    is_official = isinstance(source, str) and source in OFFICIAL_PRESETS  # which nothing is fetched of yet
    local_dir = Path(options["local_dir"]) if options["local_dir"] else None
    frozen_parts = None if is_official else read_config(find_checkpoint(source, local_dir)).frozen_parts
    return choose_engine(
        engine,
        frozen_parts=frozen_parts,
        device=str(choose_device(options["device"])),
        dtype=options["dtype"],
        bits=8 if options["load_in_8bit"] else 4 if options["load_in_4bit"] else 0,
        device_map=options["device_map"],
    )

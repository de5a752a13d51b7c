"""Loading a model to chat with: `load_model("pocket")` or `load_model("some/directory")`.

Two kinds of directory are understood: a whole model as `save_pretrained` writes it, and a projection checkpoint as the
trainer writes it, which holds what was trained and names in `config.json` (`frozen_parts`) the preset whose frozen parts
it was trained against, or the directory of a whole model. The pocket preset is such a checkpoint, `checkpoints/pocket/`.
"""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..presets import DEFAULT_PRESET, PRESETS
from .advice import python_command
from .choices import precision_of
from .devices import choose_device, choose_dtype, name_of
from .errors import WeightsError
from .memory import CONFIGS
from .memory_check import find_place
from .official_presets import ensure_official
from .pairing import check_pairing, describe_pairing, describe_qformer
from .placement import DISK
from .pocket import POCKET_CHECKPOINT, POCKET_ENCODER, REPOSITORY, ensure_pocket, how_to_restore_checkpoint
from .sources import OFFICIAL_PRESETS
from .stored import open_directory, open_file, read_all, returned_memory

TRAINED_PREFIXES = ("model.query_tokens", "model.qformer.", "model.language_projection.")
CLASSIFIER = "classifier."  # the encoder's ImageNet classes: not part of the model, which looks at the features before them

State = dict[str, torch.Tensor]
Stored = Mapping[str, Any]  # tensors, or stored ones (`stored.py`)


def load_model(
    source: str | Path = DEFAULT_PRESET,
    *,
    device: str | None = None,
    dtype: str | None = None,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    device_map: str | None = None,
    max_memory: str | None = None,
    memory_check: bool = True,
    local_dir: str | Path | None = None,
    llm_layers: bool = True,
) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """The model, in evaluation mode, and its processor. `source` is a preset's name or a directory; a `Path` is always a directory.
    `local_dir` holds files of a full-size preset, which then are not downloaded. Without `llm_layers` a model over the pocket preset's
    frozen parts can read pictures and embed words only, for an engine whose LLM is elsewhere.

    `device_map` ("auto" or a list as in "cuda:0,cuda:1,cpu") spreads the LLM's layers over several devices, of which `max_memory`
    ("cuda:0=10GB,cpu=20GB") limits some. Raises `WeightsError` (files, device, precision), `TooLittleMemory` (unless `memory_check`
    is off) before anything is loaded, or `PairingError` (a projection with other frozen parts than its own).
    """
    if device_map and device not in (None, "auto"):
        raise WeightsError(f"--device {device} and --device-map {device_map} exclude each other: leave one out.")
    first = device_map.split(",")[0].strip() if device_map else device
    main = choose_device(first, "--device-map" if device_map else "--device")
    chosen_dtype = choose_dtype(dtype, main, beside_fewer_bits=load_in_8bit or load_in_4bit)
    quantization = _quantization(load_in_8bit, load_in_4bit, chosen_dtype)
    own = precision_of(name_of(chosen_dtype))
    precision = "8 bit" if load_in_8bit else "4 bit" if load_in_4bit else own
    is_preset = isinstance(source, str) and source in PRESETS
    place = partial(
        find_place,
        f"--preset {source}" if is_preset else f"--model {source}",
        main=str(main),
        precision=precision,
        device_map=device_map,
        max_memory=max_memory,
        memory_check=memory_check,
        beside=own,
    )
    if is_preset and source in OFFICIAL_PRESETS:
        place(CONFIGS[source])  # before gigabytes are fetched
    directory = find_checkpoint(source, Path(local_dir) if local_dir else None)
    config = read_config(directory)
    options: dict = {"dtype": chosen_dtype, "device_map": place(config.to_dict())}
    if quantization is not None:
        options["quantization_config"] = quantization
    with returned_memory():
        if config.frozen_parts is None:
            model, processor = _load_whole(directory, options)
        elif config.frozen_parts in OFFICIAL_PRESETS or config.frozen_parts not in PRESETS:
            model, processor = _load_over_whole(config, directory, options)
        else:
            state, tokenizer_dir = assemble_state(config, _open_checkpoint(directory), str(directory))
            if not llm_layers:
                config.text_config.num_hidden_layers = 0
                state = {name: tensor for name, tensor in state.items() if not name.startswith("model.language_model.layers.")}
            model = build_from_state(config, state, str(directory), **options)
            processor = MiniGPT4Processor.from_config(config, load_tokenizer(tokenizer_dir))
        if quantization is not None and model.model.qformer is not None:
            model.model.qformer.to(chosen_dtype)
    return model.eval(), processor


def find_checkpoint(source: str | Path, local_dir: Path | None = None) -> Path:
    """The directory of a preset or of a path; raises `WeightsError` when there is nothing to load.

    A full-size preset is fetched and imported, once; `local_dir` holds files of it that are taken first.
    """
    if local_dir is not None and source not in OFFICIAL_PRESETS:
        raise WeightsError(f"--local-dir goes with a full-size preset ({', '.join(OFFICIAL_PRESETS)}), not with {source}. Leave it out.")
    if source == "pocket":
        if not (POCKET_CHECKPOINT / "config.json").is_file():
            raise WeightsError(f"{POCKET_CHECKPOINT / 'config.json'} is missing. Restore it: {how_to_restore_checkpoint()}")
        return POCKET_CHECKPOINT
    if source in OFFICIAL_PRESETS and not isinstance(source, Path):
        return ensure_official(source, local_dir)
    directory = Path(source).expanduser()
    if not (directory / "config.json").is_file():
        fault = "there is no config.json in it, so it is not a model's directory." if directory.is_dir() else "there is no such folder."
        meant = f" The preset of that name is --preset {source}." if str(source) in PRESETS else ""
        raise WeightsError(f"--model {directory}: {fault} Give a folder with a config.json.{meant}")
    return directory


def read_config(directory: Path) -> MiniGPT4Config:
    path = directory / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is damaged ({error}). Restore it from where the checkpoint came from.") from error
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind != MiniGPT4Config.model_type:
        raise WeightsError(f"{path} describes a {kind!r} model, not a {MiniGPT4Config.model_type!r} one.")
    try:
        return MiniGPT4Config.from_pretrained(directory)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error


def _quantization(load_in_8bit: bool, load_in_4bit: bool, dtype: torch.dtype):
    """The LLM's 8- or 4-bit setting; the vision encoder, the Q-Former and the tables stay in `dtype`, the projection in fp32."""
    if load_in_8bit and load_in_4bit:
        raise WeightsError("--load-in-8bit and --load-in-4bit exclude each other: choose one.")
    if not (load_in_8bit or load_in_4bit):
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        flag = "--load-in-8bit" if load_in_8bit else "--load-in-4bit"
        fix = python_command("-m", "pip", "install", "-r", str(REPOSITORY / "requirements.txt"))
        raise WeightsError(f"{flag} needs the package bitsandbytes, which is not installed. Leave the flag out, or: {fix}")
    from transformers import BitsAndBytesConfig

    # It computes in fp16 and says so at every matrix of every token; and it misses a package from the Hub though it has its own code.
    for name in ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return BitsAndBytesConfig(
        load_in_8bit=load_in_8bit,
        load_in_4bit=load_in_4bit,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["model.vision_model", "model.qformer", "model.language_projection", "lm_head"],
    )


def _load_whole(directory: Path, options: dict) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    with _explained_faults(directory):
        if DISK in options["device_map"].values():  # what stays in the files has to be known by them
            model = _from_pretrained(str(directory), directory, **options)
        else:
            model = build_from_state(read_config(directory), open_directory(directory), str(directory), **options)
            if (directory / "generation_config.json").is_file():
                model.generation_config = GenerationConfig.from_pretrained(directory)
        return model, MiniGPT4Processor.from_pretrained(directory)


@contextmanager
def _explained_faults(directory: Path) -> Iterator[None]:
    """Turns what reading a whole model's files raises into a `WeightsError`."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise WeightsError(f"{directory}: a weights file is damaged ({error}). Restore it from where the model came from.") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{directory} is not whole: {error}") from error


def _load_over_whole(config: MiniGPT4Config, directory: Path, options: dict) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """The whole model that `frozen_parts` names, with the trained tensors of `directory` in it."""
    state, whole_config, whole = _assemble_over_whole(config, directory)
    with _explained_faults(whole):
        model = build_from_state(whole_config, state, str(directory), **options)
        processor = MiniGPT4Processor.from_pretrained(whole)
    model.config.frozen_parts, model.config.trained_with = config.frozen_parts, config.trained_with
    return model, processor


def _assemble_over_whole(config: MiniGPT4Config, directory: Path) -> tuple[Stored, MiniGPT4Config, Path]:
    """All tensors, after the pairing check, and the configuration and directory of the whole model that `frozen_parts` names."""
    whole = ensure_official(config.frozen_parts) if config.frozen_parts in OFFICIAL_PRESETS else Path(config.frozen_parts)
    if not (whole / "config.json").is_file():
        raise WeightsError(
            f"{directory}: its frozen parts are those of {whole}, and there is no model. "
            f'Bring it back, or name where it is now as "frozen_parts" in {directory / "config.json"}.'
        )
    whole_config = read_config(whole)
    if whole_config.frozen_parts is not None:
        raise WeightsError(f'{directory / "config.json"}: "frozen_parts" names {whole}, which has none of its own. Name a whole model.')
    trained = _open_checkpoint(directory)
    recorded, own = config.trained_with or {}, whole_config.trained_with or {}
    names = {part: (own.get(part) or {}).get("name", f"that of {whole}") for part in ("language_model", "vision_encoder", "qformer")}
    with _explained_faults(whole):
        state = open_directory(whole)
    found = _describe_state(state, names["language_model"], names["vision_encoder"])
    if not any(key.startswith("model.qformer.") for key in trained):
        found["qformer"] = describe_qformer(names["qformer"], state)
    check_pairing(recorded, found, str(directory))
    unknown = sorted(set(trained) - set(state))
    if unknown:
        raise WeightsError(f"{directory}: {whole} has no tensors called {', '.join(unknown[:8])}. Restore both from the same source.")
    return {**state, **trained}, whole_config, whole


def assemble_whole(directory: Path) -> tuple[Stored, MiniGPT4Config, MiniGPT4Processor]:
    """All tensors of a projection checkpoint and its frozen parts, as they are stored, with what describes the model they make.

    Raises `WeightsError` or `PairingError`, as `load_model` does.
    """
    config = read_config(directory)
    if config.frozen_parts in PRESETS and config.frozen_parts not in OFFICIAL_PRESETS:
        state, tokenizer_dir = assemble_state(config, _open_checkpoint(directory), str(directory))
        processor = MiniGPT4Processor.from_config(config, load_tokenizer(tokenizer_dir))
    else:
        state, config, whole = _assemble_over_whole(config, directory)
        processor = MiniGPT4Processor.from_pretrained(whole)
    config.frozen_parts = None
    config.architectures = [MiniGPT4ForConditionalGeneration.__name__]
    return state, config, processor


def _from_pretrained(where: str, directory: Path | None, **options) -> MiniGPT4ForConditionalGeneration:
    """transformers' `from_pretrained`, but what does not fit is refused: it only warns, and then answers are garbage."""
    with _quiet_transformers():
        model, report = MiniGPT4ForConditionalGeneration.from_pretrained(
            directory, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    _refuse_incomplete(report, where)
    return model


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' bar over tensors, which takes a second here, and its table of faults, of which we make an error."""
    from transformers.utils import logging as transformers_logging

    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    spreading = logging.getLogger("accelerate.big_modeling")
    level = spreading.level
    spreading.setLevel(logging.ERROR)  # `memory_check` has said where the layers go
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The following device_map keys do not match any submodules")  # the query tokens
            yield
    finally:
        spreading.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()


def _refuse_incomplete(report: dict, where: str) -> None:
    keys = {
        "missing": report["missing_keys"],
        "unknown": report["unexpected_keys"],
        "of another shape": [f"{key} {tuple(found)} instead of {tuple(wanted)}" for key, found, wanted in report["mismatched_keys"]],
    }
    faults = "; ".join(f"{fault}: {', '.join(sorted(found)[:8])}" for fault, found in keys.items() if found)
    if faults:
        raise WeightsError(f"{where} does not fit its config.json (tensors {faults}). Restore both files from the same source.")


def read_checkpoint(directory: Path) -> State:
    """The trained tensors of a projection checkpoint, by their names in the whole model."""
    return read_all(_open_checkpoint(directory))


def _open_checkpoint(directory: Path) -> Stored:
    path = directory / "model.safetensors"
    lost = f"{path} is missing: the checkpoint is incomplete. Restore it, or train one with scripts/."
    return _open_part(path, lost, "Restore it from where the checkpoint came from.")


def _open_part(path: Path, lost: str, fix: str) -> Stored:
    from safetensors import SafetensorError

    try:
        return open_file(path)
    except FileNotFoundError:
        raise WeightsError(lost) from None
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}). {fix}") from error


def frozen_state(preset: str, vision_architecture: str = "efficientnet_lite2") -> tuple[State, Path]:
    """The frozen parts of a preset by their names in the whole model, and the directory of the LLM's tokenizer.

    Raises `WeightsError` when a file is missing or the preset's parts are not to be had.
    """
    stored, tokenizer_dir = _open_frozen(preset, vision_architecture)
    return read_all(stored), tokenizer_dir


def _open_frozen(preset: str, vision_architecture: str) -> tuple[Stored, Path]:
    from .official import convert_language_model

    if preset != "pocket":
        raise WeightsError(f"config.json names the frozen parts of {preset!r}, and they are no preset's of that kind. Name 'pocket'.")
    files = ensure_pocket()
    state = convert_language_model(open_file(files.language_model_dir / "model.safetensors"))
    imagenet = open_file(files.vision_encoder_file)
    vision = {f"trunk.{key}": tensor for key, tensor in imagenet.items() if not key.startswith(CLASSIFIER)}
    if vision_architecture == "efficientnet_lite2_tags":
        vision = {f"photograph_{key}": tensor for key, tensor in vision.items()}
        vision |= {f"photograph_tags.{key}": tensor for key, tensor in imagenet.items() if key.startswith(CLASSIFIER)}
        restore = f"Restore it: {how_to_restore_checkpoint()}"
        vision |= _open_part(POCKET_ENCODER, f"{POCKET_ENCODER} is missing. {restore}", restore)
    # EfficientNet has no final norm; `ln_vision` stays at its initial values, as in the original's Llama-2 variant.
    width = imagenet["conv_head.weight"].shape[0]
    vision |= {"post_layernorm.weight": torch.ones(width), "post_layernorm.bias": torch.zeros(width)}
    return {**state, **{f"model.vision_model.{key}": tensor for key, tensor in vision.items()}}, files.language_model_dir


def imagenet_classifier() -> State:
    """`weight` `(1000, 1280)` and `bias` `(1000,)` of the pocket encoder's ImageNet classes, over the mean of its patches."""
    tensors = open_file(ensure_pocket().vision_encoder_file)
    return {key.removeprefix(CLASSIFIER): tensor[...] for key, tensor in tensors.items() if key.startswith(CLASSIFIER)}


def pairing_of(state: Stored, preset: str) -> dict:
    """What a projection has to fit: names and fingerprints of the LLM and the vision encoder in `state`."""
    row = PRESETS[preset]
    return _describe_state(state, row.language_model, row.vision_encoder)


def _describe_state(state: Stored, language_model: str, vision_encoder: str) -> dict:
    embedding = state.get("model.language_model.embed_tokens.weight")
    if embedding is None:
        raise WeightsError("There is no embedding table among the weights: restore them from where they came from.")
    encoder = {key: tensor for key, tensor in state.items() if key.startswith("model.vision_model.")}
    return describe_pairing(language_model=language_model, embedding=embedding[...], vision_encoder=vision_encoder, encoder=encoder)


def assemble_state(config: MiniGPT4Config, trained: Stored, where: str = "The checkpoint") -> tuple[Stored, Path]:
    """Trained and frozen tensors together, after the pairing check, and the tokenizer's directory. `where` is for messages."""
    frozen, tokenizer_dir = _open_frozen(config.frozen_parts, config.vision_config.architecture)
    check_pairing(config.trained_with or {}, pairing_of(frozen, config.frozen_parts), where)
    return {**frozen, **trained}, tokenizer_dir


def build_from_state(config: MiniGPT4Config, state: Stored, where: str = "The checkpoint", **options) -> MiniGPT4ForConditionalGeneration:
    """A model made of tensors by name; nothing is initialised twice. Raises `WeightsError` when names do not fit exactly.

    Stored tensors are read one by one, so that beside the model only the one on its way is in memory.
    """
    return _from_pretrained(where, None, config=config, state_dict=dict(state), **options)


def load_tokenizer(directory: Path):
    """The LLM's tokenizer. `legacy` keeps the original's ids for Llama and means nothing to others."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, legacy=True)

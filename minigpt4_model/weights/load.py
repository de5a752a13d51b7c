"""Loading a model to chat with: `load_model("pocket")` or `load_model("some/directory")`.

Two kinds of directory are understood: a whole model as `save_pretrained` writes it, and a projection checkpoint as the
trainer writes it, which holds what was trained and names in `config.json` (`frozen_parts`) the preset whose frozen parts
it was trained against, or the directory of a whole model. The pocket preset is such a checkpoint, `checkpoints/pocket/`.
"""

import importlib.util
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..presets import DEFAULT_PRESET, PRESETS
from .advice import python_command
from .errors import WeightsError
from .official_presets import ensure_official
from .pairing import check_pairing, describe_pairing, describe_qformer
from .pocket import POCKET_CHECKPOINT, POCKET_ENCODER, REPOSITORY, ensure_pocket, how_to_restore_checkpoint
from .sources import OFFICIAL_PRESETS

TRAINED_PREFIXES = ("model.query_tokens", "model.qformer.", "model.language_projection.")
CLASSIFIER = "classifier."  # the encoder's ImageNet classes: not part of the model, which looks at the features before them
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

State = dict[str, torch.Tensor]


def choose_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is. Raises `WeightsError` when the one asked for is missing."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device in (None, "auto"):
        return torch.device(next(name for name, there in available.items() if there))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise WeightsError(f"--device {device}: there is no such device. Choose cpu, cuda, cuda:N or mps.") from error
    if not available.get(chosen.type, False):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise WeightsError(f"--device {device}: not available on this machine. There is: {there}.")
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if (chosen.index or 0) >= count:
        highest = f"cuda:0 to cuda:{count - 1}" if count > 1 else f"{chosen.type}:0"
        raise WeightsError(f"--device {device}: not available on this machine. Of {chosen.type} there is: {highest}.")
    return chosen


def choose_dtype(dtype: str | None, device: torch.device) -> torch.dtype:
    """The precision asked for by name, or the fastest that the device computes natively."""
    if dtype not in (None, "auto"):
        if dtype not in DTYPES:
            raise WeightsError(f"--dtype {dtype}: choose one of {', '.join(DTYPES)}.")
        return DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    # Without the instructions, bf16 on a CPU is emulated and several times slower than fp32.
    native_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native_bf16 else torch.float32


def load_model(
    source: str | Path = DEFAULT_PRESET,
    *,
    device: str | None = None,
    dtype: str | None = None,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    local_dir: str | Path | None = None,
) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """The model, in evaluation mode, and its processor. `source` is a preset's name or a directory; a `Path` is always a directory.
    `local_dir` holds files of a full-size preset, which then are not downloaded.

    Raises `WeightsError` (files, device, precision) or `PairingError` (a projection with other frozen parts than its own).
    """
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    quantization = _quantization(load_in_8bit, load_in_4bit, chosen_dtype)
    directory = find_checkpoint(source, Path(local_dir) if local_dir else None)
    config = read_config(directory)
    options: dict = {"dtype": chosen_dtype}
    if quantization is not None:  # quantised weights are made on their device and can't move
        options |= {"quantization_config": quantization, "device_map": {"": chosen_device}}
    if config.frozen_parts is None:
        model, processor = _load_whole(directory, options)
    elif config.frozen_parts in OFFICIAL_PRESETS or config.frozen_parts not in PRESETS:
        model, processor = _load_over_whole(config, directory, options)
    else:
        state, tokenizer_dir = assemble_state(config, read_checkpoint(directory), str(directory))
        model = build_from_state(config, state, str(directory), **options)
        processor = MiniGPT4Processor.from_config(config, load_tokenizer(tokenizer_dir))
    if quantization is None:
        model = model.to(chosen_device)
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
    """The LLM's 8- or 4-bit setting; the vision encoder, the Q-Former, the projection and the output layer stay in 16 or 32 bit."""
    if load_in_8bit and load_in_4bit:
        raise WeightsError("--load-in-8bit and --load-in-4bit exclude each other: choose one.")
    if not (load_in_8bit or load_in_4bit):
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        flag = "--load-in-8bit" if load_in_8bit else "--load-in-4bit"
        fix = python_command("-m", "pip", "install", "-r", str(REPOSITORY / "requirements.txt"))
        raise WeightsError(f"{flag} needs the package bitsandbytes, which is not installed. Leave the flag out, or: {fix}")
    from transformers import BitsAndBytesConfig

    # It computes in fp16 and says so at every matrix of every token.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    return BitsAndBytesConfig(
        load_in_8bit=load_in_8bit,
        load_in_4bit=load_in_4bit,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["model.vision_model", "model.qformer", "model.language_projection", "lm_head"],
    )


def _load_whole(directory: Path, options: dict) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    from safetensors import SafetensorError

    try:
        model = _from_pretrained(str(directory), directory, **options)
        return model, MiniGPT4Processor.from_pretrained(directory)
    except SafetensorError as error:
        raise WeightsError(f"{directory}: a weights file is damaged ({error}). Restore it from where the model came from.") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{directory} is not whole: {error}") from error


def _load_over_whole(config: MiniGPT4Config, directory: Path, options: dict) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """The whole model that `frozen_parts` names, with the trained tensors of `directory` in it."""
    whole = ensure_official(config.frozen_parts) if config.frozen_parts in OFFICIAL_PRESETS else Path(config.frozen_parts)
    if not (whole / "config.json").is_file():
        raise WeightsError(
            f"{directory}: its frozen parts are those of {whole}, and there is no model. "
            f'Bring it back, or name where it is now as "frozen_parts" in {directory / "config.json"}.'
        )
    if read_config(whole).frozen_parts is not None:
        raise WeightsError(f'{directory / "config.json"}: "frozen_parts" names {whole}, which has none of its own. Name a whole model.')
    trained = read_checkpoint(directory)
    model, processor = _load_whole(whole, options)
    recorded, own = config.trained_with or {}, model.config.trained_with or {}
    found: dict = describe_pairing(
        language_model=(own.get("language_model") or {}).get("name", f"that of {whole}"),
        vision_encoder=(own.get("vision_encoder") or {}).get("name", f"that of {whole}"),
        embedding=model.get_input_embeddings().weight,
        encoder={key: tensor for key, tensor in model.state_dict().items() if key.startswith("model.vision_model.")},
    )
    if not any(key.startswith("model.qformer.") for key in trained):
        found["qformer"] = describe_qformer((own.get("qformer") or {}).get("name", f"that of {whole}"), model.state_dict())
    check_pairing(recorded, found, str(directory))
    faults = model.load_state_dict(trained, strict=False).unexpected_keys
    if faults:
        raise WeightsError(f"{directory}: {whole} has no tensors called {', '.join(faults[:8])}. Restore both from the same source.")
    model.config.frozen_parts, model.config.trained_with = config.frozen_parts, config.trained_with
    return model, processor


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
    try:
        yield
    finally:
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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = directory / "model.safetensors"
    try:
        return load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path} is missing: the checkpoint is incomplete. Restore it, or train one with scripts/.") from None
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}). Restore it from where the checkpoint came from.") from error


def frozen_state(preset: str, vision_architecture: str = "efficientnet_lite2") -> tuple[State, Path]:
    """The frozen parts of a preset by their names in the whole model, and the directory of the LLM's tokenizer.

    Raises `WeightsError` when a file is missing or the preset's parts are not to be had.
    """
    from safetensors.torch import load_file

    from .official import convert_language_model

    if preset != "pocket":
        raise WeightsError(f"config.json names the frozen parts of {preset!r}, and they are no preset's of that kind. Name 'pocket'.")
    files = ensure_pocket()
    state = convert_language_model(load_file(files.language_model_dir / "model.safetensors"))
    imagenet = load_file(files.vision_encoder_file)
    vision = {f"trunk.{key}": tensor for key, tensor in imagenet.items() if not key.startswith(CLASSIFIER)}
    if vision_architecture == "efficientnet_lite2_tags":
        vision = {f"photograph_{key}": tensor for key, tensor in vision.items()}
        vision |= {f"photograph_tags.{key}": tensor for key, tensor in imagenet.items() if key.startswith(CLASSIFIER)}
        vision |= _read_drawing_encoder()
    # EfficientNet has no final norm; `ln_vision` stays at its initial values, as in the original's Llama-2 variant.
    width = vision["trunk.conv_head.weight"].shape[0]
    vision |= {"post_layernorm.weight": torch.ones(width), "post_layernorm.bias": torch.zeros(width)}
    return {**state, **{f"model.vision_model.{key}": tensor for key, tensor in vision.items()}}, files.language_model_dir


def _read_drawing_encoder() -> State:
    """What this project trained of the pocket preset's vision encoder."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(POCKET_ENCODER)
    except FileNotFoundError:
        raise WeightsError(f"{POCKET_ENCODER} is missing. Restore it: {how_to_restore_checkpoint()}") from None
    except SafetensorError as error:
        raise WeightsError(f"{POCKET_ENCODER} is damaged ({error}). Restore it: {how_to_restore_checkpoint()}") from error


def imagenet_classifier() -> State:
    """`weight` `(1000, 1280)` and `bias` `(1000,)` of the pocket encoder's ImageNet classes, over the mean of its patches."""
    from safetensors.torch import load_file

    tensors = load_file(ensure_pocket().vision_encoder_file)
    return {key.removeprefix(CLASSIFIER): tensor for key, tensor in tensors.items() if key.startswith(CLASSIFIER)}


def pairing_of(state: State, preset: str) -> dict:
    """What a projection has to fit: names and fingerprints of the LLM and the vision encoder in `state`."""
    row = PRESETS[preset]
    return describe_pairing(
        language_model=row.language_model,
        embedding=state["model.language_model.embed_tokens.weight"],
        vision_encoder=row.vision_encoder,
        encoder={key: tensor for key, tensor in state.items() if key.startswith("model.vision_model.")},
    )


def assemble_state(config: MiniGPT4Config, trained: State, where: str = "The checkpoint") -> tuple[State, Path]:
    """Trained and frozen tensors together, after the pairing check, and the tokenizer's directory. `where` is for messages."""
    frozen, tokenizer_dir = frozen_state(config.frozen_parts, config.vision_config.architecture)
    check_pairing(config.trained_with or {}, pairing_of(frozen, config.frozen_parts), where)
    return {**frozen, **trained}, tokenizer_dir


def build_from_state(config: MiniGPT4Config, state: State, where: str = "The checkpoint", **options) -> MiniGPT4ForConditionalGeneration:
    """A model made of tensors by name; nothing is initialised twice. Raises `WeightsError` when names do not fit exactly."""
    if config.tie_word_embeddings:
        state = {**state, "lm_head.weight": state["model.language_model.embed_tokens.weight"]}
    return _from_pretrained(where, None, config=config, state_dict=state, **options)


def load_tokenizer(directory: Path):
    """The LLM's tokenizer. `legacy` keeps the original's ids for Llama and means nothing to others."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, legacy=True)

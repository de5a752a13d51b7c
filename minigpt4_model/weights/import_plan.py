"""What an import will make, before anything is written: the original's files opened, renamed, measured and compared.

`plan_import` reads every size from the files, finds a place for every key, builds the configuration, checks the pairing, and compares
names and shapes with the model itself. Of the numbers it reads the projection and samples for the pairing's fingerprints.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto import CONFIG_MAPPING

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from . import official
from .errors import WeightsError
from .language_models import read_language_model_config
from .load import load_tokenizer
from .official import QFORMER_HEADS, VISION_HEADS, OfficialFormatError, listed
from .official_pairing import check_official_pairing, identify_language_model
from .pairing import check_pairing, describe_pairing, describe_qformer, fingerprint
from .safetensors_writer import PlannedTensor
from .tensor_files import TensorFile, TensorInfo, weight_files

TEMPLATES = {"vicuna": "vicuna-v0", "llama2": "llama2"}
_EMBEDDING = "model.language_model.embed_tokens.weight"
_NORM = "model.vision_model.post_layernorm."

Planned = dict[str, PlannedTensor]


@dataclass(frozen=True)
class OfficialParts:
    """What a model is made of: three files of the original's, the Q-Former's only in the Vicuna variant, and an LLM's directory.

    The numbers of heads are needed where a network's width isn't that of an official file. `assume_pairing` takes the LLM for the one
    that the projection was trained with, whatever it seems to be; `language_model_name` is given where it is known which one it is.
    """

    vision: Path
    projection: Path
    language_model: Path
    variant: str
    qformer: Path | None = None
    vision_heads: int | None = None
    qformer_heads: int | None = None
    assume_pairing: bool = False
    language_model_name: str | None = None


@dataclass
class ImportPlan:
    """A model that is known in every name and size, and not yet written. `notices` are for the person."""

    config: MiniGPT4Config
    processor: MiniGPT4Processor
    tensors: list[PlannedTensor]
    notices: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(tensor.info.size_bytes for tensor in self.tensors)


class _OneAtATime:
    """Reads from one file at a time: the memory map of the one before is given back, however many files a model is in."""

    def __init__(self) -> None:
        self._current: TensorFile | None = None

    def read(self, file: TensorFile, key: str) -> torch.Tensor:
        if self._current is not None and self._current is not file:
            self._current.close()
        self._current = file
        return file.read(key)


class _Fetched(Mapping[str, torch.Tensor]):
    """Planned tensors as a mapping from names to tensors, each read when it is asked for."""

    def __init__(self, planned: Planned):
        self._planned = planned

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._planned[name].fetch()

    def __iter__(self) -> Iterator[str]:
        return iter(self._planned)

    def __len__(self) -> int:
        return len(self._planned)


def plan_import(parts: OfficialParts) -> ImportPlan:
    """Opens, renames and checks all files. Raises `WeightsError`, `OfficialFormatError` or `PairingError`, which name file and fix."""
    llm_config = read_language_model_config(parts.language_model)
    vision, projection = TensorFile(parts.vision), TensorFile(parts.projection)
    qformer = TensorFile(parts.qformer) if parts.qformer else None
    planned, reader = Planned(), _OneAtATime()
    for path in weight_files(parts.language_model):
        _add(planned, reader, TensorFile(path), official.convert_language_model)
    _add(planned, reader, vision, partial(official.convert_vision, file=vision.path))
    if qformer:
        _add(planned, reader, qformer, partial(official.convert_qformer, file=qformer.path))
    else:
        _add_initial_norm(planned, vision)
    _add_projection(planned, reader, projection)

    vision_config = official.vision_config_from(vision.infos, parts.vision_heads, vision.path)
    in_features = planned[f"{official.PROJECTION}weight"].info.shape[1]
    tokenizer = load_llama_tokenizer(parts.language_model, llm_config["vocab_size"])
    config = MiniGPT4Config(
        vision_config=vision_config,
        qformer_config=official.qformer_config_from(qformer.infos, parts.qformer_heads, qformer.path) if qformer else None,
        text_config=_text_config(llm_config, parts.language_model, tokenizer),
        num_query_tokens=qformer.infos["query_tokens"].shape[1] if qformer else 32,
        patches_per_token=4 if qformer else max(in_features // vision_config.hidden_size, 1),
        chat_template_name=TEMPLATES[parts.variant],
    )
    notices = _check_pairing(parts, config, llm_config, planned, projection.beside.get("trained_with"))
    _refuse_misfits(config, planned)
    for part in ("weight", "bias"):
        if not planned[official.PROJECTION + part].fetch().isfinite().all():
            raise WeightsError(
                f"{parts.projection}: llama_proj.{part} holds numbers that aren't finite, so its training failed. Give another."
            )
    config.architectures = [MiniGPT4ForConditionalGeneration.__name__]
    config.dtype = planned[_EMBEDDING].info.dtype
    return ImportPlan(config, MiniGPT4Processor.from_config(config, tokenizer), list(planned.values()), notices)


def _add(
    planned: Planned,
    reader: _OneAtATime,
    file: TensorFile,
    convert: Callable[[dict[str, str]], dict[str, str]],
    replaces: bool = False,
) -> set[str]:
    """Plans the tensors of a file under their new names, and returns these. `convert` renames keys and leaves out what is not used."""
    keys = convert({key: key for key in file.infos})
    twice = [] if replaces else [key for name, key in keys.items() if name in planned]
    if twice:
        raise OfficialFormatError(f"{file.path} holds tensors that another file holds too: {listed(twice)}. Remove one of the two.")
    for name, key in keys.items():
        planned[name] = PlannedTensor(name, file.infos[key], partial(reader.read, file, key), f"{key} in {file.path.name}")
    return set(keys)


def _add_projection(planned: Planned, reader: _OneAtATime, file: TensorFile) -> None:
    """The projection, and in the place of BLIP-2's the Q-Former that was trained with it, which has to be whole."""
    before = {name for name in planned if official.is_qformer(name)}
    added = _add(planned, reader, file, partial(official.convert_projection, file=file.path), replaces=True)
    own = {name for name in added if official.is_qformer(name)}
    if own and before - own:
        raise OfficialFormatError(f"{file.path} holds a part of a Q-Former only; it lacks {listed(before - own)}. Give the whole file.")


def _add_initial_norm(planned: Planned, vision: TensorFile) -> None:
    """`ln_vision` as the Llama-2 variant has it: the BLIP-2 file that holds it is never loaded there, so it stays as initialised."""
    width = vision.infos["cls_token"].shape[-1] if "cls_token" in vision.infos else 0
    for part, value in (("weight", 1.0), ("bias", 0.0)):
        fetch = partial(torch.full, (width,), value)
        planned[_NORM + part] = PlannedTensor(_NORM + part, TensorInfo((width,), torch.float32), fetch, "LayerNorm's initial values")


def _text_config(llm_config: dict[str, Any], directory: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The LLM's configuration, its special tokens as the tokenizer has them: many old copies of LLaMA say 0, 1 and -1 here."""
    fields = {key: value for key, value in llm_config.items() if key != "_name_or_path"}  # a place on somebody's machine
    fields |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if not 0 <= (fields.get("pad_token_id") or 0) < fields["vocab_size"]:
        fields["pad_token_id"] = tokenizer.pad_token_id
    try:
        return CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{directory / 'config.json'} describes no language model that this program knows ({error}).") from error


def load_llama_tokenizer(directory: Path, vocab_size: int) -> PreTrainedTokenizerBase:
    """The LLM's tokenizer. Copies of LLaMA from early 2023 name a class that never was released, and leave special tokens blank.

    Raises `WeightsError` when it is missing or damaged, or knows another number of words than the LLM (which may have a few to spare).
    """
    pieces = directory / "tokenizer.model"
    if not pieces.is_file() and not (directory / "tokenizer.json").is_file():
        raise WeightsError(f"{directory} has no tokenizer (tokenizer.model or tokenizer.json). Copy it from where the model came from.")
    try:
        tokenizer = load_tokenizer(directory)
        usable = bool(tokenizer.bos_token) or not pieces.is_file()
    except Exception as error:  # each library below raises kinds of its own
        if not pieces.is_file():
            raise WeightsError(f"The tokenizer in {directory} cannot be opened ({error}). Copy it anew from where it came from.") from error
        usable = False
    if not usable:
        try:
            tokenizer = LlamaTokenizer.from_pretrained(directory, legacy=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
        except Exception as error:
            raise WeightsError(f"{pieces} cannot be opened ({error}). Copy it anew from where it came from.") from error
    if not 0.9 * vocab_size <= len(tokenizer) <= vocab_size:
        raise WeightsError(
            f"{directory}: its tokenizer knows {len(tokenizer)} words and its config.json {vocab_size}: they are of different models. "
            "Copy config.json, tokenizer and weights from one place."
        )
    return tokenizer


def _check_pairing(parts: OfficialParts, config: MiniGPT4Config, llm_config: dict, planned: Planned, recorded: dict | None) -> list[str]:
    """Refuses what does not belong together, and writes into `config` what the projection belongs to. Returns what stays unknown.

    `recorded` is what a projection says that this project exported: then there is nothing to guess.
    """
    if _EMBEDDING not in planned:
        raise WeightsError(f"{parts.language_model} holds no model.embed_tokens.weight. Give a causal language model, not a part of one.")
    embedding = planned[_EMBEDDING].fetch()
    identity = identify_language_model(llm_config, parts.language_model, fingerprint(embedding))
    if parts.language_model_name:
        identity = replace(identity, name=parts.language_model_name, family=None, doubt=None)
    if parts.assume_pairing:
        identity = replace(identity, family=None)
    width = config.vision_config.hidden_size
    qformer_width = config.qformer_config.hidden_size if config.qformer_config else None
    record = describe_pairing(
        language_model=identity.name,
        embedding=embedding,
        vision_encoder="EVA-CLIP ViT-g/14, 39 blocks" if width in VISION_HEADS else f"EVA-CLIP ViT, {width} wide",
        encoder=_Fetched({name: tensor for name, tensor in planned.items() if name.startswith(official.VISION)}),
    )
    qformer_name = "BLIP-2's Q-Former" if qformer_width in QFORMER_HEADS else f"a Q-Former, {qformer_width} wide"
    record["qformer"] = describe_qformer(qformer_name, _Fetched(planned))
    out_features, in_features = planned[f"{official.PROJECTION}weight"].info.shape
    notices = check_official_pairing(
        variant=parts.variant,
        projection=parts.projection,
        in_features=in_features,
        out_features=out_features,
        image_width=qformer_width or config.patches_per_token * width,
        encoder_width=width,
        llm=replace(identity, family=None, doubt=None) if recorded else identity,
    )
    if recorded:
        check_pairing(recorded, record, str(parts.projection))
    config.trained_with = record
    return notices


def _refuse_misfits(config: MiniGPT4Config, planned: Planned) -> None:
    """Compares names and shapes with the model that `config` describes. Raises `OfficialFormatError` that lists the differences."""
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in MiniGPT4ForConditionalGeneration(config).state_dict().items()}
    if config.tie_word_embeddings:  # the output layer is the input table: some files hold it twice
        expected.pop("lm_head.weight")
        planned.pop("lm_head.weight", None)
    faults = {
        "missing": [name for name in expected if name not in planned],
        "without a place": [tensor.origin for name, tensor in planned.items() if name not in expected],
        "of another shape": [
            f"{tensor.origin} {tensor.info.shape} instead of {expected[name]}"
            for name, tensor in planned.items()
            if name in expected and tensor.info.shape != expected[name]
        ],
    }
    told = "; ".join(f"{kind} ({len(found)}): {listed(found)}" for kind, found in faults.items() if found)
    if told:
        raise OfficialFormatError(
            f"The files do not make a model. Tensors {told}. Download the file at fault again, or give the right one."
        )

"""Trains the projection of a full-size model as the paper did, or of any other model on your own pictures:

    python -m minigpt4_model.training.train stage1 --model models/vicuna-7b
    python -m minigpt4_model.training.train stage2 --init runs/stage1

Defaults are the paper's (`stage_arguments`). Run the same command again to go on after an interruption; `accelerate launch -m`
in place of `python -m` takes several GPUs and nodes. The output directory opens with --model DIR.
"""

import argparse
import logging
import sys
from pathlib import Path

import torch

from ..model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..presets import PRESETS
from ..weights.errors import WeightsError
from ..weights.load import TRAINED_PREFIXES, find_checkpoint, load_model, read_checkpoint
from ..weights.memory_check import TooLittleMemory
from . import processes
from .arguments import ArgumentsError, add_flags, from_flags
from .checkpoint import PROJECTION_PREFIX
from .feature_encoder import CachedEncoder, FeatureOpener, describe_features
from .feature_store import FeatureStore, FeatureStoreError, require_disk
from .outcome import run
from .random_crop import RandomCrop
from .run_log import check_report
from .sources import Mixture, SourceError, build_mixture
from .stage_arguments import Stage1Arguments, Stage2Arguments
from .stages import StageObjective, StageText
from .trainer import Trainer, freeze

logger = logging.getLogger(__name__)

STAGES = {"stage1": Stage1Arguments, "stage2": Stage2Arguments}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model.training.train",
        description="Train the projection, one stage a run, with the paper's settings. Interrupt and run again: it goes on.",
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    for name, arguments in STAGES.items():
        add_flags(stages.add_parser(name, help=arguments.__doc__.splitlines()[0]), arguments)
    return parser


def read_prompts(path: Path) -> list[str]:
    """One question a line, without the original's `<Img><ImageHere></Img>`: where the picture goes is the template's matter.

    Raises `ArgumentsError`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ArgumentsError(f"--prompts {path} cannot be read ({error.strerror}).") from error
    prompts = [line.replace("<Img><ImageHere></Img>", "").strip() for line in lines]
    prompts = [prompt for prompt in prompts if prompt]
    if not prompts:
        raise ArgumentsError(f"--prompts {path} holds no question.")
    return prompts


def open_model(arguments: Stage1Arguments, accelerator) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """The model to train: a checkpoint's, or frozen parts with a new projection, as `torch.nn.Linear` draws it (upstream)."""
    source = arguments.init or arguments.model
    try:
        model, processor = load_model(
            source if source in PRESETS else Path(source),
            device=str(accelerator.device),
            dtype=processes.frozen_dtype(accelerator),
            load_in_8bit=arguments.load_in_8bit,
            load_in_4bit=arguments.load_in_4bit,
            memory_check=arguments.memory_check,
        )
    except TooLittleMemory as error:  # its table has flags of the page
        raise WeightsError(
            f"{'--init' if arguments.init else '--model'} {source} {error.reason}, and training takes more than that. "
            f"{_smaller(arguments, accelerator)} close other programs. --no-memory-check loads it all the same."
        ) from error
    if arguments.train_qformer and model.model.qformer is not None:
        model.model.qformer.float()  # beside an LLM of fewer bits it has 16, and what learns needs 32
    if not arguments.init:
        torch.manual_seed(arguments.seed)  # on the CPU, so that every device and process draws the same
        projection = model.model.language_projection
        fresh = torch.nn.Linear(projection.in_features, projection.out_features)
        projection.load_state_dict(fresh.state_dict())
    if model.config.frozen_parts is None:
        model.config.frozen_parts = _place(source)
    return model, processor


def _smaller(arguments: Stage1Arguments, accelerator) -> str:
    """The flags that would take less memory than `arguments`, as the beginning of a sentence."""
    flags = [] if arguments.load_in_4bit else ["--load-in-4bit"] if arguments.load_in_8bit else ["--load-in-8bit", "--load-in-4bit"]
    if accelerator.mixed_precision == "no":
        flags.insert(0, "--mixed-precision bf16")
    return f"Use {' or '.join(flags)}, or" if flags else "Use a machine with more memory, or"


def build_trainer(args: argparse.Namespace) -> Trainer:
    """Everything a stage needs. Raises `ArgumentsError`, `SourceError`, `FeatureStoreError` or `WeightsError` with the fix."""
    arguments = from_flags(args, STAGES[args.stage])
    check_report(arguments.report_to)
    stage = int(args.stage[-1])
    questions = read_prompts(arguments.prompts) if stage == 2 else ()
    # Data before weights: what is wrong there is found in seconds.
    mixture = build_mixture(arguments.data, arguments.seed, questions=questions)
    held_out = build_mixture(arguments.eval_data, questions=questions) if arguments.eval_data else None
    for source in [*mixture.sources, *(held_out.sources if held_out else ())]:
        for notice in source.notices:
            logger.warning("--data %s: %s", source.name, notice)
    accelerator = processes.build_accelerator(arguments.mixed_precision, arguments.device)
    model, processor = open_model(arguments, accelerator)
    encoder = _cache(arguments, model, processor, [mixture, *([held_out] if held_out else [])])
    text = StageText(stage, processor, model.config.chat_template_name, arguments.max_text_tokens)
    objective = StageObjective(
        model,
        text,
        mixture,
        arguments.batch_size,
        held_out=held_out,
        eval_samples=arguments.eval_samples,
        eval_batch_size=arguments.per_device_batch_size or 8,
        num_workers=arguments.num_workers,
        max_broken=arguments.max_broken,
        encoder=encoder,
        crop=_crop(arguments),
    )
    return Trainer(model, objective, arguments, accelerator, {"stage": args.stage}, _kept(arguments, model))


def _crop(arguments: Stage1Arguments) -> RandomCrop | None:
    if arguments.random_crop and arguments.cache_features != "none":
        logger.info("--cache-features keeps the features of whole pictures, so --random-crop is off in this run.")
        return None
    return RandomCrop(arguments.seed) if arguments.random_crop else None


def _kept(arguments: Stage1Arguments, model: MiniGPT4ForConditionalGeneration) -> tuple[str, ...]:
    """What a checkpoint has to hold: the projection, and a Q-Former that the frozen parts do not bring."""
    if arguments.train_qformer or model.config.frozen_parts == "pocket":
        return TRAINED_PREFIXES
    if arguments.init is None or model.config.frozen_parts == _place(arguments.init):
        return (PROJECTION_PREFIX,)
    learned_before = read_checkpoint(find_checkpoint(arguments.init))
    return (PROJECTION_PREFIX,) if all(key.startswith(PROJECTION_PREFIX) for key in learned_before) else TRAINED_PREFIXES


def _place(directory: str) -> str:
    return directory if directory in PRESETS else str(Path(directory).expanduser().resolve())


def _cache(
    arguments: Stage1Arguments, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor, mixtures: list[Mixture]
) -> CachedEncoder | None:
    """What --cache-features asks for; the mixtures then open pictures by way of the cache."""
    if arguments.cache_features == "none":
        return None
    freeze(model, arguments.train_qformer)
    spec = describe_features(model, processor.image_processor, arguments.cache_features)
    smaller = None
    if arguments.cache_features == "vision" and model.model.qformer is not None and not arguments.train_qformer:
        smaller = describe_features(model, processor.image_processor, "qformer")
    # Of a large source a run only looks at a part.
    looked_at = (arguments.max_steps * arguments.batch_size, arguments.eval_samples)
    pictures = sum(min(most, sum(map(len, mixture.sources))) for mixture, most in zip(mixtures, looked_at, strict=False))
    logger.info("Features are kept in %s: %s.", arguments.cache_dir, require_disk(arguments.cache_dir, spec, pictures, smaller))
    store = FeatureStore(arguments.cache_dir, spec)
    for mixture in mixtures:
        mixture.open_picture = FeatureOpener(store, processor.image_processor)
    return CachedEncoder(model, store)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run(lambda: build_trainer(args), SourceError, FeatureStoreError)


if __name__ == "__main__":
    sys.exit(main())

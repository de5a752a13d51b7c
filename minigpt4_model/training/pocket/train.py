"""Trains the pocket model, one stage a run:

    python -m minigpt4_model.training.pocket.train representation --output-dir runs/representation
    python -m minigpt4_model.training.pocket.train stage1 --init runs/representation/best --output-dir runs/stage1
    python -m minigpt4_model.training.pocket.train stage2 --init runs/stage1/best --output-dir runs/stage2

Run the same command again to go on after an interruption. `scripts/train_pocket_*.sh` are the record of the shipped checkpoint.
"""

import argparse
import dataclasses
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from ...weights.errors import WeightsError
from ...weights.load import imagenet_classifier, load_model
from ..conversations import ConversationObjective
from ..representation import RepresentationObjective, WordPlaces, WordReader
from ..trainer import Trainer, TrainingArguments
from . import stages
from .architecture import build_untrained
from .collections import HELD_OUT_STYLE, CorpusError
from .dataset import PocketPictures, photograph_features
from .names import HELD_OUT_FILE
from .steering import load_free_tokens

STAGES = ("representation", "stage1", "stage2")


@dataclass(frozen=True)
class Recipe:
    """What a stage is run with unless flags say otherwise: measured on two CPU cores."""

    max_steps: int
    batch_size: int
    learning_rate: float
    min_learning_rate: float
    warmup_steps: int
    eval_steps: int
    save_steps: int
    photographs: float
    word_weight: float = 0.0


RECIPES = {
    "representation": Recipe(2250, 64, 1e-3, 1e-5, 100, 300, 100, photographs=0.25),
    "stage1": Recipe(70, 12, 2e-4, 1e-4, 10, 70, 20, photographs=0.25, word_weight=0.3),
    "stage2": Recipe(280, 12, 2e-4, 1e-5, 10, 280, 20, photographs=0.17, word_weight=0.3),
}

TESTS = {
    "openmoji": PocketPictures(150, HELD_OUT_STYLE, ("openmoji",), "single"),
    "emojione": PocketPictures(150, HELD_OUT_STYLE, ("emojione",), "single"),
    "held_out_files": PocketPictures(150, HELD_OUT_FILE, None, "single"),
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model.training.pocket.train",
        description="Train one stage of the pocket model. Interrupt and run again: it goes on.",
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--output-dir", type=Path, required=True, help="Checkpoints (last/ and best/), state and log.jsonl go here.")
    parser.add_argument("--init", metavar="DIR", help="The checkpoint to start from; the representation stage needs none.")
    parser.add_argument("--free-tokens", type=Path, metavar="FILE", help="What `steering` wrote; the representation stage aims at it.")
    parser.add_argument("--pictures", type=int, default=16000, help="How many training pictures to compose (default: 16000).")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2).")
    for option in dataclasses.fields(Recipe):
        parser.add_argument("--" + option.name.replace("_", "-"), type=option.type, help=f"Default by stage: {_defaults(option.name)}.")
    return parser


def _defaults(name: str) -> str:
    return ", ".join(f"{getattr(recipe, name):g} ({stage})" for stage, recipe in RECIPES.items())


def build_trainer(args: argparse.Namespace) -> Trainer:
    """Everything a stage needs, from the corpus to the optimizer. Raises `CorpusError` or `WeightsError` with the fix."""
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe) if getattr(args, field.name) is not None}
    recipe = dataclasses.replace(RECIPES[args.stage], **given)
    if args.stage != "representation" and not args.init:
        raise WeightsError(f"{args.stage} starts from the stage before it: give its checkpoint with --init DIR.")
    model, processor = load_model(args.init, dtype="bfloat16") if args.init else build_untrained()
    model.model.qformer.set_attn_implementation("eager")  # on a CPU faster than the fused kernel for 32 queries
    pictures = PocketPictures(args.pictures)
    cache = pictures.features(model, processor.image_processor)
    tests = {
        name: stages.NamingTest(test.features(model, processor.image_processor), [test.scene(index).main for index in range(test.count)])
        for name, test in TESTS.items()
    }
    photographs = photograph_features(model, processor.image_processor, imagenet_classifier())
    finish = model.model.vision_model.finish_features
    places = WordPlaces(processor.tokenizer, processor.num_image_tokens)
    free_tokens = load_free_tokens(args.free_tokens) if args.free_tokens else None
    word_loss = stages.build_word_loss(model, places, stages.all_words(pictures.bank.sprites), free_tokens)
    shares = (1 - recipe.photographs, recipe.photographs)
    if args.stage == "representation":
        reader = WordReader(processor.tokenizer, word_loss)

        def evaluate() -> dict[str, float]:
            return _with_score({name: test.read(model, reader) for name, test in tests.items()})

        drawn = (stages.scene_words(cache, pictures), stages.photograph_words(photographs, finish))
        objective = RepresentationObjective(model, places, word_loss, list(zip(shares, drawn, strict=True)), recipe.batch_size, evaluate)
    else:

        def evaluate() -> dict[str, float]:
            return _with_score({name: test.first(24).ask(model, processor) for name, test in tests.items()})

        drawn = (
            stages.scene_conversations(cache, pictures, stage=int(args.stage[-1])),
            stages.photograph_conversations(photographs, finish),
        )
        objective = ConversationObjective(
            model, processor, list(zip(shares, drawn, strict=True)), recipe.batch_size, evaluate, word_loss, recipe.word_weight
        )
    arguments = TrainingArguments(
        output_dir=args.output_dir,
        max_steps=recipe.max_steps,
        learning_rate=recipe.learning_rate,
        min_learning_rate=recipe.min_learning_rate,
        warmup_steps=recipe.warmup_steps,
        eval_steps=recipe.eval_steps,
        save_steps=recipe.save_steps,
        log_steps=10,
    )
    return Trainer(model, objective, arguments)


def _with_score(shares: dict[str, float]) -> dict[str, float]:
    return {**shares, "score": sum(shares.values()) / len(shares)}


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    try:
        build_trainer(args).train()
    except (CorpusError, WeightsError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

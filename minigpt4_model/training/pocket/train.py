"""Trains the pocket model, one stage a run:

    python -m minigpt4_model.training.pocket.train representation --output-dir runs/representation
    python -m minigpt4_model.training.pocket.train stage1 --init runs/representation/best --output-dir runs/stage1
    python -m minigpt4_model.training.pocket.train stage2 --init runs/stage1 --output-dir runs/stage2

Run the same command again to go on after an interruption. `scripts/train_pocket_*.sh` are the record of the shipped checkpoint.
"""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import torch

from ...weights.errors import WeightsError
from ...weights.load import load_model
from ...weights.pairing import fingerprint
from .. import processes
from ..arguments import TrainingArguments, add_flags, from_flags
from ..conversations import Apart, ConversationObjective
from ..objective import SampleAnswer
from ..outcome import run
from ..representation import RepresentationObjective, WordPlaces, WordReader
from ..trainer import Trainer
from . import stages
from .architecture import WITH_TAGS, build_untrained
from .collections import HELD_OUT_STYLE, CorpusError
from .dataset import JoinedPictures, PocketPictures
from .decisive import DecisiveWords
from .names import HELD_OUT_FILE
from .photographs import PhotographCrops, TaggedPhotographs
from .sketches.sources import PocketSketches, sketch_conversations, sketch_words
from .sketches.words import layout_words
from .steering import DECIDING_SHARE, load_free_tokens

logger = logging.getLogger(__name__)

STAGES = ("representation", "stage1", "stage2")
QUESTION = "What is this?"

# Of an answer that a word decides, what the others weigh: with nothing, the LLM's sentences fall apart in a few hundred steps.
OTHER_WORDS = 0.05


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
    sketches: float
    no_picture: float = 0.0
    deciding: float = 0.0
    word_weight: float = 0.0


RECIPES = {
    "representation": Recipe(2250, 64, 1e-3, 1e-5, 100, 300, 100, photographs=0.2, sketches=0.2, no_picture=0.03),
    "stage1": Recipe(70, 12, 2e-4, 1e-4, 10, 70, 20, photographs=0.25, sketches=0.1, no_picture=0.08, word_weight=0.3),
    "stage2": Recipe(280, 12, 2e-4, 1e-5, 10, 280, 20, photographs=0.17, sketches=0.2, no_picture=0.08, deciding=0.34, word_weight=0.3),
}

TESTS = {
    "openmoji": PocketPictures(150, HELD_OUT_STYLE, ("openmoji",), "single"),
    "emojione": PocketPictures(150, HELD_OUT_STYLE, ("emojione",), "single"),
    "held_out_files": PocketPictures(150, HELD_OUT_FILE, None, "single"),
}
TEST_SKETCHES = PocketSketches(100, held_out=True)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model.training.pocket.train",
        description="Train one stage of the pocket model. Interrupt and run again: it goes on.",
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--init", metavar="DIR", help="The checkpoint to start from; the representation stage needs none.")
    parser.add_argument("--free-tokens", type=Path, metavar="FILE", help="What `steering` wrote; the representation stage aims at it.")
    parser.add_argument("--pictures", type=int, default=16000, help="How many training pictures to compose (default: 16000).")
    parser.add_argument("--pairs", type=int, default=0, help="How many pictures of two things beside those (default: none).")
    parser.add_argument("--counts", type=int, default=0, help="How many pictures of one to four of a thing beside those (default: none).")
    parser.add_argument("--pages", type=int, default=4000, help="How many sketches of pages to draw (default: 4000).")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2).")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: the best there is).")
    recipe = [option.name for option in dataclasses.fields(Recipe)]
    for option in dataclasses.fields(Recipe):
        parser.add_argument("--" + option.name.replace("_", "-"), type=option.type, help=f"Default by stage: {_defaults(option.name)}.")
    add_flags(parser, TrainingArguments, leave_out=recipe)
    parser.set_defaults(log_steps=10)
    return parser


def _defaults(name: str) -> str:
    return ", ".join(f"{getattr(recipe, name):g} ({stage})" for stage, recipe in RECIPES.items())


def build_trainer(args: argparse.Namespace) -> Trainer:
    """Everything a stage needs, from the corpus to the optimizer. Raises `CorpusError` or `WeightsError` with the fix."""
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe) if getattr(args, field.name) is not None}
    recipe = dataclasses.replace(RECIPES[args.stage], **given)
    if args.stage != "representation" and not args.init:
        raise WeightsError(f"{args.stage} starts from the stage before it: give its checkpoint with --init DIR.")
    if args.init and not (Path(args.init) / "config.json").is_file():
        before = "scripts/train_pocket_stage1.sh" if args.stage == "stage2" else "scripts/train_pocket_representation.sh"
        raise WeightsError(
            f"--init {args.init}: there is no checkpoint. Run {before} first, or start from the shipped one with --init checkpoints/pocket."
        )
    shared = {option.name for option in dataclasses.fields(TrainingArguments)}
    arguments = from_flags(args, TrainingArguments, **{name: value for name, value in vars(recipe).items() if name in shared})
    accelerator = processes.build_accelerator(arguments.mixed_precision, args.device)
    model, processor = load_model(args.init, device="cpu", dtype="bfloat16") if args.init else build_untrained()
    pairs, counts = PocketPictures(args.pairs, kind="pair"), PocketPictures(args.counts, kind="count")
    pictures = JoinedPictures(PocketPictures(args.pictures), pairs, counts)
    cache = pictures.features(model, processor.image_processor)
    tests = {
        name: stages.NamingTest(test.features(model, processor.image_processor), [test.scene(index).main for index in range(test.count)])
        for name, test in TESTS.items()
    }
    # Without the encoder that learned drawings there is nothing that tells a photograph's name.
    tagged = model.config.vision_config.architecture == WITH_TAGS
    if not tagged and recipe.photographs:
        logger.warning("Training without photographs: the vision encoder of this checkpoint tells no names (train_pocket_encoder.sh).")
    photographs = TaggedPhotographs(PhotographCrops(), model, processor.image_processor) if tagged else None
    places = WordPlaces(processor.tokenizer, processor.num_image_tokens)
    free_tokens = load_free_tokens(args.free_tokens) if args.free_tokens else None
    word_loss = stages.build_word_loss(model, places, stages.all_words(pictures.bank.sprites), free_tokens)
    share = recipe.photographs if photographs else 0.0
    sketches = PocketSketches(args.pages if recipe.sketches else 0)
    pages = sketches.features(model, processor.image_processor) if recipe.sketches else None
    if args.stage == "representation":
        reader = WordReader(processor.tokenizer, word_loss)

        layouts = [layout_words(TEST_SKETCHES.sketch(index)) for index in range(TEST_SKETCHES.count)]
        page_test = stages.LayoutTest(TEST_SKETCHES.features(model, processor.image_processor), layouts)

        def evaluate() -> dict[str, float]:
            return _with_score({**{name: test.read(model, reader) for name, test in tests.items()}, **page_test.read(model, reader)})

        def show() -> list[SampleAnswer]:
            return _samples(tests, "Words of the image tokens", lambda test: test.words(model, reader))

        words = [(1 - share - recipe.sketches - recipe.no_picture, stages.scene_words(cache, pictures))]
        words.append((recipe.no_picture, stages.blank_words(stages.blank_features(model, processor))))
        if pages is not None:
            words.append((recipe.sketches, sketch_words(pages, sketches)))
        if photographs:
            words.append((share, stages.photograph_words(photographs)))
        objective = RepresentationObjective(places, word_loss, words, recipe.batch_size, evaluate, show)
    else:

        def evaluate() -> dict[str, float]:
            return _with_score({name: test.first(24).ask(model, processor) for name, test in tests.items()})

        def show() -> list[SampleAnswer]:
            return _samples(tests, QUESTION, lambda test: test.answers(model, processor, QUESTION))

        stage, blank = int(args.stage[-1]), stages.blank_features(model, processor)
        model.config.blank_picture |= recipe.no_picture > 0
        said = [
            (1 - share - recipe.no_picture, stages.scene_conversations(cache, pictures, stage, blank=blank)),
            (recipe.no_picture, stages.conversations_without_pictures(pictures, cache, blank)),
        ]
        if photographs:
            said.append((share, stages.photograph_conversations(photographs, pictures, cache)))
        apart = [] if pages is None else [Apart(round(1 / recipe.sketches), sketch_conversations(pages, sketches))]
        if recipe.deciding:
            deciding = stages.deciding_conversations(cache, pictures, photographs, share)
            apart.append(Apart(round(1 / recipe.deciding), deciding, DECIDING_SHARE))
        objective = ConversationObjective(
            processor,
            model.config.chat_template_name,
            said,
            recipe.batch_size,
            evaluate,
            show,
            word_loss,
            recipe.word_weight,
            weigh=DecisiveWords(processor.tokenizer, rest=OTHER_WORDS).weigh,
            apart=apart,
        )
    binding = {"--photographs": str(share), "--word-weight": str(recipe.word_weight), "--pictures": pictures.name}
    binding["--no-picture"] = str(recipe.no_picture)
    binding["--sketches"] = f"{recipe.sketches} {sketches.directory.name}" if recipe.sketches else "0"
    if recipe.deciding:
        binding["--deciding"] = str(recipe.deciding)
    if free_tokens is not None:
        binding["--free-tokens"] = fingerprint(free_tokens)
    return Trainer(model, objective, arguments, accelerator, {"stage": args.stage, **binding})


def _samples(tests: dict[str, stages.NamingTest], asked: str, answer: Callable[[stages.NamingTest], list[str]]) -> list[SampleAnswer]:
    """The first few pictures of each test, with what is said of them."""
    samples = []
    for name, test in tests.items():
        some = test.first(3)
        for index, said in enumerate(answer(some)):
            picture = PIL.Image.fromarray(TESTS[name].compose(index)[0])
            samples.append(SampleAnswer(picture, asked, said, some.things[index].name))
    return samples


def _with_score(shares: dict[str, float]) -> dict[str, float]:
    return {**shares, "score": sum(shares.values()) / len(shares)}


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    return run(lambda: build_trainer(args), CorpusError)


if __name__ == "__main__":
    sys.exit(main())

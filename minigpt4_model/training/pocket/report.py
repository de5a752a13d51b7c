"""What a pocket checkpoint can do, on pictures it was not trained on: the figures of its model card.

    python -m minigpt4_model.training.pocket.report [--model DIR]

Greedy answers to "What is this?", judged on word boundaries with synonyms. "By chance" judges the same answers against another
picture of the same set: what a model reaches that answers without looking.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from ...chat.pictures import load_picture
from ...weights.load import load_model
from .stages import NamingTest, generate_answers
from .train import TESTS

QUESTION = "What is this?"
# Photographs in scikit-image's wheel that have one main thing, and the words that name it.
PHOTOGRAPHS = {
    "astronaut.png": ("astronaut", "woman", "person", "pilot", "girl", "lady", "suit"),
    "camera.png": ("camera", "man", "photographer", "tripod", "person"),
    "chelsea.png": ("cat", "kitten", "tabby"),
    "clock_motion.png": ("clock", "watch"),
    "coffee.png": ("coffee", "espresso", "cup", "mug"),
    "coins.png": ("coin", "coins", "money"),
    "moon.png": ("moon", "crater", "planet"),
    "motorcycle_left.png": ("motorcycle", "scooter", "motorbike", "bike"),
    "page.png": ("page", "text", "book", "document", "paper"),
    "rocket.jpg": ("rocket", "missile", "spacecraft", "spaceship"),
}


@dataclass(frozen=True)
class Row:
    name: str
    pictures: int
    named: float
    by_chance: float


def judge_set(name: str, test: NamingTest, model, processor) -> Row:
    answers = test.answers(model, processor, QUESTION)
    shifted = NamingTest(test.cache, [*test.things[7:], *test.things[:7]])
    return Row(name, len(answers), test.share(answers), shifted.share(answers))


def judge_photographs(model, processor) -> tuple[Row, list[str]]:
    """The photographs' row and a line per picture. Raises `ModuleNotFoundError` without scikit-image."""
    folder = Path(find_spec("skimage").origin).with_name("data")
    images = [load_picture(folder / name).image for name in PHOTOGRAPHS]
    with torch.inference_mode():
        tokens = model.get_image_features(processor.image_processor(images)["pixel_values"]).pooler_output
        answers = generate_answers(model, processor, tokens, QUESTION)
    words = list(PHOTOGRAPHS.values())
    named = sum(_says(answer, accepted) for answer, accepted in zip(answers, words, strict=True)) / len(words)
    chance = sum(_says(answer, accepted) for answer, accepted in zip(answers, words[3:] + words[:3], strict=True)) / len(words)
    return Row("photographs", len(words), named, chance), [f"{name}: {said}" for name, said in zip(PHOTOGRAPHS, answers, strict=True)]


def _says(answer: str, accepted: tuple[str, ...]) -> bool:
    return bool(set(accepted) & set(answer.lower().replace(".", " ").replace(",", " ").split()))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.report", description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="pocket", metavar="DIR", help="A checkpoint of the pocket model (default: the shipped one).")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2).")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    model, processor = load_model(args.model)
    rows = []
    for name, pictures in TESTS.items():
        test = NamingTest(
            pictures.features(model, processor.image_processor), [pictures.scene(index).main for index in range(pictures.count)]
        )
        rows.append(judge_set(name, test, model, processor))
    lines: list[str] = []
    if find_spec("skimage"):
        row, lines = judge_photographs(model, processor)
        rows.append(row)
    print(f"{'set':16} {'pictures':>8} {'named':>7} {'by chance':>10}")
    for row in rows:
        print(f"{row.name:16} {row.pictures:8} {row.named:7.1%} {row.by_chance:10.1%}")
    print("\n".join(lines))
    print(json.dumps({row.name: {"pictures": row.pictures, "named": row.named, "by_chance": row.by_chance} for row in rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

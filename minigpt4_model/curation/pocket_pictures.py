"""python -m minigpt4_model.curation.pocket_pictures --output DIR: pictures of the pocket corpus as files, to try curation on.

    DIR/drawings/00000.png …              scenes composed of the training collections' drawings, the same everywhere
    DIR/photographs/CC0-1.0/….jpg …       photographs, in folders named by their licence; ATTRIBUTION.jsonl names who took each

Drawings of the styles that the evaluation is asked about are not among them. Exit code 1 when the corpus is not there.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from ..training.pocket.collections import CorpusError
from ..training.pocket.dataset import PocketPictures
from ..training.pocket.snapshots import load_photographs

_FIRST = 1_000_000  # pictures that the pocket stages do not reach


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model.curation.pocket_pictures", description="Write pictures of the pocket corpus."
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument("--drawings", type=int, default=200, metavar="N", help="composed scenes (default: %(default)s)")
    parser.add_argument("--photographs", type=int, default=60, metavar="N", help="photographs, drawn at random (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which photographs (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        write_drawings(args.output / "drawings", args.drawings)
        licences = write_photographs(args.output / "photographs", args.photographs, args.seed)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.drawings} drawings and {sum(licences.values())} photographs in {args.output}: {json.dumps(licences)}")
    return 0


def write_drawings(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = PocketPictures(_FIRST + count)
    for number in range(count):
        PIL.Image.fromarray(pictures.compose(_FIRST + number)[0]).save(folder / f"{number:05}.png")


def write_photographs(folder: Path, count: int, seed: int) -> dict[str, int]:
    """How many of each licence were written."""
    found = load_photographs()
    chosen = random.Random(seed).sample(found, min(count, len(found)))
    licences: dict[str, int] = {}
    lines = []
    for number, one in enumerate(chosen):
        place = folder / one.licence.replace(" ", "-").replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{number:03}-{one.path.stem}.jpg"
        with PIL.Image.open(one.path) as picture:
            picture = picture.convert("RGBA")
            ground = PIL.Image.new("RGBA", picture.size, "white")
            PIL.Image.alpha_composite(ground, picture).convert("RGB").save(file, quality=92)
        licences[place.name] = licences.get(place.name, 0) + 1
        about = {"file": str(file.relative_to(folder)), "author": one.author, "licence": one.licence, "source": one.source}
        lines.append(json.dumps(about, ensure_ascii=False) + "\n")
    if lines:
        (folder / "ATTRIBUTION.jsonl").write_text("".join(lines), "utf-8")
    return licences


if __name__ == "__main__":
    sys.exit(main())

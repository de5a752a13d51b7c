"""Builds the pocket corpus: fetches the collections, renders every nameable picture once, reports, draws contact sheets.

    python -m minigpt4_model.training.pocket.build [--limit N] [--only NAME ...] [--no-stamps] [--no-photographs]

Run again it does only what is missing. The result is read through `render.load_index` and `render.load_pixels`, photographs
through `snapshots.load_photographs`.
"""

import argparse
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps

from .collections import COLLECTIONS, PHOTOGRAPH_COLLECTIONS, CorpusError
from .names import SPLITS
from .render import SIZE, Sprite, load_index, load_pixels, render_collection, sprites_home
from .snapshots import Photograph, build_photographs, photographs_home

logger = logging.getLogger(__name__)

Cell = tuple[PIL.Image.Image, tuple[str, str, str]]  # an RGBA picture and the words below it


def build(limit: int | None = None, only: list[str] | None = None, stamps: bool = True) -> list[str]:
    """Renders the collections and returns the names of those that are there. Raises `CorpusError` when one that is needed cannot be had."""
    built = []
    for row in COLLECTIONS:
        if (only and row.name not in only) or (row.source == "debian" and not stamps):
            continue
        try:
            done = render_collection(row, limit=limit)
        except CorpusError as error:
            if not row.optional:
                raise
            logger.warning("Going on without %s: %s", row.name, error)
            continue
        if done.failed:
            logger.warning("%s: %d pictures could not be rendered and are left out.", row.name, done.failed)
        built.append(row.name)
    return built


def build_all_photographs(limit: int | None = None, only: list[str] | None = None) -> list[Photograph]:
    """The photographs of the packages that can be had; each package is optional, and a missing one is said."""
    built = []
    for row in PHOTOGRAPH_COLLECTIONS:
        if only and row.name not in only:
            continue
        try:
            built += build_photographs(row, limit=limit)
        except CorpusError as error:
            logger.warning("Going on without the photographs of %s: %s", row.name, error)
    return built


def report(names: list[str]) -> str:
    """A table of what is there: collection, licence, pictures, concepts, head nouns, pictures of each split."""
    head = f"{'collection':20} {'licence':18} {'pictures':>8} {'concepts':>8} {'heads':>6}  "
    lines = [head + "  ".join(f"{split:>15}" for split in SPLITS)]
    everything: list[Sprite] = []
    for row in COLLECTIONS:
        if row.name in names:
            index = load_index(row.name)
            everything += index
            lines.append(_line(row.name, row.licence, index))
    lines.append(_line("all", "", everything))
    return "\n".join(lines)


def _line(name: str, licence: str, index: list[Sprite]) -> str:
    splits = "  ".join(f"{sum(sprite.split == split for sprite in index):15}" for split in SPLITS)
    concepts, heads = len({sprite.concept for sprite in index}), len({sprite.head for sprite in index})
    return f"{name:20} {licence:18} {len(index):8} {concepts:8} {heads:6}  {splits}"


def report_photographs(photographs: list[Photograph]) -> str:
    """How many there are, of how many things, under which licences."""
    licences = Counter(photograph.licence for photograph in photographs)
    labels = len({photograph.label for photograph in photographs})
    return f"{len(photographs)} photographs with {labels} labels: " + ", ".join(f"{count} {name}" for name, count in licences.most_common())


def contact_sheet(names: list[str], seed: int = 0, columns: int = 12, rows: int = 10) -> PIL.Image.Image:
    """A random sample of the corpus with names and colours, for a person to look at."""
    chance = random.Random(seed)
    index = [sprite for name in names for sprite in load_index(name)]
    pixels = {name: load_pixels(name) for name in names}

    def cells() -> Iterator[Cell]:
        for sprite in chance.sample(index, min(columns * rows, len(index))):
            words = (sprite.name, f"[{sprite.head}] {sprite.collection[:12]}", " ".join(sprite.colours))
            yield PIL.Image.fromarray(np.array(pixels[sprite.collection][sprite.row])), words

    return _sheet(list(cells()), columns)


def photograph_sheet(photographs: list[Photograph], columns: int = 14) -> PIL.Image.Image:
    """Every photograph with its label and file name."""
    return _sheet([(PIL.Image.open(one.path).convert("RGBA"), (one.label, one.path.stem, one.licence)) for one in photographs], columns)


def _sheet(cells: list[Cell], columns: int) -> PIL.Image.Image:
    """Pictures in rows, each with up to three lines of words below."""
    cell, text = 140, 34
    sheet = PIL.Image.new("RGB", (columns * cell, -(-len(cells) // columns) * (cell + text)), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for place, (picture, words) in enumerate(cells):
        left, top = place % columns * cell, place // columns * (cell + text)
        fitted = PIL.ImageOps.contain(picture, (cell - 8, cell - 8))
        sheet.paste(fitted, (left + 4, top + 4), fitted)
        for line, (said, colour) in enumerate(zip(words, ("black", "blue", "gray"), strict=True)):
            draw.text((left + 3, top + cell - 2 + 11 * line), said[:24], colour)
    return sheet


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.build", description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, metavar="N", help="render only the first N pictures of each collection, to try it out")
    known = [row.name for row in (*COLLECTIONS, *PHOTOGRAPH_COLLECTIONS)]
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME", help="build only these collections: " + ", ".join(known))
    parser.add_argument("--stamps", action=argparse.BooleanOptionalAction, default=True, help="include the GPL-licensed Tux Paint stamps")
    parser.add_argument(
        "--photographs", action=argparse.BooleanOptionalAction, default=True, help="include the photographs of two Debian packages"
    )
    parser.add_argument("--seed", type=int, default=0, help="which pictures the contact sheet shows")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        names = build(options.limit, options.only, options.stamps)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if names:
        print(report(names))
        sheet: Path = sprites_home().parent / "contact-sheet.png"
        contact_sheet(names, options.seed).save(sheet)
        print(f"Contact sheet: {sheet}\nSprites: {SIZE} px, {sprites_home()}")
    if options.photographs and (photographs := build_all_photographs(options.limit, options.only)):
        print(report_photographs(photographs))
        sheet = photographs_home() / "contact-sheet.png"
        photograph_sheet(photographs).save(sheet)
        print(f"Contact sheet: {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

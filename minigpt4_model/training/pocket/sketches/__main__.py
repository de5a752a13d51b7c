"""Writes held-out sketches for `evaluate --tasks sketches`, and a contact sheet for a person to look at.

python -m minigpt4_model.training.pocket.sketches [--count 100]
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import PIL.Image

from ....weights.cache import write_atomically
from ..collections import corpus_home
from .compose import held_out_sketches
from .layout import Sketch


def write_held_out(count: int = 100, folder: Path | None = None) -> Path:
    """The first `count` held-out sketches as PNG files and `held-out.jsonl`, which names them and is written last; returns its path."""
    folder = folder or corpus_home() / "sketches"
    lines, pages = [], held_out_sketches(count)
    for number, (pixels, sketch) in enumerate(pages):
        name = f"{number:03}.png"
        write_atomically(folder / name, _png(pixels))
        lines.append(json.dumps({"id": f"{number:03}", "image": name, "html": sketch.html}))
    write_atomically(folder / "contact-sheet.png", _png(_sheet(pages)))
    write_atomically(folder / "held-out.jsonl", "".join(f"{line}\n" for line in lines).encode())
    return folder / "held-out.jsonl"


def _sheet(pages: list[tuple[np.ndarray, Sketch]], columns: int = 10) -> np.ndarray:
    side, rows = pages[0][0].shape[0], -(-len(pages) // columns)
    sheet = np.full((rows * side, columns * side, 3), 128, np.uint8)
    for number, (pixels, _) in enumerate(pages):
        top, left = number // columns * side, number % columns * side
        sheet[top : top + side, left : left + side] = pixels
    return sheet


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.sketches", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="how many sketches to write, each of another layout (default: 100)")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be 1 or more")
    print(f"Sketches: {write_held_out(options.count)}")


if __name__ == "__main__":
    main()

"""python -m minigpt4_model.training.sources SPEC: what a source holds, before a run depends on it.

Prints how many samples there are, the first three, and the share of broken ones in a random selection; `--sheet` writes a page
of pictures with their words. Exit code 1 when the source cannot be used.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .sample import BrokenSample, Sample, Source, SourceError, open_pictures
from .sheet import write_sheet
from .spec import KINDS, SYNTAX, open_source, parse_data_spec
from .tally import EXAMPLES, MAX_BROKEN, SourceTally, Tally

SHOWN = 24  # pictures on a sheet


def build_parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {name:14} {words}" for name, words in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model.training.sources",
        description="Look at training data.",
        epilog=f"kinds (recognised from what lies there):\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="SPEC", help=f"{SYNTAX}, as in --data of the training scripts")
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="how many random samples are opened (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: %(default)s)")
    parser.add_argument("--max-broken", type=float, default=MAX_BROKEN, help="share that may be broken (default: %(default)s)")
    parser.add_argument("--sheet", type=Path, metavar="FILE.html", help="write a page with some of the pictures and their words")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        source = open_source(parse_data_spec(options.data))
        print(f"{source.name}: {len(source):,} samples in {len(source.blocks):,} part(s), fingerprint {source.fingerprint}")
        for notice in source.notices:
            print(f"  note: {notice}")
        for index in range(min(EXAMPLES, len(source))):
            print(f"  {_describe(source, index)}")
        counts, good = _look(source, options.sample, options.seed)
        print(counts.describe() if counts.broken else f"All of {counts.looked_at} random samples can be used.")
        if options.sheet:
            write_sheet(options.sheet, source.name, good)
            print(f"Wrote {options.sheet}")
        if counts.broken > options.max_broken * counts.looked_at:
            raise SourceError(f"That is more than --max-broken {options.max_broken:g} allows: a run on this source would stop.")
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _look(source: Source, count: int, seed: int) -> tuple[SourceTally, list[Sample]]:
    """Opens random samples: what was found, and some that are good, in the order of the source."""
    tally, good = Tally({source.name: SourceTally()}), []
    chosen = np.random.default_rng(seed).choice(len(source), size=min(count, len(source)), replace=False)
    for index in tqdm(sorted(map(int, chosen)), unit="sample", desc="opening", leave=False):
        try:
            sample = open_pictures(source[index])
        except BrokenSample as error:
            tally.broken(source.name, source.key(index), error.reason, str(error))
            continue
        tally.good(source.name)
        if len(good) < SHOWN:
            good.append(sample)
    return tally.sources[source.name], good


def _describe(source: Source, index: int) -> str:
    try:
        sample = open_pictures(source[index])
    except BrokenSample as error:
        return f"{source.key(index)}: {error}"
    sizes = [f"[{picture.image.width} x {picture.image.height}]" for picture in sample.pictures]
    words = [f"{message['role']}: {part['text']}" for message in sample.messages for part in message["content"] if part["type"] == "text"]
    text = " | ".join([*sizes, *words])
    return f"{sample.key}: {text if len(text) <= 300 else text[:297] + '...'}"


if __name__ == "__main__":
    sys.exit(main())

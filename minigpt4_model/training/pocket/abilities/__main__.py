"""Prints conversations as stage 2 learns them, for a person to read."""

import argparse
import random
import sys

from ..collections import CorpusError
from ..scenes import SpriteBank
from . import ABILITIES, DRAWINGS, NOTHING, PHOTOGRAPHS, draw_talk, shares_of
from .stock import Stock
from .talk import ComposingAlbum, Seen, is_photograph


def describe(seen: Seen) -> str:
    """What is on a picture, for the reader to check the answers against."""
    scene = seen.scene
    things = ", ".join(f"{thing.name} ({'/'.join(thing.sprite.colours)})" for thing in scene.objects)
    where = f" {scene.relation}" if scene.relation else ""
    ground = "photograph" + ("" if seen.sure else ", not sure") if is_photograph(scene) else f"on {scene.background}"
    return f"[{things}{where}; {ground}]"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.abilities", description=__doc__)
    parser.add_argument("--show", type=int, default=30, metavar="N", help="How many conversations (default: 30).")
    parser.add_argument("--seed", type=int, default=0, help="Other numbers give other conversations (default: 0).")
    parser.add_argument("--ability", action="append", choices=list(ABILITIES), help="Only this one; may be given several times.")
    args = parser.parse_args(argv)
    try:
        bank = SpriteBank()
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 1
    album, stock = ComposingAlbum(bank), Stock(bank.sprites)
    shares = dict.fromkeys(args.ability, 1.0) if args.ability else shares_of(DRAWINGS, NOTHING, changed={"no-picture": 0.03})
    if not args.ability:
        shares |= {name: share / 4 for name, share in shares_of(PHOTOGRAPHS).items()}
    for number in range(args.show):
        chance = random.Random(f"{args.seed} {number}")
        name = chance.choices(list(shares), list(shares.values()))[0]
        talk = draw_talk(chance, album, stock, {name: 1.0})
        print(f"--- {number}: {name}")
        for question, answer, pictures in talk.turns:
            print("  ", *map(describe, pictures), f"Q: {question}")
            print("   A:", answer.replace("\n", "\n      "))
    return 0


if __name__ == "__main__":
    sys.exit(main())

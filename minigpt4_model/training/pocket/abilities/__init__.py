"""What the pocket model learns to talk about in stage 2: one ability a file, and the table of their shares.

An ability draws the pictures it needs from an `Album` and returns a `Talk`; all of it follows from the given `random.Random`. To add
one, write a function `(chance, album, stock) -> Talk` and give it a line in `ABILITIES`.

    python -m minigpt4_model.training.pocket.abilities --show 30
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import follow_ups, no_picture, photographs, two_pictures, unknowable, writing
from .single import alone, places_alone, whole, yes_no_alone
from .stock import Stock
from .talk import Album, Talk

DRAWINGS, PHOTOGRAPHS, NOTHING = "drawings", "photographs", "nothing"


@dataclass(frozen=True)
class Ability:
    """`draw` makes one conversation. `share` weighs it among those of the same `material`: what its pictures are.

    `needs` names what an album of photographs may lack: "drawings" beside them, photographs that the recogniser is "unsure" of.
    """

    draw: Callable[[random.Random, Album, Stock], Talk]
    share: float
    material: str = DRAWINGS
    needs: tuple[str, ...] = ()


# Shares of drawings and of photographs add up to one each; a recipe says how many of its conversations are about photographs.
ABILITIES: dict[str, Ability] = {
    "look": Ability(alone, 0.16),
    "whole": Ability(whole, 0.06),
    "yes-no": Ability(yes_no_alone, 0.17),
    "places": Ability(places_alone, 0.14),
    "follow-up": Ability(follow_ups.follow_up, 0.14),
    "two-pictures": Ability(two_pictures.two_pictures, 0.09),
    "second-picture": Ability(two_pictures.second_picture, 0.05),
    "picture-later": Ability(no_picture.picture_later, 0.03),
    "small-talk": Ability(no_picture.small_talk_beside, 0.03),
    "cannot-tell": Ability(unknowable.cannot_be_seen, 0.03),
    "writing": Ability(writing.write, 0.10),
    # Nothing but the frozen LLM takes part where no picture is: these teach a model that reads the blank picture there.
    "no-picture": Ability(no_picture.no_picture, 1.0, NOTHING),
    "photograph": Ability(photographs.name_photograph, 0.55, PHOTOGRAPHS),
    "photograph-unsure": Ability(unknowable.photograph_unsure, 0.12, PHOTOGRAPHS, needs=("unsure",)),
    "photograph-yes-no": Ability(photographs.photograph_yes_no, 0.13, PHOTOGRAPHS),
    "photograph-cannot-tell": Ability(unknowable.photograph_cannot_tell, 0.05, PHOTOGRAPHS),
    "photograph-writing": Ability(writing.write_about_photograph, 0.10, PHOTOGRAPHS),
    "photograph-and-drawing": Ability(photographs.photograph_among_two, 0.05, PHOTOGRAPHS, needs=("drawings",)),
}

# Where the words that decide an answer count: abilities whose answers a word or a few decide.
DECIDED = {"yes-no": 0.3, "places": 0.25, "look": 0.3, "whole": 0.1, "two-pictures": 0.05}
DECIDED_PHOTOGRAPHS = {"photograph": 0.5, "photograph-yes-no": 0.5}


def shares_of(*materials: str, changed: Mapping[str, float] | None = None) -> dict[str, float]:
    """Ability -> share, of those about these materials; `changed` sets some anew. Raises ValueError for an unknown name."""
    if unknown := set(changed or ()) - set(ABILITIES):
        raise ValueError(f"There is no ability {', '.join(sorted(unknown))}; there are {', '.join(ABILITIES)}.")
    shares = {name: ability.share for name, ability in ABILITIES.items()} | dict(changed or {})
    return {name: share for name, share in shares.items() if share > 0 and ABILITIES[name].material in materials}


def draw_talk(chance: random.Random, album: Album, stock: Stock, shares: Mapping[str, float]) -> Talk:
    """A conversation of one of the abilities, by their shares."""
    return ABILITIES[chance.choices(list(shares), list(shares.values()))[0]].draw(chance, album, stock)

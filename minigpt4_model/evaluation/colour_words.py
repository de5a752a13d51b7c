"""What colours a sentence asserts, each as one of the eleven names. Pure functions of text."""

from functools import cache

from ..training.pocket.colours import COLOURS
from ..training.pocket.judge import asserted, clauses
from .words import words_of

# Words for colours that neither are one of the eleven names nor stand in the table of web colours.
_OTHER_COLOURS = {
    "golden": "yellow", "silvery": "grey", "scarlet": "red", "ruby": "red", "cherry": "red", "burgundy": "red", "mustard": "yellow",
    "lemon": "yellow", "amber": "orange", "peach": "orange", "apricot": "orange", "rust": "brown", "bronze": "brown", "copper": "brown",
    "chestnut": "brown", "emerald": "green", "mint": "green", "jade": "green", "sky": "blue", "sapphire": "blue", "azure": "blue",
    "lilac": "purple", "mauve": "purple", "rose": "pink", "cream": "white", "ivory": "white", "charcoal": "grey", "ash": "grey",
    "ebony": "black", "blond": "yellow", "blonde": "yellow", "greyish": "grey", "grayish": "grey", "bluish": "blue", "reddish": "red",
    "greenish": "green", "yellowish": "yellow", "brownish": "brown", "pinkish": "pink", "purplish": "purple", "whitish": "white",
    "blackish": "black",
}  # fmt: skip
# Names of web colours that are first of all something else: "the snow", "a tomato".
_NOT_COLOURS = frozenset({"snow", "tomato", "chocolate", "wheat", "linen", "plum", "peru", "orchid", "thistle", "transparent"})
# Things that lend their name to a colour, which alone are a colour only as "it is cream", "light peach" or all that is said.
_THINGS = """
    amber apricot ash charcoal cherry chestnut copper coral emerald jade lavender lemon lime mint mustard olive peach rose ruby rust
    salmon sapphire seashell sky
"""
# Things whose name is a colour before a noun as well ("an orange cat", "a gold ring"), but not as "the orange", "a violet".
_THINGS_TOO = "orange gold silver violet bronze cream ivory"
_ONE = "a an the this that these those one its"
_SAYS_HOW = "is are was were be it's they're looks look seems appears mostly mainly colour color coloured colored in and or with"
_SHADES = "light dark pale bright deep soft vivid very slightly"
_AFTER_A_NOUN = "is are was were has have with on in at of that which and or sits lies looks seems"
_MOSTLY_THINGS, _ALSO_THINGS, _BEFORE_A_THING, _BEFORE_A_COLOUR, _AFTER = (
    frozenset(words.split()) for words in (_THINGS, _THINGS_TOO, _ONE, f"{_SAYS_HOW} {_SHADES}", _AFTER_A_NOUN)
)


@cache
def _colour_words() -> dict[str, str]:
    """Colour word -> one of the eleven names: web colours by the rule that names pixels, then common words beside them."""
    import numpy as np
    from PIL import ImageColor

    from ..training.pocket.colours import colour_names

    web = {word: ImageColor.getrgb(word) for word in ImageColor.colormap if word not in _NOT_COLOURS}
    named = colour_names(np.array(list(web.values()), np.uint8))
    nearest = {word: COLOURS[int(index)] for word, index in zip(web, named, strict=True)}
    return nearest | _OTHER_COLOURS | {colour: colour for colour in COLOURS} | {"gray": "grey"}


def colours_said(text: str) -> list[str]:
    """The colours a sentence asserts, each as one of the eleven names, in the order said. "not red" says nothing of red.

    "The cherry is green" says green alone: a thing that lends its name to a colour is the thing where it stands as a noun.
    """
    table = _colour_words()
    found: list[str] = []
    for clause in clauses(text):
        spoken = words_of(asserted(clause))
        place = 0
        while place < len(spoken):
            pair = "".join(spoken[place : place + 2])  # "dark green" is the web colour darkgreen
            words = 2 if place + 1 < len(spoken) and pair in table else 1
            colour = table.get(pair) if words == 2 else table.get(spoken[place])
            if colour and colour not in found and (words == 2 or not _is_a_thing(spoken, place)):
                found.append(colour)
            place += words
    return found


def _is_a_thing(spoken: list[str], place: int) -> bool:
    """Whether the colour word at `place` stands for the thing that it is named after."""
    word = spoken[place]
    if word not in _MOSTLY_THINGS | _ALSO_THINGS or len(spoken) == 1:
        return False
    before = spoken[place - 1] if place else ""
    after = spoken[place + 1] if place + 1 < len(spoken) else ""
    if word in _ALSO_THINGS:
        return (not before or before in _BEFORE_A_THING) and (not after or after in _AFTER)
    if after.startswith(("colour", "color")):
        return False
    return before not in _BEFORE_A_COLOUR or (bool(after) and after not in _AFTER)

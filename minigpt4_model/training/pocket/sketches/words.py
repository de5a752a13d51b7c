"""A sketched page in words that are one piece each: what its image tokens are to say, from the top of the page to its end.

"header menu three columns two image beside text below button" is a header, a bar of three links, an image beside a paragraph,
and a button. Columns that are all the same are told once: "columns three each image text".
"""

from collections.abc import Sequence

from ..dataset import NUMBERS
from .layout import COUNTS, KINDS, Element, Sketch

ELEMENTS = {kind: kind for kind in KINDS} | {"nav": "menu"}  # "nav" would be a word that the LLM rarely reads
EACH, BESIDE, BELOW = "each", "beside", "below"
WORDS = (*ELEMENTS.values(), *filter(None, NUMBERS), EACH, BESIDE, BELOW)


def layout_words(sketch: Sketch) -> str:
    """At most 16 of `WORDS`, as pages are no longer than `layout.LONGEST`. The same only for the same page."""
    said = _elements(sketch.elements)
    return " ".join(said[:-1] if said[-1] == BELOW else said)  # nothing is below the last columns


def _elements(elements: Sequence[Element]) -> list[str]:
    said = []
    for element in elements:
        said.append(ELEMENTS[element.kind])
        if element.kind in COUNTS:
            said.append(NUMBERS[element.count])
        if element.columns:
            said += [*_columns(element.columns), BELOW]
    return said


def _columns(columns: Sequence[Sequence[Element]]) -> list[str]:
    if len(set(columns)) == 1:
        return [EACH, *_elements(columns[0])]
    first, *others = map(_elements, columns)
    return first + [word for other in others for word in (BESIDE, *other)]

"""A sketch in words: one sentence about it, and how people ask for its HTML or what it is."""

from collections import Counter
from collections.abc import Sequence

from ..wording import mention, number_word, plural
from .layout import Element, Sketch

SKETCH_REQUESTS = (
    "Turn this sketch into HTML.",
    "Write the HTML for this page.",
    "Write the HTML of this page.",
    "Write the HTML for this sketch.",
    "Make a web page from this sketch.",
    "Can you turn this drawing into a web page?",
    "Convert this drawing to HTML.",
    "Please write the code for this website.",
    "Create the HTML of the page in this picture.",
    "I drew a web page. Write its HTML.",
    "Generate HTML code for this mock-up.",
    "Build this page in HTML.",
    "Give me the HTML code of this layout.",
    "How would you write this page in HTML?",
)
SKETCH_QUESTIONS = (
    "What is this?",
    "What does this picture show?",
    "Describe the picture.",
    "Describe this sketch.",
    "What is on this page?",
    "What do you see?",
    "Which elements does the page have?",
)
FOLLOW_UP_REQUESTS = (
    "Turn it into HTML.",
    "Write the HTML for it.",
    "Now write its HTML.",
    "Can you write that page in HTML?",
    "Give me the HTML code for it.",
)
OPENINGS = ("A sketch of", "This is a sketch of", "It is a drawing of", "The picture shows a sketch of")
_NAMES = {"nav": "navigation bar", "text": "paragraph"}


def describe(sketch: Sketch, opening: str = OPENINGS[0]) -> str:
    """One sentence: "A sketch of a web page with a header, two images and a form."."""
    return f"{opening} a web page with {_listed(sketch.elements)}."


def _listed(elements: Sequence[Element]) -> str:
    """Each kind where it first comes, with how many there are."""
    counts = Counter(_NAMES.get(element.kind, element.kind) for element in elements)
    *rest, last = [
        _columns(next(element for element in elements if element.columns))
        if name == "columns"
        else mention(name)
        if count == 1
        else f"{number_word(count)} {plural(name)}"
        for name, count in counts.items()
    ]
    return f"{', '.join(rest)} and {last}" if rest else last


def _columns(element: Element) -> str:
    number, same = number_word(element.count), len(set(element.columns)) == 1
    return f"{number} columns, each with {_listed(element.columns[0])}" if same else f"{number} columns"

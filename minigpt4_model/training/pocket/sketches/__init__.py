"""Hand-drawn-looking sketches of web pages, with exactly the HTML they mean.

    chance -> layout.draw_layout -> drawing.draw_page -> paper.photograph -> (260, 260, 3) uint8
                    |-> markup.render_html, phrases.describe

Everything follows from the given `random.Random`. This package composes and writes sketches without torch; features and
conversations for training are `sources`. Sketches of held-out layouts are written by `python -m minigpt4_model.training.pocket.sketches`.
"""

from .compose import compose_sketch, held_out_sketches
from .layout import KINDS, Element, Sketch, is_held_out
from .phrases import SKETCH_REQUESTS, describe

__all__ = ["KINDS", "SKETCH_REQUESTS", "Element", "Sketch", "compose_sketch", "describe", "held_out_sketches", "is_held_out"]

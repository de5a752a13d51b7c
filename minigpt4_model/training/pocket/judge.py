"""Judges: does a sentence name a thing? On word boundaries and with synonyms, so that "pillow" in "pillillow" does not count."""

import re

from .render import Sprite
from .wording import plural


def names_it(text: str, sprite: Sprite) -> bool:
    """Whether `text` names what the sprite shows: its name, its head noun or a synonym, as whole words, one or many."""
    accepted = {sprite.name.lower(), sprite.head.lower(), *sprite.synonyms}
    accepted |= {plural(words) for words in accepted}
    return any(re.search(rf"\b{re.escape(words)}\b", text.lower()) for words in accepted if words)

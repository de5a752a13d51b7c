"""Ending an answer before one of the texts that a client named. Knows text only, so it works with every backend."""

from collections.abc import Sequence

from ..chat.guards import overlap


class StopTexts:
    """Lets text through up to the first of `stops`; what may become one is held back. `found` is the one that ended it."""

    def __init__(self, stops: Sequence[str]):
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """The text that can be shown after one more piece."""
        if self.found is not None:
            return ""
        self._held += text
        places = [(place, stop) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            end, self.found = min(places, key=lambda found: (found[0], -len(found[1])))
        else:
            end = len(self._held) - max((overlap(self._held, stop) for stop in self._stops), default=0)
        shown, self._held = self._held[:end], "" if places else self._held[end:]
        return shown

    def finish(self) -> str:
        """What was held back, when the answer ends by itself."""
        held, self._held = self._held, ""
        return held

"""What of an answer's text can be shown so far. Knows text, stop texts and guards, never tokens, so it serves every backend."""

from .guards import Guards, overlap
from .templates import ChatTemplate

NO_GUARDS = Guards()


class ShownText:
    """Text in pieces that are safe to show at once.

    A piece never ends inside what may become a stop text or a leak, or in whitespace that may be the answer's end. The pieces together are
    `ChatTemplate.cut_answer` of the whole text, but for a label in mid-answer: what was shown cannot be taken back, so there only a
    label at the start is removed. `stopped` is set when a stop text is complete, or when a guard ends the text, whose sentence is then in
    `stopped_by`.
    """

    def __init__(self, template: ChatTemplate, guards: Guards = NO_GUARDS):
        self._guards = guards
        self._stops = template.stop_texts
        self._label = template.answer_label
        self._held = ""
        self._started = False
        self.stopped = False
        self.stopped_by = ""

    def push_text(self, text: str) -> str:
        """The text that can be shown after some more; sets `stopped` and `stopped_by`."""
        if self.stopped:
            return ""
        self._held += text
        ends = [(index, "") for stop in self._stops if (index := self._held.find(stop)) >= 0]
        guarded, reason = self._guards.find(self._held, self._started)
        ends += [(guarded, reason)] if guarded >= 0 else []
        if ends:
            cut, self.stopped_by = min(ends)
            self.stopped = True
            self._held = self._held[:cut]
            return self._release(len(self._held))
        unsure = max((overlap(self._held, stop) for stop in self._stops), default=0)
        return self._release(len(self._held) - max(unsure, self._guards.may_begin(self._held, self._started)))

    def finish(self) -> str:
        """What was held back, when the answer ends here."""
        return "" if self.stopped else self._release(len(self._held), ended=True)

    def _release(self, end: int, ended: bool = False) -> str:
        """Take the first `end` characters of what is held, less trailing whitespace; before the start, less a label."""
        if not self._started:
            start = len(self._held) - len(self._held.lstrip())
            if self._label and self._held.startswith(self._label, start):
                self._held = self._held[start + len(self._label) :]
                return self._release(end - start - len(self._label), ended)
            if self._label.startswith(self._held[start:]) and not (ended or self.stopped):
                return ""
            self._held, end = self._held[start:], end - start
        piece = self._held[: max(end, 0)].rstrip()
        self._held = self._held[len(piece) :]
        self._started = self._started or bool(piece)
        return piece

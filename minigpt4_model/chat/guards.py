"""What watches over an answer while it is written: loops, other writing systems, the template's own text, HTML that falls apart.

A guard sees token ids and text, never a model, so that every engine can use it. Each is a setting (`settings.py`); HTML's is
`html_guard.py`, and the visual contrast, which does need the model twice, `contrast.py`. `Guards` is made for one answer from its
settings and its conversation.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .html_guard import HtmlGuard
from .messages import Turn
from .settings import GenerationSettings
from .templates import ChatTemplate
from .writing_systems import ALL, TokenSystems, allowed_systems, first_foreign

# A loop is at least this many tokens long, and what repeats at most so many.
LOOP_TOKENS = 24
LOOP_LONGEST_PERIOD = 100
# In code the same line may rightly come several times, such as the items of a list: there a loop takes this many times as many repeats.
CODE_PATIENCE = 4

LOOPED = "Ended early: the model began to repeat itself."
LEAKED = "Ended early: the model began to write the conversation's frame."
SWITCHED = "Ended early: the model changed to another writing system."

_SHORTEST_INSTRUCTION = 6  # words: what a model may say by chance is shorter


def is_looping(ids: Sequence[int], repeats: int) -> bool:
    """Whether `ids` end in a run of tokens that came again `repeats` times in a row."""
    for period in range(1, min(LOOP_LONGEST_PERIOD, len(ids) // (repeats + 1)) + 1):
        if ids[-1] != ids[-1 - period]:  # nearly always, so nothing else is computed
            continue
        length = period * max(repeats + 1, -(-LOOP_TOKENS // period))
        if length <= len(ids) and ids[-length + period :] == ids[-length:-period]:
            return True
    return False


def in_code(text: str) -> bool:
    """Whether an answer stands inside a code block after `text`."""
    return text.count("```") % 2 == 1


def role_lines(template: ChatTemplate) -> list[str]:
    """What opens the person's and the model's turns once markers are taken off: "Human:", "Assistant:"; or "user\n", "assistant\n"."""
    markers = re.compile("|".join(map(re.escape, (*template.markers, "<s>"))))
    labels = [markers.sub("", opening).strip() for opening, _ in (template.user, template.assistant)]
    return [label if label.endswith(":") else label + "\n" for label in labels if label]


def leaks_of(template: ChatTemplate, said: str) -> tuple[str, ...]:
    """Texts that an answer holds only when the template shows through: markers, lines that open a turn, sentences of its system text.

    What the person wrote, `said`, may be answered with; lines that open a turn may also stand in a conversation that both roles were
    asked for ("a dialogue of a human and an assistant"). Stop texts are no leaks: they end an answer as they should.
    """
    leaks = [marker.strip() for marker in template.markers if marker not in template.stop_texts]
    lines = role_lines(template)
    if not all(line.strip().rstrip(":").casefold() in said.casefold() for line in lines):
        leaks += ["\n" + line for line in lines]
    sentences = re.split(r"(?<=[.!?:])\s+", template.default_system or "")
    leaks += [sentence for sentence in sentences if len(sentence.split()) >= _SHORTEST_INSTRUCTION]
    return tuple(dict.fromkeys(leak for leak in leaks if leak.strip() not in said))


@dataclass(frozen=True)
class Guards:
    """The guards of one answer. `banned` tokens are never chosen, nor those that `html` does not let follow; `leaks`, `opening` where the
    answer begins with it, and letters outside of `systems` end the text before them."""

    repeats: int = 0
    banned: tuple[int, ...] = ()
    leaks: tuple[str, ...] = ()
    opening: str = ""
    systems: frozenset[str] | None = ALL
    html: HtmlGuard | None = None

    def stopped_by(self, ids: Sequence[int], text: Callable[[Sequence[int]], str]) -> str:
        """Why an answer of these tokens ends here, as a sentence for the person; "" when it may go on.

        `text` decodes them; it is only asked when they repeat.
        """
        if not self.repeats or not is_looping(ids, self.repeats):
            return ""
        return "" if in_code(text(ids)) and not is_looping(ids, CODE_PATIENCE * self.repeats) else LOOPED

    def find(self, text: str, started: bool) -> tuple[int, str]:
        """Where the first text stands that must not be shown, and why; (-1, "") without one. `started`: something was shown before."""
        found = [(text.find(leak), LEAKED) for leak in self.leaks]
        if self.opening and not started and text.lstrip().startswith(self.opening):
            found.append((0, LEAKED))
        if self.systems is not ALL:
            found.append((first_foreign(text, self.systems), SWITCHED))
        return min((place for place in found if place[0] >= 0), default=(-1, ""))

    def may_begin(self, text: str, started: bool) -> int:
        """How many characters at the end of `text` may be the beginning of a leak."""
        if not started and self.opening.startswith(text.lstrip()):
            return len(text)
        return max((overlap(text, leak) for leak in self.leaks), default=0)


def guards_of_text(settings: GenerationSettings, template: ChatTemplate, turns: Sequence[Turn], rendered: Sequence[Turn] = ()) -> Guards:
    """The guards that `settings` ask for, of an answer to `turns`, as far as they look at text: no token is banned.

    `rendered` are the same turns with what was read in their pictures: an answer may be written as that is, but what it says of
    the template is not the person's.
    """
    systems = allowed_systems(_texts(rendered or turns)) if settings.script_guard else ALL
    leaks = leaks_of(template, "\n".join(_texts(turns))) if settings.leak_guard else ()
    line = role_lines(template)[:1]
    opening = line[0] if line and "\n" + line[0] in leaks else ""
    return Guards(settings.loop_guard, (), leaks, opening, systems)


class GuardFactory:
    """Makes the guards of answers in one template and vocabulary; remembers what it learned of the vocabulary."""

    def __init__(self, template: ChatTemplate, tokenizer: Any, end_tokens: frozenset[int]):
        self._template = template
        self._tokenizer = tokenizer
        # Special tokens that end nothing would vanish from the text and leave what follows them: "user\nWhat is ...".
        self._special = tuple(sorted(set(tokenizer.all_special_ids) - end_tokens))
        self._systems: TokenSystems | None = None
        self._html = HtmlGuard(tokenizer.decode, end_tokens)

    def build(self, settings: GenerationSettings, turns: Sequence[Turn], rendered: Sequence[Turn] = ()) -> Guards:
        """The guards that `settings` ask for, of an answer to `turns`; see `guards_of_text`."""
        guards = guards_of_text(settings, self._template, turns, rendered)
        banned = self._special if settings.leak_guard else ()
        if guards.systems is not ALL:
            banned += self._foreign_tokens(guards.systems)
        return replace(guards, banned=banned, html=self._html if settings.html_guard else None)

    def _foreign_tokens(self, systems: frozenset[str]) -> tuple[int, ...]:
        if self._systems is None:
            self._systems = TokenSystems(self._tokenizer)
        return self._systems.foreign_tokens(systems)


def _texts(turns: Sequence[Turn]) -> list[str]:
    """What was said to the model, its own answers left out."""
    return [text for turn in turns if turn.role != "assistant" for text in turn.parts if isinstance(text, str)]


def overlap(text: str, start_of: str) -> int:
    """How many characters at the end of `text` may be the beginning of `start_of`."""
    return next((length for length in range(min(len(start_of) - 1, len(text)), 0, -1) if text.endswith(start_of[:length])), 0)

"""A link that asks a question again with the same settings and seed: what stands behind the `#` of the page's address.

    #model=pocket&question=What+is+this%3F&picture=cat.png&temperature=0.2&...&seed=7

What follows a `#` never leaves the browser with a request, so no proxy's log holds it. A picture travels by name only if it is one of the
page's examples; for others the link says how many there were. Anybody may have written a link: `read_link` checks all of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from ..chat.settings import GenerationSettings, SettingsError

MAX_LINK_CHARACTERS = 30_000
MAX_QUESTION_CHARACTERS = 20_000
_WORDS = {"true": True, "false": False}


class LinkError(ValueError):
    """The link names no question that can be asked; the text says why."""


@dataclass(frozen=True)
class AnswerLink:
    """`examples` are the names of example pictures, `other_pictures` counts the pictures that the link cannot carry.

    `earlier` counts the questions that came before this one in its conversation, which the answer may depend on.
    """

    model: str
    question: str
    settings: GenerationSettings
    examples: tuple[str, ...] = ()
    other_pictures: int = 0
    earlier: int = 0


def write_link(link: AnswerLink) -> str:
    """What follows the `#`. Every setting is named, so that the link keeps its meaning when a default changes."""
    fields = [("model", link.model), ("question", link.question), *(("picture", name) for name in link.examples)]
    fields += [(name, str(count)) for name, count in (("pictures", link.other_pictures), ("earlier", link.earlier)) if count]
    for name, value in dataclasses.asdict(link.settings).items():
        if value is not None:
            fields.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return urlencode(fields)


def read_link(fragment: str, known_examples: Sequence[str] = ()) -> AnswerLink | None:
    """The question behind the `#`, None if there is none. Raises `LinkError`."""
    fragment = fragment.removeprefix("#")
    if "question=" not in fragment:
        return None
    if len(fragment) > MAX_LINK_CHARACTERS:
        raise LinkError("The link is longer than any that this page makes.")
    try:
        fields = parse_qsl(fragment, keep_blank_values=True, strict_parsing=True, max_num_fields=100)
    except ValueError as fault:
        raise LinkError("The link is damaged: copy it again.") from fault
    examples = tuple(value for name, value in fields if name == "picture")
    unknown = [name for name in examples if name not in known_examples]
    if unknown:
        raise LinkError(f"The link names an example picture that is not here: {unknown[0][:50]}.")
    given = {name: value for name, value in fields if name != "picture"}
    model, question = given.pop("model", "")[:100], given.pop("question", "")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise LinkError(f"The link's question has more than {MAX_QUESTION_CHARACTERS:,} characters.")
    other, earlier = (_count(given.pop(name, "0")) for name in ("pictures", "earlier"))
    return AnswerLink(model, question, _read_settings(given), examples, other, earlier)


def _count(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 5):
        raise LinkError("The link is damaged: copy it again.")
    return int(value)


def _read_settings(given: Mapping[str, str]) -> GenerationSettings:
    try:
        return GenerationSettings.from_mapping({name: _value(value) for name, value in given.items()})
    except SettingsError as fault:
        raise LinkError(f"The link's settings: {str(fault)[:300]}") from fault


def _value(written: str) -> bool | int | float | str:
    if written in _WORDS:
        return _WORDS[written]
    if written.isascii() and written.isdecimal() and len(written) < 25:
        return int(written)
    try:
        return float(written)
    except ValueError:
        return written

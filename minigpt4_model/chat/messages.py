"""Messages: the one record of a conversation, for the page, the API, the verbs, training and evaluation.

    messages = [{"role": "user" | "assistant" | "system",
                 "content": str | [{"type": "text", "text": str}, {"type": "image", "image": path | PIL.Image}]}]

An image may also be bytes or a picture that is already loaded. `load_conversation` checks such a list and opens its pictures;
everything behind it works on `Turn`s.
"""

from dataclasses import dataclass
from functools import cached_property

import PIL.Image

from .pictures import LoadedPicture, load_picture

ROLES = ("system", "user", "assistant")

Picture = LoadedPicture


class MessageError(ValueError):
    """The list of messages is not a conversation that can be answered; the text names the message and the fix."""


@dataclass(frozen=True)
class Turn:
    """One message, its pictures opened. `parts` are texts and pictures in the order given."""

    role: str
    parts: tuple[str | Picture, ...]

    @cached_property
    def text(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str)).strip()

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for part in self.parts if isinstance(part, Picture))


def load_conversation(messages: list[dict]) -> list[Turn]:
    """The turns of a conversation that ends with a user's message. Raises as `load_turns` does."""
    turns = load_turns(messages)
    if turns[-1].role != "user":
        raise MessageError("The last message must be the user's.")
    if not turns[-1].text and not turns[-1].pictures:
        raise MessageError("The last message is empty: ask something or add a picture.")
    return turns


def load_turns(messages: list[dict]) -> list[Turn]:
    """The turns of any conversation, finished ones to learn from included.

    Consecutive messages of one role become one turn. Raises `MessageError` for a malformed list and
    `pictures.PictureError` for a picture that cannot be shown to the model.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        raise MessageError("messages must be a list with at least one message.")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise MessageError(f'{where} must be an object with "role" and "content", not {type(message).__name__}.')
        role = message.get("role")
        if role not in ROLES:
            raise MessageError(f'{where}: "role" must be one of {", ".join(ROLES)}, not {role!r}.')
        parts = tuple(_load_parts(message.get("content"), where))
        if role != "user" and any(isinstance(part, Picture) for part in parts):
            raise MessageError(f"{where}: only a user's message can hold a picture.")
        if role == "system" and turns and turns[-1].role != "system":
            raise MessageError(f"{where}: a system message must come before the others.")
        if turns and turns[-1].role == role:
            turns[-1] = Turn(role, turns[-1].parts + parts)
        else:
            turns.append(Turn(role, parts))
    return turns


def _load_parts(content, where: str):
    if isinstance(content, str):
        yield _clean(content)
        return
    if not isinstance(content, (list, tuple)):
        raise MessageError(f'{where}: "content" must be a text or a list of parts, not {type(content).__name__}.')
    for number, part in enumerate(content):
        place = f"{where}, part {number}"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            yield _clean(part["text"])
        elif kind == "image" and isinstance(part.get("image"), LoadedPicture):
            yield part["image"]
        elif kind == "image" and part.get("image") is not None:
            yield load_picture(part["image"])
        else:
            raise MessageError(f'{place} must be {{"type": "text", "text": "..."}} or {{"type": "image", "image": a path or a PIL image}}.')


def _clean(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can carry and no tokenizer can read: each becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def text_message(role: str, text: str) -> dict:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def question(text: str, images: list[str | PIL.Image.Image] | None = None) -> dict:
    """A user's message: the pictures, then the text."""
    return {"role": "user", "content": [*({"type": "image", "image": image} for image in images or ()), {"type": "text", "text": text}]}

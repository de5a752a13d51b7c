"""One sample, the interface of a source, and the two ways in which data can be wrong.

A source hands out conversations with the pictures still closed (bytes or paths): reading one is cheap, and who has the
features of a picture cached never decodes it. `open_pictures` opens them with the checks that the chat uses.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...chat.pictures import PictureError, load_picture

ClosedPicture = bytes | Path
PictureOpener = Callable[[ClosedPicture], Any]


class SourceError(ValueError):
    """A source that cannot be opened or used at all; the text names the file or flag and the fix."""


class BrokenSample(ValueError):
    """A sample that cannot be learned from. `reason` is the same for all of a kind, so that it can be counted."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True)
class Sample:
    """A finished conversation: `messages` is the record of `chat.messages` and ends with an answer.

    `key` names the element for a person, `source` and `index` say where it lies; `number` is its global number in the order of
    training, -1 outside of a mixture. As a source gives it, a picture is bytes or a path; behind a mixture it is what the
    mixture's `open_picture` made of it, a `LoadedPicture` unless told otherwise.
    """

    key: str
    messages: list[dict]
    source: str
    index: int
    number: int = -1

    @property
    def pictures(self) -> list[Any]:
        """The pictures in the order in which the conversation shows them; none in a conversation without."""
        return [part["image"] for message in self.messages for part in message["content"] if part["type"] == "image"]


class Source(ABC):
    """An indexed set of conversations: `source[i]` for `0 <= i < len(source)`, the same element always.

    `notices` are sentences about what was found amiss when it was opened. Sources can be pickled and used after a fork.
    """

    def __init__(self, name: str):
        self.name = name
        self.notices: list[str] = []

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Raises `BrokenSample`."""

    @abstractmethod
    def key(self, index: int) -> str:
        """What a person would look for to find this element: the file and what it is called there."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Says what this data is: the same for a copy elsewhere, another when anything in it that matters has changed."""

    @property
    def blocks(self) -> Sequence[int]:
        """Lengths of the runs of elements that lie together on the disk: shuffling stays within a few of them at a time."""
        return [len(self)]


def caption_messages(picture: ClosedPicture, caption: str | None) -> list[dict]:
    """A picture shown without a word and its caption as the answer. Raises `BrokenSample` where there is no caption."""
    if caption is None:
        raise BrokenSample("no caption")
    if not isinstance(caption, str):
        raise BrokenSample("the caption is not a text", f"the caption is {type(caption).__name__}, not a text")
    words = " ".join(caption.split())
    if not words:
        raise BrokenSample("the caption is empty")
    return [
        {"role": "user", "content": [{"type": "image", "image": picture}]},
        {"role": "assistant", "content": [{"type": "text", "text": words}]},
    ]


def with_question(messages: list[dict], question: str) -> list[dict]:
    """`messages` with `question` in every user's message that has no words of its own."""
    asked = []
    for message in messages:
        wordless = message["role"] == "user" and not any(part["type"] == "text" and part["text"].strip() for part in message["content"])
        asked.append({**message, "content": [*message["content"], {"type": "text", "text": question}]} if wordless else message)
    return asked


def open_pictures(sample: Sample, open_picture: PictureOpener = load_picture) -> Sample:
    """`sample` with its pictures opened. Raises `BrokenSample` for one that cannot be shown to a model."""
    try:
        messages = [
            {
                **message,
                "content": [
                    {**part, "image": open_picture(part["image"])} if part["type"] == "image" else part for part in message["content"]
                ],
            }
            for message in sample.messages
        ]
    except PictureError as error:
        paths = [picture for picture in sample.pictures if isinstance(picture, Path)]
        named = [*map(str, paths), *(path.name for path in paths)]
        raise BrokenSample(_general(str(error), named), str(error)) from None
    except OSError as error:
        raise BrokenSample("the file cannot be read", str(error)) from None
    return replace(sample, messages=messages)


def _general(sentence: str, names: list[str]) -> str:
    """What an error about one picture says of its kind: without file names, sizes and advice."""
    for name in names:
        sentence = sentence.replace(name, "The picture")
    if sentence.startswith("There is no file"):
        return "the picture's file is missing"
    general = re.sub(r" \([^)]*\)", "", sentence).partition(":")[0].partition(", which")[0].rstrip(".")
    return general[:1].lower() + general[1:]

"""Conversations in the JSON that LLaVA uses.

    [{"id": "1", "image": "coco/1.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is this?"},
                                                          {"from": "gpt", "value": "A cat."}]}]

The picture stands where `<image>` stands; a record without "image" is a conversation in words alone.
"""

import re
from pathlib import Path

from .captions import picture_path
from .records import PackedRecords, json_array
from .sample import BrokenSample, ClosedPicture, Sample, Source, SourceError

MARK = "<image>"
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


class LlavaSource(Source):
    """`path` is the JSON file; `images` the folder that its pictures' names are relative to, where it is not the file's."""

    def __init__(self, path: str | Path, images: str | Path | None = None, name: str = "conversations"):
        super().__init__(name)
        self.file = Path(path)
        self.images = Path(images) if images else self.file.parent
        try:
            self.records = PackedRecords(json_array(self.file.read_text("utf-8-sig"), str(self.file)))
        except UnicodeDecodeError as error:
            raise SourceError(f"--data {path}: is not text in UTF-8 ({error}).") from error

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        names = record.get("image") or []
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BrokenSample("image is neither a name nor a list of names")
        pictures = [picture_path(self.images, name) for name in names]
        return Sample(self.key(index), conversation_messages(record.get("conversations"), pictures), self.name, index)

    def key(self, index: int) -> str:
        return f"{self.file.name}[{index}]"

    @property
    def fingerprint(self) -> str:
        return self.records.digest


def conversation_messages(turns: list[dict] | None, pictures: list[ClosedPicture]) -> list[dict]:
    """LLaVA's turns as messages, pictures where `<image>` stands, or before the first question where it stands nowhere.

    Raises `BrokenSample` for turns that are no finished conversation.
    """
    if not isinstance(turns, list) or not turns:
        raise BrokenSample("no conversations")
    messages, left = [], list(pictures)
    marks = 0
    for turn in turns:
        role = ROLES.get(turn.get("from")) if isinstance(turn, dict) else None
        value = turn.get("value") if isinstance(turn, dict) else None
        if role is None or not isinstance(value, str):
            raise BrokenSample('a turn without a known "from" or without a text')
        content = []
        for number, text in enumerate(re.split(re.escape(MARK), value) if role == "user" else [value]):
            if number:
                marks += 1
                if not left:
                    raise BrokenSample("more <image> than pictures")
                content.append({"type": "image", "image": left.pop(0)})
            if text.strip():
                content.append({"type": "text", "text": text.strip()})
        if not content:
            raise BrokenSample("an empty turn")
        messages.append({"role": role, "content": content})
    if left and not marks:
        first = next((message for message in messages if message["role"] == "user"), None)
        if first is not None:
            first["content"][:0] = [{"type": "image", "image": picture} for picture in left]
            left = []
    if left:
        raise BrokenSample("more pictures than <image>")
    if messages[-1]["role"] != "assistant":
        raise BrokenSample("the conversation ends without an answer")
    return messages

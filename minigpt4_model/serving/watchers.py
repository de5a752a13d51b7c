"""Two watchers of a backend: what goes beyond the operator's limits is refused; conversations are recorded if the operator asks."""

import json
import logging
import threading
import time
from pathlib import Path

from ..chat.backends.base import Answer
from ..chat.messages import MessageError
from ..chat.settings import GenerationSettings, SettingsError
from .limits import Limits

logger = logging.getLogger(__name__)


class LimitsWatcher:
    """Refuses conversations and answers that are longer than the limits."""

    def __init__(self, limits: Limits):
        self._limits = limits

    def asked(self, messages: list[dict], settings: GenerationSettings) -> None:
        """Raises `MessageError` or `SettingsError` with a sentence for who asked."""
        most = self._limits.max_questions
        asked = sum(message.get("role") == "user" for message in messages if isinstance(message, dict))
        if most and asked > most:
            raise MessageError(f"This server takes at most {most} questions in one conversation. Begin a new one.")
        longest = self._limits.max_answer_tokens
        if longest and settings.max_new_tokens > longest:
            raise SettingsError(f"max_new_tokens {settings.max_new_tokens}: this server writes at most {longest} tokens in one answer.")

    def answered(self, messages: list[dict], settings: GenerationSettings, answer: Answer, fault: Exception | None) -> None:
        pass


class RecordWatcher:
    """Appends each question and its answer to a file, one JSON object a line: time, question, pictures (as digests), answer.

    Only for an operator who asks for it. The file does not grow by what was refused.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()

    def asked(self, messages: list[dict], settings: GenerationSettings) -> None:
        pass

    def answered(self, messages: list[dict], settings: GenerationSettings, answer: Answer, fault: Exception | None) -> None:
        if isinstance(fault, MessageError):  # what is no conversation cannot be written down as one
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "question": _text(messages[-1]),
            "pictures": [getattr(picture, "digest", None) for picture in _pictures(messages)],
            "answer": answer.text,
            "ended": "failed" if fault else answer.finish_reason,
        }
        try:
            self._append(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            logger.error("--record-conversations %s: %s", self._path, error.strerror)

    def _append(self, text: str) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def _parts(message: dict) -> list[dict]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(message: dict) -> str:
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


def _pictures(messages: list[dict]) -> list:
    return [part["image"] for message in messages for part in _parts(message) if part["type"] == "image"]

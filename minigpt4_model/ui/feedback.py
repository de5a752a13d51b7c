"""What visitors think of answers, kept only where the operator says so: one JSON object per line.

    {"id", "time", "preset", "question", "pictures", "answer", "settings", "rating": "good" | "bad" | "", "comment"}

A vote that is changed, taken back or explained is written again under its id: the last line of an id counts. `pictures` are digests
of their pixels: no picture is kept.
"""

import dataclasses
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

from .conversation import Exchange


class FeedbackFile:
    """Appends to `path`. Raises `OSError` when it is made if nothing can be written there. Safe to use from several threads."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()

    def add(self, identity: str, preset: str, exchange: Exchange, rating: str, comment: str = "") -> None:
        """One line. Raises `OSError`."""
        line = {
            "id": identity,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "preset": preset,
            "question": exchange.question,
            "pictures": [picture.loaded.digest for picture in exchange.pictures],
            "answer": exchange.answer,
            "settings": dataclasses.asdict(exchange.settings) if exchange.settings else {},
            "rating": rating,
            "comment": comment,
        }
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

"""Whose files are whose. Gradio serves an uploaded or shown file to anybody who knows its address, and takes any path as an upload.

Here a visitor may read, and send back as an upload, the files that this server gave them: their uploads, and what the page showed
them. `PrivatePage` notices what is shown, in components and not in texts; `gate` asks about every request.
"""

import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import gradio as gr

from ..serving.visitors import Visitor

_FILE = "gradio.FileData"
_asking: ContextVar[gr.Request | None] = ContextVar("asking", default=None)


class FileGrants:
    """Which visitor (by key) may have which file (by absolute path). Safe to use from several threads."""

    def __init__(self):
        self._public: set[str] = set()
        self._granted: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def publish(self, path: str) -> None:
        """Everybody may have this file: it is part of the page."""
        self._public.add(os.path.abspath(path))

    def grant(self, path: str, key: str) -> None:
        with self._lock:
            self._granted.setdefault(os.path.abspath(path), set()).add(key)

    def allows(self, path: str, key: str) -> bool:
        """Whether `path`, written in exactly one way, is a file for that visitor. Does not look at the disk."""
        return path in self._public or key in self._granted.get(path, ())

    def is_public(self, path: str) -> bool:
        return path in self._public

    def forget_missing(self) -> None:
        """Drop what was granted about files that are no longer there."""
        with self._lock:
            self._granted = {path: keys for path, keys in self._granted.items() if os.path.exists(path)}


class PrivatePage(gr.Blocks):
    """A page whose `grants` hold what it has shown to whom."""

    def __init__(self, *args, **kwargs):
        self.grants = FileGrants()
        super().__init__(*args, **kwargs)

    def publish_own_files(self) -> None:
        """Everybody may have the files that the page itself consists of, such as the pictures of its examples."""
        for path in shown_files(self.get_config_file()):
            self.grants.publish(path)

    async def process_api(self, *args, request=None, **kwargs):
        token = _asking.set(request)
        try:
            return await super().process_api(*args, request=request, **kwargs)
        finally:
            _asking.reset(token)

    async def postprocess_data(self, *args, **kwargs):
        data = await super().postprocess_data(*args, **kwargs)
        visitor = visitor_of(_asking.get())
        if visitor is not None:
            for path in shown_files(data):
                self.grants.grant(path, visitor.key)
        return data


def visitor_of(request: gr.Request | None) -> Visitor | None:
    """Who asked for what is being computed; None outside a request."""
    return getattr(request.state, "visitor", None) if request is not None and request.request is not None else None


def shown_files(data: Any) -> Iterator[str]:
    """The paths of the files in what Gradio sends to a browser."""
    for entry in _dictionaries(data):
        if (entry.get("meta") or {}).get("_type") == _FILE and isinstance(entry.get("path"), str):
            yield entry["path"]


def named_files(data: Any) -> Iterator[str]:
    """Every path in what a browser sends: whatever has one is taken for a file by one of Gradio's components or other."""
    for entry in _dictionaries(data):
        if isinstance(entry.get("path"), str) and entry["path"]:
            yield entry["path"]


def _dictionaries(data: Any) -> Iterator[dict]:
    pending = [data]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item

"""Deleting what visitors left: old uploads, what Gradio copied of them, and conversations that nobody came back to."""

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from .conversation import ConversationStore
from .private_files import FileGrants

logger = logging.getLogger(__name__)


class Cleaner:
    """Sweeps `folder`, in which Gradio keeps files, once in a while: what is older than `keep_seconds` goes.

    The pictures of conversations, in `kept`, are the store's: they go with the last conversation that has them.
    """

    def __init__(self, folder: Path, kept: Path, store: ConversationStore, grants: FileGrants, keep_seconds: float):
        self._folder = folder
        self._kept = kept
        self._store = store
        self._grants = grants
        self._keep_seconds = keep_seconds
        self._over = threading.Event()

    def start(self) -> None:
        """Sweep from now on, in a thread of its own, often enough that nothing stays much longer than it should."""
        threading.Thread(target=self._sweep_on, name="cleaner", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def sweep(self) -> None:
        self._store.drop_idle()
        oldest = time.time() - self._keep_seconds
        for folder, _, names in os.walk(self._folder, topdown=False):
            if Path(folder) == self._kept or self._kept in Path(folder).parents:
                continue
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):  # somebody else was quicker
                    if os.stat(path).st_ctime < oldest and not self._grants.is_public(path):
                        os.remove(path)
            if Path(folder) != self._folder:
                with suppress(OSError):  # it is not empty, or something is just being put in
                    if os.stat(folder).st_ctime < oldest:
                        os.rmdir(folder)
        self._grants.forget_missing()

    def _sweep_on(self) -> None:
        while not self._over.wait(min(600, self._keep_seconds / 4)):
            try:
                self.sweep()
            except Exception:
                logger.exception("Old uploads could not be deleted.")

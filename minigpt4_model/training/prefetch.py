"""Drawing the next steps' data in a thread while the device computes: for GPUs, which leave the processor idle."""

import queue
import threading
from collections.abc import Generator
from contextlib import closing
from typing import Any

DEPTH = 2
_END = object()


def drawn_ahead(batches: Generator[Any], depth: int = DEPTH) -> Generator[Any]:
    """The same items in the same order, up to `depth` of them ready before they are asked for.

    An exception in drawing an item is raised where the item would have been. Closing ends the thread and `batches`.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def hand_over(item: Any, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                ready.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def draw() -> None:
        try:
            with closing(batches):
                for item in batches:
                    hand_over(item)
                    if stopped.is_set():
                        return
            hand_over(_END)
        except BaseException as error:  # raised again where the item is asked for
            hand_over(_END, error)

    thread = threading.Thread(target=draw, name="draws batches ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()

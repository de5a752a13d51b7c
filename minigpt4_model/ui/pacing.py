"""Reading an answer at the pace of a page: a steady beat instead of one update per token.

The stream is read in a thread of its own, so that the page's generator keeps coming back while a backend is still busy with the
picture: only then does Gradio notice that a visitor has left, and only then can Stop end the waiting.
"""

import threading
from collections.abc import Iterator

from ..chat.backends.base import AnswerStream

BEAT_S = 0.1
# Without news, come back this often all the same.
QUIET_BEATS = 5
# A backend looks at the cancellation between tokens; a page does not wait longer than this for it.
PATIENCE_S = 2.0


def paced(stream: AnswerStream, stopped) -> Iterator[str]:
    """The text so far, once a beat when there is more of it, and lastly the whole text.

    `stopped()` tells whether Stop was pressed: the text then ends soon, whatever the backend does. Leaving the generator early
    cancels the stream. What reading the stream raises is raised here.
    """
    over = threading.Event()
    faults: list[Exception] = []

    def read() -> None:
        try:
            for _ in stream:
                pass
        except Exception as fault:
            faults.append(fault)
        finally:
            over.set()

    threading.Thread(target=read, name="answer", daemon=True).start()
    try:
        shown, quiet, patience = "", 0, PATIENCE_S
        while not over.wait(BEAT_S) and patience > 0:
            text, quiet = stream.answer.text, quiet + 1
            if text != shown or quiet >= QUIET_BEATS:
                shown, quiet = text, 0
                yield text
            if stopped():
                patience -= BEAT_S
        if faults:
            raise faults[0]
        yield stream.answer.text
    finally:
        stream.cancel()

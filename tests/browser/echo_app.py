"""The page on an echo that takes its time and can fail: `python -m tests.browser.echo_app SECONDS_PER_WORD [FEEDBACK_FILE]`."""

import sys
from pathlib import Path

from app import run_page
from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.address import listen
from minigpt4_model.ui.demo_questions import load_demo_questions
from minigpt4_model.ui.feedback import FeedbackFile


class FallibleEcho(EchoBackend):
    """Fails, in words, when the last question says so."""

    def stream(self, messages, settings=None):
        if messages[-1]["content"][-1]["text"] == "fail":
            raise BackendError("The echo was asked to fail.")
        return super().stream(messages, settings)


if __name__ == "__main__":
    feedback = FeedbackFile(Path(sys.argv[2])) if len(sys.argv) > 2 else None
    backend = FallibleEcho(float(sys.argv[1]))
    models = {"echo": backend, "slow echo": EchoBackend(0.3)}
    run_page(backend, listen("127.0.0.1", 0), load_demo_questions(), feedback=feedback, models=models)

"""The engine on a Space with ZeroGPU: a GPU is there only inside a function that `spaces` runs in a process of its own.

That process is forked from this one when a question comes, and may be used for several. What goes in and comes out is pickled; nothing
else is shared: no lock, event, tensor or cache. So the engine in this process never answers, and nobody holds its locks at the fork; the
copy in the worker does, and keeps its own caches for as long as the worker lives. A cancelled answer stops at its next token.
"""

import contextvars
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..messages import MessageError, load_conversation
from ..pictures import LoadedPicture, PictureError
from ..settings import GenerationSettings, SettingsError
from .base import Answer, AnswerStream, Backend, BackendError

# What a worker is given at most, in seconds, and what an answer takes beside its tokens: getting the GPU, pictures, the prompt.
LONGEST_S = 120
START_S = 15
SECONDS_PER_TOKEN = 0.08

# Faults that cross from the worker as what they are; others are told by name.
_FAULTS = {fault.__name__: fault for fault in (BackendError, MessageError, PictureError, SettingsError)}


def on_zero_gpu() -> bool:
    """Whether this is a Space with ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def prepare() -> None:
    """To be called before torch is imported: `spaces` lets a model be loaded to a GPU that is not there yet.

    It does so in this thread only, so that transformers must not load in several.
    """
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    import spaces  # noqa: F401


def seconds_for(messages: list[dict], settings: GenerationSettings, more: dict[str, Any]) -> int:
    """How long a GPU is asked for: the shorter, the sooner there is one."""
    return int(min(LONGEST_S, START_S + SECONDS_PER_TOKEN * settings.max_new_tokens * settings.num_beams))


class ZeroGpuBackend:
    """`engine`, which has been loaded to the device "cuda", answering on a GPU that is borrowed for each answer.

    To be made in the main thread, when everything that uses the GPU is loaded: its weights are packed away then.
    """

    def __init__(self, engine: Backend):
        import spaces
        from spaces.zero import startup

        self.description = engine.description
        self._answers = spaces.GPU(duration=seconds_for)(_answers_of(engine))
        startup()  # Gradio's launch() would do it, and this page is not launched by it

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, **more: Any) -> AnswerStream:
        sent = _plain(messages)
        settings = settings or self.description.settings
        # Whose quota an answer takes is in the request, which Gradio keeps in the context of the thread that asks.
        context = contextvars.copy_context()

        def run(answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
            received = context.run(self._answers, sent, settings, more)
            try:
                while (event := context.run(_next, received)) is not None:
                    if cancelled():
                        answer.finish_reason = "cancelled"
                        return
                    kind, value = event
                    if kind == "piece":
                        yield value
                    elif kind == "notices":
                        answer.notices += value
                    elif kind == "answer":
                        vars(answer).update({name: field for name, field in vars(value).items() if name != "text"})
                    else:
                        raise _FAULTS[kind](value)
            finally:
                context.run(received.close)

        return AnswerStream(run)

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        return self.stream(messages, settings).join()

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        return self.answer(messages, settings).text

    def close(self) -> None:
        """The workers end with this process."""


def _answers_of(engine: Backend) -> Callable[..., Iterator[tuple[str, Any]]]:
    """The function that runs in the worker: it yields notices, pieces of text, and at last the answer or a fault."""

    def answers(messages: list[dict], settings: GenerationSettings, more: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        try:
            with engine.stream(messages, settings, **more) as stream:
                yield "notices", list(stream.answer.notices)
                for piece in stream:
                    yield "piece", piece
                yield "answer", stream.answer
        except tuple(_FAULTS.values()) as fault:
            yield type(fault).__name__ if type(fault).__name__ in _FAULTS else "BackendError", str(fault)

    return answers


def _next(received: Iterator[tuple[str, Any]]) -> tuple[str, Any] | None:
    """The next event, or None at the end. What ZeroGPU has to say (a quota is used up, no GPU is free) becomes a `BackendError`."""
    import gradio as gr

    try:
        return next(received, None)
    except gr.Error as fault:
        title = getattr(fault, "title", "") or "ZeroGPU"
        raise BackendError(f"{title}: {fault}") from fault


def _plain(messages: list[dict]) -> list[dict]:
    """The conversation with its pictures opened, as it can be pickled. Raises `MessageError` and `PictureError`."""
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": LoadedPicture(part.image, part.digest, part.notice)}
                for part in turn.parts
            ],
        }
        for turn in load_conversation(messages)
    ]

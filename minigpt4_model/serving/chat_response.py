"""Answering one request over HTTP: whole, or as server-sent events; and noticing when nobody listens any more.

A client that leaves cancels its answer, which stops the computing within one token. One that stays but does not read is waited for, with
the backend paused, and dropped after a while. Faults before the first token get a status of their own; later ones become the stream's
last event, as a status cannot be changed any more.
"""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
from fastapi.responses import JSONResponse, Response

from ..chat.backends.base import Backend
from .answering import ChoiceStream
from .chat_request import Asked
from .completions import DONE, STILL_HERE, CompletionWriter, error_event
from .errors import as_api_error
from .gate import RequestGate

logger = logging.getLogger(__name__)

# A stream opens with a status when its first token is there, or after so many seconds; later silences are filled at that pace.
BEAT_S = 15.0
# How long a client may leave unread what was sent.
PATIENCE_S = 60.0

_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class ClientGone(Exception):
    """Nobody reads the answer."""


class ChatResponse(Response):
    """Answers one request with `backend`, within a place of `gate`; `await read()` gives what is asked.

    `threads` bounds how many answers are read at a time. With `stream` the answer is sent as it is made.
    """

    def __init__(
        self,
        backend: Backend,
        gate: RequestGate,
        threads: anyio.CapacityLimiter,
        read: Callable[[], Awaitable[Asked]],
        writer: CompletionWriter,
        stream: bool,
    ):
        self.background = None
        self._backend, self._gate, self._threads = backend, gate, threads
        self._read, self._writer, self._stream = read, writer, stream
        self._choice: ChoiceStream | None = None
        self._gone = self._started = False

    async def __call__(self, scope, receive, send) -> None:
        with self._gate.place():
            async with _watching(receive, self._leave):
                try:
                    asked = await self._read()
                    await (self._send_events if self._stream else self._send_whole)(asked, send)
                except ClientGone:
                    pass
                except Exception as fault:
                    await self._send_fault(fault, scope, receive, send)
                finally:
                    self._leave()

    def _leave(self) -> None:
        self._gone = True
        if self._choice is not None:
            self._choice.cancel()

    async def _send_whole(self, asked: Asked, send) -> None:
        finished = []
        for index in range(asked.choices):
            choice = await self._in_thread(self._open, asked, index)
            finished.append((choice, await self._in_thread(list, choice.pieces())))
            self._check()
        body = self._writer.whole(finished).model_dump_json().encode()
        await self._write(send, body, [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())], more=False)

    async def _send_events(self, asked: Asked, send) -> None:
        answers = []
        for index in range(asked.choices):
            choice = await self._attended(self._in_thread(self._open, asked, index), send)
            pieces = choice.pieces()
            piece = await self._attended(self._in_thread(next, pieces, None), send)
            await self._write(send, self._writer.opening(index, choice.answer), _EVENTS)
            while piece is not None:
                await self._write(send, self._writer.piece(index, piece))
                piece = await self._attended(self._in_thread(next, pieces, None), send)
            await self._write(send, self._writer.ending(index, choice))
            answers.append(choice.answer)
        await self._write(send, self._writer.usage(answers) + DONE, more=False)

    async def _send_fault(self, fault: Exception, scope, receive, send) -> None:
        error = as_api_error(fault)
        if not self._started:
            await JSONResponse(error.body, error.status_code, error.headers)(scope, receive, send)
            return
        with suppress(ClientGone):
            await self._write(send, error_event(error), more=False)

    def _open(self, asked: Asked, index: int) -> ChoiceStream:
        """Start the answer of one choice; each has a seed of its own, the first the one that was asked for."""
        settings = asked.settings
        if settings.seed is not None:
            settings = dataclasses.replace(settings, seed=(settings.seed + index) & (2**63 - 1))
        extra = {} if asked.top_logprobs is None else {"top_logprobs": asked.top_logprobs}
        self._choice = ChoiceStream(self._backend.stream(asked.messages, settings, **extra), asked.stop)
        if self._gone:
            self._choice.cancel()
        return self._choice

    async def _in_thread(self, call, *arguments):
        return await anyio.to_thread.run_sync(call, *arguments, limiter=self._threads)

    async def _attended(self, working: Awaitable, send):
        """The result of `working`; long silences are filled with signs of life."""
        task = asyncio.ensure_future(working)
        try:
            while not (await asyncio.wait({task}, timeout=BEAT_S))[0]:
                await self._write(send, STILL_HERE, _EVENTS)
        finally:
            if not task.done():  # the client or the server is going: what computes ends with its next token
                self._leave()
                await asyncio.wait({task})
        self._check()
        return task.result()

    def _check(self) -> None:
        if self._gone:
            raise ClientGone

    async def _write(self, send, body: bytes, headers: list | None = None, more: bool = True) -> None:
        """Send a part of the body, after the status and `headers` if it is the first.

        Raises `ClientGone` when the client has left, or reads nothing for too long.
        """
        self._check()
        try:
            with anyio.fail_after(PATIENCE_S):
                if not self._started:
                    self._started = True
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            logger.warning("A client read nothing for %g seconds: its answer was dropped.", PATIENCE_S)
            raise ClientGone from None
        except OSError:
            raise ClientGone from None


@asynccontextmanager
async def _watching(receive, leave: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `leave` when the client disconnects while the block runs."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        leave()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watcher.cancel()

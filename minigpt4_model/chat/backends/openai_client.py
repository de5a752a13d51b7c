"""Talking to an OpenAI-compatible server: its models, and the events of a streamed completion. Knows nothing of conversations.

Requests run in an event loop of their own thread, so that a reader can leave while the server is silent: the connection is then closed
at once, which is how the server learns that it may stop. Faults are `BackendError`s in words for the person at the page.
"""

import asyncio
import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from .base import BackendError

CONNECT_S = 10.0
SILENCE_S = 300.0  # a busy server may let a request wait for minutes
_ATTEMPTS = 4  # where the server says "not now" before it began
_LONGEST_WAIT_S = 10.0
_POLL_S = 0.05  # how soon a cancelled reader leaves a silent server
_RETRY = "The conversation is kept: retry when the server is back."


class RequestRefused(BackendError):
    """The server understood and does not answer this request. `status` is HTTP's, `told` its reason."""

    def __init__(self, status: int, told: str, message: str):
        super().__init__(message)
        self.status, self.told = status, told


class OpenAIClient:
    """Safe to use from several threads. `base_url` usually ends in /v1; the key is sent and written nowhere."""

    def __init__(self, base_url: str, api_key: str = ""):
        """Raises `BackendError` for an address that is none. Nothing is connected yet."""
        self.base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            url = httpx.URL(self.base_url + "/")
            if url.scheme not in ("http", "https") or not url.host:
                raise ValueError("it must begin with http:// or https://")
            # Without TLS there is nothing to verify, and loading all certificates takes a while.
            self._client = httpx.AsyncClient(
                base_url=url,
                headers=headers,
                verify=url.scheme == "https",
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S, pool=None),
                limits=httpx.Limits(max_connections=None),
            )
        except (httpx.InvalidURL, ValueError) as fault:
            raise BackendError(f"--base-url {base_url} is no address: {fault}.") from fault
        self.host = url.host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai-client", daemon=True)
        self._thread.start()

    def models(self) -> list[dict[str, Any]]:
        """What GET /models lists. Raises `BackendError`."""
        return asyncio.run_coroutine_threadsafe(self._models(), self._loop).result()

    def refuses(self, body: dict[str, Any]) -> bool:
        """Whether the server calls this request wrong (400), rather than answering it. Raises `BackendError`."""
        return asyncio.run_coroutine_threadsafe(self._refuses(body), self._loop).result()

    def events(self, body: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """The chunks of a streamed completion, until its end or until `cancelled()`. Raises `BackendError`."""
        received: queue.SimpleQueue = queue.SimpleQueue()
        reading = asyncio.run_coroutine_threadsafe(self._read(body, received.put), self._loop)
        try:
            while not cancelled():
                try:
                    told = received.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                if told is None:
                    return
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            reading.cancel()

    def close(self) -> None:
        """End all connections; readers get a `BackendError`."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CONNECT_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CONNECT_S)

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()

    async def _models(self) -> list[dict[str, Any]]:
        try:
            answer = await self._client.get("models")
            await self._check(answer)
            rows = answer.json()["data"]
            return [row for row in rows if isinstance(row["id"], str)]
        except httpx.HTTPError as fault:
            raise self._unreachable(fault) from fault
        except (ValueError, KeyError, TypeError) as fault:
            raise BackendError(
                f"--base-url {self.base_url}: there is a server, but it lists no models. The address usually ends in /v1."
            ) from fault

    async def _refuses(self, body: dict[str, Any]) -> bool:
        try:
            return (await self._client.post("chat/completions", json=body)).status_code == 400
        except httpx.HTTPError as fault:
            raise self._unreachable(fault) from fault

    async def _read(self, body: dict[str, Any], put: Callable[[Any], None]) -> None:
        """Puts chunks, then None, or the exception that ended them."""
        begun = False
        try:
            for attempt in range(_ATTEMPTS):
                async with self._client.stream("POST", "chat/completions", json=body) as answer:
                    if answer.status_code in (429, 503) and attempt + 1 < _ATTEMPTS:
                        wait = _retry_after(answer, 2.0**attempt)
                    else:
                        await self._check(answer)
                        async for chunk in _chunks(answer):
                            begun = True
                            put(chunk)
                        put(None)
                        return
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            put(BackendError(f"The connection to {self.base_url} was closed."))
            raise
        except httpx.HTTPError as fault:
            put(BackendError(f"The server at {self.base_url} broke off the answer. {_RETRY}") if begun else self._unreachable(fault))
        except Exception as fault:
            put(fault)

    async def _check(self, answer: httpx.Response) -> None:
        """Raises `RequestRefused` for a status that is no success."""
        if answer.is_success:
            return
        await answer.aread()
        told = _told(answer)
        match answer.status_code:
            case 401 | 403:
                message = f"The server at {self.base_url} refused the API key ({told}). Is OPENAI_API_KEY set to one of its keys?"
            case 404:
                message = f"The server at {self.base_url} has no such address or model ({told}). The address usually ends in /v1."
            case 429:
                message = f"The server at {self.base_url} is busy ({told}). The conversation is kept: retry in a moment."
            case status if status >= 500:
                message = f"The server at {self.base_url} cannot answer ({told}). {_RETRY}"
            case _:
                message = told
        raise RequestRefused(answer.status_code, told, message)

    def _unreachable(self, fault: httpx.HTTPError) -> BackendError:
        why = "it was silent for too long" if isinstance(fault, httpx.ReadTimeout) else str(fault) or type(fault).__name__
        return BackendError(f"The server at {self.base_url} cannot be reached ({why}). {_RETRY}")


class BrokenOff(httpx.HTTPError):
    """The stream ended before its end mark, or holds something else than events."""


async def _chunks(answer: httpx.Response):
    """The chunks of an event stream up to [DONE]. Raises `BrokenOff` without that mark and `BackendError` for a fault told in it."""
    async for line in answer.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            raise BrokenOff("an event is not JSON") from None
        if not isinstance(chunk, dict):
            raise BrokenOff("an event is no object")
        if error := chunk.get("error"):
            told = error.get("message") if isinstance(error, dict) else error
            raise BackendError(f"The server broke off the answer: {' '.join(str(told).split())[:300]}")
        yield chunk
    raise BrokenOff("the stream has no end")


def _told(answer: httpx.Response) -> str:
    """What the server says of a fault, in one line."""
    try:
        found = answer.json()
        error = found.get("error", found) if isinstance(found, dict) else found
        words = error.get("message", error) if isinstance(error, dict) else error
    except ValueError:
        words = answer.text
    return " ".join(str(words).split())[:300] or f"HTTP {answer.status_code}"


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    told = answer.headers.get("retry-after", "")
    return min(float(told) if told.isdigit() else otherwise, _LONGEST_WAIT_S)

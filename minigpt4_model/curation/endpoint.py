"""A language model behind an OpenAI-compatible address: chat completions with retries and a pace that the server can live with.

Works with any server of that interface: OpenAI's, vLLM's, llama.cpp's, Ollama's. What a request costs is known from its answer
only, so `Endpoint.used` counts it. The key comes from the environment and is written nowhere.
"""

import base64
import email.utils
import logging
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CurationError
from .request_gate import RequestGate

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 120.0
_MEND_ADDRESS = "Check --base-url: it usually ends in /v1."
# What another try may mend; 409 and 425 are "not now", 408 and 5xx the server's own troubles.
_WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
# The same for every request: the key, the address or the model is wrong.
_WRONG_FOR_ALL = frozenset({401, 402, 403, 404, 405})


class RequestRefused(Exception):
    """This request cannot be answered; others can."""


class EndpointDown(CurationError):
    """No request can be answered; the text says why and what to do."""


@dataclass(frozen=True)
class EndpointSettings:
    """Where the model is and how patiently it is asked. `model` None takes the only one that the server has."""

    base_url: str
    model: str | None = None
    api_key: str = ""
    attempts: int = 6
    timeout_s: float = 120.0
    requests_per_minute: float | None = None


@dataclass(frozen=True)
class Completion:
    """What was answered. `finish_reason` is "stop" or "length"."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Used:
    """What all requests took, as far as the server told."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Endpoint:
    """Safe to use from several threads. `first_wait_s` is what the first of the growing waits between attempts is drawn from."""

    def __init__(self, settings: EndpointSettings, first_wait_s: float = 1.0):
        """Raises `EndpointDown` when `settings.model` is None and cannot be found out."""
        import httpx

        self.used = Used()
        self.gate = RequestGate(settings.requests_per_minute)
        self._settings = settings
        self._first_wait = first_wait_s
        self._lock = threading.Lock()
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        address = settings.base_url.rstrip("/") + "/"
        try:
            # Without TLS there is nothing to verify, and loading all certificates takes a while.
            encrypted = not address.startswith("http://")
            self._client = httpx.Client(base_url=address, headers=headers, timeout=settings.timeout_s, verify=encrypted)
        except (httpx.InvalidURL, ValueError) as error:
            raise EndpointDown(f"--base-url {settings.base_url} is no address: {error}.") from error
        self.model = settings.model or self._only_model()

    def complete(self, messages: list[dict[str, Any]], **options: Any) -> Completion:
        """The answer to `messages` in OpenAI's form; `options` are further fields of the request.

        Raises `RequestRefused`, `EndpointDown`, or `request_gate.GateClosed` once `close` was called.
        """
        body = {"model": self.model, "messages": messages, **{name: value for name, value in options.items() if value is not None}}
        answer = self._send("POST", "chat/completions", json=body)
        try:
            choice = answer["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason") or "stop"
        except (KeyError, IndexError, TypeError, AttributeError):
            raise RequestRefused(f"The endpoint's answer has no choices[0].message.content: {str(answer)[:200]}") from None
        if reason == "content_filter" or not isinstance(text, str):
            raise RequestRefused(f"The endpoint gave no text (finish_reason {reason}).")
        usage = answer.get("usage") or {}
        told = Completion(text.strip(), reason, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
        with self._lock:
            self.used.requests += 1
            self.used.prompt_tokens += told.prompt_tokens
            self.used.completion_tokens += told.completion_tokens
        return told

    def close(self) -> None:
        """Ends all waiting and all connections."""
        self.gate.close()
        self._client.close()

    def _only_model(self) -> str:
        try:
            names = [row["id"] for row in self._send("GET", "models")["data"]]
        except (KeyError, TypeError, RequestRefused):
            names = []
        if len(names) == 1:
            return names[0]
        found = f"it has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "it does not say which it has"
        raise EndpointDown(f"Name the model of {self._settings.base_url} with --served-model: {found}.")

    def _send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """The JSON of the first answer that is one; faults that may pass are tried again, ever more slowly."""
        import httpx

        problem = ""
        for attempt in range(self._settings.attempts):
            self.gate.pass_through()
            wait = self._first_wait * 2**attempt * random.uniform(0.5, 1.5)
            try:
                answer = self._client.request(method, path, **content)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            except RuntimeError:  # the client was closed under our feet
                self.gate.pass_through()
                raise
            else:
                if answer.is_success:
                    return _json(answer, self._settings.base_url)
                problem = f"HTTP {answer.status_code}: {_told(answer)}"
                if answer.status_code in _WRONG_FOR_ALL:
                    raise EndpointDown(f"{self._settings.base_url} refused ({problem}). {_advice(answer.status_code)}")
                if answer.status_code == 429 and "insufficient_quota" in answer.text:
                    raise EndpointDown(f"{self._settings.base_url} refused ({problem}). The account has no credit left.")
                if answer.status_code not in _WORTH_ANOTHER_TRY:
                    raise RequestRefused(problem)
                asked = _retry_after(answer)
                if answer.status_code == 429:
                    self.gate.pause(asked or wait)
                wait = asked or wait
            logger.debug("attempt %d failed: %s", attempt + 1, problem)
            if attempt + 1 < self._settings.attempts:
                self.gate.sleep(min(wait, _LONGEST_WAIT_S))
        raise EndpointDown(f"{self._settings.base_url} did not answer in {self._settings.attempts} attempts ({problem}). {_MEND_ADDRESS}")


def _json(answer, base_url: str) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EndpointDown(f"{base_url} answers, but not in JSON ({answer.text[:80]!r}). {_MEND_ADDRESS}")
    return found


def _told(answer) -> str:
    """What the server says of a fault, in one line."""
    try:
        found = answer.json()
        error = found.get("error", found) if isinstance(found, dict) else found
        words = error.get("message", error) if isinstance(error, dict) else error
    except ValueError:
        words = answer.text
    return " ".join(str(words).split())[:200] or answer.reason_phrase


def _advice(status: int) -> str:
    if status in (401, 402, 403):
        return "Is the key in the environment (OPENAI_API_KEY, or the variable that --api-key-env names) the right one?"
    return f"{_MEND_ADDRESS} Is --served-model spelled as the server spells it?"


def _retry_after(answer) -> float | None:
    """Seconds that the server asks to wait for, at most two minutes."""
    told = answer.headers.get("retry-after", "")
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def with_pictures(messages: list[dict]) -> list[dict[str, Any]]:
    """This project's messages, pictures given by the path of a JPEG, in OpenAI's form."""
    sent = []
    for message in messages:
        parts = [{"type": "text", "text": message["content"]}] if isinstance(message["content"], str) else message["content"]
        told = [
            {"type": "image_url", "image_url": {"url": _data_address(part["image"])}} if part["type"] == "image" else part for part in parts
        ]
        # Servers of text models take a plain text only.
        plain = all(part["type"] == "text" for part in told)
        sent.append({"role": message["role"], "content": " ".join(part["text"] for part in told) if plain else told})
    return sent


def _data_address(jpeg: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.read_bytes()).decode()

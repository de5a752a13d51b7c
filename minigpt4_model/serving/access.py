"""Who may use the API and how much it may be sent: API keys and the size of a body, checked before anything else is read.

Keys come from a flag or a file. Only their digests are kept, and they are written nowhere.
"""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from fastapi.responses import JSONResponse

from .errors import ApiError, error_body

MAX_BODY_BYTES = 64_000_000  # base64 makes a picture a third larger

_HEAR_OUT_SECONDS = 5

_NO_KEY = "You didn't provide an API key: send it as Authorization: Bearer KEY."
_WRONG_KEY = "Incorrect API key provided."


def load_keys(given: Iterable[str] = (), file: str | Path | None = None) -> list[str]:
    """The keys of a flag, and of `file`: one a line, # begins a comment.

    Raises `ValueError` that names the flag for a file that cannot be read or has no key, and for a key that no header can carry.
    """
    keys = list(given)
    if file is not None:
        try:
            lines = Path(file).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as fault:
            raise ValueError(f"--api-key-file {file} cannot be read: {getattr(fault, 'strerror', None) or 'it is not UTF-8'}.") from fault
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise ValueError(f"--api-key-file {file} holds no key: write one a line.")
        keys += found
    if any(not key.isascii() or not key.isprintable() or " " in key or not key for key in keys):
        raise ValueError("An API key is empty or holds a space or a sign beyond ASCII, which no Authorization header can carry.")
    return keys


class ApiKeys:
    """Tells a right `Authorization` header from a wrong one, in the same time for every wrong one. No keys let everybody in."""

    def __init__(self, keys: Iterable[str]):
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def complaint(self, header: bytes | None) -> str:
        """Why a request with that header is refused, or ""."""
        if not self._digests:
            return ""
        scheme, _, key = (header or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            return _NO_KEY
        digest = _digest(key.strip())
        right = [hmac.compare_digest(digest, known) for known in self._digests]
        return "" if any(right) else _WRONG_KEY


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class AccessGuard:
    """ASGI middleware: 401 without a key where keys are asked for, 413 for a body that is too large. `open_paths` need no key."""

    def __init__(self, app, keys: ApiKeys, max_body_bytes: int = MAX_BODY_BYTES, open_paths: tuple[str, ...] = ()):
        self._app, self._keys, self._max_body_bytes, self._open_paths = app, keys, max_body_bytes, open_paths

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        complaint = "" if path in self._open_paths else self._keys.complaint(headers.get(b"authorization"))
        length = headers.get(b"content-length", b"")
        if complaint:
            body = error_body(401, complaint, code="invalid_api_key")
            await JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
        elif length.isdigit() and int(length[:20]) > self._max_body_bytes:
            if b"expect" not in headers:  # who asked first has sent nothing yet
                await self._hear_out(receive)
            await JSONResponse(self._too_large().body, 413, {"Connection": "close"})(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive):
        taken = 0

        async def counted():
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body_bytes:
                if message.get("more_body"):
                    await self._hear_out(receive)
                raise self._too_large()
            return message

        return counted

    async def _hear_out(self, receive):
        """Takes in, and drops, what is still being sent: as much again as is allowed, for a few seconds.

        Closing the connection on someone who is sending resets it, and the answer that says why is lost (RFC 9112, section 9.6).
        """
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEAR_OUT_SECONDS):
                while heard <= self._max_body_bytes:
                    message = await receive()
                    heard += len(message.get("body", b""))
                    if not message.get("more_body"):
                        return

    def _too_large(self) -> ApiError:
        return ApiError(413, f"The request is larger than {self._max_body_bytes // 1_000_000} MB: send smaller or fewer pictures.")

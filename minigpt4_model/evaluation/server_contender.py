"""An OpenAI-compatible server that takes part in a measurement, and vLLM started for it where it is installed."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..chat.backends.base import BackendError
from ..chat.backends.openai_client import OpenAIClient
from ..chat.backends.openai_request import VLLM, MessageWriter, dialect_of
from ..chat.messages import load_conversation
from ..weights.pocket import REPOSITORY
from .timed import Timed

NAME = "vLLM"
RUNNING = "MINIGPT4_VLLM_URL"
_STARTS_WITHIN_S = 600


class ServerContender:
    """Whoever answers at `base_url`. Prompts are remembered by vLLM between turns; `forget` keeps it from finding those of before."""

    remembers = True

    def __init__(self, name: str, base_url: str, model: str | None = None):
        """Raises `BackendError` when nobody answers there, or several models and `model` names none."""
        self.name = name
        self._client = OpenAIClient(base_url, os.environ.get("OPENAI_API_KEY", ""))
        rows = [row for row in self._client.models() if model in (None, row["id"])]
        if len(rows) != 1:
            self._client.close()
            raise BackendError(f"Name the model of {base_url} with --served-model.")
        self._model, self._is_vllm = rows[0]["id"], dialect_of(rows[0].get("owned_by")) == VLLM
        self._writer = MessageWriter()
        self.forget()

    def forget(self) -> None:
        self._salt = secrets.token_hex(8)

    def answer(self, messages: list[dict], tokens: int, until_end: bool = False) -> Timed:
        """As `Contender.answer`; a server that is not vLLM may end before."""
        body = {
            "model": self._model,
            "messages": self._writer.write(load_conversation(messages)),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": tokens,
            "temperature": 0.0,
        }
        if self._is_vllm:
            body |= {"return_token_ids": True, "cache_salt": self._salt, "ignore_eos": not until_end}
        start = time.perf_counter()
        arrived: list[tuple[float, int]] = []
        text, counted = "", 0
        for chunk in self._client.events(body, lambda: False):
            counted = (chunk.get("usage") or {}).get("completion_tokens") or counted
            for choice in chunk.get("choices") or ():
                piece = (choice.get("delta") or {}).get("content") or ""
                made = len(choice.get("token_ids") or ()) or (1 if piece else 0)
                text += piece
                if made:
                    arrived.append((time.perf_counter(), made))
        if not arrived:
            raise BackendError(f"{self.name} answered nothing.")
        made = counted or sum(count for _, count in arrived)
        spent = arrived[-1][0] - arrived[0][0]
        speed = (made - arrived[0][1]) / spent if spent and made > arrived[0][1] else 0.0
        return Timed(0.0, arrived[0][0] - start, made, speed, text)

    def close(self) -> None:
        self._client.close()


def has_vllm() -> bool:
    """Whether `vllm_server` has anything to start or to take."""
    return bool(os.environ.get(RUNNING)) or find_vllm() is not None


def find_vllm() -> Path | None:
    """The interpreter that `scripts/serve_vllm.sh` would take for vLLM on a CPU; None where there is none."""
    named = os.environ.get("VLLM_PYTHON") or Path(os.environ.get("VLLM_VENV") or REPOSITORY / ".venv-vllm") / "bin" / "python"
    return Path(named) if Path(named).exists() else None


@contextmanager
def vllm_server(source: str | Path, log: Path) -> Iterator[ServerContender]:
    """vLLM with a preset or a model's directory, while it is needed; `log` gets what it says. Raises `BackendError`.

    A server that is there already, at `MINIGPT4_VLLM_URL`, is taken instead.
    """
    if running := os.environ.get(RUNNING):
        contender = ServerContender(NAME, running)
        try:
            yield contender
        finally:
            contender.close()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    which = ["--model", str(source)] if isinstance(source, Path) else ["--preset", source]
    command = [str(find_vllm()), "-m", "minigpt4_model.serving.vllm.server", *which, "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    contender = None
    try:
        until = time.monotonic() + _STARTS_WITHIN_S
        while contender is None:
            try:
                contender = ServerContender(NAME, f"http://127.0.0.1:{port}/v1")
            except BackendError as fault:
                if server.poll() is not None or time.monotonic() > until:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:]
                    raise BackendError(f"vLLM did not start ({' '.join(last)}).") from fault
                time.sleep(0.5)
        yield contender
    finally:
        if contender is not None:
            contender.close()
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()

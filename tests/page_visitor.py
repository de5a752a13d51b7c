"""A visitor of the page without a browser: speaks Gradio's own protocol, politely or not. And a server to visit."""

import io
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import PIL.Image

ROOT = Path(__file__).parents[1]


@contextmanager
def running_page(folder: Path, *flags: str, **environment: str):
    """`app.py` on the echo backend: gives its address and, as they come, the lines that it writes."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "app.py", "--backend", "echo", "--port", "0", *flags]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder), **environment}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    written = []
    try:
        for line in process.stdout:
            written.append(line)
            if found := re.match(r"Open (http://\S+)", line):
                break
        else:
            raise AssertionError(f"no page was opened:\n{''.join(written)}")
        watchdog.cancel()
        threading.Thread(target=lambda: written.extend(process.stdout), daemon=True).start()
        yield found[1], written
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(30)


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


class PageVisitor:
    """One browser: has the page's cookies, and a session for its events."""

    def __init__(self, url: str, **headers: str):
        self.http = httpx.Client(base_url=url, timeout=30, headers=headers)
        self.session = secrets.token_hex(5)

    def open(self) -> "PageVisitor":
        self.http.get("/").raise_for_status()
        self.config = self.http.get("/config").raise_for_status().json()
        self._components = {component["id"]: component.get("props", {}) for component in self.config["components"]}
        return self

    def status(self, path: str) -> int:
        return self.http.get(path).status_code

    def file_status(self, path: str) -> int:
        return self.status(f"/gradio_api/file={path}")

    def upload(self, name: str, data: bytes) -> str:
        """Where the server says that it put the file."""
        return self.http.post("/gradio_api/upload", files={"files": (name, data, "image/png")}).raise_for_status().json()[0]

    def join(self, text: str, files=()) -> httpx.Response:
        """Send a question with `files`, which are paths on the server."""
        action = self._action("box", "submit")
        data = [self._components[number].get("value") for number in action["inputs"]]
        data[1] = {"text": text, "files": [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in files]}
        return self._start(action, data)

    def begin(self) -> str:
        """Begin a conversation; gives what the server sent, as JSON text."""
        return self._result(self._start(self._action(None, "load"), ["", False]))

    def ask(self, text: str, files=()) -> str:
        """What the server sent in answer to a question in a new conversation."""
        self.begin()
        return self._result(self.join(text, files))

    def _start(self, action: dict, data: list) -> httpx.Response:
        body = {"data": data, "fn_index": action["id"], "session_hash": self.session}
        return self.http.post("/gradio_api/queue/join", json=body)

    def _result(self, started: httpx.Response) -> str:
        started.raise_for_status()
        received = []
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    received.append(line)
                    if json.loads(line[6:])["msg"] == "process_completed":
                        break
        return "\n".join(received)

    def _action(self, elem_id: str | None, event: str) -> dict:
        for action in self.config["dependencies"]:
            for target, name in action["targets"]:
                if name == event and (elem_id is None or self._components.get(target, {}).get("elem_id") == elem_id):
                    return action
        raise LookupError(f"{elem_id}.{event}")


def files_shown(received: str) -> set[str]:
    """The files that a server's events point to."""
    return set(re.findall(r'/gradio_api/file=([^"\\]+)', received))

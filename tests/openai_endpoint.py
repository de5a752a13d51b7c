"""A small OpenAI-compatible server on loopback, in place of ChatGPT or vLLM: it really parses requests and can misbehave.

    with serving() as server: ... server.base_url, server.requests

It corrects a text by leaving out sentences that it has seen, and describes a picture by its size. Given out as `troubles`, functions
that take a handler and answer in place of the next request, it is overloaded, slow or broken.
"""

import base64
import io
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image

KEY = "sk-test"


class EndpointServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, models=("mender",), key: str = "", seconds: float = 0.0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.key, self.seconds = list(models), key, seconds
        self.requests: list[dict] = []
        self.times: list[float] = []
        self.troubles: list[Callable] = []
        self.lock = threading.Lock()

    def handle_error(self, request, client_address) -> None:
        """A client that ended the connection is no fault."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def serving(**options):
    server = EndpointServer(**options)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, message: str = "not now", **headers: str) -> Callable:
    """A trouble: the request is answered with an error in OpenAI's form."""
    return lambda handler: handler.answer(code, {"error": {"message": message, "type": "x"}}, headers)


def dropped(handler) -> None:
    """A trouble: the connection ends without an answer."""
    handler.close_connection = True


def garbage(handler) -> None:
    """A trouble: a page of HTML, as a proxy gives it."""
    handler.answer(200, None, {}, b"<html>Welcome</html>")


def content(text) -> Callable:
    """A trouble: an answer whose content is `text`."""
    return lambda handler: handler.answer(200, completion(text, {"prompt_tokens": 1, "completion_tokens": 1}))


def completion(text, usage: dict, reason: str = "stop") -> dict:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion", "model": "mender", "choices": [choice], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})
        else:
            self.answer(404, {"error": {"message": f"no {self.path}"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.times.append(time.monotonic())
            trouble = self.server.troubles.pop(0) if self.server.troubles else None
        if trouble:
            trouble(self)
            return
        if self.path != "/v1/chat/completions":
            self.answer(404, {"error": {"message": f"no {self.path}"}})
        elif self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.answer(401, {"error": {"message": "Incorrect API key provided."}})
        else:
            try:
                request = parse(json.loads(body), self.server.models)
            except (ValueError, KeyError, TypeError) as error:
                self.answer(400, {"error": {"message": f"bad request: {error}"}})
                return
            with self.server.lock:
                self.server.requests.append(request)
            time.sleep(self.server.seconds)
            text = reply(request)
            words = sum(len(message["text"].split()) for message in request["messages"])
            self.answer(200, completion(text, {"prompt_tokens": words, "completion_tokens": len(text.split())}))

    def answer(self, code: int, value, headers=None, data: bytes | None = None) -> None:
        data = data if data is not None else json.dumps(value).encode()
        self.send_response(code)
        for name, told in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name.replace("_", "-"), told)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


def parse(body: dict, models: list[str]) -> dict:
    """The request with its pictures opened; raises for anything that OpenAI's interface does not have."""
    unknown = set(body) - {"model", "messages", "max_tokens", "temperature", "top_p", "seed"}
    if unknown:
        raise ValueError(f"unknown fields {unknown}")
    if body["model"] not in models:
        raise ValueError(f"no model {body['model']}")
    messages = []
    for message in body["messages"]:
        if message["role"] not in ("system", "user", "assistant"):
            raise ValueError(f"role {message['role']}")
        parts = message["content"]
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        told = {"role": message["role"], "text": "", "pictures": []}
        for part in parts:
            if part["type"] == "text":
                told["text"] += part["text"]
            elif part["type"] == "image_url":
                head, _, data = part["image_url"]["url"].partition(",")
                if head != "data:image/jpeg;base64":
                    raise ValueError(head)
                told["pictures"].append(PIL.Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
            else:
                raise ValueError(part["type"])
        messages.append(told)
    return {**body, "messages": messages}


def reply(request: dict) -> str:
    """A description of a picture, more of it after "Continue", or the last paragraph without the sentences that come again."""
    first, last = request["messages"][0], request["messages"][-1]
    if first["pictures"]:
        sizes = " and ".join(f"{picture.width} by {picture.height}" for picture in first["pictures"])
        return "There is more." if last["text"] == "Continue" else f"A picture of {sizes} pixels."
    sentences = re.split(r"(?<=[.!?])\s+", last["text"].split("\n\n")[-1].strip())
    return " ".join(dict.fromkeys(sentences))

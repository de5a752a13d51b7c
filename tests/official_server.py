"""A server of files on this machine that behaves as those do that the full-size presets come from, and can be made to misbehave.

Files are served with lengths, ETags and ranges; a repository of the Hub answers its list of files and their contents. What misbehaves is
told by `Server`'s fields; every request is written down.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Server:
    """`files` by path. `breaks`: after so many bytes each next answer breaks off, once for every number in the list."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)  # each next request is answered with one of them instead
    statuses_for: dict[str, int] = field(default_factory=dict)  # every request of a path
    redirects: dict[str, str] = field(default_factory=dict)
    web_page: bool = False
    ignores_range: bool = False
    error_code: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def add_repository(
        self, name: str, revision: str, directory: Path, large: tuple[str, ...] = (".safetensors", ".bin", ".model")
    ) -> None:
        """A Hub repository of a folder's files; those with a `large` ending have a sha256, the others Git's hash."""
        entries = []
        for path in sorted(directory.iterdir()):
            data = path.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry = {"type": "file", "path": path.name, "size": len(data), "oid": git}
            if path.name.endswith(large):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
            entries.append(entry)
            self.files[f"/{name}/resolve/{revision}/{path.name}"] = data
        entries.append({"type": "directory", "path": "more", "size": 0, "oid": "0" * 40})
        self.files[f"/api/models/{name}/tree/{revision}"] = json.dumps(entries).encode()

    def sent(self, path: str) -> list[dict[str, str]]:
        """The headers of every request of a path."""
        return [headers for asked, headers in self.requests if asked == path]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            """Tests read `Server.requests`."""

        def do_GET(self):
            path = self.path.split("?")[0]
            server.requests.append((path, dict(self.headers)))
            if path in server.redirects:
                return self._answer(302, b"", {"Location": server.redirects[path]})
            if server.statuses or path in server.statuses_for:
                status = server.statuses.pop(0) if server.statuses else server.statuses_for[path]
                return self._answer(status, b"no", {"X-Error-Code": server.error_code, "Retry-After": "0"})
            if server.web_page:
                return self._answer(200, b"<!DOCTYPE html><p>Quota exceeded", {"Content-Type": "text/html; charset=utf-8"})
            if path not in server.files:
                return self._answer(404, b"")
            return self._serve(server.files[path])

        def _serve(self, data: bytes):
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            headers, wanted = {"ETag": tag, "Content-Type": "application/octet-stream"}, self.headers.get("Range")
            if not wanted or server.ignores_range or self.headers.get("If-Range", tag) != tag:
                return self._answer(200, data, headers)
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(data):
                return self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._answer(206, data[start:], headers)

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None):
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            breaks_off = status in (200, 206) and server.breaks and len(body) > server.breaks[0]
            self.wfile.write(body[: server.breaks.pop(0)] if breaks_off else body)
            self.wfile.flush()
            if breaks_off:
                self.close_connection = True

    return Handler


class _Running(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what some tests are about."""


@contextmanager
def serving() -> Iterator[Server]:
    """A running server, on an address of the loopback."""
    server = Server()
    running = _Running(("127.0.0.1", 0), _handler(server))
    running.daemon_threads = True
    server.address = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()
        thread.join()

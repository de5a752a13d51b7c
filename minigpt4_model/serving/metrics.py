"""What the server did, in numbers for Prometheus: a watcher of the backend, a middleware for the requests, and `/metrics`.

No number is about one visitor, and no label has a visitor's words. Each `Metrics` has a registry of its own.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable

import fastapi
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..chat.backends.base import Answer, BackendDescription
from ..chat.settings import GenerationSettings

# When each counter began is when the server did: process_start_time_seconds.
disable_created_metrics()

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# Requests are counted by these groups of paths, of which there are few.
_ROUTES = (
    ("page", re.compile(r"/|/config")),
    ("question", re.compile(r"/gradio_api/(queue/join|(call|run|api)/.*)")),
    ("upload", re.compile(r"/gradio_api/upload")),
    ("picture", re.compile(r"/gradio_api/file=.*")),
    ("login", re.compile(r"/login/?")),
    ("api", re.compile(r"/v1/.*")),
    ("health", re.compile(r"/healthz|/metrics")),
)


class Metrics:
    """Counters of one server. A watcher of its backend; `add_gauge` adds what is looked up when somebody asks."""

    def __init__(self, about: BackendDescription):
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"minigpt4_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"minigpt4_{name}_seconds", text, buckets=_SECONDS, registry=registry)

        Gauge("minigpt4_model_info", "What answers.", ("model", "device"), registry=registry).labels(about.name, about.device).set(1)
        self._answers = counter("answers", "Answers by how they ended: stop, length, guard, cancelled or failed.", "ended")
        self._tokens = counter("tokens", "Tokens: of prompts, of them those of pictures and those reused, and of answers.", "kind")
        self._in_progress = Gauge("minigpt4_answers_in_progress", "Answers being written or waited for.", registry=registry)
        self._encode = histogram("encode", "From a picture to its tokens; pictures that are remembered take none.")
        self._first_token = histogram("first_token", "From the question to the first token.")
        self._decode = histogram("decode", "From the first token to the last.")
        self._requests = counter("http_requests", "Requests by group of paths and status.", "route", "status")
        for ended in ("stop", "length", "guard", "cancelled", "failed"):
            self._answers.labels(ended)

    def add_gauge(self, name: str, text: str, look: Callable[[], float]) -> None:
        Gauge(f"minigpt4_{name}", text, registry=self.registry).set_function(look)

    def asked(self, messages: list[dict], settings: GenerationSettings) -> None:
        self._in_progress.inc()

    def answered(self, messages: list[dict], settings: GenerationSettings, answer: Answer, fault: Exception | None) -> None:
        self._in_progress.dec()
        self._answers.labels("failed" if fault else answer.finish_reason or "cancelled").inc()
        usage, timings = answer.usage, answer.timings
        for kind, count in (
            ("prompt", usage.prompt_tokens),
            ("image", usage.image_tokens),
            ("reused", usage.reused_tokens),
            ("completion", usage.completion_tokens),
        ):
            self._tokens.labels(kind).inc(count)
        if timings.encode_s:
            self._encode.observe(timings.encode_s)
        if usage.completion_tokens:
            self._first_token.observe(timings.ttft_s)
            self._decode.observe(timings.decode_s)

    def count_request(self, path: str, status: int) -> None:
        route = next((name for name, pattern in _ROUTES if pattern.fullmatch(path)), "other")
        self._requests.labels(route, status).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


class CountRequests:
    """ASGI middleware that counts every request when its answer begins."""

    def __init__(self, app, metrics: Metrics):
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope, receive, send):
        async def send_counted(message):
            if message["type"] == "http.response.start":
                self._metrics.count_request(scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, send_counted if scope["type"] == "http" else send)


def add_metrics_route(server: fastapi.FastAPI, metrics: Metrics, token: str | None, this_machine: bool) -> None:
    """`/metrics`, for who brings `token` as a bearer's; with `this_machine`, for this machine's own programs without one, too."""

    @server.get("/metrics")
    def read_metrics(request: fastapi.Request) -> fastapi.Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
        if not known and not (this_machine and _is_this_machine(request)):
            raise fastapi.HTTPException(404)
        return fastapi.Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _is_this_machine(request: fastapi.Request) -> bool:
    """Whether the request comes from this machine and through no proxy on it that says for whom."""
    if request.client is None or any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False

"""What stands in front of everything that a server serves, page and API alike: who asks, how much they may, and what is told of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import fastapi

from ..chat.backends.base import Backend
from .accounts import Accounts
from .api_door import ApiDoor
from .headers import SecurityHeaders
from .health import Check, add_health_route
from .known_hosts import KnownHosts
from .limits import Limits, RateLimit
from .metrics import CountRequests, Metrics, add_metrics_route
from .visitors import Visitors
from .watched import WatchedBackend, Watcher
from .watchers import LimitsWatcher


@dataclass
class Front:
    """How an operator runs a server. `questions` counts what each address asks: page and API share it.

    Without `metrics` there is no `/metrics`. `metrics_here`: this machine's own programs may read it without `metrics_token`.
    `api_has_keys`: the API at /v1 lets in who has a key, so that it need not ask for an account as the page does.
    `allowed_hosts`: only who calls the server by this machine's name, or by one of these, is answered; None answers everybody.
    `watchers` are told of every question and answer, apart from the limits and the metrics. `notice` is told to every visitor.
    """

    limits: Limits = field(default_factory=Limits)
    accounts: Accounts | None = None
    metrics: Metrics | None = None
    metrics_token: str | None = None
    metrics_here: bool = True
    watchers: Sequence[Watcher] = ()
    notice: str = ""
    api_has_keys: bool = False
    allowed_hosts: Sequence[str] | None = None
    checks: list[Check] = field(default_factory=list)

    def __post_init__(self):
        self.questions = RateLimit(self.limits.questions_per_minute)

    def watched(self, backend: Backend) -> WatchedBackend:
        """`backend` within the limits, counted, and told to the watchers."""
        watchers = [LimitsWatcher(self.limits), *([self.metrics] if self.metrics else []), *self.watchers]
        return WatchedBackend(backend, watchers, self.limits.max_answer_tokens)

    def add_routes(self, server: fastapi.FastAPI) -> None:
        """`/healthz` and `/metrics`."""
        add_health_route(server, self.checks)
        if self.metrics:
            add_metrics_route(server, self.metrics, self.metrics_token, self.metrics_here)

    def add_middleware(self, server: fastapi.FastAPI) -> None:
        """What sees every request first. To be called after all other middleware is added: the last one added is the outermost."""
        server.add_middleware(ApiDoor, questions=self.questions, accounts=None if self.api_has_keys else self.accounts)
        server.add_middleware(Visitors)
        if self.metrics:
            server.add_middleware(CountRequests, metrics=self.metrics)
        server.add_middleware(SecurityHeaders)
        if self.allowed_hosts is not None:
            server.add_middleware(KnownHosts, names=self.allowed_hosts)

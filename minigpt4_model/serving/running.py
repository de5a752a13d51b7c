"""Running an application on a socket: on loopback and without a tunnel unless asked otherwise. Knows nothing of what is served."""

import logging
import os
import secrets
import socket
import threading

import fastapi
import uvicorn

logger = logging.getLogger(__name__)


def serve(server: fastapi.FastAPI, listener: socket.socket, share: bool = False) -> None:
    """Serve until interrupted. The last line printed is the page's address."""
    host, port = listener.getsockname()[:2]
    # Answers in progress hold their connections: they are cut when the server is interrupted.
    config = uvicorn.Config(server, log_level="warning", timeout_graceful_shutdown=1, forwarded_allow_ips=_trusted_proxies())
    announcing = _AnnouncingServer(config, host, port, share)
    # Being cut short at the end is no fault of theirs, and not worth a page of traceback.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not announcing.should_exit)
    announcing.run(sockets=[listener])


def _trusted_proxies() -> str | None:
    """Whom to believe for whom they ask: FORWARDED_ALLOW_IPS, on a Space the Hub's proxies, else (None) this machine's own."""
    if os.environ.get("SPACE_ID") and "FORWARDED_ALLOW_IPS" not in os.environ:
        return "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
    return None


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, host: str, port: int, share: bool):
        super().__init__(config)
        self._host, self._port, self._share = host, port, share

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets=sockets)
        if self._share:
            threading.Thread(target=_open_tunnel, args=(self._port,), daemon=True).start()
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, f"[{self._host}]" if ":" in self._host else self._host)
        print(f"Open http://{reachable}:{self._port}", flush=True)


def _open_tunnel(port: int) -> None:
    from gradio.networking import setup_tunnel

    try:
        address = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except Exception as fault:
        logger.error("--share: no public address could be opened (%s). The page is served locally.", fault)
    else:
        print(f"Anybody with this address can use the page: {address}", flush=True)

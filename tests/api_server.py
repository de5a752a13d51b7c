"""The API on loopback, for tests: a real server in a thread, over any backend.

with serving(EchoBackend()) as server: server.url, server.client(), server.gate
"""

import socket
import threading
import time
from contextlib import contextmanager

import fastapi
import uvicorn

from minigpt4_model.serving.api import ApiOptions, add_api


class ApiServer:
    def __init__(self, port: int, stop):
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"
        self.stop = stop  # dies as a killed server does: what is open is cut

    def client(self, key: str = "none"):
        import openai

        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=60)


@contextmanager
def serving(backend, options: ApiOptions | None = None, port: int = 0):
    """Serves `backend` until the block ends. Raises if the server does not start."""
    application = fastapi.FastAPI()
    add_api(application, backend, options)
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_until(lambda: server.started)

    def stop() -> None:
        server.should_exit = server.force_exit = True
        thread.join(30)
        listener.close()

    try:
        yield ApiServer(listener.getsockname()[1], stop)
    finally:
        stop()


def wait_until(condition, seconds: float = 30.0) -> None:
    """Waits for `condition()`; fails the test when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)

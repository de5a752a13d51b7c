"""Headless Chromium on a page that runs in a process of its own. Every page must stay free of script errors and foreign requests."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def running(command: list[str], folder: Path, seconds: float = 120):
    """The address that `command` prints when its page is open. The process ends with the block."""
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder), "HF_HUB_OFFLINE": "1", "GRADIO_IS_E2E_TEST": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := re.match(r"Open (http://\S+)", line):
                break
        else:
            pytest.fail(f"{' '.join(command)} opened no page:\n{''.join(lines)}")
        watchdog.cancel()
        # What it logs later must not fill the pipe.
        threading.Thread(target=lambda: [lines.append(line) for line in process.stdout], daemon=True).start()
        yield found.group(1)
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(20)
    assert not faults("".join(lines)), "".join(lines)


def faults(printed: str) -> list[str]:
    """What a server printed with a traceback, but for Gradio's own race: a stream whose visitor went away in that moment answers 404."""
    said = [report for report in re.split(r"^(?=ERROR: )", printed, flags=re.MULTILINE) if "Traceback" in report]
    return [report for report in said if not ("in sse_stream" in report and "HTTPException: 404: Not Found" in report)]


@pytest.fixture(scope="session")
def echo_url(tmp_path_factory):
    with running([sys.executable, "-m", "tests.browser.echo_app", "0.02"], tmp_path_factory.mktemp("echo")) as url:
        yield url


@pytest.fixture(scope="session")
def slow_echo_url(tmp_path_factory):
    with running([sys.executable, "-m", "tests.browser.echo_app", "0.25"], tmp_path_factory.mktemp("slow-echo")) as url:
        yield url


@pytest.fixture
def visit(chromium):
    """`visit(url, **context options)` opens the page as a visitor of their own and waits until it is ready."""
    contexts, troubles = [], []

    def watch(page, url):
        def note_request(request):
            if not request.url.startswith((url, "data:", "blob:")):
                troubles.append(f"asked {request.url}")

        page.on("pageerror", lambda error: troubles.append(f"script error: {error}"))
        page.on("request", note_request)

    def visit(url, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        watch(page, url)
        # A busy machine takes a minute for the page's scripts; what happens on the page afterwards is quick.
        page.goto(url, timeout=120_000)
        page.wait_for_selector("#app-ready", state="attached", timeout=120_000)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not troubles

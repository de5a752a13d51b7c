"""How long it takes until something answers, and the memory for it, each time in a new process: `measure_start`."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from ..chat.backends.base import BackendError
from ..weights.pocket import REPOSITORY
from .contenders import OURS, TORCH

_ENGINES = {OURS: "auto", TORCH: "torch"}
_LONGEST_S = 300
_LOAD = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from minigpt4_model import load_engine
from minigpt4_model.chat.messages import question
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.evaluation.bench import default_picture
from minigpt4_model.evaluation.bench_train import peak_rss
source, is_folder, engine = json.loads(sys.argv[1])
engine = load_engine(Path(source) if is_folder else source, engine=engine)
loaded = time.perf_counter() - start
engine.answer([question("What is this?", [default_picture()])], GenerationSettings(temperature=0.0, max_new_tokens=8))
print(json.dumps([loaded, peak_rss() / 2**20]))
"""


def measure_start(figures, source: str | Path, rounds: int) -> None:
    """Adds "load" (seconds until an engine can answer, imports included), "memory" (MB at most, one answer included) and "ready"
    (seconds until the page answers) to `figures`, after a round that does not count."""
    for counts in figures.measuring("start", rounds):
        for who, engine in _ENGINES.items():
            loaded, memory = _load(source, engine)
            ready = _page(source, engine)
            if counts:
                figures.add("load", who, loaded)
                figures.add("memory", who, memory)
                figures.add("ready", who, ready)


def _load(source: str | Path, engine: str) -> tuple[float, float]:
    asked = json.dumps([str(source), isinstance(source, Path), engine])
    ran = subprocess.run([sys.executable, "-c", _LOAD, asked], cwd=REPOSITORY, capture_output=True, text=True, timeout=_LONGEST_S)
    if ran.returncode:
        raise BackendError(f"An engine could not be started:\n{ran.stderr[-2000:]}")
    loaded, memory = json.loads(ran.stdout.splitlines()[-1])
    return loaded, memory


def _page(source: str | Path, engine: str) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    named = ["--model", str(source)] if isinstance(source, Path) else ["--preset", source]
    command = [sys.executable, "app.py", *named, "--engine", engine, "--port", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    page = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(port):
            if page.poll() is not None or time.perf_counter() - start > _LONGEST_S:
                raise BackendError("The page did not open.")
            time.sleep(0.05)
        return time.perf_counter() - start
    finally:
        page.terminate()
        page.wait(60)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False

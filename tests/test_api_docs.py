"""What docs/api.md promises: its commands are commands, its Python runs, its curl gets an answer."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import app
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving import serve
from tests.api_server import serving

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "api.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


def block(language: str, holding: str) -> str:
    (found,) = [text for name, text in BLOCKS if name == language and holding in text]
    return found


def at(server, text: str) -> str:
    """The example as it is for this test's server."""
    return text.replace("http://127.0.0.1:8000/v1", server.url).replace("pocket", "echo")


def test_commands_are_commands():
    shell = [line for name, text in BLOCKS if name == "bash" for line in text.splitlines() if ".venv/bin/python" in line]
    lines = [shlex.split(line, comments=True) for line in shell]
    verbs = [line[4:] for line in lines if line[1:4] == ["-m", "minigpt4_model", "serve"]]
    pages = [line[line.index("app.py") + 1 :] for line in lines if "app.py" in line]
    assert len(verbs) >= 2 and len(pages) >= 3
    for flags in verbs:
        serve.build_parser().parse_args(flags)  # a wrong flag ends the program
    for flags in pages:
        app.build_parser().parse_args(flags)


def test_the_python_example_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with serving(EchoBackend()) as server:
        exec(compile(at(server, block("python", "from openai")), "docs/api.md", "exec"), {})
    assert capsys.readouterr().out == "I received 1 picture (512x512) and 1 earlier question. You said: Which colour does it have?"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_example_runs():
    with serving(EchoBackend()) as server:
        script = at(server, block("bash", "curl -N"))
        told = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    assert '"object":"list"' in told and '"content":" picture"' in told and told.rstrip().endswith("data: [DONE]")

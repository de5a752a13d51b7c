"""Flags of app.py, what importing it costs, and the server that it starts."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from minigpt4_model.chat import ask
from minigpt4_model.chat.backends.flags import LOADING, model_named
from minigpt4_model.evaluation import bench
from minigpt4_model.serving import serve
from minigpt4_model.serving.operator_flags import flags_from_environment
from minigpt4_model.ui.demo_questions import load_demo_questions

ROOT = Path(__file__).parents[1]


def test_the_defaults_are_pocket_on_loopback_without_a_tunnel(monkeypatch):
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    args = app.build_parser().parse_args([])
    assert (args.preset, args.backend, args.host, args.port, args.share) == ("pocket", "torch", "127.0.0.1", 7860, False)
    assert (args.load_in_8bit, args.load_in_4bit, args.model, args.base_url) == (False, False, None, None)


def test_a_space_says_where_to_listen(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7861")
    args = app.build_parser().parse_args([])
    assert (args.host, args.port) == ("0.0.0.0", 7861)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--load-in-8bit", "--load-in-4bit"], "--load-in-4bit"),
        (["--backend", "openai"], "--base-url"),
        (["--base-url", "http://127.0.0.1:1/v1"], "--base-url"),
        (["--preset", "pockett"], "--preset"),
        (["--port", "many"], "--port"),
        (["--backend", "echo", "--port", "70000"], "--port"),
        (["--backend", "echo", "--host", "192.0.2.1"], "--host"),
    ],
)
def test_flags_that_cannot_be_are_named(flags, told, capsys):
    try:
        code = app.main(flags)
    except SystemExit as leaving:
        code = leaving.code
    assert code in (1, 2)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("owner", [app, serve], ids=["page", "serve"])
def test_the_command_line_wins_over_the_environment(owner, monkeypatch):
    parser = owner.build_parser()
    given = {"MINIGPT4_PRESET": "vicuna-7b", "MINIGPT4_LOAD_IN_8BIT": "0", "MINIGPT4_DTYPE": "auto", "MINIGPT4_PORT": "1234"}
    args = parser.parse_args([*flags_from_environment(parser, given), "--model", "mine", "--load-in-4bit", "--port", "0"])
    assert model_named(args) == "mine" and args.load_in_4bit and not args.load_in_8bit and args.port == 0
    assert model_named(parser.parse_args(flags_from_environment(parser, given))) == "preset vicuna-7b"


@pytest.mark.parametrize("owner", [serve, ask, bench], ids=["serve", "ask", "bench"])
def test_the_model_is_chosen_by_the_same_flags_everywhere(owner):
    def told(parser):
        return {action.dest: (action.option_strings, action.choices, action.help) for action in parser._actions}

    page, other = told(app.build_parser()), told(owner.build_parser())
    wanted = ("preset", "model", *LOADING)
    assert {name: other[name] for name in wanted} == {name: page[name] for name in wanted}


def test_a_port_in_use_is_told_before_anything_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 1
    told = capsys.readouterr()
    assert f"--port {port}" in told.err and "Loading" not in told.out


@pytest.fixture
def unloaded(monkeypatch):
    """What was loaded: a fault that is told in time leaves it empty."""
    loaded = []
    monkeypatch.setattr(app, "_open_backend", loaded.append)
    return loaded


def test_a_fault_in_the_demo_questions_is_told_before_anything_is_loaded(monkeypatch, tmp_path, capsys, unloaded):
    questions = tmp_path / "demo_questions.txt"
    monkeypatch.setattr(load_demo_questions, "__defaults__", (questions, tmp_path))
    for content, told in [(b"apple.png What is it?", "line 1"), (b"# \xff", "UTF-8")]:
        questions.write_bytes(content)
        assert app.main(["--port", "0"]) == 1
        err = capsys.readouterr().err
        assert str(questions) in err and told in err
    assert unloaded == []


def test_a_folder_for_uploads_that_cannot_be_is_told_before_anything_is_loaded(monkeypatch, tmp_path, capsys, unloaded):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "folder"))
    assert app.main(["--port", "0"]) == 1
    assert "GRADIO_TEMP_DIR" in capsys.readouterr().err and unloaded == []


def test_a_full_disk_is_told_before_anything_is_loaded(monkeypatch, tmp_path, capsys, unloaded):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(app.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    assert app.main(["--port", "0"]) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path}: 5 MB are free there" in err and "another disk" in err and unloaded == []


def test_ctrl_c_while_loading_ends_quietly(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "_open_backend", interrupted)
    assert app.main(["--port", "0"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_importing_and_help_load_nothing_heavy():
    script = (
        "import sys, app\n"
        "try: app.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'gradio', 'transformers', 'fastapi') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--load-in-4bit" in done.stdout and "--no-share" in done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads") / "made" / "when needed"
    command = [sys.executable, "-X", "importtime", "app.py", "--backend", "echo", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "GRADIO_TEMP_DIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    noise = []
    threading.Thread(target=lambda: noise.extend(process.stderr), daemon=True).start()
    line = process.stdout.readline()
    assert line.startswith("Open http://127.0.0.1:"), line
    yield line.split()[1], noise
    process.terminate()
    assert process.wait(20) == 0
    assert list(folder.iterdir()) == []  # what visitors uploaded is gone


def test_health_and_headers(served):
    url, _ = served
    with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
        assert json.load(answer) == {"status": "ok"}
    with urllib.request.urlopen(url, timeout=10) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "object-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_echo_backend_needs_no_torch(served):
    _, noise = served
    imported = {line.rsplit("|", 1)[-1].strip() for line in noise if line.startswith("import time:")}
    assert "gradio" in imported
    assert not imported & {"torch", "transformers", "timm"}


def test_of_the_page_only_the_question_is_a_public_endpoint(served):
    url, _ = served
    with urllib.request.urlopen(f"{url}/gradio_api/info", timeout=10) as answer:
        assert set(json.load(answer)["named_endpoints"]) == {"/ask"}


def test_gradios_client_asks_about_a_picture(served):
    url, _ = served
    client = Client(url, verbose=False)
    picture = handle_file(str(ROOT / "minigpt4_model" / "ui" / "examples" / "cat.png"))
    answer = client.predict("What is this?", [picture], "", api_name="/ask")
    assert answer == "I received 1 picture (512x512) and 0 earlier questions. You said: What is this?"
    assert client.predict("And without?", None, "Be short.", api_name="/ask").startswith("I received 0 pictures")
    with pytest.raises(AppError, match="not a picture"):
        client.predict("What is this?", [handle_file(__file__)], "", api_name="/ask")


def test_the_api_is_beside_the_page(served):
    url, _ = served
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content.endswith("You said: hello")


@pytest.mark.parametrize("path", ["/gradio_api/file=/etc/passwd", "/gradio_api/file=app.py", "/gradio_api/file=pyproject.toml"])
def test_files_of_the_machine_are_not_served(served, path):
    url, _ = served
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url + path, timeout=10)
    assert refused.value.code in (403, 404)

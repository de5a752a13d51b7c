"""API keys and the verb: where keys come from, what a wrong one gets, and that they show up nowhere."""

import json
import logging
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving import serve
from minigpt4_model.serving.access import ApiKeys, load_keys
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving

ROOT = Path(__file__).parents[1]


def test_keys_come_from_the_flag_and_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\nsk-file\n\n  sk-blank  \n")
    assert load_keys(["sk-flag"], file) == ["sk-flag", "sk-file", "sk-blank"]
    assert load_keys() == []


def test_a_file_without_a_key_does_not_open_the_door(tmp_path):
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    for name, told in [("empty", "holds no key"), ("odd", "UTF-8"), ("missing", "No such file")]:
        with pytest.raises(ValueError, match=f"--api-key-file .*{name}.*{told}"):
            load_keys(file=tmp_path / name)
    for key in ("", "two words", "schlüssel"):
        with pytest.raises(ValueError, match="API key"):
            load_keys([key])


@pytest.mark.parametrize(
    ("header", "right"),
    [
        (b"Bearer sk-a", True),
        (b"bearer  sk-b ", True),
        (b"Bearer sk-c", False),
        (b"Bearer sk-a sk-b", False),
        (b"Basic sk-a", False),
        (b"Bearer ", False),
        (b"", False),
        (None, False),
    ],
)
def test_which_header_lets_in(header, right):
    assert (ApiKeys(["sk-a", "sk-b"]).complaint(header) == "") is right
    assert ApiKeys([]).complaint(header) == ""


def test_a_wrong_key_gets_401_everywhere_but_for_the_description(caplog):
    caplog.set_level(logging.DEBUG)
    options = ApiOptions(keys=("sk-right-key",))
    with serving(EchoBackend(), options) as server:
        assert server.client("sk-right-key").models.list().data[0].id == "echo"
        for key in ("sk-wrong-key", "sk-right-ke"):
            with pytest.raises(openai.AuthenticationError) as fault:
                server.client(key).chat.completions.create(model="echo", messages=[{"role": "user", "content": "x"}])
            assert fault.value.code == "invalid_api_key" and key not in str(fault.value)
        for path in ("/models", "/models/echo", "/nothing", "/openapi.json/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(server.url + path, timeout=10)
            assert refused.value.code == 401 and refused.value.headers["WWW-Authenticate"] == "Bearer"
        with urllib.request.urlopen(server.url + "/openapi.json", timeout=10) as answer:
            description = json.load(answer)
    assert description["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "openai"))]  # the client's are its own
    assert "-key" not in repr(options) and not any("-key" in record.getMessage() for record in ours)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--max-waiting", "0"], "--max-waiting"),
        (["--auth", "nobody"], "--auth"),
        (["--api-key-file", "no/such/file"], "--api-key-file"),
        (["--backend", "openai"], "--base-url"),
        (["--base-url", "http://127.0.0.1:1/v1"], "--base-url"),
        (["--port", "70000"], "--port"),
        (["--host", "192.0.2.1"], "--host"),
    ],
)
def test_flags_that_cannot_be_are_named(flags, told, capsys):
    try:
        code = serve.main([*([] if "openai" in flags else ["--backend", "echo"]), *flags])
    except SystemExit as leaving:
        code = leaving.code
    assert code in (1, 2) and told in capsys.readouterr().err


def test_the_verb_serves_the_api_alone_without_torch_or_gradio():
    command = [sys.executable, "-X", "importtime", "-m", "minigpt4_model", "serve", "--backend", "echo", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "MINIGPT4_API_KEY": "sk-env"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:"), line
        url = line.split()[1]
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
            assert json.load(answer) == {"status": "ok"}
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-env", max_retries=0)
        answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
        assert answer.choices[0].message.content.endswith("You said: hello")
    finally:
        process.terminate()
        noise = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    imported = {line.rsplit("|", 1)[-1].strip() for line in noise.splitlines() if line.startswith("import time:")}
    assert "fastapi" in imported
    assert not imported & {"torch", "transformers", "timm", "gradio"}

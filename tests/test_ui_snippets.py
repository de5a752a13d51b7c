"""Questions as code: the code is run, and asks what was asked."""

import base64
import json
import os
import subprocess

import pytest

import minigpt4_model
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.snippets import AskedTurn, curl_snippet, python_snippet

TRICKY = 'It\'s "$HOME" `id` $(id) \\ \\n \\$x {x} %s @picture-0@\nREQUEST\n是 \N{CAT FACE} \x00'
TURNS = [AskedTurn(TRICKY, ("my cat's $x.jpg", "b.png"), "An answer\\"), AskedTurn("@picture-0@"), AskedTurn("And this?", ("c.webp",))]
SETTINGS = GenerationSettings(temperature=0.2, max_new_tokens=50, seed=7)


def test_the_python_asks_what_was_asked(monkeypatch, capsys):
    asked = []

    class Engine:
        def generate(self, messages, settings):
            asked.append((messages, settings))
            return "said"

    monkeypatch.setattr(minigpt4_model, "load_engine", lambda model: asked.append(model) or Engine(), raising=False)
    exec(python_snippet("a 'model'", TURNS, SETTINGS), {})
    assert capsys.readouterr().out == "said\n"
    model, (messages, settings) = asked
    assert model == "a 'model'" and settings == SETTINGS
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "user"]
    assert messages[0]["content"] == [
        {"type": "image", "image": "my cat's $x.jpg"},
        {"type": "image", "image": "b.png"},
        {"type": "text", "text": TRICKY},
    ]
    assert messages[1]["content"] == "An answer\\"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_shell_sends_what_was_asked(tmp_path, shell):
    """With a `curl` that writes down what it is given."""
    curl = tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > arguments\ncat > body\n')
    curl.chmod(0o755)
    for name in ("my cat's $x.jpg", "b.png", "c.webp"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    snippet = curl_snippet("http://127.0.0.1:7860/", "pocket", TURNS, SETTINGS)
    subprocess.run([shell, "-c", snippet], cwd=tmp_path, env={"PATH": f"{curl.parent}:{os.environ['PATH']}"}, check=True, timeout=30)
    assert (tmp_path / "arguments").read_text().splitlines()[0] == "http://127.0.0.1:7860/v1/chat/completions"
    request = json.loads((tmp_path / "body").read_text())
    assert request["model"] == "pocket" and request["max_tokens"] == 50 and request["temperature"] == 0.2 and request["seed"] == 7
    first, answered, second, third = request["messages"]
    assert first["content"][2] == {"type": "text", "text": TRICKY}
    assert answered == {"role": "assistant", "content": "An answer\\"}
    assert second["content"] == [{"type": "text", "text": "@picture-0@"}]
    kind, _, data = first["content"][0]["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(data) == b"my cat's $x.jpg" * 1000
    assert third["content"][0]["image_url"]["url"].startswith("data:image/webp;base64,")

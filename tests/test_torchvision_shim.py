"""A torchvision built for CUDA beside a torch without it must not keep the models from being imported."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from minigpt4_model.model import torchvision_shim

IMPORTS = """
import minigpt4_model.model
import timm
from transformers import Blip2QFormerModel
print(timm.models.eva.Eva.__name__, Blip2QFormerModel.__name__)
"""


@pytest.fixture
def declared(monkeypatch):
    """The schemas that the shim declares instead of telling torch, as if it had not run yet."""
    schemas = []
    monkeypatch.setattr(torchvision_shim, "_library", None)
    monkeypatch.setattr(torch.library, "Library", lambda *_: SimpleNamespace(define=schemas.append))
    return schemas


@pytest.fixture
def torchvision_version(tmp_path, monkeypatch):
    """Pretends that a torchvision with this version file is installed."""

    def pretend(version: str) -> None:
        (tmp_path / "version.py").write_text(f"__version__ = '{version}'\ngit_version = 'abc'\n")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))

    return pretend


def test_timm_and_transformers_can_be_imported_after_the_model():
    run = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["Eva", "Blip2QFormerModel"]


def test_declares_the_operators_once_for_a_cuda_torchvision_on_cpu_torch(declared, torchvision_version, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    torchvision_version("0.28.0+cu130")
    torchvision_shim.define_missing_torchvision_ops()
    torchvision_shim.define_missing_torchvision_ops()
    assert [schema.split("(")[0] for schema in declared] == ["nms", "qnms"]


def test_nothing_is_declared_when_torch_has_cuda(declared, torchvision_version, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    torchvision_version("0.28.0+cu130")
    torchvision_shim.define_missing_torchvision_ops()
    assert declared == []


@pytest.mark.parametrize("version", ["0.28.0+cpu", "0.28.0"])
def test_nothing_is_declared_for_a_cpu_torchvision(declared, torchvision_version, monkeypatch, version):
    monkeypatch.setattr(torch.version, "cuda", None)
    torchvision_version(version)
    torchvision_shim.define_missing_torchvision_ops()
    assert declared == []


def test_nothing_is_declared_without_torchvision(declared, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    torchvision_shim.define_missing_torchvision_ops()
    assert declared == []

"""Imports point downward only, and what must start fast imports nothing heavy."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import minigpt4_model

ROOT = Path(__file__).parents[1]
PACKAGE = "minigpt4_model"
# The height of each part; an import may only go to a lower one. The package itself and `__main__` are seen from everywhere and nowhere.
# Curation stands on top: its annotation page has the look and the server of `ui`; the page's server runs as `serving` runs it.
HEIGHT = {"presets": 0, "model": 1, "weights": 2, "chat": 3, "training": 4, "serving": 4, "ui": 5, "evaluation": 5, "curation": 6}
HEAVY = {"torch", "torchvision", "transformers", "timm", "accelerate", "bitsandbytes"}

FILES = sorted((ROOT / PACKAGE).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, tree: ast.AST) -> list[tuple[int, str]]:
    """(line, module of this package) for every import in a file, wherever it stands in it."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            target = ".".join(filter(None, [base, node.module]))
            if target == PACKAGE:  # `from minigpt4_model import x`: x is a part, or a name that the package fetches from one
                found += [(node.lineno, minigpt4_model._LAZY.get(alias.name, f"{PACKAGE}.{alias.name}")) for alias in node.names]
            else:
                found.append((node.lineno, target))
    return [(line, target) for line, target in found if target.split(".")[0] == PACKAGE]


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def upward(path: Path, source: str) -> list[str]:
    """The imports of a file that do not point downward, in words."""
    own = part(module_name(path))
    if own not in HEIGHT:
        return []
    return [
        f"{path.relative_to(ROOT)}:{line} {own} -> {target}"
        for line, target in imports(path, ast.parse(source))
        if (other := part(target)) in HEIGHT and other != own and HEIGHT[other] >= HEIGHT[own]
    ]


def test_every_part_has_its_height():
    assert {part(module_name(path)) for path in FILES} - {"", "__main__"} <= set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downward(path):
    assert upward(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "place, line, wrong",
    [
        ("chat/x.py", "from ..ui.page import build", True),
        ("chat/x.py", "from ..presets import PRESETS", False),
        ("chat/backends/x.py", "from ...weights.errors import WeightsError", False),
        ("chat/backends/__init__.py", "from ...serving import x", True),
        ("model/x.py", "import minigpt4_model.weights.load", True),
        ("model/__init__.py", "from ..chat import settings", True),
        ("weights/x.py", "def f():\n    from minigpt4_model import load_engine", True),
        ("weights/x.py", "from minigpt4_model import presets", False),
        ("training/x.py", "from ..evaluation import tasks", True),
        ("evaluation/x.py", "from ..training import trainer", False),
        ("ui/x.py", "from minigpt4_model import load_engine", False),
        ("presets.py", "from .model import x", True),
    ],
)
def test_the_rule_notices(place, line, wrong):
    assert bool(upward(ROOT / PACKAGE / place, line)) is wrong


@pytest.mark.parametrize(
    "code",
    [
        "import app",
        "import minigpt4_model, minigpt4_model.__main__, minigpt4_model.chat.backends.echo",
        "from minigpt4_model.__main__ import main; main(['--help'])",
        "from minigpt4_model.__main__ import main; main(['ask', '--backend', 'echo', '--json', 'hi'])",
        "from minigpt4_model.chat.pictures import load_picture; import PIL.Image; load_picture(PIL.Image.new('RGB', (9, 9)))",
        "from minigpt4_model.curation.curate import build_parser; build_parser()",
        "import minigpt4_model.evaluation.evaluate, minigpt4_model.evaluation.tasks.scenes, minigpt4_model.evaluation.tasks.photographs",
    ],
)
def test_nothing_heavy_is_imported(code):
    report = f"import json, sys; print(); print(json.dumps(sorted({HEAVY!r} & set(sys.modules))))"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == []


def test_the_verbs_do_not_wait_for_the_page():
    code = (
        "import sys; from minigpt4_model.__main__ import main; main(['ask', '--backend', 'echo', 'hi']); sys.exit('gradio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60).returncode == 0

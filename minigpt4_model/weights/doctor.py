"""The verb `doctor`: does this preset run here, and if not, which command mends it.

It reads every cached file in full, touches no network and changes nothing. A fault is what stops the preset from running; a download
is what stops it too until a start with a network, which fetches it; a warning is what makes it slower or unusual.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..presets import DEFAULT_PRESET, PRESETS, Preset
from . import official_presets, pocket
from .advice import command, python_command
from .cache import find_faults, home
from .choices import Choice, gigabytes, list_choices, recommend, render_choices
from .engine_choice import EngineChoice, choose_engine
from .errors import WeightsError
from .local_parts import FoundParts
from .machine import (
    Device,
    cpu_count,
    cpu_features,
    find_devices,
    installed_versions,
    pip_may_install,
    python_is_supported,
    version_faults,
)
from .memory import SIZES
from .memory_check import need_of
from .pairing import check_pairing, describe_language_model_dir, describe_vision_encoder_file
from .placement import Need
from .progress import Progress, console, silent
from .sources import OFFICIAL_PRESETS

FETCH = python_command("-m", "minigpt4_model.weights.pocket")
FETCH_GGUF = f"{FETCH} --llama.cpp"
START = command("bash", str(pocket.REPOSITORY / "scripts" / "start.sh"))
PIP = python_command("-m", "pip", "install", "-r", str(pocket.REPOSITORY / "requirements.txt"))
INSTALL = PIP if pip_may_install() else START


@dataclass(frozen=True)
class Check:
    """One finding. `state` is "ok", "warning", "download" or "fault"; `fix` is a command, or advice where no command helps."""

    name: str
    state: str
    detail: str
    fix: str | None = None


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model doctor", description="Check this machine and the files of a preset.")
    parser.add_argument("--preset", choices=list(PRESETS), default=DEFAULT_PRESET, help="which preset is to run (%(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model's directory to check in place of the preset's own")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Prints the report; 0 when the preset can run, 1 when a fault or a download stops it. A wrong flag ends with 2, as argparse does."""
    args = build_parser().parse_args(argv)
    report = examine(PRESETS[args.preset], args.model, silent if args.json else console)
    print(json.dumps(report, indent=2) if args.json else render(report))
    return 0 if report["ok"] else 1


def examine(preset: Preset, model_dir: Path | None = None, progress: Progress = silent) -> dict:
    """Everything the report holds, as one JSON-able document."""
    versions = installed_versions()
    checks = list(_check_versions(versions))
    devices: list[Device] = []
    try:
        devices = find_devices()
    except (ImportError, OSError, RuntimeError) as error:
        checks.append(Check("torch", "fault", f"torch can't be used: {error}", INSTALL))
    else:
        checks.append(_check_imports())
    known = devices or [Device("cpu", "unknown", None)]
    need = _need(preset, model_dir)
    choices = list_choices(need, known)
    best = recommend(choices, known)
    named = ["--model", str(model_dir)] if model_dir else ["--preset", preset.name]
    checks += _check_memory(choices, best, named)
    checks += _check_files(preset, model_dir, progress)
    engine = _choose_engine(preset, model_dir, known[0])
    checks += _check_engine(engine, progress)
    return {
        "preset": preset.name,
        "model": str(model_dir) if model_dir else None,
        "ok": not any(check.state in ("fault", "download") for check in checks),
        "versions": versions,
        "cpu": {"processors": cpu_count(), "features": cpu_features()},
        "devices": [asdict(device) for device in devices],
        "context_length": need.context_length,
        "conversations": need.conversations,
        "memory": [asdict(choice) for choice in choices if choice.devices == choices[0].devices],
        "elsewhere": [asdict(choice) for choice in choices if choice.devices != choices[0].devices],
        "recommended": asdict(best) if best else None,
        "engine": asdict(engine),
        "cache": {"directory": str(home()), "free_bytes": _free_disk(home())},
        "checks": [asdict(check) for check in checks],
    }


def _check_versions(versions: dict[str, str | None]) -> Iterator[Check]:
    if not python_is_supported():
        yield Check("python", "fault", f"Python {versions['python']} is too old: 3.11 or later is needed.", START)
    missing, unusual = version_faults(pocket.REPOSITORY / "requirements.txt")
    if missing:
        yield Check("packages", "fault", "; ".join(missing) + ".", INSTALL)
    if unusual:
        yield Check("packages", "warning", "; ".join(unusual) + ".", INSTALL)
    if not missing and not unusual:
        yield Check("packages", "ok", "All packages of requirements.txt are installed in the versions asked for.")


def _check_imports() -> Check:
    try:
        import minigpt4_model.model  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return Check("model code", "fault", f"The model's code can't be imported: {error}", INSTALL)
    return Check("model code", "ok", "torch, transformers and timm import.")


def _need(preset: Preset, model_dir: Path | None) -> Need:
    """What has to fit: the directory's model where its config.json can be read, else the preset's."""
    config = _config_of(model_dir or pocket.POCKET_CHECKPOINT) if model_dir or preset.name == "pocket" else None
    if config and config.get("text_config"):
        try:
            return need_of(config, None if model_dir else preset.name)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError):
            pass  # what is damaged in it, another check tells
    return Need(SIZES[preset.name], preset.context_length, preset.kv_slots)


def _config_of(directory: Path) -> dict | None:
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def _check_memory(choices: list[Choice], best: Choice | None, page: list[str]) -> Iterator[Check]:
    """`page` are the flags that name the model."""
    if all(choice.fits is None for choice in choices):
        yield Check("memory", "warning", "How much memory is free can't be told here.")
        return
    own = choices[0].devices
    fitting = [choice.precision for choice in choices if choice.fits and choice.devices == own]
    free = gigabytes(choices[0].available_bytes)
    if best is None:
        least = min(choice.least_bytes for choice in choices)
        detail = f"{free} are free, and the model needs {gigabytes(least)} at least. Close other programs."
        again = python_command("-m", "minigpt4_model", "doctor", *page)
        yield Check("memory", "fault", detail, again if page[1] == DEFAULT_PRESET else _page("--preset", DEFAULT_PRESET))
    elif not best.fits:
        detail = (
            f"{gigabytes(best.available_bytes)} are free: that is sure to be enough for one conversation at a time, in {best.precision}."
        )
        yield Check("memory", "warning", detail, _page(*page, *best.flags))
    elif best.flags:
        where = ", ".join(own)
        only = f"Only {' and '.join(fitting)} fit on {where} with all conversations. " if fitting else f"Nothing fits on {where} alone. "
        detail = f"{only}Best is {best.precision} on {best.where}{f' ({best.note})' if best.note else ''}."
        yield Check("memory", "warning", detail, _page(*page, *best.flags))
    else:
        yield Check("memory", "ok", f"{free} are free on {', '.join(own)}: {', '.join(fitting)} fit. Best is {best.precision}.")


def _check_files(preset: Preset, model_dir: Path | None, progress: Progress) -> Iterator[Check]:
    if model_dir is None and preset.official_variant:
        faults = find_faults(official_presets.directory_of(OFFICIAL_PRESETS[preset.name]), full=True, progress=progress)
        yield from _check_official_parts(preset, faults)
        if faults:
            return
        model_dir = official_presets.directory_of(OFFICIAL_PRESETS[preset.name])
    checkpoint = model_dir or pocket.POCKET_CHECKPOINT
    config_check, config = _read_config(checkpoint, model_dir is None)
    yield config_check
    frozen_are_whole = True
    if model_dir is None or config.get("frozen_parts") == "pocket":
        for check in _check_pocket_parts(progress):
            frozen_are_whole &= check.state == "ok"
            yield check
    if config:
        weights = _check_weights(checkpoint, model_dir is None)
        yield weights
        if weights.state == "ok":
            yield _check_pairing(checkpoint, config, frozen_are_whole, _restore(model_dir is None))


def _check_official_parts(preset: Preset, faults: list[str]) -> Iterator[Check]:
    """The imported model of a full-size preset; until there is one, which of its parts are here already."""
    parts = OFFICIAL_PRESETS[preset.name]
    directory = official_presets.directory_of(parts)
    if not faults:
        yield Check("files", "ok", f"{directory} is whole (sha256 of every file).")
        return
    if directory.exists() and (files := official_presets.own_files_of_import(parts)):
        again = python_command("-m", "minigpt4_model.weights.official_presets", preset.name, "--local-dir", "DIR")
        yield Check("files", "fault", f"{' '.join(faults)} {official_presets.how_to_import_again(parts, files)}", again)
        return
    missing = 0
    for title, licence, size, place in official_presets.describe_parts(parts):
        missing += 0 if place else size
        here = f"Here: {place}." if place else f"Not here yet: {gigabytes(size)} ({licence})."
        yield Check(title, "ok" if place else "warning", here)
    told = f"A start with a network fetches {gigabytes(missing)} and imports them" if missing else "A start imports them"
    prepare = python_command("-m", "minigpt4_model.weights.official_presets", preset.name)
    detail = f"{' '.join(faults)} {told}; with --local-dir DIR, files that you have are taken. So does:"
    state = "fault" if directory.exists() else "download" if missing else "warning"
    yield Check("files", state, detail, prepare)
    needed, free = official_presets.needed_disk(parts, FoundParts()), _free_disk(directory)
    if free < needed:
        detail = f"{gigabytes(needed)} are needed for that in {home()}, and {gigabytes(free)} are free."
        yield Check("disk", "fault", detail, "Free some space, or set MINIGPT4_HOME to a folder on another disk.")


def _read_config(checkpoint: Path, is_shipped: bool) -> tuple[Check, dict]:
    path, fix = checkpoint / "config.json", _restore(is_shipped)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["model_type"] != "minigpt4":
            return Check("config", "fault", f"{path} describes a {config['model_type']!r} model, not a 'minigpt4' one.", fix), {}
    except FileNotFoundError:
        return Check("config", "fault", f"{path} is missing.", fix), {}
    except (OSError, ValueError, KeyError, TypeError):
        return Check("config", "fault", f"{path} is damaged: it is not a model's description in JSON.", fix), {}
    return Check("config", "ok", f"{path} is there."), config


def _check_pocket_parts(progress: Progress) -> Iterator[Check]:
    for part in pocket.PARTS:
        faults = find_faults(part.directory, part.recipe, full=True, progress=progress)
        if faults:
            state, verb = ("fault", "makes it again") if part.directory.exists() else ("download", "fetches it")
            yield Check(part.name, state, f"{' '.join(faults)} A start with a network {verb}; so does:", FETCH)
        else:
            yield Check(part.name, "ok", f"{part.directory} is whole (sha256 of every file).")


def _check_weights(checkpoint: Path, is_shipped: bool) -> Check:
    """Every safetensors file that the directory speaks of opens, and is as long as its header says."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        return Check("weights", "warning", "Not checked: the package safetensors is not installed.", INSTALL)
    index = checkpoint / "model.safetensors.index.json"
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values())) if index.exists() else ["model.safetensors"]
        for name in names:
            with safe_open(checkpoint / name, framework="pt"):
                pass
    except FileNotFoundError as error:
        return Check("weights", "fault", f"{error}", _restore(is_shipped))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        return Check("weights", "fault", f"{checkpoint}: a weights file is damaged ({error}).", _restore(is_shipped))
    return Check("weights", "ok", f"{', '.join(names)} in {checkpoint} can be read.")


def _check_pairing(checkpoint: Path, config: dict, frozen_are_whole: bool, fix: str) -> Check:
    if config.get("frozen_parts") is None:
        recorded = config.get("trained_with")
        parts = [recorded.get(part) for part in ("language_model", "vision_encoder", "qformer")] if isinstance(recorded, dict) else []
        names = ", ".join(str(part.get("name")) for part in parts if isinstance(part, dict))
        return Check("pairing", "ok", f"One directory holds all parts of the model{f': {names}' if names else ''}.")
    if not config.get("trained_with"):
        detail = f"{checkpoint / 'config.json'} does not record what the projection was trained with."
        return Check("pairing", "fault", detail, fix)
    if not frozen_are_whole:
        return Check("pairing", "warning", "Not checked: the frozen parts are not whole.")
    row = PRESETS["pocket"]
    encoder_file = pocket.VISION_ENCODER.directory / pocket.ENCODER_FILE
    actual = {
        "language_model": describe_language_model_dir(pocket.LANGUAGE_MODEL.directory, row.language_model),
        "vision_encoder": describe_vision_encoder_file(encoder_file, row.vision_encoder),
    }
    try:
        check_pairing(config["trained_with"], actual, str(checkpoint))
    except WeightsError as error:
        return Check("pairing", "fault", str(error), fix)
    names = " and ".join(part["name"] for part in actual.values())
    return Check("pairing", "ok", f"The projection was trained with this {names}.")


def _choose_engine(preset: Preset, model_dir: Path | None, device: Device) -> EngineChoice:
    """What a start without further flags would take."""
    frozen_parts = preset.name if preset.official_variant is None else None
    if model_dir is not None:
        try:
            frozen_parts = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))["frozen_parts"]
        except (OSError, ValueError, KeyError, TypeError):
            frozen_parts = None
    return choose_engine("auto", frozen_parts=frozen_parts, device=device.name)


def _check_engine(engine: EngineChoice, progress: Progress) -> Iterator[Check]:
    yield Check("engine", "ok", f"{engine.name} computes the LLM. {engine.why}")
    part = pocket.LLAMA_CPP_MODEL
    if engine.name != "llama.cpp":
        return
    if not part.directory.exists():
        yield Check(part.name, "ok", f"{part.directory} is not there yet: the first start makes it. So does:", FETCH_GGUF)
    elif faults := find_faults(part.directory, part.recipe, full=True, progress=progress):
        yield Check(part.name, "warning", " ".join(faults) + " The next start makes it again; so does:", FETCH_GGUF)
    else:
        yield Check(part.name, "ok", f"{part.directory} is whole (sha256 of every file).")


def _restore(is_shipped: bool) -> str:
    return pocket.how_to_restore_checkpoint() if is_shipped else "Restore the directory from where it came from."


def _page(*flags: str) -> str:
    return python_command(str(pocket.REPOSITORY / "app.py"), *flags)


def _free_disk(directory: Path) -> int:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return shutil.disk_usage(existing).free


_SIGNS = {"ok": "ok", "warning": "warn", "download": "fetch", "fault": "FAULT"}
_VERDICTS = {
    "ok": "can run here.",
    "download": "needs download: a start with a network fetches what is marked so, and nothing else stops it.",
    "fault": "can't run here: see the lines marked FAULT.",
}


def render(report: dict) -> str:
    """The report for a person."""
    versions = ", ".join(f"{name} {version or 'not installed'}" for name, version in report["versions"].items())
    rows = [
        ("preset", report["preset"] + (f" from {report['model']}" if report["model"] else "")),
        ("versions", versions),
        ("processor", f"{report['cpu']['processors']} processors; {', '.join(report['cpu']['features']) or 'features unknown'}"),
    ]
    rows += [("device", f"{each['name']}: {each['title']}, {gigabytes(each['free_bytes'])} free") for each in report["devices"]]
    rows.append(("cache", f"{report['cache']['directory']}, {gigabytes(report['cache']['free_bytes'])} free on its disk"))
    lines = [f"{name:<10} {text}" for name, text in rows]
    choices = report["memory"] + report["elsewhere"]
    lines += ["", f"Memory for {report['conversations']} conversations of {report['context_length']} tokens at a time:"]
    lines += [f"  {line}" for line in render_choices([Choice(**row) for row in choices]).splitlines()]
    lines.append("")
    for check in report["checks"]:
        lines.append(f"{_SIGNS[check['state']]:<6} {check['name']}: {check['detail']}")
        if check["fix"]:
            lines.append(f"       -> {check['fix']}")
    states = {check["state"] for check in report["checks"]}
    worst = next(state for state in ("fault", "download", "ok") if state in states)
    lines += ["", f"{report['model'] or report['preset']} {_VERDICTS[worst]}"]
    return "\n".join(lines)

"""A full-size rehearsal: files as the original's with random weights are made, imported, and asked one question in each precision.

    python -m minigpt4_model.evaluation.rehearsal --preset vicuna-7b --directory /big/disk/rehearsal

Every stage runs in a process of its own, so that its peak memory is its own; what does not fit is refused by the loader, and the
rehearsal goes on. What such a model says means nothing. The folder holds `rehearsal.json`, `stages.log`, and is otherwise removed at the
end.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..presets import PRESETS
from .process_memory import Run, forget_peak, memory_of, run_watched

QUESTION = "What is in this picture?"
# The ways to load the model, by the names of --ways.
WAYS = {
    "16": ["--dtype", "bfloat16"],
    "8": ["--load-in-8bit"],
    "4": ["--load-in-4bit"],
    "offload": ["--dtype", "bfloat16", "--device-map", "cpu,disk"],
}
_ROOT = Path(__file__).resolve().parents[2]
_PICTURE = _ROOT / "minigpt4_model" / "ui" / "examples" / "cat.png"
_TOKENIZER = _ROOT / "tests" / "parity_fixtures" / "llama_tiny"
# Sizes of --small. The numbers of heads are in no file, and known for the official widths only.
_SMALL = {
    "vision": {"hidden_size": 352, "num_hidden_layers": 2, "num_attention_heads": 8},
    "qformer": {
        "hidden_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "encoder_hidden_size": 352,
    },
    "text": {
        "hidden_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 1408,
    },
}


@dataclass
class Stage:
    """What a stage took. Bytes are the process's, `figures` what it told itself."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    own_peak_bytes: int | None
    ok: bool
    figures: dict[str, Any] = field(default_factory=dict)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.evaluation.rehearsal", description=__doc__.partition("\n")[0])
    full_size = [name for name, preset in PRESETS.items() if preset.chat_template != "chatml"]
    parser.add_argument("--preset", choices=full_size, default="vicuna-7b", help="whose sizes the model has (default: %(default)s)")
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="a new or empty folder for the files")
    parser.add_argument("--ways", default="16,4", metavar="W", help=f"how to load it: some of {', '.join(WAYS)} (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=16, metavar="N", help="length of the answer (default: %(default)s)")
    parser.add_argument("--shard-bytes", type=int, default=2 * 10**9, metavar="N", help="size of the LLM's shards (default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, default=_TOKENIZER, metavar="DIR", help="a Llama tokenizer's folder")
    parser.add_argument("--image", type=Path, default=_PICTURE, metavar="FILE", help="the picture to ask about")
    parser.add_argument("--small", action=argparse.BooleanOptionalAction, default=False, help="a small model of the kind, to try this out")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=False, help="keep the imported model (default: remove it)")
    parser.add_argument("--device", metavar="D", help="cpu, cuda … (default: the best there is)")
    parser.add_argument("--stage", choices=("write", "ask"), help=argparse.SUPPRESS)
    parser.add_argument("--load", type=json.loads, default={}, help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """0 when every stage succeeded; 1 when one failed or was refused; 2 for wrong flags."""
    parser = build_parser()
    argv = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(argv)
    if args.stage:
        print(json.dumps(write_files(args) if args.stage == "write" else ask(args)))
        return 0
    ways = [way for way in args.ways.split(",") if way]
    if unknown := set(ways) - set(WAYS):
        parser.error(f"--ways {args.ways}: there is no {', '.join(sorted(unknown))}. Choose from {', '.join(WAYS)}.")
    if args.directory.exists() and any(args.directory.iterdir()):
        parser.error(f"--directory {args.directory} is not empty. Give a new folder.")
    args.directory.mkdir(parents=True, exist_ok=True)
    report = {"preset": args.preset, "small": args.small, "stages": []}
    try:
        for stage in rehearse(args, argv, ways):
            report["stages"].append(asdict(stage))
            print(describe(stage), flush=True)
            (args.directory / "rehearsal.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(args.directory / "official", ignore_errors=True)
        if not args.keep:
            shutil.rmtree(args.directory / "model", ignore_errors=True)
    print(json.dumps(report))
    return 0 if all(stage["ok"] for stage in report["stages"]) else 1


def rehearse(args: argparse.Namespace, argv: list[str], ways: list[str]):
    """The stages, one after the other, each told when it is over. The files are removed once they are imported."""
    from .random_official import files_in

    log, model = args.directory / "stages.log", args.directory / "model"
    again = [sys.executable, "-m", "minigpt4_model.evaluation.rehearsal", *argv, "--stage"]
    written = _stage("write", run_watched([*again, "write"], log))
    yield written
    if not written.ok:
        return
    has_qformer = not PRESETS[args.preset].qformer.startswith("none")
    variant = "vicuna" if has_qformer else "llama2"
    flags = [*files_in(args.directory / "official", has_qformer).import_flags(variant), "--output", str(model), "--assume-pairing"]
    if args.small:
        flags += ["--vision-heads", "8", *(["--qformer-heads", "6"] if has_qformer else [])]
    imported = _stage("import", run_watched([sys.executable, "-m", "minigpt4_model", "import-official", *flags], log))
    imported.figures["directory_bytes"] = sum(file.stat().st_size for file in model.glob("*")) if imported.ok else 0
    yield imported
    shutil.rmtree(args.directory / "official")
    if not imported.ok:
        return
    for way in ways:
        yield _stage(f"ask, {way}", run_watched([*again, "ask", "--load", json.dumps(_loading(args, way))], log))


def _loading(args: argparse.Namespace, way: str) -> dict[str, Any]:
    """The arguments of `load_engine` that a way's flags stand for."""
    from ..chat.backends.flags import LOADING, add_model_flags

    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    given = vars(parser.parse_args([*WAYS[way], *(["--device", args.device] if args.device else [])]))
    return {name: given[name] for name in LOADING}


def _stage(name: str, run: Run) -> Stage:
    last = run.output.strip().splitlines()[-1:] or [""]
    figures = json.loads(last[0]) if last[0].startswith("{") else {"said": run.output.strip()[-600:]}
    return Stage(name, run.seconds, run.cpu_seconds, run.peak, run.own_peak, run.code == 0 and "refused" not in figures, figures)


def write_files(args: argparse.Namespace) -> dict[str, Any]:
    """Stage one: the files of a model of the preset's size."""
    from .random_official import write_official

    directory = args.directory / "official"
    config = sized_config(args.preset, args.small)
    write_official(config, directory, args.tokenizer, args.shard_bytes)
    return {"bytes": sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())}


def sized_config(preset: str, small: bool):
    """The preset's configuration, or a small one of its kind."""
    from ..model import MiniGPT4Config
    from .random_weights import full_size_config

    config = full_size_config(preset)
    if not small:
        return config
    parts = {"vision": config.vision_config, "qformer": config.qformer_config, "text": config.text_config}
    sizes = {name: {**part.to_dict(), **_SMALL[name]} if part is not None else None for name, part in parts.items()}
    return MiniGPT4Config(**{f"{name}_config": values for name, values in sizes.items()}, chat_template_name=config.chat_template_name)


def ask(args: argparse.Namespace) -> dict[str, Any]:
    """Loads the imported model and asks it: seconds and memory of both. What does not fit is told as `refused`."""
    import time

    import torch

    from ..chat.load import load_engine
    from ..chat.messages import question
    from ..chat.pictures import load_picture
    from ..chat.settings import GenerationSettings
    from ..weights.memory_check import TooLittleMemory, need_of

    before = memory_of()
    forget_peak()
    start = time.perf_counter()
    try:
        engine = load_engine(args.directory / "model", **args.load)
    except TooLittleMemory as error:
        return {"refused": str(error)}
    loaded, figures = memory_of(), {"load_s": time.perf_counter() - start}
    if before:
        stays = loaded["VmRSS"] - before["VmRSS"]
        figures |= {"stays_bytes": stays, "load_peak_bytes": loaded["VmHWM"] - before["VmRSS"]}
    precision = "4 bit" if args.load["load_in_4bit"] else "8 bit" if args.load["load_in_8bit"] else "16 bit"
    config = json.loads((args.directory / "model" / "config.json").read_text(encoding="utf-8"))
    figures["reckoned_bytes"] = need_of(config).needed_bytes(precision, 1)
    settings = GenerationSettings(temperature=0.0, max_new_tokens=args.max_new_tokens)
    answer = engine.answer([question(QUESTION, [load_picture(args.image)])], settings)
    decoded = max(0, answer.usage.completion_tokens - 1)
    rate = decoded / answer.timings.decode_s if decoded and answer.timings.decode_s else 0.0
    figures |= {"device": engine.description.device, **asdict(answer.usage), **asdict(answer.timings), "tokens_per_s": rate}
    figures |= {"finish_reason": answer.finish_reason, "answer": answer.text}
    if torch.cuda.is_available():
        figures["cuda_peak_bytes"] = sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
    return figures


def describe(stage: Stage) -> str:
    """One stage for people."""
    own = "" if stage.own_peak_bytes is None else f" ({stage.own_peak_bytes / 1e9:.2f} of its own)"
    took = f"{stage.seconds:7.1f} s ({stage.cpu_seconds:.1f} s of processor time)"
    lines = [f"{stage.name:<12} {took}   peak {stage.peak_bytes / 1e9:6.2f} GB{own}{'' if stage.ok else '   FAILED'}"]
    lines += [f"             {name}: {_short(value)}" for name, value in stage.figures.items()]
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())

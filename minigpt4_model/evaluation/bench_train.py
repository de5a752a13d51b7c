"""`bench train`: samples per second of a training step and where the time goes, against a naive loop, in one run.

The ways of `training_steps` take turns on the same batches, so their ratios hold on a busy machine too; the absolute figures
are the machine's. Peak memory of each way comes from a process of its own on a CPU, and from CUDA's own counter on a GPU.
Pictures and texts are made up (`drawn_source`); decoding, resizing and rendering them is real work and counts as "data", which
the trainer's workers do beside the rest.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..presets import DEFAULT_PRESET, PRESETS
from ..weights.errors import WeightsError
from ..weights.machine import free_memory

if TYPE_CHECKING:
    from .training_steps import StepFigures, TrainingSteps

WAYS = {
    "naive": "everything in the graph, logits for all positions",
    "computed": "ours, features computed at every step",
    "cached": "ours, features from the cache, as after the first epoch",
}
COLUMNS = {
    "data": "data",
    "encoder": "encoder",
    "qformer": "Q-Former",
    "llm_forward": "LLM forward",
    "backward": "backward",
    "optimizer": "optimizer",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model bench train",
        description="Time a training step part by part, ours against a naive loop. Prints tables and, as its last line, one JSON document.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=list(PRESETS), metavar="P", help=f"one of {', '.join(PRESETS)} (default: {DEFAULT_PRESET})")
    which.add_argument("--model", metavar="DIR", help="a model's directory, in place of a preset")
    parser.add_argument(
        "--random-weights",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="a full-size preset with random weights, which measures as well as real ones",
    )
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1, help="1: short captions, 2: long descriptions (default: 1)")
    parser.add_argument("--batch-size", type=int, default=12, metavar="N", help="samples of a step (default: 12)")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="steps each way, after one that does not count (default: 5)")
    parser.add_argument("--ways", default=",".join(WAYS), metavar="A,B", help=f"of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--train-qformer", action=argparse.BooleanOptionalAction, help="train the Q-Former too (default: pocket only)")
    parser.add_argument("--gradient-checkpointing", action=argparse.BooleanOptionalAction, default=False, help="in our ways")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory of each way")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 (default: the best there is)")
    parser.add_argument("--dtype", metavar="D", help="precision of frozen parts: float32, bfloat16 or float16 (default: the device's)")
    return parser


class Bench:
    """A model and the ways to take a step on it. Raises `WeightsError` when the model cannot be had or does not fit."""

    def __init__(self, args: argparse.Namespace, ways: list[str], cache: Path):
        import torch

        from ..weights.load import choose_device, choose_dtype, load_model
        from .random_weights import build_random, full_size_config

        if args.threads:
            torch.set_num_threads(args.threads)
        self.device = choose_device(args.device)
        dtype = choose_dtype(args.dtype, self.device)
        if args.random_weights:
            model, processor = build_random(full_size_config(args.preset), dtype)
            model = model.to(self.device)
        else:
            source = Path(args.model) if args.model else args.preset or DEFAULT_PRESET
            model, processor = load_model(source, device=args.device, dtype=str(dtype).removeprefix("torch."))
        self.model, self.dtype, self.threads = model, dtype, torch.get_num_threads()
        self.autocast = nullcontext() if dtype == torch.float32 else torch.autocast(self.device.type, dtype)
        self.train_qformer = args.train_qformer if args.train_qformer is not None else not args.model and args.preset in (None, "pocket")
        self.steps = {way: self._steps(way, args, processor, cache) for way in ways}

    def _steps(self, way: str, args: argparse.Namespace, processor: Any, cache: Path) -> "TrainingSteps":
        from ..training.feature_encoder import CachedEncoder, FeatureOpener, describe_features
        from ..training.feature_store import FeatureStore
        from ..training.sources import Mixture
        from ..training.stage_arguments import Stage1Arguments, Stage2Arguments
        from ..training.stages import StageObjective, StageText
        from ..training.trainer import freeze
        from .drawn_source import DrawnSource
        from .training_steps import TrainingSteps

        freeze(self.model, self.train_qformer)
        arguments = (Stage1Arguments if args.stage == 1 else Stage2Arguments)(model="any")
        text = StageText(args.stage, processor, self.model.config.chat_template_name, arguments.max_text_tokens)
        questions = ("Describe this image in detail.",) if args.stage == 2 else ()
        mixture = Mixture([source := DrawnSource(2 * args.batch_size, args.stage)], questions=questions)
        encoder = None
        if way == "cached":
            kind = "vision" if self.train_qformer or self.model.model.qformer is None else "qformer"
            store = FeatureStore(cache, describe_features(self.model, processor.image_processor, kind))
            mixture.open_picture = FeatureOpener(store, processor.image_processor)
            encoder = CachedEncoder(self.model, store)
            encoder.fill(source.pictures, mixture.open_picture)
        objective = StageObjective(self.model, text, mixture, args.batch_size, encoder=encoder)
        return TrainingSteps(way, self.model, objective, self.train_qformer, self.autocast, args.gradient_checkpointing)

    def agreement(self) -> dict[str, dict[str, float]]:
        """Each way's loss on the first batch, and how far its gradient of the projection is from the first way's, relatively."""
        from .training_steps import projection_gradient

        found, first = {}, None
        for way, steps in self.steps.items():
            steps.prepare()
            loss, gradient = steps.run(0, learn=False).loss, projection_gradient(self.model)
            first = gradient if first is None else first
            found[way] = {"loss": loss, "gradient_distance": float((gradient - first).norm() / first.norm())}
        return found

    def measure(self, count: int) -> dict[str, list["StepFigures"]]:
        """`count` steps each way, taking turns."""
        figures: dict[str, list[StepFigures]] = {way: [] for way in self.steps}
        for step in range(count):
            for way, steps in self.steps.items():
                steps.prepare()
                figures[way].append(steps.run(step))
        return figures

    def peak_memory(self, way: str) -> dict[str, int]:
        """Bytes while taking two steps: at the most, and before them (the weights, the program)."""
        import torch

        steps = self.steps[way]
        steps.prepare()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
        else:
            before = reset_peak_rss()
        for step in range(2):
            steps.run(step)
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else peak_rss()
        return {"peak_bytes": peak, "before_bytes": before}


def peak_rss() -> int:
    """The most memory this process has held, in bytes. getrusage is the last resort: Linux lets it begin at what the parent held."""
    with suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak_rss() -> int:
    """Forgets the peak so far, where the system can (Linux); returns what is held now, or the peak."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_rss()


def memory_in_own_process(argv: list[str], way: str) -> dict[str, int] | None:
    """`Bench.peak_memory` of a fresh process; None when it did not come to its end (out of memory, most likely)."""
    command = [sys.executable, "-m", "minigpt4_model", "bench", "train", *argv, "--ways", way, "--steps", "0"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if run.returncode:
        logging.getLogger(__name__).warning("No memory figure for %s: %s", way, (run.stderr.splitlines() or ["it was killed"])[-1])
        return None
    return json.loads(run.stdout.splitlines()[-1])["ways"][way]["memory"]


def fitting_ways(ways: list[str], weights: int, available: int | None) -> list[str]:
    """Without the naive way where gradients of all weights would not fit beside the weights. `WeightsError` when nothing does."""
    if available is None:
        return ways
    if weights > available:
        raise WeightsError(f"The weights take {weights / 2**30:.1f} GiB, and {available / 2**30:.1f} GiB are free. Close other programs.")
    if "naive" in ways and 2 * weights > available:
        print(f"naive is left out: weights and their gradients take {weights / 2**29:.1f} GiB, and {available / 2**30:.1f} GiB are free.")
        ways = [way for way in ways if way != "naive"]
    return ways


def summarise(figures: dict[str, list["StepFigures"]]) -> dict[str, dict[str, Any]]:
    """Medians and spread of each way, and its ratio to the naive one, taken step by step on the same batch."""
    summary = {}
    for way, rows in figures.items():
        totals = [row.total for row in rows]
        parts = {part: statistics.median(row.seconds[part] for row in rows) for part in COLUMNS}
        whole = sum(parts.values())
        summary[way] = {
            "samples_per_s": rows[0].samples / statistics.median(totals),
            "step_s": {"median": statistics.median(totals), "min": min(totals), "max": max(totals)},
            "part_s": parts,
            "share": {part: seconds / whole for part, seconds in parts.items()},
        }
        if way != "naive" and "naive" in figures:
            ratios = [naive.total / row.total for naive, row in zip(figures["naive"], rows, strict=True)]
            summary[way]["speedup"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    return summary


def table(summary: dict[str, dict[str, Any]]) -> str:
    head = f"{'way':9} {'samples/s':>9} {'step s':>7} {'spread':>13}  " + "  ".join(f"{title:>11}" for title in COLUMNS.values())
    lines = [f"{head}  {'times naive':>17}  {'peak GiB':>8}  {'before':>6}"]
    for way, row in summary.items():
        step = row["step_s"]
        cells = "  ".join(f"{row['part_s'][part]:6.2f} {row['share'][part]:4.0%}" for part in COLUMNS)
        speedup, memory = row.get("speedup"), row.get("memory")
        ratio = f"{speedup['median']:.2f} ({speedup['min']:.2f}-{speedup['max']:.2f})" if speedup else ""
        held = f"{memory['peak_bytes'] / 2**30:8.2f}  {memory['before_bytes'] / 2**30:6.2f}" if memory else ""
        spread = f"{step['min']:.2f}-{step['max']:.2f}"
        lines.append(f"{way:9} {row['samples_per_s']:9.2f} {step['median']:7.2f} {spread:>13}  {cells}  {ratio:>17}  {held}")
    return "\n".join([*lines, *(f"{way}: {WAYS[way]}" for way in summary), "parts: median seconds and share of the step"])


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    ways = [way for way in WAYS if way in args.ways.split(",")]
    if unknown := set(args.ways.split(",")) - set(WAYS):
        parser.error(f"--ways {args.ways}: there is no {', '.join(sorted(unknown))}. Choose of {', '.join(WAYS)}.")
    if args.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, not {args.batch_size}.")
    if args.steps < 0:
        parser.error(f"--steps must be at least 0, not {args.steps}.")
    if args.random_weights and (args.model or args.preset is None or PRESETS[args.preset].official_variant is None):
        parser.error("--random-weights goes with a full-size preset: give --preset vicuna-7b, vicuna-13b or llama2-7b.")
    try:
        document = run(args, argv, ways)
    except WeightsError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(document))
    return 0


def run(args: argparse.Namespace, argv: list[str], ways: list[str]) -> dict[str, Any]:
    """Measures and prints the tables; the document of all figures. With `--steps 0` memory alone, in this process."""
    if args.random_weights:
        from ..weights.memory import SIZES, needed_bytes

        ways = fitting_ways(ways, needed_bytes(SIZES[args.preset], "16 bit", 0, 0), free_memory())
    alone = len(ways) == 1
    memory: dict[str, Any] = {}
    on_cuda = _is_cuda(args.device)
    if args.memory and not alone and not on_cuda:  # before this process loads anything itself
        memory = {way: memory_in_own_process(argv, way) for way in ways}
    with tempfile.TemporaryDirectory(prefix="minigpt4-bench-") as cache:
        bench = Bench(args, ways, Path(cache))
        if args.memory and (alone or on_cuda):
            memory = {way: bench.peak_memory(way) for way in ways}
        agreement = bench.agreement()
        figures = bench.measure(args.steps + 1) if args.steps else {}
    summary = summarise({way: rows[1:] for way, rows in figures.items()}) if figures else {way: {} for way in ways}
    for way in ways:
        summary[way] |= {"memory": memory.get(way), **agreement[way]}
    size = sum(parameter.numel() for parameter in bench.model.parameters())
    learning = sum(parameter.numel() for parameter in next(iter(bench.steps.values())).learning)
    title = f"{args.model or args.preset or DEFAULT_PRESET}{' with random weights' if args.random_weights else ''}"
    print(
        f"{title}, stage {args.stage}, batch {args.batch_size}, {bench.device} with {bench.threads} threads, frozen parts in "
        f"{str(bench.dtype).removeprefix('torch.')}; {size / 1e6:,.0f} M parameters, of which {learning / 1e6:,.1f} M learn"
    )
    if figures:
        print(table(summary))
    for way, row in agreement.items():
        print(f"{way}: loss {row['loss']:.5f}, projection's gradient {row['gradient_distance']:.2%} from {ways[0]}'s")
    if str(bench.dtype) != "torch.float32":
        print("These distances are rounding: in 16 bits a gradient is 10 to 40 % from its own in 32. With --dtype float32 they vanish.")
    return {
        "model": title,
        "stage": args.stage,
        "batch_size": args.batch_size,
        "steps": args.steps,
        "device": str(bench.device),
        "threads": bench.threads,
        "dtype": str(bench.dtype).removeprefix("torch."),
        "gradient_checkpointing": args.gradient_checkpointing,
        "parameters": size,
        "learning_parameters": learning,
        "ways": summary,
    }


def _is_cuda(device: str | None) -> bool:
    from ..weights.load import choose_device

    return choose_device(device).type == "cuda"

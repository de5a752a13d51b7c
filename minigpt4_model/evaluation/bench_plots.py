"""Plots of what `bench compare` measured, as ratios: `plot`. Without matplotlib there are none."""

import statistics
from pathlib import Path

from .contenders import GENERATE, LLAMA_CPP, ORIGINAL, OURS, TORCH
from .server_contender import NAME as VLLM

Rounds = dict[str, dict[str, list[float]]]


def plot(rounds: Rounds, folder: Path) -> list[Path]:
    """Writes compare.png into `folder`: decoding, several visitors and the time to the first token. The files written."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    decode, visitors, turns = figure.subplots(1, 3)

    base = rounds.get("decode", {}).get(GENERATE)
    if base:
        names = [name for name in (TORCH, VLLM, LLAMA_CPP, OURS) if name in rounds["decode"]]
        ratios = [[mine / other for mine, other in zip(rounds["decode"][name], base, strict=False)] for name in names]
        middles = [statistics.median(values) for values in ratios]
        reach = [[middle - min(values), max(values) - middle] for middle, values in zip(middles, ratios, strict=True)]
        decode.barh(names, middles, xerr=list(zip(*reach, strict=True)), color="#4a6fa5")
        decode.axvline(1, color="#888888", linewidth=1)
    decode.set_title(f"One answer: tokens/s, times {GENERATE}", fontsize=9)

    counts = sorted(int(what.split()[1]) for what in rounds if what.startswith("visitors "))
    for name in (OURS, TORCH, VLLM):
        alone = rounds.get("visitors 1", {}).get(OURS)
        if alone and counts and all(name in rounds[f"visitors {count}"] for count in counts):
            speeds = [statistics.median(rounds[f"visitors {count}"][name]) / statistics.median(alone) for count in counts]
            visitors.plot(counts, speeds, marker="o", label=name)
    visitors.set_title("Visitors at a time: tokens/s of all,\ntimes one visitor of our default", fontsize=9)
    visitors.set_xlabel("visitors")
    visitors.set_xscale("log", base=2)
    visitors.set_xticks(counts, [str(count) for count in counts])

    numbers = sorted(int(what.split()[1]) for what in rounds if what.startswith("turn "))
    for name in (OURS, TORCH, VLLM):
        if numbers and all(name in rounds[f"turn {turn}"] for turn in numbers):
            gains = [
                statistics.median(rounds[f"turn {turn}"][ORIGINAL]) / statistics.median(rounds[f"turn {turn}"][name]) for turn in numbers
            ]
            turns.plot(numbers, gains, marker="o", label=name)
    turns.set_title(f"Time to the first token:\n{ORIGINAL} over ours", fontsize=9)
    turns.set_xlabel("turn")
    turns.set_xticks(numbers, [str(turn) for turn in numbers])
    for axes in (visitors, turns):
        axes.set_ylim(bottom=0)
        if axes.lines:
            axes.legend(fontsize=8)
    path = folder / "compare.png"
    figure.savefig(path, dpi=110)
    return [path]

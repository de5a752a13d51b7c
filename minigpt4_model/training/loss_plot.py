"""`loss.png`: the loss as it was, smoothed, and on held-out data, and the held-out score, over the steps. Drawn without a screen."""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_TRAINED, _SMOOTHED, _HELD_OUT, _BEST = "#9db8d9", "#1f4e8c", "#c2521d", "#1d7a46"
_FEW = 20  # points that are drawn as dots, because a line through them says too much


def smoothed(values: list[float], weight: float = 0.9) -> list[float]:
    """Exponential mean without the pull of its start (TensorBoard's smoothing)."""
    out, mean = [], 0.0
    for number, value in enumerate(values, 1):
        mean = weight * mean + (1 - weight) * value
        out.append(mean / (1 - weight**number))
    return out


def best_record(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first record of the best held-out score; None where there are no scores."""
    return max((record for record in records if "eval_score" in record), key=lambda record: record["eval_score"], default=None)


def plot_losses(records: list[dict[str, Any]], path: Path, label: str = "training") -> bool:
    """Draws the records of a `log.jsonl` into a PNG, replaced when whole. False, and one line in the log, without matplotlib.

    The score has a panel of its own where it is more than the held-out loss with its sign turned. A line marks the best step.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logger.info('No %s: the package matplotlib is not installed (pip install -e ".[train]"). log.jsonl has the figures.', path.name)
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    trained, held_out, scores = (_points(records, name) for name in ("loss", "eval_loss", "eval_score"))
    own_scores = scores if scores != [(step, -loss) for step, loss in held_out] else []
    figure = Figure(figsize=(8, 7 if own_scores else 4.5), layout="constrained", dpi=150)
    panels = figure.subplots(2 if own_scores else 1, sharex=True, squeeze=False, height_ratios=[3, 2] if own_scores else [1])[:, 0]
    axes = panels[0]
    if trained:
        steps, losses = zip(*trained, strict=True)
        few = len(trained) <= _FEW
        if few:
            axes.plot(steps, losses, color=_SMOOTHED, linewidth=1.2, marker="o", markersize=4, label=label)
        else:
            axes.plot(steps, losses, color=_TRAINED, linewidth=0.8, label=label)
            axes.plot(steps, smoothed(list(losses)), color=_SMOOTHED, linewidth=1.6, label=f"{label}, smoothed")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color=_HELD_OUT, marker="o", markersize=4, linewidth=1.2, label="held-out")
    axes.set_ylabel("loss per target token")
    if own_scores:
        panels[1].plot(*zip(*own_scores, strict=True), color=_HELD_OUT, marker="o", markersize=4, linewidth=1.2, label="held-out score")
        panels[1].set_ylabel("score, more is better")
    if best := best_record(records):
        for panel in panels:
            panel.axvline(best["step"], color=_BEST, linestyle="--", linewidth=1, label=f"best: step {best['step']}")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False)
    panels[-1].set_xlabel("step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    temporary = path.with_name(path.name + ".tmp")
    FigureCanvasAgg(figure).print_png(temporary)
    os.replace(temporary, path)
    return True


def _points(records: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(record["step"], record[name]) for record in records if name in record]

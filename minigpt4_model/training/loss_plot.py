"""`loss.png`: the loss as it was, smoothed, and on held-out data, over the steps. Drawn without a screen."""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def smoothed(values: list[float], weight: float = 0.9) -> list[float]:
    """Exponential mean without the pull of its start (TensorBoard's smoothing)."""
    out, mean = [], 0.0
    for number, value in enumerate(values, 1):
        mean = weight * mean + (1 - weight) * value
        out.append(mean / (1 - weight**number))
    return out


def plot_losses(records: list[dict[str, Any]], path: Path, label: str = "training") -> bool:
    """Draws the records of a `log.jsonl` into a PNG, replaced when whole. False, and one line in the log, without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.info('No %s: the package matplotlib is not installed (pip install -e ".[train]"). log.jsonl has the figures.', path.name)
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    trained = [(record["step"], record["loss"]) for record in records if "loss" in record]
    held_out = [(record["step"], record["eval_loss"]) for record in records if "eval_loss" in record]
    if trained:
        steps, losses = zip(*trained, strict=True)
        axes.plot(steps, losses, color="#9db8d9", linewidth=0.8, label=label)
        axes.plot(steps, smoothed(list(losses)), color="#1f4e8c", linewidth=1.6, label=f"{label}, smoothed")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color="#c2521d", marker="o", linewidth=1.2, label="held-out")
    axes.set_xlabel("step")
    axes.set_ylabel("loss per target token")
    axes.grid(alpha=0.3)
    if trained or held_out:
        axes.legend(frameon=False)
    temporary = path.with_name(path.name + ".tmp")
    FigureCanvasAgg(figure).print_png(temporary)
    os.replace(temporary, path)
    return True

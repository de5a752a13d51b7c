"""What a run writes down as it goes: `log.jsonl`, TensorBoard or Weights & Biases, and the curve in `loss.png`."""

import importlib.util
import json
import logging
import os
from pathlib import Path
from typing import Any

from ..weights.cache import write_atomically
from .arguments import ArgumentsError
from .checkpoint import explained
from .loss_plot import plot_losses

logger = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
INSTALL = 'pip install -e ".[train]"'


class RunLog:
    """Writes records with a "step". `report_to` None writes nothing at all: the process is not the main one.

    Records behind `first_step` are of a run that was killed before it saved them, and go.
    """

    def __init__(self, directory: Path, report_to: str | None, first_step: int = 0):
        self.directory, self.silent = directory, report_to is None
        self._curves: Any = None
        if self.silent:
            return
        with explained(directory):
            kept = [record for record in read_log(directory) if record["step"] <= first_step]
            write_atomically(directory / LOG_FILE, "".join(json.dumps(record) + "\n" for record in kept).encode())
        if report_to == "tensorboard":
            self._curves = _open_tensorboard(directory, first_step)
        elif report_to == "wandb":
            self._curves = _WandbCurves(directory)

    def write(self, record: dict[str, Any]) -> None:
        if self.silent:
            return
        with explained(self.directory), (self.directory / LOG_FILE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
        if self._curves is not None:
            for name, value in record.items():
                if name not in ("step", "seconds"):
                    group = "eval" if name.startswith("eval_") else "train"
                    self._curves.add_scalar(f"{group}/{name.removeprefix('eval_')}", value, record["step"])

    def plot(self) -> None:
        """Draws `loss.png` anew."""
        if self.silent:
            return
        with explained(self.directory):
            plot_losses(read_log(self.directory), self.directory / "loss.png")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_) -> None:
        if self._curves is not None:
            self._curves.close()


def read_log(directory: Path) -> list[dict[str, Any]]:
    """The records of `log.jsonl`; a last line that a kill has cut short is left out."""
    path = directory / LOG_FILE
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _open_tensorboard(directory: Path, first_step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        logger.info("No TensorBoard curves: the package tensorboard is not installed (%s). log.jsonl and loss.png are there.", INSTALL)
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory / "tensorboard"), purge_step=first_step + 1 if first_step else None)


def check_report(report_to: str) -> None:
    """Raises `ArgumentsError` when what --report-to asks for is not installed."""
    if report_to == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ArgumentsError("--report-to wandb: the package wandb is not installed. Install it (pip install wandb) or leave the flag out.")


class _WandbCurves:
    """One Weights & Biases run a directory, so that a resumed run goes on in the same curves."""

    def __init__(self, directory: Path):
        check_report("wandb")
        import wandb

        number = directory / "wandb_id"
        if not number.exists():
            write_atomically(number, wandb.util.generate_id().encode())
        self.run = wandb.init(project="minigpt4", name=directory.name, id=number.read_text("utf-8"), resume="allow", dir=str(directory))
        # Curves have our steps: after a kill some are drawn twice, which wandb's own step would refuse.
        self.run.define_metric("*", step_metric="step")

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.run.log({name: value, "step": step})

    def close(self) -> None:
        self.run.finish()

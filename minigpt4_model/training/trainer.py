"""The one trainer: what learns, by which rate, for how long, and how a run survives a kill.

A stage brings an `Objective`: batches and their loss. Batches are a function of the step alone, so a resumed run sees
exactly the data that an uninterrupted one would have seen, and there is no random state to save.
"""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from ..model import MiniGPT4ForConditionalGeneration
from .checkpoint import keep_best, load_state, save_projection, save_state, trained_state
from .schedule import LearningRate

logger = logging.getLogger(__name__)

Metrics = dict[str, float]


class Objective(Protocol):
    """What one stage learns."""

    def batch(self, step: int) -> Any:
        """The batch of this step; the same for the same step, always."""

    def loss(self, batch: Any) -> tuple[torch.Tensor, Metrics]:
        """A scalar to minimise and figures to log."""

    def evaluate(self) -> Metrics:
        """Figures on held-out data; the one called "score" picks the best checkpoint (higher is better)."""


@dataclass(frozen=True)
class TrainingArguments:
    """One run. `train_qformer` also trains the Q-Former and its queries, which the paper takes ready from BLIP-2."""

    output_dir: Path
    max_steps: int
    learning_rate: float
    min_learning_rate: float
    warmup_steps: int
    warmup_learning_rate: float = 1e-6
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    train_qformer: bool = True
    save_steps: int = 200
    eval_steps: int = 500
    log_steps: int = 20

    def __post_init__(self):
        if self.max_steps < 1:
            raise ValueError(f"--max-steps must be at least 1, not {self.max_steps}.")
        if self.warmup_steps > self.max_steps:
            raise ValueError(f"--warmup-steps ({self.warmup_steps}) must not exceed --max-steps ({self.max_steps}).")


def freeze(model: MiniGPT4ForConditionalGeneration, train_qformer: bool) -> list[torch.nn.Parameter]:
    """Decides, here and nowhere else, what learns; returns it. Everything else gets no gradient."""
    model.requires_grad_(False)
    model.model.language_projection.requires_grad_(True)
    if train_qformer and model.model.qformer is not None:
        model.model.qformer.requires_grad_(True)
        model.model.query_tokens.requires_grad_(True)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def build_optimizer(parameters: list[torch.nn.Parameter], arguments: TrainingArguments) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as in the original (`RunnerBase.optimizer`)."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": arguments.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=arguments.learning_rate, betas=(0.9, 0.999))


class Trainer:
    """Runs an objective. `output_dir` holds `last/` and `best/` (both open with `--model`), the state, and `log.jsonl`."""

    def __init__(self, model: MiniGPT4ForConditionalGeneration, objective: Objective, arguments: TrainingArguments):
        self.model, self.objective, self.arguments = model.eval(), objective, arguments
        self.parameters = freeze(model, arguments.train_qformer)
        self.optimizer = build_optimizer(self.parameters, arguments)
        self.rate = LearningRate(
            arguments.learning_rate,
            arguments.min_learning_rate,
            arguments.warmup_learning_rate,
            arguments.warmup_steps,
            arguments.max_steps,
        )
        self.step, self.best_score = 0, -math.inf

    def train(self) -> None:
        """Trains to `max_steps`, from where an earlier run into the same directory stopped."""
        self._resume()
        arguments = self.arguments
        started, first = time.perf_counter(), self.step
        with tqdm(total=arguments.max_steps, initial=self.step, unit="step", desc=arguments.output_dir.name, mininterval=5) as bar:
            while self.step < arguments.max_steps:
                metrics = self.train_step()
                bar.update()
                if self.step % arguments.log_steps == 0:
                    rate = (self.step - first) / (time.perf_counter() - started)
                    bar.set_postfix(metrics, refresh=False)
                    self._log({"step": self.step, "learning_rate": self.rate(self.step), "steps_per_s": round(rate, 3), **metrics})
                last = self.step == arguments.max_steps
                if self.step % arguments.eval_steps == 0 or last:
                    self._evaluate()
                if self.step % arguments.save_steps == 0 or last:
                    self._save()

    def train_step(self) -> Metrics:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        loss, metrics = self.objective.loss(self.objective.batch(self.step))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.arguments.max_grad_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"The gradient at step {self.step} is not finite. The checkpoint in {self.arguments.output_dir / 'last'} is whole: "
                "go on from it in another --output-dir with a lower --learning-rate."
            )
        self.optimizer.step()
        self.step += 1
        return {"loss": loss.item(), "grad_norm": norm.item(), **metrics}

    def _evaluate(self) -> None:
        with torch.no_grad():
            metrics = self.objective.evaluate()
        self._log({"step": self.step, **{f"eval_{name}": value for name, value in metrics.items()}})
        logger.info("step %d: %s", self.step, metrics)
        if metrics.get("score", -math.inf) > self.best_score:
            self.best_score = metrics["score"]
            save_projection(self.model, self.arguments.output_dir / "last")
            keep_best(self.arguments.output_dir / "last", self.arguments.output_dir / "best")

    def _save(self) -> None:
        save_projection(self.model, self.arguments.output_dir / "last")
        state = {
            "step": self.step,
            "best_score": self.best_score,
            "model": trained_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "arguments": {name: str(value) for name, value in asdict(self.arguments).items()},
        }
        save_state(self.arguments.output_dir, state)

    def _resume(self) -> None:
        state = load_state(self.arguments.output_dir)
        if state is None:
            return
        ours = {name: str(value) for name, value in asdict(self.arguments).items()}
        changed = [name for name in ours if name != "output_dir" and state["arguments"].get(name) != ours[name]]
        if changed:
            flags = ", ".join("--" + name.replace("_", "-") for name in changed)
            raise ValueError(
                f"{self.arguments.output_dir} holds a run with other values of {flags}. Give the same to go on with it, "
                "or another --output-dir to start anew."
            )
        ours, theirs = ({key: tensor.shape for key, tensor in tensors.items()} for tensors in (trained_state(self.model), state["model"]))
        if ours != theirs:
            raise ValueError(f"{self.arguments.output_dir} holds a run of a model of other sizes. Give another --output-dir to start anew.")
        self.model.load_state_dict(state["model"], strict=False)  # the frozen parts are not in it
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best_score = state["step"], state["best_score"]
        logger.info("Resuming at step %d.", self.step)

    def _log(self, record: dict) -> None:
        path = self.arguments.output_dir / "log.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

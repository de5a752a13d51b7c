"""The one trainer: what learns, by which rate, for how long, and how a run survives a kill.

A stage brings an `Objective`. Batches are a function of the step alone, so a resumed run sees exactly the data that an
uninterrupted one would have seen. Runs on one process or many (`accelerate launch`): the loss is normalised over the whole step,
so neither the number of processes nor gradient accumulation changes it.
"""

import hashlib
import logging
import math
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from tqdm import tqdm

from ..model import MiniGPT4ForConditionalGeneration
from ..weights.load import TRAINED_PREFIXES
from ..weights.pairing import describe_pairing, fingerprint
from . import processes
from .arguments import TrainingArguments, was
from .attention import suit_attention
from .checkpoint import (
    CheckpointError,
    explained,
    find_checkpoints,
    keep_best,
    load_trained_state,
    make_writable,
    save_checkpoint,
    trained_state,
    write_projection,
)
from .interruption import REASONS, Interruption
from .objective import Metrics, Objective, Share
from .prefetch import drawn_ahead
from .progress import doing
from .run_log import RunLog
from .run_report import REPORT_FILE, write_report
from .sample_page import add_samples
from .schedule import LearningRate

logger = logging.getLogger(__name__)

# Steps in a row that fp16's loss scaling may leave out while it looks for a scale.
MAX_SKIPPED = 30
FIRST_STEPS = 20  # all of them are logged: a short run has a curve too


def freeze(model: MiniGPT4ForConditionalGeneration, train_qformer: bool) -> list[torch.nn.Parameter]:
    """Decides, here and nowhere else, what learns; returns it, in fp32. Everything else gets no gradient."""
    model.requires_grad_(False)
    model.model.language_projection.float().requires_grad_(True)
    if train_qformer and model.model.qformer is not None:
        model.model.qformer.float().requires_grad_(True)
        model.model.query_tokens.data = model.model.query_tokens.data.float()
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
    """Runs an objective into `arguments.output_dir` (`checkpoint.py` says what lies there).

    `binding` are settings, by flag, that a run can only go on with unchanged, besides those of the arguments and the objective.
    `kept` are the beginnings of the names of tensors that a checkpoint holds; the others come from the frozen parts.
    """

    def __init__(
        self,
        model: MiniGPT4ForConditionalGeneration,
        objective: Objective,
        arguments: TrainingArguments,
        accelerator: Accelerator | None = None,
        binding: Mapping[str, str] | None = None,
        kept: tuple[str, ...] = TRAINED_PREFIXES,
    ):
        self.accelerator = accelerator or processes.build_accelerator(arguments.mixed_precision)
        self.model, self.objective, self.arguments, self.kept = model.eval(), objective, arguments, kept
        parameters = freeze(model, arguments.train_qformer)
        suit_attention(model, self.accelerator.device)
        self.share = Share(self.accelerator.process_index, self.accelerator.num_processes, arguments.pieces(self.accelerator.num_processes))
        self.binding = {
            **arguments.binding(),
            **self._describe_model(),
            **objective.binding(),
            **(binding or {}),
        }
        if arguments.gradient_checkpointing:
            # Llama has no dropout: its training mode differs in nothing else.
            model.language_model.train().gradient_checkpointing_enable({"use_reentrant": False})
        self.wrapped, self.optimizer = processes.prepare(self.accelerator, model, build_optimizer(parameters, arguments))
        self.parameters = [parameter for parameter in self.wrapped.parameters() if parameter.requires_grad]
        self.rate = LearningRate(
            arguments.learning_rate,
            arguments.min_learning_rate,
            arguments.warmup_learning_rate,
            arguments.warmup_steps,
            arguments.max_steps,
        )
        self.step, self.best_score, self.seconds, self.skipped = 0, -math.inf, 0.0, 0
        self.log: RunLog | None = None

    def train(self) -> str:
        """Trains to `max_steps`, from where an earlier run into the same directory stopped.

        Returns "" at the end, or the one of `interruption.REASONS` that stopped it; then it is saved and can go on.
        Raises `CheckpointError`, `FloatingPointError` and what the objective raises.
        """
        arguments, main = self.arguments, self.accelerator.is_main_process
        if main:
            make_writable(arguments.output_dir)
        self._resume()
        if self.step == arguments.max_steps and (arguments.output_dir / REPORT_FILE).exists():
            logger.info("%s is finished: it has all its %d steps.", arguments.output_dir, self.step)
            return ""
        self.log = RunLog(arguments.output_dir, arguments.report_to if main else None, self.step)
        bar = tqdm(
            total=arguments.max_steps, initial=self.step, unit="step", desc=arguments.output_dir.name, mininterval=1, disable=not main
        )
        with Interruption(arguments.max_minutes) as interruption, bar, self.log:
            if self.step == 0:
                self._show_samples(bar)
            batches = self.objective.batches(self.step, self.share)
            if self.accelerator.device.type != "cpu":
                batches = drawn_ahead(batches)
            with closing(batches):
                reason = self._run(batches, interruption, bar)
        states = gather_object([self.objective.state()])
        if not reason and main:
            with explained(arguments.output_dir):
                write_report(arguments.output_dir, self._report(self.objective.notices(states)))
        return reason

    def _run(self, batches: Generator[list[Any]], interruption: Interruption, bar: tqdm) -> str:
        arguments = self.arguments
        training_seconds, first, started = 0.0, self.step, time.perf_counter() - self.seconds
        while self.step < arguments.max_steps:
            before = time.perf_counter()
            pieces = next(batches)
            reason, counts = self._agree(pieces, interruption)
            if reason:
                self._save()
                return reason
            metrics = self.train_step(pieces, counts)
            self.objective.finish_step()
            now = time.perf_counter()
            training_seconds, self.seconds = training_seconds + now - before, now - started
            bar.update()
            if metrics:
                speed = (self.step - first) * arguments.batch_size / training_seconds
                shown = {"learning_rate": self.rate(self.step - 1), "samples_per_s": round(speed, 2)}
                bar.set_postfix({"loss": f"{metrics['loss']:.3f}", "lr": f"{shown['learning_rate']:.1e}", "samples/s": f"{speed:.1f}"})
                self.log.write({"step": self.step, **metrics, **shown, "seconds": round(self.seconds, 2)})
            last = self.step == arguments.max_steps
            if self.step % arguments.eval_steps == 0 or last:
                self._evaluate(bar)
            if self.step % (arguments.sample_steps or arguments.eval_steps) == 0 or last:
                self._show_samples(bar)
            if self.step % arguments.save_steps == 0 or last:
                self.seconds = time.perf_counter() - started
                self._save()
        return ""

    def train_step(self, pieces: list[Any], counts: dict[str, float]) -> Metrics:
        """One optimizer step from this process's pieces; `counts` are the whole step's. Metrics at logging steps, else none."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        device = self.accelerator.device
        total, figures = torch.zeros((), device=device), {}
        for number, piece in enumerate(pieces):
            # Gradients cross the processes once a step, with the last piece.
            together = nullcontext() if number == len(pieces) - 1 else self.accelerator.no_sync(self.wrapped)
            with together:
                moved = send_to_device(piece, device, non_blocking=device.type == "cuda")  # while the device computes
                sums, seen = self.objective.loss(self.wrapped, moved)
                loss = sum(weight * sums[term] / max(counts[term], 1e-9) for term, weight in self.objective.weights.items())
                self.accelerator.backward(loss * self.share.world_size)  # wrappers average over processes
            total += loss.detach()
            for name, (amount, count) in seen.items():
                before = figures.get(name, (0.0, 0.0))
                figures[name] = (before[0] + torch.as_tensor(amount).detach(), before[1] + count)
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.arguments.max_grad_norm or math.inf)
        self._check_finite(norm, total)
        self.optimizer.step()
        self.step += 1
        if self.step > FIRST_STEPS and self.step % self.arguments.log_steps and self.step != self.arguments.max_steps:
            return {}
        names = sorted(figures)
        sums = self.add_up([float(total), *(float(value) for name in names for value in figures[name])])
        means = {name: sums[1 + 2 * place] / max(sums[2 + 2 * place], 1e-9) for place, name in enumerate(names)}
        return {"loss": sums[0], "grad_norm": float(norm), **means}

    def add_up(self, values: list[float]) -> list[float]:
        """Element-wise sums over all processes."""
        if self.share.world_size == 1:
            return values
        return self.accelerator.reduce(torch.tensor(values, device=self.accelerator.device), "sum").tolist()

    def _agree(self, pieces: list[Any], interruption: Interruption) -> tuple[str, dict[str, float]]:
        """What all processes say together: a reason to stop or "", and how much there is to learn in the step."""
        counted = [self.objective.counts(piece) for piece in pieces]
        terms = list(self.objective.weights)
        sums = self.add_up([*interruption.wishes(), *(sum(counts[term] for counts in counted) for term in terms)])
        reason = next((reason for reason, wishes in zip(REASONS, sums, strict=False) if wishes), "")
        return reason, dict(zip(terms, sums[len(REASONS) :], strict=True))

    def _check_finite(self, norm: torch.Tensor, loss: torch.Tensor) -> None:
        if torch.isfinite(norm):
            self.skipped = 0
            return
        self.skipped += 1
        if self.accelerator.scaler is not None and self.skipped <= MAX_SKIPPED:
            return  # fp16: this step is left out and the next one is scaled less
        kept = next(reversed(find_checkpoints(self.arguments.output_dir)), None)
        start = f"go on from {kept}, which is whole, with --init" if kept else "start anew"
        raise FloatingPointError(
            f"The gradient at step {self.step} is not finite (loss {float(loss):g}): {start} in another --output-dir, "
            "with a lower --learning-rate or --mixed-precision bf16."
        )

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """No gradients, and an LLM as it is in use: in its training mode gradient checkpointing would take its memory of the prompt."""
        llm = self.model.language_model
        training = llm.training
        llm.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            llm.train(training)

    def _evaluate(self, bar: tqdm) -> None:
        with doing(bar, "evaluating…"), self._answering():
            metrics = self.objective.evaluate(self.wrapped, self.add_up)
        if metrics:
            self.log.write({"step": self.step, **{f"eval_{name}": value for name, value in metrics.items()}})
        self.log.plot()
        if metrics:
            logger.info("step %d: %s", self.step, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        if metrics.get("score", -math.inf) > self.best_score:
            self.best_score = metrics["score"]
            tensors = trained_state(self.model, prefixes=self.kept)
            if self.accelerator.is_main_process:
                with explained(self.arguments.output_dir):
                    keep_best(self.arguments.output_dir / "best", lambda new: write_projection(new, tensors, self.model.config))

    def _show_samples(self, bar: tqdm) -> None:
        with doing(bar, "asking about sample pictures…"), self._answering():
            answers = self.objective.samples()
        if answers and self.accelerator.is_main_process:
            with explained(self.arguments.output_dir):
                add_samples(self.arguments.output_dir, self.step, answers)

    def _save(self) -> None:
        tensors = trained_state(self.model, prefixes=self.kept)
        state = {
            "step": self.step,
            "best_score": self.best_score,
            "seconds": self.seconds,
            "model": tensors,
            "optimizer": processes.optimizer_state(self.optimizer),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {},
            "objective": gather_object([self.objective.state()]),
            "random": gather_object([processes.random_state(self.accelerator.device)]),
            "binding": self.binding,
            "given": self.arguments.given(),
        }
        if self.accelerator.is_main_process:
            directory, config = self.arguments.output_dir, self.model.config
            with explained(directory):
                save_checkpoint(
                    directory, self.step, state, lambda new: write_projection(new, tensors, config), self.arguments.save_total_limit
                )
                write_projection(directory, tensors, config)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        directory = self.arguments.output_dir
        self.accelerator.wait_for_everyone()
        state = processes.load_state_together(directory)
        if state is None:
            return
        changed = sorted(name for name in self.binding | state["binding"] if self.binding.get(name) != state["binding"].get(name))
        if changed:
            given, now, bound = state.get("given", {}), self.arguments.given(), state["binding"]
            were = ", ".join(f"{name} ({was(name, bound.get(name), given, now)})" for name in changed)
            raise CheckpointError(
                f"{directory} holds a run with other values of {were}. "
                "Give the same to go on with it, or another --output-dir to start anew."
            )
        load_trained_state(self.model, state["model"])
        processes.load_optimizer_state(self.optimizer, state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        # With another number of processes there is no state for each; nothing in the model draws random numbers.
        processes.load_random_state(state["random"][self.share.rank % len(state["random"])], self.accelerator.device)
        self.step, self.best_score, self.seconds = state["step"], state["best_score"], state["seconds"]
        if self.accelerator.is_main_process:
            self.objective.load_state(state["objective"])
            with explained(directory):
                write_projection(directory, state["model"], self.model.config)  # a kill may have come between the two
        logger.info("Going on at step %d.", self.step)

    def _describe_model(self) -> dict[str, str]:
        """Which model this is, before training: its trained tensors, its frozen parts, their precision."""
        model = self.model
        if model.config.trained_with is None:
            model.config.trained_with = describe_pairing(
                language_model=model.config.text_config.model_type,
                embedding=model.get_input_embeddings().weight,
                vision_encoder=model.config.vision_config.architecture,
                encoder={f"trunk.{name}": tensor for name, tensor in model.model.vision_model.trunk.state_dict().items()},
            )
        recorded = model.config.trained_with
        digest = hashlib.sha256()
        for name, tensor in sorted(trained_state(model).items()):
            digest.update(f"{name} {fingerprint(tensor)}\n".encode())
        return {
            "--init": digest.hexdigest()[:16],
            "--model": f"{recorded['language_model']['embedding_fingerprint'][:16]} {recorded['vision_encoder']['fingerprint'][:16]}",
            "--mixed-precision": f"{self.accelerator.mixed_precision}, frozen parts in {model.get_input_embeddings().weight.dtype}",
        }

    def _report(self, notices: list[str]) -> dict[str, Any]:
        return {
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "processes": self.share.world_size,
            "device": processes.device_title(self.accelerator.device),
            "precision": self.binding["--mixed-precision"],
            "best_score": None if self.best_score == -math.inf else self.best_score,
            "settings": self.arguments.given(),
            "changed": self.arguments.changed(),
            "binding": self.binding,
            "notices": notices,
        }

"""The settings of a training run: one dataclass whose fields are the flags, and the paper's numbers for its two stages.

Names are those of transformers' `TrainingArguments`. A field's comment is its `--help`. Fields marked `free` do not change
what is learned: a run may go on with other values of them. Knows nothing of torch.
"""

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORTS = ("tensorboard", "wandb", "none")
PRECISIONS = ("auto", "bf16", "fp16", "no")


def setting(default: Any = dataclasses.MISSING, comment: str = "", free: bool = False, choices: Sequence[str] | None = None) -> Any:
    return field(default=default, metadata={"comment": comment, "free": free, "choices": choices})


class ArgumentsError(ValueError):
    """Settings that contradict each other or cannot be had here; the text names the flag and the fix."""


@dataclass(frozen=True, kw_only=True)
class TrainingArguments:
    """One run of the trainer. Raises `ArgumentsError` for values that cannot be."""

    output_dir: Path = setting(comment="Where the run lives; --model DIR of the page and of ask opens it.", free=True)
    max_steps: int = setting(comment="Optimizer steps.")
    batch_size: int = setting(comment="Samples of a step over all processes.")
    per_device_batch_size: int | None = setting(
        None, "Samples that a process computes at once; gradients are accumulated to --batch-size. Without: its whole share.", free=True
    )
    learning_rate: float = setting(comment="Where the cosine starts.")
    min_learning_rate: float = setting(comment="Where the cosine ends.")
    warmup_learning_rate: float = setting(1e-6, "Where the warm-up starts (upstream: warmup_lr).")
    warmup_steps: int = setting(comment="Steps of linear warm-up.")
    weight_decay: float = setting(0.05, "Decay of matrices; biases have none (upstream: RunnerBase.optimizer).")
    max_grad_norm: float = setting(1.0, "Longest gradient; 0 does not clip.")
    train_qformer: bool = setting(True, "Also train the Q-Former and its queries, which the paper takes ready from BLIP-2.")
    mixed_precision: str = setting("auto", "Arithmetic: bf16 where the device has it, else fp16 on CUDA, else no.", choices=PRECISIONS)
    gradient_checkpointing: bool = setting(False, "Compute the LLM's activations twice instead of keeping them: less memory.", free=True)
    save_steps: int = setting(200, "Steps between checkpoints.", free=True)
    save_total_limit: int = setting(3, "How many of the last checkpoints are kept, besides best/.", free=True)
    eval_steps: int = setting(500, "Steps between evaluations.")
    sample_steps: int | None = setting(None, "Steps between sample answers. Without: at every evaluation.", free=True)
    log_steps: int = setting(20, "Steps between lines of log.jsonl.", free=True)
    max_minutes: float | None = setting(None, "Save and end after this long; the same command goes on.", free=True)
    report_to: str = setting("tensorboard", "Where curves go besides log.jsonl and loss.png.", free=True, choices=REPORTS)

    def __post_init__(self):
        for name in ("max_steps", "batch_size", "per_device_batch_size", "save_steps", "save_total_limit", "eval_steps", "log_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentsError(f"{flag(name)} must be at least 1, not {value}.")
        if self.warmup_steps > self.max_steps:
            raise ArgumentsError(f"--warmup-steps ({self.warmup_steps}) must not exceed --max-steps ({self.max_steps}).")
        for option in dataclasses.fields(self):
            choices, value = option.metadata["choices"], getattr(self, option.name)
            if choices and value not in choices:
                raise ArgumentsError(f"{flag(option.name)} {value}: choose one of {', '.join(choices)}.")

    def pieces(self, world_size: int) -> int:
        """In how many pieces each of `world_size` processes computes its share of a step. Raises `ArgumentsError`."""
        if self.batch_size % world_size:
            raise ArgumentsError(f"--batch-size ({self.batch_size}) must be a multiple of the number of processes ({world_size}).")
        share = self.batch_size // world_size
        return -(-share // min(share, self.per_device_batch_size or share))

    def binding(self) -> dict[str, str]:
        """Flag -> value of what a run can only go on with unchanged."""
        return {flag(option.name): str(getattr(self, option.name)) for option in dataclasses.fields(self) if not option.metadata["free"]}


@dataclass(frozen=True, kw_only=True)
class Stage1Arguments(TrainingArguments):
    """The first pretraining stage, as the paper ran it (section 3.1; upstream `train_configs/minigpt4_stage1_pretrain.yaml`)."""

    output_dir: Path = setting(Path("runs/stage1"), TrainingArguments.__dataclass_fields__["output_dir"].metadata["comment"], free=True)
    max_steps: int = setting(20_000, "Optimizer steps (paper 3.1: 20,000; upstream: 4 epochs of 5,000).")
    batch_size: int = setting(256, "Samples of a step over all processes (paper 3.1: 256; upstream: 64 on each of 4 A100).")
    per_device_batch_size: int | None = setting(
        64, "Samples that a GPU computes at once; gradients are accumulated to --batch-size (upstream: 64).", free=True
    )
    learning_rate: float = setting(1e-4, "Where the cosine starts (upstream: init_lr).")
    min_learning_rate: float = setting(8e-5, "Where the cosine ends (upstream: min_lr).")
    warmup_steps: int = setting(5_000, "Steps of linear warm-up from 1e-6 (upstream: warmup_steps).")
    max_grad_norm: float = setting(0.0, "Longest gradient; 0 does not clip, as upstream.")
    train_qformer: bool = setting(False, "Also train the Q-Former; the paper trains the projection only (3.1).")
    save_steps: int = setting(500, "Steps between checkpoints.", free=True)
    eval_steps: int = setting(1_000, "Steps between evaluations.")


@dataclass(frozen=True, kw_only=True)
class Stage2Arguments(Stage1Arguments):
    """The second stage, on 3,500 curated pictures (section 3.2-3.3; upstream `train_configs/minigpt4_stage2_finetune.yaml`)."""

    output_dir: Path = setting(Path("runs/stage2"), TrainingArguments.__dataclass_fields__["output_dir"].metadata["comment"], free=True)
    # The paper's text says 400 steps; upstream's published configuration, which made the checkpoints, 1,000.
    max_steps: int = setting(1_000, "Optimizer steps (upstream: 5 epochs of 200; the paper's 3.3 says 400).")
    batch_size: int = setting(12, "Samples of a step over all processes (paper 3.3: 12).")
    per_device_batch_size: int | None = setting(
        12, "Samples that a GPU computes at once; gradients are accumulated to --batch-size (upstream: 12 on one A100).", free=True
    )
    learning_rate: float = setting(3e-5, "Where the cosine starts (upstream: init_lr).")
    min_learning_rate: float = setting(1e-5, "Where the cosine ends (upstream: min_lr).")
    warmup_steps: int = setting(200, "Steps of linear warm-up from 1e-6 (upstream: warmup_steps).")
    save_steps: int = setting(100, "Steps between checkpoints.", free=True)
    eval_steps: int = setting(200, "Steps between evaluations.")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, arguments: type[TrainingArguments], leave_out: Sequence[str] = ()) -> None:
    """A `--kebab-case` flag for each field of `arguments`; its default and its comment are the field's."""
    kinds = typing.get_type_hints(arguments)
    for option in dataclasses.fields(arguments):
        if option.name in leave_out:
            continue
        required = option.default is dataclasses.MISSING
        shown = "" if required or option.default is None else " (default: %(default)s)"
        given: dict[str, Any] = {"help": option.metadata["comment"].replace("%", "%%") + shown}
        given |= {"required": True} if required else {"default": option.default}
        kind = _kind(kinds[option.name])
        if kind is bool:
            given["action"] = argparse.BooleanOptionalAction
        elif option.metadata["choices"]:
            given["choices"] = option.metadata["choices"]
        else:
            given |= {"type": kind, "metavar": {int: "N", float: "X", Path: "DIR"}[kind]}
        parser.add_argument(flag(option.name), **given)


def from_flags(args: argparse.Namespace, arguments: type[TrainingArguments], **more: Any) -> TrainingArguments:
    """The settings that the flags of `add_flags` gave, and `more`. Raises `ArgumentsError`."""
    given = {option.name: getattr(args, option.name) for option in dataclasses.fields(arguments) if hasattr(args, option.name)}
    return arguments(**{**given, **more})


def _kind(annotation: Any) -> type:
    """The type of a value that may also be None."""
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation

"""The settings of a training run: one dataclass whose fields are the flags. `stage_arguments` has the paper's numbers.

Names are those of transformers' `TrainingArguments`. A field's comment is its `--help`. Fields marked `free` do not change
what is learned: a run may go on with other values of them. Knows nothing of torch.
"""

import argparse
import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORTS = ("tensorboard", "wandb", "none")
# A run is bound to what lies there, not to its name.
FINGERPRINTED = ("--init", "--model", "--data", "--eval-data")
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
        for name in ("learning_rate", "min_learning_rate", "warmup_learning_rate", "weight_decay", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ArgumentsError(f"{flag(name)} must not be negative, not {getattr(self, name)}.")
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

    def given(self) -> dict[str, str]:
        """Flag -> value of everything that was given or has a default, for people to read: paths as paths."""
        values = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        texts = {name: " ".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {flag(name): str(text) for name, text in texts.items() if text not in (None, "")}

    def changed(self) -> list[str]:
        """The flags of `given` whose value is not the default."""
        differ = {flag(option.name) for option in dataclasses.fields(self) if getattr(self, option.name) != option.default}
        return [name for name in self.given() if name in differ]


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def was(name: str, bound: str | None, given: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What the setting `name` of an earlier run was. `bound` may be a fingerprint; then the path that was `given` says more.

    `given` are the earlier run's settings, `now` this one's, both as `TrainingArguments.given` gives them.
    """
    if bound is None:
        return "was not given"
    if name not in FINGERPRINTED or name not in given:
        return f"was {bound}"
    return f"was {given[name]}" if given[name] != now.get(name) else f"what {given[name]} holds has changed since; it was {bound}"


def add_flags(parser: argparse.ArgumentParser, arguments: type[TrainingArguments], leave_out: Sequence[str] = ()) -> None:
    """A `--kebab-case` flag for each field of `arguments`; its default and its comment are the field's."""
    kinds = typing.get_type_hints(arguments)
    for option in dataclasses.fields(arguments):
        if option.name in leave_out:
            continue
        required = option.default is dataclasses.MISSING
        shown = "" if required or option.default in (None, ()) else " (default: %(default)s)"
        given: dict[str, Any] = {"required": True} if required else {"default": option.default}
        kind = _kind(kinds[option.name])
        if kind is bool:
            given["action"] = argparse.BooleanOptionalAction
        elif kind is tuple:
            # Without a default here, or what is given would be added to it instead of taking its place.
            shown = f" (default: {' '.join(option.default)})" if option.default else ""
            given |= {"action": "extend", "nargs": "+", "metavar": "SPEC", "default": None}
        elif option.metadata["choices"]:
            given["choices"] = option.metadata["choices"]
        else:
            given |= {"type": kind, "metavar": {int: "N", float: "X", Path: "PATH", str: "NAME"}[kind]}
        parser.add_argument(flag(option.name), help=option.metadata["comment"].replace("%", "%%") + shown, **given)


def from_flags(args: argparse.Namespace, arguments: type[TrainingArguments], **more: Any) -> TrainingArguments:
    """The settings that the flags of `add_flags` gave, and `more`. Raises `ArgumentsError`."""
    given = {}
    for option in dataclasses.fields(arguments):
        value = getattr(args, option.name, None)
        if value is not None:
            given[option.name] = tuple(value) if isinstance(value, list) else value
    return arguments(**{**given, **more})


def _kind(annotation: Any) -> type:
    """The type of a value that may also be None; a tuple's is `tuple`."""
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return typing.get_origin(annotation) or annotation

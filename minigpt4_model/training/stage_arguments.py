"""The paper's two stages as settings: every default is its number, with the section or upstream's name in the comment."""

from dataclasses import dataclass
from pathlib import Path

from ..weights.pocket import REPOSITORY
from .arguments import ArgumentsError, TrainingArguments, setting

_OUTPUT = "Where the run lives; --model DIR of the page and of ask opens it."
CACHES = ("none", "vision", "qformer")


@dataclass(frozen=True, kw_only=True)
class Stage1Arguments(TrainingArguments):
    """The first pretraining stage (paper 3.1; upstream `train_configs/minigpt4_stage1_pretrain.yaml`)."""

    output_dir: Path = setting(Path("runs/stage1"), _OUTPUT, free=True)
    max_steps: int = setting(20_000, "Optimizer steps (paper 3.1; upstream: 4 epochs of 5,000).")
    batch_size: int = setting(256, "Samples of a step over all processes (paper 3.1; upstream: 64 on each of 4 A100).")
    per_device_batch_size: int | None = setting(
        64, "Samples that a process computes at once; gradients are accumulated to --batch-size (upstream: 64).", free=True
    )
    learning_rate: float = setting(1e-4, "Where the cosine starts (upstream: init_lr).")
    min_learning_rate: float = setting(8e-5, "Where the cosine ends (upstream: min_lr).")
    warmup_steps: int = setting(5_000, "Steps of linear warm-up (upstream: warmup_steps).")
    max_grad_norm: float = setting(0.0, "Longest gradient; 0 does not clip, as upstream.")
    train_qformer: bool = setting(False, "Also train the Q-Former; the paper trains the projection alone (3.1).")
    save_steps: int = setting(500, "Steps between checkpoints.", free=True)
    eval_steps: int = setting(1_000, "Steps between evaluations.")

    model: str | None = setting(
        None, "The frozen parts: a preset or a model's directory. Its projection is drawn anew where --init does not bring one.", free=True
    )
    init: str | None = setting(None, "The checkpoint to start from; it knows its frozen parts.", free=True)
    load_in_8bit: bool = setting(False, "Frozen LLM in 8 bits.")
    load_in_4bit: bool = setting(False, "Frozen LLM in 4 bits.")
    device: str = setting("auto", "auto, cpu, cuda or mps; auto takes the best there is.", free=True)
    memory_check: bool = setting(True, "Refuse a model that does not fit into the free memory, before loading it.", free=True)
    seed: int = setting(42, "Of the order of the data and of a new projection (upstream: seed).")

    # The original's proportions: 115 parts of LAION, 14 of Conceptual Captions and SBU (upstream: sample_ratio).
    data: tuple[str, ...] = setting(
        ("data/laion@115", "data/cc_sbu@14"),
        "Sources, one or more, as [KIND:]PATH[,images=FOLDER][@WEIGHT] (upstream: sample_ratio 115 to 14).",
        free=True,
    )
    eval_data: tuple[str, ...] = setting((), "Sources of held-out samples; without, nothing is scored.", free=True)
    eval_samples: int = setting(256, "How many held-out samples are looked at.")
    max_text_tokens: int = setting(32, "Tokens of a caption and its end symbol; longer ones are cut (upstream: max_txt_len).")
    random_crop: bool = setting(
        True, "Train on a random part of each picture, half of it or more (upstream: blip2_image_train). Off with --cache-features."
    )
    num_workers: int = setting(4, "Processes that read data, for each training process (upstream: num_workers).", free=True)
    max_broken: float = setting(0.1, "Share of a source that may be broken.", free=True)
    cache_features: str = setting(
        "none", "Keep what frozen parts make of pictures on disk: of the encoder, or of encoder and Q-Former.", choices=CACHES
    )
    cache_dir: Path = setting(Path("runs/features"), "Where --cache-features keeps them.", free=True)

    def __post_init__(self):
        super().__post_init__()
        if self.load_in_8bit and self.load_in_4bit:
            raise ArgumentsError("--load-in-8bit and --load-in-4bit exclude each other: choose one.")
        if not self.model and not self.init:
            raise ArgumentsError("Name the frozen parts with --model (a preset or a model's directory), or a checkpoint with --init.")
        if self.max_text_tokens < 2:
            raise ArgumentsError(f"--max-text-tokens must be at least 2, not {self.max_text_tokens}.")


@dataclass(frozen=True, kw_only=True)
class Stage2Arguments(Stage1Arguments):
    """The second stage, on 3,500 curated pictures (paper 3.2, 3.3; upstream `train_configs/minigpt4_stage2_finetune.yaml`)."""

    output_dir: Path = setting(Path("runs/stage2"), _OUTPUT, free=True)
    # The paper's text says 400 steps; upstream's configuration, which made the published checkpoints, 1,000.
    max_steps: int = setting(1_000, "Optimizer steps (upstream: 5 epochs of 200; the paper's text says 400).")
    batch_size: int = setting(12, "Samples of a step over all processes (paper 3.3).")
    per_device_batch_size: int | None = setting(
        12, "Samples that a process computes at once; gradients are accumulated to --batch-size (upstream: 12).", free=True
    )
    learning_rate: float = setting(3e-5, "Where the cosine starts (upstream: init_lr).")
    min_learning_rate: float = setting(1e-5, "Where the cosine ends (upstream: min_lr).")
    warmup_steps: int = setting(200, "Steps of linear warm-up (upstream: warmup_steps).")
    save_steps: int = setting(100, "Steps between checkpoints.", free=True)
    eval_steps: int = setting(200, "Steps between evaluations.")

    data: tuple[str, ...] = setting(
        ("data/cc_sbu_align",), "Sources, one or more, as [KIND:]PATH[,images=FOLDER][@WEIGHT] (paper 3.2: cc_sbu_align).", free=True
    )
    max_text_tokens: int = setting(160, "Tokens of an answer and its end symbol; longer ones are cut (upstream: max_txt_len).")
    prompts: Path = setting(
        REPOSITORY / "prompts" / "alignment.txt", "Questions for pictures without words, one a line (upstream: prompt_path).", free=True
    )

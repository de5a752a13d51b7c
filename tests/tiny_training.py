"""A tiny training run in a program of its own, for tests that kill it or run it in several processes:

    python -m tests.tiny_training OUTPUT_DIR [--kill-at STEP] [--kill-while-saving N] [--slow] [--fsdp] [--answers] [--apart]
        [flags of TrainingArguments]

Two pictures' features with two words each to say, other ones at every step; both trained parts learn.
"""

import argparse
import dataclasses
import os
import signal
import time
from collections.abc import Generator
from typing import BinaryIO

import PIL.Image
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from minigpt4_model.training import checkpoint
from minigpt4_model.training.arguments import TrainingArguments, add_flags, from_flags
from minigpt4_model.training.feature_encoder import compute_features
from minigpt4_model.training.objective import DrawnObjective, SampleAnswer, Share
from minigpt4_model.training.outcome import run
from minigpt4_model.training.processes import build_accelerator
from minigpt4_model.training.trainer import Trainer
from tests.tiny_models import build_tiny_model

WORDS = 3


class NamingObjective(DrawnObjective):
    """`killed_at` is a step that never gets its batch; `scores` are handed out one an evaluation.

    Pictures have one to `WORDS` words, so that the pieces of a step do not count alike.
    """

    weights = {"answers": 1.0}

    def __init__(self, image_token_id: int, batch_size: int = 2, scores: tuple[float, ...] = (), variety: int = 100, noise: float = 0.0):
        self.image_token_id, self.batch_size, self.variety, self.noise = image_token_id, batch_size, variety, noise
        self.scores, self.killed_at = list(scores), None

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == self.killed_at:
            self.kill()
        generator = torch.Generator().manual_seed(step % self.variety)
        features = torch.randn(self.batch_size, 257, 48, generator=generator)
        words = torch.randint(3, 32000, (self.batch_size, WORDS), generator=generator)
        lengths = 1 + torch.arange(self.batch_size) % WORDS
        return features, words.masked_fill(torch.arange(WORDS) >= lengths[:, None], -100)

    def batches(self, start: int, share: Share) -> Generator[list[dict[str, torch.Tensor]]]:
        for pieces in super().batches(start, share):
            yield [self.collate(features, words) for features, words in pieces]

    def collate(self, features: torch.Tensor, words: torch.Tensor) -> dict[str, torch.Tensor]:
        places = torch.full((len(words), 32), self.image_token_id)
        first = torch.ones(len(words), 1, dtype=torch.long)
        return {
            "vision_features": features,
            "input_ids": torch.cat([first, places, words.clamp_min(0)], dim=1),
            "labels": torch.cat([torch.full_like(first, -100), torch.full_like(places, -100), words], dim=1),
        }

    def counts(self, piece) -> dict[str, float]:
        return {"answers": float((piece["labels"] != -100).sum())}

    def loss(self, model, piece):
        # Noise drawn from torch's own random state, which a resumed run has to have back.
        features = piece["vision_features"] + self.noise * torch.randn(piece["vision_features"].shape)
        loss = model(**{**piece, "vision_features": features}, num_items_in_batch=1).loss
        return {"answers": loss}, {"words": (self.counts(piece)["answers"], len(features))}

    def evaluate(self, model, add_up):
        return {"score": self.scores.pop(0)} if self.scores else {"anything": 1.0}


def shard(accelerator: Accelerator) -> None:
    """Makes of several processes on a CPU what `accelerate launch` makes of them on GPUs with docs/training.md's FSDP settings."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="TRANSFORMER_BASED_WRAP",
        transformer_cls_names_to_wrap=["LlamaDecoderLayer"],
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
    )
    state = accelerator.state
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    state.fsdp_plugin, state.distributed_type = plugin, DistributedType.FSDP


class Answering:
    """Sample answers about a drawn picture; the main process also makes features, alone, as for a cache."""

    def __init__(self, model, accelerator: Accelerator):
        self.model, self.accelerator = model, accelerator
        self.pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))

    def __call__(self) -> list[SampleAnswer]:
        ids = torch.tensor([[1, *[self.model.config.image_token_id] * 32, 400]])
        said = self.model.generate(input_ids=ids, pixel_values=self.pixels, max_new_tokens=12, do_sample=False)
        if self.accelerator.is_main_process:
            kinds = ("vision",) if self.model.model.query_tokens.requires_grad else ("vision", "qformer")
            assert all(float(compute_features(self.model, self.pixels, kind).std()) > 0 for kind in kinds)
        return [SampleAnswer(PIL.Image.new("RGB", (8, 8)), "What is it?", " ".join(map(str, said[0].tolist())))]


def build_trainer(args: argparse.Namespace) -> Trainer:
    arguments = from_flags(args, TrainingArguments)
    accelerator = build_accelerator(arguments.mixed_precision, "cpu")
    if args.apart:  # machines without a shared folder
        arguments = dataclasses.replace(arguments, output_dir=arguments.output_dir / str(accelerator.process_index))
    if args.fsdp:
        shard(accelerator)
    model = build_tiny_model()[0]
    objective = NamingObjective(model.config.image_token_id, arguments.batch_size, noise=args.noise)
    objective.killed_at = args.kill_at
    if args.answers:
        objective.samples = Answering(model, accelerator)
    if args.kill_while_saving:
        saved, write = [], checkpoint.torch.save

        def save(state: dict, file: BinaryIO) -> None:
            saved.append(file)
            if len(saved) == args.kill_while_saving:
                file.write(b"half a file")
                file.flush()
                objective.kill()
            write(state, file)

        checkpoint.torch.save = save
    if args.slow:
        draw = objective.batch
        objective.batch = lambda step: time.sleep(0.2) or draw(step)
    return Trainer(model, objective, arguments, accelerator)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    add_flags(parser, TrainingArguments)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--kill-while-saving", type=int)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--fsdp", action="store_true")
    parser.add_argument("--answers", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.set_defaults(report_to="none", mixed_precision="no", log_steps=1)
    torch.set_num_threads(1)
    args = parser.parse_args(argv)
    return run(lambda: build_trainer(args))


if __name__ == "__main__":
    raise SystemExit(main())

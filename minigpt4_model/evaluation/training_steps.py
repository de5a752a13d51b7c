"""One training step three ways, with a stopwatch at each part.

`cached` and `computed` are the trainer's own step, with the features of frozen parts kept on disk or computed each time; its parts
are called one by one so that each can be timed. `naive` is what a careless port does: every part in the graph, so that
gradients of frozen weights are computed and thrown away, and logits over the whole vocabulary for every position. All three have
the same loss and the same gradient for what learns.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from ..model import MiniGPT4ForConditionalGeneration
from ..training.attention import set_attention, suit_attention
from ..training.feature_encoder import compute_features
from ..training.objective import Share
from ..training.stage_arguments import Stage1Arguments
from ..training.stages import Piece, StageObjective
from ..training.trainer import build_optimizer, freeze

WAYS = ("naive", "computed", "cached")
PARTS = ("data", "encoder", "qformer", "llm_forward", "backward", "optimizer")


@dataclass
class StepFigures:
    """Seconds of one step by part, its loss, and how many samples it had."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    loss: float = 0.0
    samples: int = 0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


class TrainingSteps:
    """Steps of one way over a model that other ways may share: `prepare`, then `run`, any number of times.

    `objective` brings the data; for `cached` it has an encoder with a store, and opens pictures by way of it.
    """

    def __init__(
        self,
        way: str,
        model: MiniGPT4ForConditionalGeneration,
        objective: StageObjective,
        train_qformer: bool,
        autocast: AbstractContextManager,
        gradient_checkpointing: bool = False,
    ):
        self.way, self.model, self.objective, self.train_qformer = way, model, objective, train_qformer
        self.device = model.model.language_projection.weight.device
        self.autocast, self.gradient_checkpointing = autocast, gradient_checkpointing and way != "naive"
        self.learning = freeze(model, train_qformer)
        self.optimizer = build_optimizer(self.learning, Stage1Arguments(model="pocket"))
        self.figures = StepFigures()

    def prepare(self) -> None:
        """Makes the shared model this way's: what has gradients, which attention, nothing left over from another."""
        self.model.zero_grad(set_to_none=True)
        if self.way == "naive":
            self.model.requires_grad_(True)
            set_attention(self.model, "sdpa", "sdpa")  # transformers' default
        else:
            freeze(self.model, self.train_qformer)
            suit_attention(self.model, self.device)
        llm = self.model.language_model
        llm.train(self.gradient_checkpointing)
        if self.gradient_checkpointing:
            llm.gradient_checkpointing_enable({"use_reentrant": False})
        elif llm.is_gradient_checkpointing:
            llm.gradient_checkpointing_disable()

    def run(self, step: int, learn: bool = True) -> StepFigures:
        """One step on the data of `step`; without `learn` the gradients stay, and the weights are not changed."""
        self.figures = StepFigures()
        with self._part("data"), closing(self.objective.batches(step, Share())) as batches:
            (piece,) = next(batches)
        self.figures.samples = len(piece["input_ids"])
        loss = self._naive_loss(piece) if self.way == "naive" else self._loss(piece)
        with self._part("backward"):
            loss.backward()
        with self._part("optimizer"):
            if learn:
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        self.figures.loss = float(loss.detach())
        return self.figures

    def _loss(self, piece: Piece) -> torch.Tensor:
        model, counts = self.model, self.objective.counts(piece)["loss"]
        with self._part("encoder"):
            if self.way == "cached":
                features = {f"{self.objective.encoder.store.spec.kind}_features": self.objective.encoder(piece["pictures"])}
            else:
                features = {"vision_features": compute_features(model, piece["pixel_values"], "vision")}
        with self._part("qformer"), self.autocast:
            tokens = model.model.read_pictures(**features)
        with self._part("llm_forward"), self.autocast:
            ids, labels = piece["input_ids"].to(self.device), piece["labels"].to(self.device)
            return model(input_ids=ids, labels=labels, image_features=tokens, num_items_in_batch=counts, use_cache=False).loss

    def _naive_loss(self, piece: Piece) -> torch.Tensor:
        model = self.model.model
        with self._part("encoder"):
            features = model.vision_model(piece["pixel_values"].to(self.device)).last_hidden_state
        with self._part("qformer"), self.autocast:
            tokens = model.project_features(features)
        with self._part("llm_forward"), self.autocast:
            ids, labels = piece["input_ids"].to(self.device), piece["labels"].to(self.device)
            logits = self.model(input_ids=ids, image_features=tokens, use_cache=False).logits
            return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.figures.seconds[name] += time.perf_counter() - started


def projection_gradient(model: MiniGPT4ForConditionalGeneration) -> torch.Tensor:
    """What the last backward pass left for the projection's weight, copied."""
    return model.model.language_projection.weight.grad.detach().float().clone()

"""Pictures to frozen features, through a `FeatureStore`: what it holds is read, what it lacks is computed once and added.

The work is split as training needs it. `FeatureOpener` stands where pictures are opened, in the workers that prepare batches:
a picture whose features are kept is neither decoded nor resized. `CachedEncoder` stands where the model is: it runs the
encoder on the rest. After the first epoch it has nothing left to do.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..chat.pictures import LoadedPicture, PictureError, load_picture
from ..model import MiniGPT4ForConditionalGeneration, MiniGPT4ImageProcessor
from ..model.qformer import run_qformer
from .feature_store import FeatureSpec, FeatureStore, FeatureStoreError

_FORMAT = 1  # part of the fingerprint: raise it when features are computed in another way


@dataclass(frozen=True, eq=False)
class FeaturePicture(LoadedPicture):
    """A picture on its way into a batch: with its kept `features` `(tokens, width)` fp16, or else with `pixel_values` `(3, S, S)`."""

    features: torch.Tensor | None = None
    pixel_values: torch.Tensor | None = None


def describe_features(model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4ImageProcessor, kind: str) -> FeatureSpec:
    """What the model's features of `kind` are: "vision", or "qformer" where the Q-Former does not learn.

    The fingerprint covers every weight that the features depend on, and the preparation of the pixels. Raises
    `FeatureStoreError` for "qformer" when there is none or when it learns.
    """
    qformer = model.model.qformer
    if kind == "qformer":
        if qformer is None:
            raise FeatureStoreError("--cache-features qformer: this model has no Q-Former. Use --cache-features vision.")
        if any(parameter.requires_grad for parameter in (model.model.query_tokens, *qformer.parameters())):
            raise FeatureStoreError(
                "--cache-features qformer: the Q-Former learns in this run, so that what it says now is soon out of date. "
                "Use --cache-features vision, or --no-train-qformer."
            )
    digest = hashlib.sha256(f"{_FORMAT} {kind} {processor.image_size} {processor.image_mean} {processor.image_std}".encode())
    parts = {"vision_model": model.model.vision_model.state_dict()}
    if kind == "qformer":
        parts |= {"qformer": qformer.state_dict(), "query_tokens": {"": model.model.query_tokens}}
    for part, state in parts.items():
        for name, tensor in sorted(state.items()):
            digest.update(f"{part} {name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    side = model.config.vision_config.image_size
    shape = compute_features(model, torch.zeros(1, 3, side, side), kind).shape[1:]
    return FeatureSpec(kind, tuple(shape), digest.hexdigest())


@torch.no_grad()
def compute_features(model: MiniGPT4ForConditionalGeneration, pixel_values: torch.Tensor, kind: str) -> torch.Tensor:
    """`(P, 3, S, S)` -> `(P, N, Dv)` of the vision encoder, or `(P, T, Dq)` of the Q-Former behind it."""
    vision = model.model.vision_model
    pixel_values = pixel_values.to(next(vision.parameters()).device)
    if pixel_values.device.type == "cpu" and model.config.vision_config.architecture != "eva_vit":
        # For convolutions on a CPU this layout is 1.7 times as fast.
        vision.to(memory_format=torch.channels_last)
        pixel_values = pixel_values.to(memory_format=torch.channels_last)
    features = vision(pixel_values).last_hidden_state
    if kind == "vision":
        return features
    return run_qformer(model.model.qformer, model.model.query_tokens, features)


class FeatureOpener:
    """Opens a picture (bytes, a path, or one opened already) as a `FeaturePicture`. Can be pickled into workers.

    The digest is that of the file's bytes, so that kept features are found without decoding; of an opened picture it is that
    of its pixels.
    """

    def __init__(self, store: FeatureStore, processor: MiniGPT4ImageProcessor, open_picture: Callable[[Any], LoadedPicture] = load_picture):
        self.store, self.processor, self.open_picture = store, processor, open_picture

    def __call__(self, picture: bytes | Path | LoadedPicture) -> FeaturePicture:
        """Raises `PictureError` and `OSError` for a picture that cannot be opened."""
        if isinstance(picture, LoadedPicture):
            digest = f"pixels {picture.digest}"
        else:
            content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
            digest = f"file {hashlib.sha256(content).hexdigest()}"
        row = self.store.get(digest)
        if row is not None:
            # A copy as a tensor: read here, in the worker, and handed over in shared memory.
            return FeaturePicture(None, digest, features=torch.from_numpy(np.array(row)))
        loaded = picture if isinstance(picture, LoadedPicture) else self.open_picture(picture)
        return FeaturePicture(None, digest, loaded.notice, pixel_values=self.processor.normalize(loaded.image))


class CachedEncoder:
    """`encoder(pictures)` is their features `(P, tokens, width)` fp32 on the model's device; those it computes go into the store.

    What it computes passes through fp16 too, so that a picture's features are the same when they are met again. It computes
    `batch_size` pictures at a time, filled up with blank ones, because a picture's last bits may depend on the size of its batch.
    """

    def __init__(self, model: MiniGPT4ForConditionalGeneration, store: FeatureStore, batch_size: int = 8):
        self.model, self.store, self.batch_size = model, store, batch_size
        self.hits = self.misses = 0

    def __call__(self, pictures: Sequence[FeaturePicture]) -> torch.Tensor:
        rows: dict[str, torch.Tensor] = {}
        missing: dict[str, torch.Tensor] = {}
        for picture in pictures:
            if picture.features is not None:
                rows[picture.digest] = picture.features
            elif (row := self.store.get(picture.digest)) is not None:  # kept since the worker looked
                rows[picture.digest] = torch.from_numpy(np.array(row))
            else:
                missing[picture.digest] = picture.pixel_values
        self.hits, self.misses = self.hits + len(pictures) - len(missing), self.misses + len(missing)
        digests = list(missing)
        for start in range(0, len(digests), self.batch_size):
            some = digests[start : start + self.batch_size]
            computed = self._compute(torch.stack([missing[digest] for digest in some]))
            self.store.add(some, computed.numpy())
            rows.update(zip(some, computed, strict=True))
        features = torch.stack([rows[picture.digest] for picture in pictures])
        return features.to(self.model.model.language_projection.weight.device).float()

    def _compute(self, pixel_values: torch.Tensor) -> torch.Tensor:
        count = len(pixel_values)
        blank = pixel_values.new_zeros(self.batch_size - count, *pixel_values.shape[1:])
        features = compute_features(self.model, torch.cat([pixel_values, blank]), self.store.spec.kind)
        return features[:count].half().cpu()

    def fill(self, pictures: Iterable[bytes | Path | LoadedPicture], opener: FeatureOpener) -> tuple[int, int]:
        """Keeps the features of all `pictures`, before training or beside it; `(kept, could not be opened)`.

        What an earlier, interrupted call has kept is only looked up. Several processes may fill one store, each with its share.
        """
        waiting: list[FeaturePicture] = []
        done = broken = 0
        for picture in pictures:
            try:
                waiting.append(opener(picture))
            except (PictureError, OSError):
                broken += 1
                continue
            done += 1
            waiting = [found for found in waiting if found.features is None]
            if len(waiting) == self.batch_size:
                self(waiting)
                waiting = []
        if waiting:
            self(waiting)
        self.store.flush()
        return done, broken

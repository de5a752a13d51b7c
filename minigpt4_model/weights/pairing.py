"""Which frozen parts a projection was trained with, and whether those at hand are the same.

A projection fits one LLM, one vision encoder and one Q-Former only: with another it babbles instead of failing, so a checkpoint
records them (`trained_with` in its config.json) and a pairing that does not fit is refused, with both names and the fix.

    {"language_model": {"name", "hidden_size", "vocab_size", "embedding_fingerprint"},
     "vision_encoder": {"name", "fingerprint"},
     "qformer": {"name", "fingerprint"}}      # not where the Q-Former is the checkpoint's own; no fingerprint: there is none

The original project's files record nothing: what can be told of them is `official_pairing.py`'s business.

Fingerprints are taken of values rounded to bfloat16, so that fp32, fp16 and bf16 copies of the same weights agree. Limits: two tables
that differ by less than bfloat16's rounding, or only outside the sampled rows, look the same; a value below fp16's smallest step
(6e-8), or one that fp16 rounded across a bfloat16 tie, makes an fp16 copy look different from an fp32 original. Weights
quantised to 8 or 4 bits have other values: take the fingerprint before quantising (embeddings are never quantised).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PairingError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_WHOLE_BELOW = 1 << 20  # elements; of a larger tensor a thousand rows, evenly spaced, first and last included, are hashed
_SAMPLED_ROWS = 1024
_QFORMER = ("model.qformer.", "model.query_tokens")
NO_QFORMER = "none: patches joined"
_ENCODER, _TRUNK, _NORM = "vision_model.", "trunk.", "post_layernorm."
_HEADS = ("classifier.", "head.")  # an encoder with and without its ImageNet classifier is the same encoder
_EMBEDDINGS = ("model.embed_tokens.weight", "model.language_model.embed_tokens.weight", "language_model.model.embed_tokens.weight")


def fingerprint(tensor: "Tensor") -> str:
    """Sixteen bytes in hex of a tensor's shape and values; the same for its fp32, bf16 and (within the limits above) fp16 copies."""
    import torch

    tensor = tensor[...]  # reads it, where it is one of a file (`stored.py`)
    rows = tensor.detach().reshape(tensor.shape[0], -1) if tensor.dim() else tensor.detach().reshape(1, 1)
    if tensor.numel() > _WHOLE_BELOW and rows.shape[0] > _SAMPLED_ROWS:
        rows = rows[torch.arange(_SAMPLED_ROWS, device=rows.device) * (rows.shape[0] - 1) // (_SAMPLED_ROWS - 1)]
    values = rows.to(torch.bfloat16).contiguous().cpu().view(torch.int16).numpy().astype("<i2", copy=False)
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    digest.update(values.tobytes())
    return digest.hexdigest()[:32]


def fingerprint_encoder(state: Mapping[str, "Tensor"]) -> str:
    """One fingerprint of a vision encoder's weights by timm's names, as in its own file or under `...trunk.` as in the whole model.

    Left out: the classifier, BatchNorm's step counters, and the layer norm after the trunk, which comes with the Q-Former.
    """
    named = {(name.partition(_ENCODER)[2] or name).removeprefix(_TRUNK): name for name in state}
    digest = hashlib.sha256()
    for name in sorted(named):
        if not name.startswith((*_HEADS, _NORM)) and not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {fingerprint(state[named[name]])}\n".encode())
    return digest.hexdigest()[:32]


def fingerprint_qformer(state: Mapping[str, "Tensor"]) -> str | None:
    """One fingerprint of the Q-Former and its query tokens by their names in the whole model; None where there are none."""
    digest, found = hashlib.sha256(), False
    for name in sorted(state):
        if name.startswith(_QFORMER):
            digest.update(f"{name} {fingerprint(state[name])}\n".encode())
            found = True
    return digest.hexdigest()[:32] if found else None


def describe_qformer(name: str, state: Mapping[str, "Tensor"]) -> dict[str, Any]:
    """`trained_with["qformer"]` of the whole model's tensors (others than the Q-Former's are not looked at)."""
    found = fingerprint_qformer(state)
    return {"name": name if found else NO_QFORMER, "fingerprint": found}


def describe_pairing(
    *, language_model: str, embedding: "Tensor", vision_encoder: str, encoder: Mapping[str, "Tensor"]
) -> dict[str, dict[str, Any]]:
    """The `trained_with` record of two names, the LLM's input table (vocab_size, hidden_size) and the encoder's weights by name."""
    return {
        "language_model": describe_embedding(language_model, embedding),
        "vision_encoder": {"name": vision_encoder, "fingerprint": fingerprint_encoder(encoder)},
    }


def describe_embedding(name: str, embedding: "Tensor") -> dict[str, Any]:
    """`trained_with["language_model"]` of an input table `(vocab_size, hidden_size)`."""
    vocab_size, hidden_size = embedding.shape
    return {"name": name, "hidden_size": hidden_size, "vocab_size": vocab_size, "embedding_fingerprint": fingerprint(embedding)}


def describe_language_model_dir(directory: Path, name: str) -> dict[str, Any]:
    """`trained_with["language_model"]` of a Hugging Face directory, read from its embedding table alone.

    Raises `WeightsError` when no safetensors file of the directory holds an embedding table.
    """
    from safetensors import safe_open

    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in set(file.keys()).intersection(_EMBEDDINGS):
                return describe_embedding(name, file.get_tensor(key))
    raise WeightsError(f"{directory}: no *.safetensors file there holds the language model's embedding table ({_EMBEDDINGS[0]}).")


def describe_vision_encoder_file(path: Path, name: str) -> dict[str, Any]:
    """`trained_with["vision_encoder"]` of a safetensors file that holds the encoder alone."""
    from safetensors.torch import load_file

    return {"name": name, "fingerprint": fingerprint_encoder(load_file(path))}


_WORDS = {"language_model": "language model", "vision_encoder": "vision encoder", "qformer": "Q-Former"}
_ALWAYS_RECORDED = ("language_model", "vision_encoder")
_FIX = {
    "language_model": "Give it that language model (its preset, or --language-model DIR), or train a projection for this one.",
    "vision_encoder": "Give it that vision encoder (its preset, or --vision FILE), or train a projection for this one.",
    "qformer": "Give it that Q-Former (its preset, or --qformer FILE), or train a projection for this one.",
}


Record = Mapping[str, Mapping[str, Any]]


def check_pairing(recorded: Record, actual: Record, checkpoint: str = "The checkpoint") -> None:
    """Compares every recorded field but the names. Raises `PairingError` with both names, what differs and the fix, or for no record."""
    if not isinstance(recorded, Mapping) or not all(isinstance(part, Mapping | None) for part in recorded.values()):
        raise PairingError(f"{checkpoint}: its record of what it was trained with is damaged. Restore it, or train or export it again.")
    for part, words in _WORDS.items():
        known, found = recorded.get(part), actual.get(part)
        if part not in _ALWAYS_RECORDED and (known is None or found is None):
            continue
        if known is None or found is None:
            raise PairingError(f"{checkpoint} has no record of the {words} it was trained with: train or import it again.")
        differing = [field for field in known if field != "name" and known[field] != found.get(field)]
        if differing:
            figures = "; ".join(f"{field}: {known[field]} recorded, {found.get(field)} here" for field in differing)
            raise PairingError(
                f"{checkpoint} was trained with the {words} {known.get('name')}, and this is {found.get('name')} ({figures}). "
                f"Together they would babble. {_FIX[part]}"
            )

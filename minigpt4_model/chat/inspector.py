"""Looking back at an answer of the engine: how likely its tokens were, and which image tokens mattered for a word.

`inspect_answer` reads the conversation again with its answer, once with the pictures and once without; `weigh_image_tokens` takes a
few gradients. What the numbers mean is said in `inspection.py`. Knows the engine's insides: slots, turns and the model.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F
from transformers import DynamicCache

from ..model.qformer import read_cross_attention
from .backends.base import BackendError, TokenLogprob
from .blank import blank_picture
from .crops import corner_of
from .inspection import InspectedToken, Inspection, PictureReading, Weights
from .kv_cache import Slot
from .logprobs import LogprobReader, token_bytes
from .messages import Turn, load_conversation
from .pictures import LoadedPicture
from .render import Rendered
from .settings import GenerationSettings

if TYPE_CHECKING:
    from .engine import Engine

ALTERNATIVES = 5
CHUNK = 256  # positions per step: others wait for one step
# Positions behind the first picture that a gradient is taken through: they hold the model for as long as it takes, and its activations.
LONGEST_GRADIENT = 1024
# Where the slopes are taken: the middles of four steps from closed to open.
OPENINGS = (0.125, 0.375, 0.625, 0.875)


def inspect_answer(engine: Engine, messages: list[dict], text: str, token_ids: Sequence[int], settings: GenerationSettings) -> Inspection:
    """See `inspection.InspectingBackend.inspect`."""
    kept, _, rendered = engine.fit(load_conversation(messages), settings)
    pieces, ids = spell(engine, text, token_ids)
    with _slot(engine, rendered.keys) as slot:
        seen = _read(engine, rendered, ids, slot)
    shown = [picture for turn in kept for picture in turn.pictures]
    blind: Sequence[TokenLogprob | None] = [None] * len(ids)
    if shown:
        with engine._seats.seat():
            blind = _read(engine, engine.render(_without_pictures(kept)), ids, Slot())
    return Inspection(
        tuple(map(InspectedToken, pieces, seen, blind)),
        tuple(_read_picture(engine, picture) for picture in _own(rendered)),
        ("blank" if engine._config.blank_picture else "none") if shown else "",
    )


def weigh_image_tokens(
    engine: Engine, messages: list[dict], text: str, word: range, token_ids: Sequence[int], settings: GenerationSettings
) -> Weights:
    """See `inspection.InspectingBackend.weigh`.

    Every position behind a picture looks at an image token through a gate that its attention is multiplied with: closed at 0, the token is
    not there for it. The number is the slope of the word's log-probability by that gate, on average while all gates open together
    (integrated gradients, Sundararajan et al. 2017). Slopes at open gates alone would say little of a word that is certain, and closing
    each gate by itself would take a pass for each token.
    """
    _, _, rendered = engine.fit(load_conversation(messages), settings)
    _, ids = spell(engine, text, token_ids)
    if not 0 <= word.start < word.stop <= len(ids):
        raise IndexError(f"The answer has {len(ids)} tokens: there are none from {word.start} to {word.stop}.")
    if not rendered.pictures:
        return Weights(())
    size = engine._config.num_image_tokens
    starts = [index for index, key in enumerate(rendered.keys) if key < 0][::size]
    kept = starts[0] + size  # what stands before is the same, whatever the gates
    ahead = len(rendered.keys) + word.stop - 1 - kept
    if ahead > LONGEST_GRADIENT:
        raise BackendError(
            f"A word can be weighed up to {LONGEST_GRADIENT} tokens behind the first picture; this one stands {ahead} behind it. "
            "Ask again in a new conversation."
        )
    features = [engine.encode_image(picture).features for picture in rendered.pictures]
    with _slot(engine, rendered.keys + ids) as slot:
        missing = kept - len(slot.keys)
        if missing > 0:
            _append(engine, slot, rendered.keys[len(slot.keys) : kept], _embed(engine, rendered, features)[:, len(slot.keys) : kept], 1)
        with engine.computing() as model, torch.inference_mode(False), torch.enable_grad():
            embeds = model.embed_prompt(
                torch.tensor([rendered.input_ids + ids[: word.stop - 1]], device=model.device), torch.stack(features).clone()
            )[:, kept:].detach()
            chosen = torch.tensor(ids[word.start : word.stop], device=model.device)[:, None]
            weights = torch.zeros(len(starts), size, device=model.device)
            for opening in OPENINGS:
                gates = torch.full_like(weights, opening, requires_grad=True)
                logits = model(
                    inputs_embeds=embeds,
                    attention_mask=_gated(gates, starts, kept, embeds),
                    position_ids=torch.arange(kept, kept + embeds.shape[1], device=model.device)[None],
                    past_key_values=_copy(slot, kept),
                    use_cache=True,
                    logits_to_keep=len(word),
                ).logits[0]
                gained = logits.float().log_softmax(-1).gather(1, chosen).sum()
                weights += torch.autograd.grad(gained, gates)[0] / len(OPENINGS)
    wanted = {picture.digest for picture in _own(rendered)}
    return Weights(tuple(tuple(row) for row, picture in zip(weights.tolist(), rendered.pictures, strict=True) if picture.digest in wanted))


def spell(engine: Engine, text: str, token_ids: Sequence[int]) -> tuple[list[str], list[int]]:
    """The tokens of an answer and what each adds to its text: `token_ids` as far as they spell `text`, or else a cut of `text` itself."""
    ids = [token for token in token_ids if token not in engine._stop_rules.end_tokens]
    pieces = _pieces(engine, ids)
    if not "".join(pieces).startswith(text) or not ids:
        ids = engine.tokenizer(text, add_special_tokens=False).input_ids
        pieces = _pieces(engine, ids)
    length = 0
    for index, piece in enumerate(pieces):
        if length >= len(text) and piece:
            return pieces[:index], ids[:index]
        pieces[index] = piece[: len(text) - length]
        length += len(piece)
    return pieces, ids


def _pieces(engine: Engine, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text, without white space at its beginning; a character of several tokens belongs to the last."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    special = set(engine.tokenizer.all_special_ids)
    pieces, started = [], False
    for token in ids:
        piece = "" if token in special else decoder.decode(token_bytes(engine.tokenizer, token))
        piece = piece if started else piece.lstrip()
        started = started or bool(piece)
        pieces.append(piece)
    return pieces


@contextmanager
def _slot(engine: Engine, keys: Sequence[int]) -> Iterator[Slot]:
    """A seat, and the slot that holds most of a conversation, for the block."""
    with engine._seats.seat():
        slot = engine._slots.take(keys if engine.reuse_kv else [])
        try:
            yield slot
        finally:
            slot.sound &= engine.reuse_kv
            engine._slots.give_back(slot)


def _embed(engine: Engine, rendered: Rendered, features: Sequence[torch.Tensor]) -> torch.Tensor:
    """The whole prompt, `(1, L, D)`."""
    with engine.computing() as model:
        ids = torch.tensor([rendered.input_ids], device=model.device)
        return model.embed_prompt(ids, torch.stack(list(features)) if features else None)


def _append(engine: Engine, slot: Slot, keys: Sequence[int], embeds: torch.Tensor, wanted: int) -> torch.Tensor:
    """Computes `embeds` `(1, n, D)`, named by `keys`, into the slot; the logits `(wanted, V)` at the last `wanted` of them."""
    found = []
    for start in range(0, embeds.shape[1], CHUNK):
        chunk = embeds[:, start : start + CHUNK]
        end = start + chunk.shape[1]
        keep = min(chunk.shape[1], max(0, end - (embeds.shape[1] - wanted)))
        with engine.computing() as model:
            slot.sound = False
            logits = model(inputs_embeds=chunk, past_key_values=slot.cache, use_cache=True, logits_to_keep=max(keep, 1)).logits[0]
            slot.keys += keys[start:end]
            slot.sound = True
        found.append(logits[-keep:] if keep else logits[:0])
    return torch.cat(found)


def _read(engine: Engine, rendered: Rendered, ids: list[int], slot: Slot) -> list[TokenLogprob]:
    """How likely each of `ids` is behind the prompt and those before it."""
    if not ids:
        return []
    done = len(slot.keys)
    features = [engine.encode_image(picture).features for picture in rendered.pictures]
    prompt = _embed(engine, rendered, features)[:, done:]
    with engine.computing() as model:
        answer = model.get_input_embeddings()(torch.tensor([ids[:-1]], dtype=torch.long, device=model.device))
    keys = [*rendered.keys, *ids[:-1]][done:]
    logits = _append(engine, slot, keys, torch.cat([prompt, answer], dim=1), len(ids))
    reader = LogprobReader(engine.tokenizer, ALTERNATIVES)
    return [reader.read(row, token) for row, token in zip(logits, ids, strict=True)]


def _copy(slot: Slot, length: int) -> DynamicCache:
    """The first `length` positions of a slot's cache, as tensors that gradients may pass by."""
    cache = DynamicCache()
    for index, layer in enumerate(slot.cache.layers):
        cache.update(layer.keys[..., :length, :].clone(), layer.values[..., :length, :].clone(), index)
    return cache


def _gated(gates: torch.Tensor, starts: Sequence[int], kept: int, embeds: torch.Tensor) -> torch.Tensor:
    """The causal mask `(1, 1, n, kept + n)` of the positions behind `kept`, with the logarithms of `gates` `(P, T)` at the image tokens
    for whoever stands behind them."""
    size, count = gates.shape[1], kept + embeds.shape[1]
    rows = torch.arange(kept, count, device=gates.device)[:, None]
    columns = torch.arange(count, device=gates.device)[None]
    mask = torch.where(columns <= rows, 0.0, torch.finfo(embeds.dtype).min)
    for start, gate in zip(starts, gates, strict=True):
        mask = mask + F.pad(gate.log(), (start, count - start - size)) * (rows >= start + size)
    return mask.to(embeds.dtype)[None, None]


def _without_pictures(turns: Sequence[Turn]) -> list[Turn]:
    """The conversation as if no picture had been shown. A model that has learned a blank picture is shown that one by the renderer."""
    return [Turn(turn.role, tuple(part for part in turn.parts if isinstance(part, str))) for turn in turns]


def _own(rendered: Rendered) -> list[LoadedPicture]:
    """The pictures that were shown, parts of them included, without the blank one that the renderer adds."""
    return [picture for picture in rendered.pictures if picture.digest != blank_picture().digest]


def _read_picture(engine: Engine, picture: LoadedPicture) -> PictureReading:
    """Where the picture's image tokens come from."""
    config = engine._config
    side = config.vision_config.grid_side
    places = slice(1, 1 + side * side)
    if config.qformer_config is None:
        joined = config.patches_per_token
        own = torch.eye(side * side // joined).repeat_interleave(joined, dim=1) / joined
        attention, passed_on = own, own
    else:
        pixels = engine._processor.image_processor([picture.image], return_tensors="pt")["pixel_values"]
        with engine.computing() as model:
            features = model.model.vision_model(pixels.to(model.device)).last_hidden_state
            read = read_cross_attention(model.model.qformer, model.model.query_tokens, features)
        attention = read.weights[0].mean((0, 1))[:, places].cpu()
        passed_on = (read.passed_on / read.passed_on.sum(-1, keepdim=True))[0].mean(0)[:, places].cpu()
    digest, part = corner_of(picture.digest)
    return PictureReading(
        digest,
        part,
        side,
        side,
        tuple(map(tuple, attention.tolist())),
        tuple(map(tuple, passed_on.tolist())),
        tuple((1 - attention.sum(-1)).clamp_min(0).tolist()),
        config.qformer_config is not None,
    )

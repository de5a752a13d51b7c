"""How a model is spread over several devices: which of the LLM's layers goes where, and the map of it for accelerate.

Reckons with sizes (`memory.py`) and free bytes only, before anything is loaded and without torch. The vision encoder, the Q-Former,
the projection and the LLM's tables stay together on the first device; the LLM's layers are spread in order. A GPU's layers are
computed there; those on the CPU or the disk are offloaded: accelerate brings them to the first device each time they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .memory import PROGRAM_BYTES, ModelSize, value_bytes

DISK = "disk"
OTHER_GPU_BYTES = 500_000_000  # a CUDA context and activations
_OFFLOADED_PROGRAM_BYTES = 1_500_000_000  # the program on the host of a GPU
_LAYERS = "model.language_model.layers"
_KEPT_TOGETHER = (
    "model.vision_model",
    "model.qformer",
    "model.query_tokens",
    "model.language_projection",
    "model.language_model.embed_tokens",
    "model.language_model.norm",
    "model.language_model.rotary_emb",
    "lm_head",
)
_OF_THE_QFORMER = ("model.qformer", "model.query_tokens")


@dataclass(frozen=True)
class Need:
    """What has to be placed: a model's size, how long conversations get and how many are kept at a time.

    `beside` is the precision of all but the LLM's layers where these have 8 or 4 bit.
    """

    size: ModelSize
    context_length: int
    conversations: int
    beside: str = "16 bit"

    def needed_bytes(self, precision: str, conversations: int) -> int:
        """On one device."""
        held = conversations * self.size.conversation_bytes(precision, self.context_length, self.beside)
        return self.size.weight_bytes(precision, self.beside) + held + PROGRAM_BYTES


def place_layers(need: Need, precision: str, rooms: Sequence[tuple[str, int]], conversations: int) -> list[str] | None:
    """The device of each of the LLM's layers, in order; None when they do not fit.

    `rooms` are devices and their free bytes, the first of which holds everything else too. Layers are shared out over the
    devices that compute in proportion to their room; what they cannot hold goes to the CPU and then to the disk, if listed.
    """
    size, layers = need.size, need.size.language_model.layers
    weights = size.layer_bytes(precision)
    held = conversations * size.language_model.cache_bytes(need.context_length, value_bytes(precision, need.beside)) // layers
    main = rooms[0][0]
    computing = [(name, room) for name, room in rooms if name == main or name not in ("cpu", DISK)]
    reserved = [PROGRAM_BYTES + size.other_bytes(precision, need.beside)] + [OTHER_GPU_BYTES] * (len(computing) - 1)
    left = [max(0, room - taken) for (_, room), taken in zip(computing, reserved, strict=True)]
    if left[0] == 0:
        return None
    counts = _share(layers, [room // (weights + held) for room in left])
    # The caches of offloaded layers, and one such layer at a time, are on the first device.
    while counts[0] and sum(counts) < layers and counts[0] * (weights + held) + (layers - sum(counts)) * held + weights > left[0]:
        counts[0] -= 1
    placed = [name for (name, _), count in zip(computing, counts, strict=True) for _ in range(count)]
    if len(placed) < layers and (layers - len(placed)) * held + weights > left[0]:
        return None
    for name, room in rooms:
        if name != main and name in ("cpu", DISK):
            fitting = layers if name == DISK else max(0, room - _OFFLOADED_PROGRAM_BYTES) // weights
            placed += [name] * min(fitting, layers - len(placed))
    return placed if len(placed) == layers else None


def _share(layers: int, capacities: Sequence[int]) -> list[int]:
    """How many of `layers` each gets: in proportion to its capacity, never more than that."""
    total = sum(capacities)
    if total <= layers:
        return list(capacities)
    counts = [layers * capacity // total for capacity in capacities]
    for _ in range(layers - sum(counts)):  # rounding's rest goes where most room is left
        freest = max(range(len(counts)), key=lambda index: capacities[index] - counts[index])
        counts[freest] += 1
    return counts


def device_map_of(main: str, placed: Sequence[str], has_qformer: bool) -> dict[str, str]:
    """transformers' `device_map` of `place_layers`' answer; `{"": main}` when one device holds everything."""
    if set(placed) <= {main}:
        return {"": main}
    kept = [name for name in _KEPT_TOGETHER if has_qformer or name not in _OF_THE_QFORMER]
    return {**dict.fromkeys(kept, main), **{f"{_LAYERS}.{index}": device for index, device in enumerate(placed)}}

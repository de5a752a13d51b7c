"""The flags that say which model answers and how it is loaded, the same for every verb that asks one."""

import argparse

from ...presets import DEFAULT_PRESET, PRESETS
from ...weights.engine_choice import ENGINES

# How a model is loaded: flags, fields of `BackendOptions` and arguments of `load_engine` of the same names.
LOADING = (
    "device", "dtype", "load_in_8bit", "load_in_4bit", "device_map", "max_memory", "memory_check", "local_dir", "image_size", "engine",
)  # fmt: skip


def add_model_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=list(PRESETS), metavar="P", help=f"one of {', '.join(PRESETS)} (default: {DEFAULT_PRESET})")
    which.add_argument("--model", metavar="DIR", help="a model's directory, in place of a preset")
    parser.add_argument("--local-dir", metavar="DIR", help="a folder with files of a full-size preset: only the rest is downloaded")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    parser.add_argument("--dtype", metavar="D", help="float32, bfloat16 or float16 (default: what suits the device)")
    parser.add_argument(
        "--image-size", type=int, metavar="N", help="read pictures at N x N pixels, a multiple of the ViT's patch (default: as trained)"
    )
    bits = parser.add_mutually_exclusive_group()
    for count, share in ((8, "half"), (4, "a quarter of")):
        bits.add_argument(
            f"--load-in-{count}bit",
            action=argparse.BooleanOptionalAction,
            default=False,
            help=f"the LLM in {count} bits: {share} the memory of float16",
        )
    add_placement_flags(parser)


def add_placement_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """What computes the LLM, and where the model's parts go when one device is too small or not to be filled."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what computes the LLM: torch, or llama.cpp on a CPU for a preset whose LLM is a GGUF (default: the faster that can)",
    )
    parser.add_argument(
        "--device-map",
        metavar="M",
        help="spread the LLM's layers: auto (all GPUs, then the CPU), or a list in order, as in cuda:0,cuda:1 or cuda:0,cpu or cpu,disk",
    )
    parser.add_argument("--max-memory", metavar="M", help="what to take at most, as in cuda:0=10GB,cpu=20GB (default: what is free)")
    parser.add_argument(
        "--memory-check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse a model that does not fit into the free memory, before loading it (default: yes)",
    )


def model_options(args: argparse.Namespace) -> dict:
    """What `open_backend` takes, of what the flags of `add_model_flags` say."""
    return {name: getattr(args, name) for name in ("preset", "model", *LOADING)}

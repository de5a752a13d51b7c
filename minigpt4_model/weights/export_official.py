"""The verb `export-official`: what was trained here, in the original project's layout, so that it runs there.

    python -m minigpt4_model export-official --model runs/stage2 --output pretrained_minigpt4.pth

Upstream reads `torch.load(ckpt)["model"]` and takes from it what its model has (`MiniGPT4.from_config`, key `ckpt`): `llama_proj.*`, and
the Q-Former where that was trained too. Beside it lies `trained_with`, which upstream does not look at and `import-official` checks.
"""

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import WeightsError

if TYPE_CHECKING:
    import torch

    from ..model import MiniGPT4Config


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model export-official",
        description="Writes a model's projection as the original project reads it.",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="a model's directory: a checkpoint of training, or a whole one"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="F.pth", help="the file to write")
    parser.add_argument(
        "--qformer",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write the Q-Former too (default: unless it is known to be the one that was imported)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """0 when the file is written, 1 when the model can't be exported."""
    args = build_parser().parse_args(argv)
    try:
        names = export_official(args.model, args.output, args.qformer)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    extra = len(names) - 2
    print(f"{args.output}: llama_proj.weight and llama_proj.bias{f', and {extra} tensors of the Q-Former' if extra else ''}.")
    print('In the original: set "ckpt" in eval_configs/ to this file.')
    return 0


def export_official(directory: Path, output: Path, qformer: bool | None = None) -> list[str]:
    """Writes `output`, whole or not at all, and returns the official names in it. Weights are written in fp32, as the original has them.

    `qformer` None writes the Q-Former when it isn't known to be the one that was imported. Raises `WeightsError`.
    """
    import torch

    from .load import find_checkpoint, read_config
    from .official import official_name

    if output.exists():
        raise WeightsError(f"--output {output} is there already, and is not overwritten. Give another name, or remove it.")
    directory = find_checkpoint(directory)
    config = read_config(directory)
    _refuse_others(directory, config)
    tensors, is_own = _trained_tensors(directory, config)
    if qformer is None:
        qformer = is_own
    named = {official_name(name): tensor.float() for name, tensor in tensors.items()}
    kept = {name: tensor for name, tensor in named.items() if name is not None and (qformer or name.startswith("llama_proj."))}
    if qformer and len(kept) == 2:
        raise WeightsError(f"--qformer: {directory} has no Q-Former of its own. Leave the flag out.")
    trained_with = {part: record for part, record in (config.trained_with or {}).items() if part != "qformer" or not qformer}
    content = {"model": kept, **({"trained_with": trained_with} if trained_with else {})}
    temporary = output.with_name(f".{output.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, temporary)
        os.replace(temporary, output)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"--output {output} cannot be written ({error}). Give a file on a disk with room.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return sorted(kept)


def _refuse_others(directory: Path, config: "MiniGPT4Config") -> None:
    """The original knows one vision encoder and one family of LLMs."""
    if config.vision_config.architecture != "eva_vit" or config.text_config.model_type != "llama":
        raise WeightsError(
            f"{directory} has the vision encoder {config.vision_config.architecture} and a {config.text_config.model_type} LLM; the "
            "original project runs EVA-CLIP's ViT with LLaMA's family only. Export one trained over vicuna-7b, vicuna-13b or llama2-7b."
        )


def _trained_tensors(directory: Path, config: "MiniGPT4Config") -> "tuple[dict[str, torch.Tensor], bool]":
    """Projection and Q-Former by their names here, and whether the Q-Former is this model's own and no imported one."""
    from .load import read_checkpoint
    from .official import PROJECTION, is_qformer
    from .pairing import fingerprint_qformer
    from .tensor_files import TensorFile, weight_files

    if config.frozen_parts is not None:
        tensors = read_checkpoint(directory)
        return tensors, any(is_qformer(name) for name in tensors)
    tensors = {}
    for path in weight_files(directory):
        file = TensorFile(path)
        tensors |= {name: file.read(name).clone() for name in file.infos if name.startswith(PROJECTION) or is_qformer(name)}
    recorded = ((config.trained_with or {}).get("qformer") or {}).get("fingerprint")
    found = fingerprint_qformer(tensors)
    return tensors, found is not None and found != recorded

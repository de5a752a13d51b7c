"""The verb `import-official`: files of the original project become one Hugging Face directory.

    python -m minigpt4_model import-official --vision eva_vit_g.pth --qformer blip2_pretrained_flant5xxl.pth \\
        --projection pretrained_minigpt4.pth --language-model vicuna-13b --variant vicuna --output models/vicuna-13b

Every size is read from the files, every key has to have a place, and the pairing is checked, before anything is written. Tensors go from
file to file one by one, in the precision they have, so that memory is needed for the largest of them only.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..presets import OFFICIAL_VARIANTS
from .advice import python_command
from .errors import WeightsError
from .progress import Progress, console, silent

if TYPE_CHECKING:
    from .import_plan import ImportPlan, OfficialParts


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model import-official",
        description="Makes one Hugging Face directory of the original project's files. Every size is read from the files.",
    )
    parser.add_argument("--vision", type=Path, required=True, metavar="F.pth", help="EVA-CLIP's ViT-g, eva_vit_g.pth")
    parser.add_argument("--qformer", type=Path, metavar="F.pth", help="BLIP-2's Q-Former, blip2_pretrained_flant5xxl.pth (variant vicuna)")
    parser.add_argument("--projection", type=Path, required=True, metavar="F.pth", help="MiniGPT-4's checkpoint, pretrained_minigpt4.pth")
    parser.add_argument("--language-model", type=Path, required=True, metavar="DIR", help="the LLM in Hugging Face's layout")
    parser.add_argument(
        "--variant", required=True, choices=OFFICIAL_VARIANTS, help="vicuna has a Q-Former; llama2 joins four patches instead"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the model's new directory")
    parser.add_argument("--vision-heads", type=int, metavar="N", help="attention heads of the ViT, if its width is no official file's")
    parser.add_argument("--qformer-heads", type=int, metavar="N", help="attention heads of the Q-Former, in the same case")
    parser.add_argument(
        "--assume-pairing",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="take the language model for the one that the projection was trained with, though it seems to be another",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """0 when the directory is written; 1 when something is wrong with the files; 2 for wrong flags."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.variant == "vicuna") != (args.qformer is not None):
        parser.error(
            "--variant vicuna needs --qformer F.pth." if args.variant == "vicuna" else "--variant llama2 has no --qformer: leave it out."
        )
    from .import_plan import OfficialParts

    names = ("vision", "projection", "language_model", "variant", "qformer", "vision_heads", "qformer_heads", "assume_pairing")
    parts = OfficialParts(**{name: getattr(args, name) for name in names})
    try:
        plan = import_official(parts, args.output, console)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    config = plan.config
    print(
        f"{args.output}: {plan.size_bytes / 1e9:.2f} GB; {config.num_image_tokens} image tokens, {config.vision_config.num_hidden_layers} "
        f"encoder blocks, LLM {config.text_config.hidden_size} wide with {config.text_config.num_hidden_layers} layers.\n"
        f"Ask it: {python_command('-m', 'minigpt4_model', 'ask', '--model', str(args.output), '--image', 'FILE', 'QUESTION')}"
    )
    return 0


def import_official(parts: "OfficialParts", output: Path, progress: Progress = silent) -> "ImportPlan":
    """Makes the directory `output`, whole or not at all. Raises `WeightsError`, `OfficialFormatError` or `PairingError`."""
    from .import_plan import plan_import

    output = output.expanduser().absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise WeightsError(f"--output {output} is there already, and nothing in it is overwritten. Give another folder, or remove it.")
    plan = plan_import(parts)
    for notice in plan.notices:
        progress(f"note: {notice}", None)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(output.parent).free
        if free < plan.size_bytes:
            raise WeightsError(
                f"--output {output} needs {plan.size_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there. "
                "Free some space, or give a folder on another disk."
            )
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
        try:
            write_plan(plan, temporary, progress)
            temporary.chmod(0o755)
            if output.exists():
                output.rmdir()  # it is empty; Windows replaces no folder
            os.replace(temporary, output)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise WeightsError(f"--output {output} cannot be written ({error.strerror or error}). Give a folder that can be.") from error
    return plan


def write_plan(plan: "ImportPlan", directory: Path, progress: Progress = silent) -> None:
    """Weights, configuration and processor into an empty directory."""
    from transformers import GenerationConfig

    from .safetensors_writer import write_model

    progress(f"Writing {plan.size_bytes / 1e9:.2f} GB", None)
    write_model(directory, plan.tensors, progress=progress)
    plan.config.save_pretrained(directory)
    text = plan.config.text_config
    GenerationConfig(bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id).save_pretrained(
        directory
    )
    plan.processor.save_pretrained(directory)

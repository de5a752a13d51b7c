"""Reading the standard benchmarks' files: JSON that says which keys are missing, and pictures by the names COCO gives them."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..items import EvaluationError

PROMPTS = Path(__file__).parents[3] / "prompts" / "evaluation.txt"


def read_json(file: Path) -> Any:
    """Raises `EvaluationError` for a file that is missing or no JSON."""
    try:
        return json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise EvaluationError(f"--annotations {file}: {error.strerror}.") from None
    except ValueError as error:
        raise EvaluationError(f"--annotations {file} is not JSON: {error}.") from None


def read_json_lines(file: Path) -> list[dict]:
    """The records of a JSON-lines file, or of a JSON file that holds one list."""
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise EvaluationError(f"--annotations {file}: {error.strerror}.") from None
    if text.lstrip().startswith("["):
        return read_json(file)
    try:
        return [json.loads(line) for line in text.split("\n") if line.strip()]  # U+2028 is no end of a line
    except ValueError as error:
        raise EvaluationError(f"--annotations {file} is not JSON lines: {error}.") from None


def one_file(annotations: Sequence[Path], suite: str, which: str) -> Path:
    if len(annotations) != 1:
        raise EvaluationError(f"--suite {suite} needs one --annotations file: {which}.")
    return annotations[0]


def picture_path(images: Path | None, *names: str) -> str:
    """The first of `names` that lies in `images`. Raises `EvaluationError` that says where was looked."""
    if images is None:
        raise EvaluationError("--images DIR is needed: the folder with the benchmark's pictures.")
    for name in names:
        if (images / name).is_file():
            return str(images / name)
    raise EvaluationError(f"--images {images}: there is none of {', '.join(names)}.")


def coco_names(image_id: int, split: str = "") -> list[str]:
    """What COCO calls a picture: by its number alone since 2017, with the split in front before."""
    splits = [split] if split else ["val2014", "val2017", "train2014", "test2015"]
    files = [f"COCO_{name}_{image_id:012d}.jpg" for name in splits]
    return [*files, f"{image_id:012d}.jpg", *(f"{name}/{file}" for name, file in zip(splits, files, strict=True))]


@cache
def prompt(name: str) -> str:
    """A benchmark's question from `prompts/evaluation.txt`, where a person may edit it."""
    for line in PROMPTS.read_text("utf-8").splitlines():
        key, bar, text = line.partition("|")
        if bar and key.strip() == name:
            return text.strip()
    raise EvaluationError(f"{PROMPTS} has no line for {name!r}: write `{name} | the question`.")

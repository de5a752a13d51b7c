"""What is said to models, from files that a person may edit: `prompts/describe.txt` and `prompts/refine.txt`.

Lines that begin with # are remarks.
"""

from dataclasses import dataclass
from pathlib import Path

from ..weights.pocket import REPOSITORY
from .errors import CurationError

DESCRIBE_FILE = REPOSITORY / "prompts" / "describe.txt"
REFINE_FILE = REPOSITORY / "prompts" / "refine.txt"
QUESTIONS_FILE = REPOSITORY / "prompts" / "alignment.txt"
TEXT_PLACE = "{text}"
IMAGE_PLACE = "<Img><ImageHere></Img>"


@dataclass(frozen=True)
class DescribePrompts:
    """The question about a picture, and what is said after an answer that stopped early (paper 3.2)."""

    question: str
    continuation: str


def read_describe_prompts(file: Path = DESCRIBE_FILE) -> DescribePrompts:
    """Two lines, `question | ...` and `continue | ...`. Raises `CurationError`."""
    found = {}
    for line in _lines(file):
        name, bar, words = line.partition("|")
        if bar:
            found[name.strip()] = words.strip()
    if not found.get("question") or not found.get("continue"):
        raise CurationError(f"{file} needs two lines: 'question | what to ask about a picture' and 'continue | what to say after it'.")
    return DescribePrompts(found["question"], found["continue"])


def read_refine_prompt(file: Path = REFINE_FILE) -> str:
    """The whole text, in which {text} stands for the text to correct; without {text} it follows after a blank line."""
    prompt = "\n".join(_lines(file)).strip()
    if not prompt:
        raise CurationError(f"{file} is empty: it says how a text is to be corrected.")
    return prompt if TEXT_PLACE in prompt else f"{prompt}\n\n{TEXT_PLACE}"


def read_questions(file: Path = QUESTIONS_FILE) -> list[str]:
    """The questions of stage 2, without the place of the picture. Raises `CurationError`."""
    questions = [line.replace(IMAGE_PLACE, "").strip() for line in _lines(file)]
    questions = list(filter(None, questions))
    if not questions:
        raise CurationError(f"{file} has no question: put one on each line.")
    return questions


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CurationError(f"{file} cannot be read as text: {error}.") from error
    return [line for line in text.split("\n") if not line.startswith("#")]

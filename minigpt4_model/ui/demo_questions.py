"""Questions to begin with, from `prompts/demo_questions.txt`, which anybody may edit."""

from dataclasses import dataclass
from pathlib import Path

PICTURES = Path(__file__).parent / "examples"
QUESTIONS = Path(__file__).parents[2] / "prompts" / "demo_questions.txt"


@dataclass(frozen=True)
class DemoQuestion:
    question: str
    picture: Path


def load_demo_questions(path: Path = QUESTIONS, pictures: Path = PICTURES) -> list[DemoQuestion]:
    """One example per line, `picture | question`; lines that begin with `#` are remarks. Without the file there are none.

    Raises `ValueError` that names the line, if it is not of that form or its picture is not there.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        raise ValueError(f"{path}: save it as UTF-8; its byte {fault.start} is not.") from fault
    examples = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, question = (part.strip() for part in line.partition("|"))
        if not (name and separator and question):
            raise ValueError(f"{path}, line {number}: write it as “picture | question”.")
        picture = pictures / name
        if picture.parent != pictures or not picture.is_file():
            raise ValueError(f"{path}, line {number}: there is no picture {name} in {pictures}.")
        examples.append(DemoQuestion(question, picture))
    return examples

"""Questions to begin with, from `prompts/demo_questions.txt`, which anybody may edit, and which of them a model is offered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..presets import PRESETS, TASKS

PICTURES = Path(__file__).parent / "examples"
QUESTIONS = Path(__file__).parents[2] / "prompts" / "demo_questions.txt"


@dataclass(frozen=True)
class DemoQuestion:
    """`task` is one of `presets.TASKS`, which says who can be asked."""

    question: str
    picture: Path
    task: str


def load_demo_questions(path: Path = QUESTIONS, pictures: Path = PICTURES) -> list[DemoQuestion]:
    """One example per line, `task | picture | question`; lines that begin with `#` are remarks. Without the file there are none.

    Raises `ValueError` that names the line, if it is not of that form, there is no such task or its picture is not there.
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
        task, name, question = [*(part.strip() for part in line.split("|", 2)), "", ""][:3]
        if not (task and name and question):
            raise ValueError(f"{path}, line {number}: write it as “task | picture | question”.")
        if task not in TASKS:
            raise ValueError(f"{path}, line {number}: there is no task {task}. There are: {', '.join(TASKS)}.")
        picture = pictures / name
        if picture.parent != pictures or not picture.is_file():
            raise ValueError(f"{path}, line {number}: there is no picture {name} in {pictures}.")
        examples.append(DemoQuestion(question, picture, task))
    return examples


def offered(examples: Sequence[DemoQuestion], model: str) -> list[DemoQuestion]:
    """What `model` can honestly be asked, its tasks in its preset's order. A model that is no preset is offered everything."""
    if model not in PRESETS:
        return list(examples)
    tasks = PRESETS[model].tasks
    return sorted((example for example in examples if example.task in tasks), key=lambda example: tasks.index(example.task))


def starters(examples: Sequence[DemoQuestion], count: int = 4) -> list[DemoQuestion]:
    """`count` examples for an empty page: one of each task before a second of any."""
    rounds: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(examples):
        rounds[example.task] = rounds.get(example.task, 0) + 1
        ranked.append((rounds[example.task], position))
    return [examples[position] for _, position in sorted(ranked)[:count]]

"""POPE on COCO pictures (Li et al. 2023), from `coco_pope_random.json`, `coco_pope_popular.json` and `coco_pope_adversarial.json`.

Answers are read by POPE's own rule, so that figures compare with published ones: of the first sentence, "no" or "not" is a no,
everything else a yes.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chat.messages import question
from ..items import EvaluationError, Figure, Item, Judged, Task, Verdict
from .official_files import picture_path, prompt, read_json_lines
from .yes_no import SETTINGS, detection_figures


def pope_answer(answer: str) -> str:
    """POPE's rule for free answers."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def judge_pope(item: Item, answer: str) -> Verdict:
    said = pope_answer(answer)
    return Verdict(said == item.expected["answer"], {"said": said}, f"said: {said}")


def _setting(file: Path) -> str:
    return next((setting for setting in SETTINGS if re.search(rf"_{setting}\b", file.stem)), file.stem)


def pope(annotations: Sequence[Path], images: Path | None) -> list[Task]:
    """A task for each file, as POPE reports them."""
    if not annotations:
        raise EvaluationError(
            "--suite pope needs --annotations: coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json."
        )
    return [_pope_task(file, images) for file in annotations]


def _pope_task(file: Path, images: Path | None) -> Task:
    task = f"pope-{_setting(file)}"
    rows = read_json_lines(file)
    if not all(isinstance(row, dict) and {"question_id", "image", "text", "label"} <= set(row) for row in rows):
        raise EvaluationError(f"--annotations {file} is no POPE file: its lines need question_id, image, text and label.")

    def items() -> Iterator[Item]:
        for row in rows:
            asked = question(prompt("pope").format(question=row["text"]), [picture_path(images, row["image"])])
            yield Item(f"{task}/{row['question_id']}", task, [asked], {"answer": row["label"]}, row["label"], {"max_new_tokens": 16})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        return detection_figures(judged)

    return Task(task, f"POPE, {_setting(file)}", items, judge_pope, figures, own_text=False)

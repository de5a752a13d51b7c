"""GQA: exact answers to questions about relations (Hudson and Manning 2019), from `testdev_balanced_questions.json`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chat.messages import question
from ..items import EvaluationError, Figure, Item, Judged, Task, Verdict
from ..statistics import share
from .official_files import one_file, picture_path, prompt, read_json


def judge_gqa(item: Item, answer: str) -> Verdict:
    """GQA's accuracy is exact equality; case and the final mark, which a chat model writes, are taken off."""
    return Verdict(answer.strip().lower().rstrip(".!") == item.expected["answer"].lower())


def gqa_figures(judged: Sequence[Judged]) -> list[Figure]:
    kinds = sorted({one.item.expected["kind"] for one in judged} - {""})
    by_kind = [
        share(f"accuracy, {kind}", [bool(one.verdict.right) for one in judged if one.item.expected["kind"] == kind]) for kind in kinds
    ]
    return [share("accuracy", [bool(one.verdict.right) for one in judged]), *by_kind]


def gqa(annotations: Sequence[Path], images: Path | None) -> Task:
    file = one_file(annotations, "gqa", "testdev_balanced_questions.json")
    data = read_json(file)
    if not isinstance(data, dict) or not all(
        isinstance(row, dict) and {"question", "imageId", "answer"} <= set(row) for row in data.values()
    ):
        raise EvaluationError(f"--annotations {file} is no file of GQA questions: give testdev_balanced_questions.json.")

    def items() -> Iterator[Item]:
        for identity, row in data.items():
            asked = question(prompt("gqa").format(question=row["question"]), [picture_path(images, f"{row['imageId']}.jpg")])
            expected = {"answer": row["answer"], "kind": (row.get("types") or {}).get("structural", "")}
            yield Item(f"gqa/{identity}", "gqa", [asked], expected, row["answer"], {"max_new_tokens": 16})

    return Task("gqa", "GQA", items, judge_gqa, gqa_figures, own_text=False)

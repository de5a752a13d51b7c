"""COCO captions: CIDEr, BLEU-4 and ROUGE-L against the five human captions, from the standard files.

Two layouts are read: COCO's own (`captions_val2014.json`, `captions_val2017.json`) and Karpathy's (`dataset_coco.json`, its test split).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chat.messages import question
from ..caption_metrics import caption_figures
from ..items import EvaluationError, Item, Task, Verdict
from .official_files import coco_names, one_file, picture_path, prompt, read_json


def judge_caption(item: Item, answer: str) -> Verdict:
    """A caption is not right or wrong by itself: the metrics compare whole sets."""
    return Verdict(None, {"references": item.expected["references"], "caption": answer})


def read_captions(file: Path, split: str = "test") -> Iterator[tuple[int, list[str], list[str]]]:
    """(COCO's number, file names to look for, reference captions) for each picture, in the file's order."""
    data = read_json(file)
    if not isinstance(data, dict) or "images" not in data:
        raise EvaluationError(f'--annotations {file} has no "images": give captions_val2017.json or dataset_coco.json.')
    if data["images"] and "sentences" in data["images"][0]:
        for image in data["images"]:
            if image["split"] == split:
                names = [image["filename"], str(Path(image.get("filepath", ""), image["filename"]))]
                yield image["cocoid"], names, [sentence["raw"] for sentence in image["sentences"]]
        return
    references: dict[int, list[str]] = {}
    for annotation in data.get("annotations", ()):
        if "caption" in annotation:
            references.setdefault(annotation["image_id"], []).append(annotation["caption"])
    if not references:
        raise EvaluationError(f"--annotations {file} holds no captions: give captions_val2017.json, not the instances file.")
    for image in data["images"]:
        if image["id"] in references:
            yield image["id"], [image["file_name"], *coco_names(image["id"])], references[image["id"]]


def coco_captions(annotations: Sequence[Path], images: Path | None) -> Task:
    file = one_file(annotations, "coco", "captions_val2017.json, captions_val2014.json or Karpathy's dataset_coco.json")

    def items() -> Iterator[Item]:
        for number, names, references in read_captions(file):
            asked = question(prompt("coco"), [picture_path(images, *names)])
            yield Item(f"coco/{number}", "coco", [asked], {"references": references}, references[0], {"max_new_tokens": 64})

    return Task("coco", "COCO captions", items, judge_caption, caption_figures)

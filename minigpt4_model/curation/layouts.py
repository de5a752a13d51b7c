"""The three layouts of an exported data set, each as training reads it (`training/sources`) and other programs do.

alignment   filter_cap.json and image/ID.jpg, as the original published its stage-2 data
webdataset  00000.tar, …, with KEY.jpg, KEY.txt and KEY.json
llava       conversations.json and images/
"""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..training.sources.alignment import ANNOTATIONS, PICTURES
from .selection import Chosen

SHARD_SIZE = 1000
LLAVA_FILE, LLAVA_PICTURES = "conversations.json", "images"


def write_alignment(folder: Path, chosen: Sequence[Chosen], questions: Sequence[str]) -> None:
    (folder / PICTURES).mkdir(parents=True)
    for one in chosen:
        shutil.copyfile(one.picture, folder / PICTURES / f"{one.item}.jpg")
    annotations = [{"image_id": str(one.item), "caption": one.text} for one in chosen]
    _write_json(folder / ANNOTATIONS, {"annotations": annotations})


def write_webdataset(folder: Path, chosen: Sequence[Chosen], questions: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(chosen), SHARD_SIZE)):
        with tarfile.open(folder / f"{number:05}.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
            for one in chosen[start : start + SHARD_SIZE]:
                key = f"{one.item:09}"
                about = {"caption": one.text, "digest": one.digest, "status": one.status, "places": one.places}
                _add(shard, f"{key}.jpg", one.picture.read_bytes())
                _add(shard, f"{key}.txt", one.text.encode())
                _add(shard, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())


def write_llava(folder: Path, chosen: Sequence[Chosen], questions: Sequence[str]) -> None:
    """The question of each picture is one of `questions`, by the picture's content, so that it is the same in every export."""
    (folder / LLAVA_PICTURES).mkdir(parents=True)
    records = []
    for one in chosen:
        name = f"{LLAVA_PICTURES}/{one.item}.jpg"
        shutil.copyfile(one.picture, folder / name)
        asked = questions[int(one.digest[:8], 16) % len(questions)]
        turns = [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": one.text}]
        records.append({"id": str(one.item), "image": name, "conversations": turns})
    _write_json(folder / LLAVA_FILE, records)


LAYOUTS: Mapping[str, Callable[[Path, Sequence[Chosen], Sequence[str]], None]] = MappingProxyType(
    {"alignment": write_alignment, "webdataset": write_webdataset, "llava": write_llava}
)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner and no time: the same data give the same file
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))

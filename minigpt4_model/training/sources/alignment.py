"""The stage-2 folder as the original published it: `filter_cap.json` and `image/ID.jpg`.

`{"annotations": [{"image_id": "2", "caption": "..."}, ...]}`: 3,439 descriptions that were written by the stage-1 model, polished
and checked by hand (section 3.2 of the paper).
"""

import json
from pathlib import Path

from .captions import picture_path
from .records import PackedRecords
from .sample import BrokenSample, Sample, Source, SourceError, caption_messages

ANNOTATIONS, PICTURES = "filter_cap.json", "image"


class AlignmentSource(Source):
    """`path` is the folder, or its JSON file; `images` the folder of the pictures where it is another than `image`."""

    def __init__(self, path: str | Path, images: str | Path | None = None, name: str = "alignment"):
        super().__init__(name)
        path = Path(path)
        self.file = path / ANNOTATIONS if path.is_dir() else path
        self.images = Path(images) if images else self.file.parent / PICTURES
        if not self.file.is_file():
            raise SourceError(f"--data {path}: there is no {ANNOTATIONS}, which the stage-2 folder holds beside {PICTURES}/.")
        if not self.images.is_dir():
            raise SourceError(f"--data {path}: there is no folder {self.images} with the pictures of {self.file.name}.")
        try:
            annotations = json.loads(self.file.read_text("utf-8"))["annotations"]
        except (ValueError, KeyError, TypeError):
            raise SourceError(f'{self.file} is not a JSON file with "annotations": fetch it again.') from None
        self.records = PackedRecords(json.dumps(annotation).encode() for annotation in annotations)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        if record.get("image_id") in (None, ""):
            raise BrokenSample("no image_id")
        return Sample(
            self.key(index),
            caption_messages(picture_path(self.images, f"{record['image_id']}.jpg"), record.get("caption")),
            self.name,
            index,
        )

    def key(self, index: int) -> str:
        return f"{self.file.name}[{index}]"

    @property
    def fingerprint(self) -> str:
        return self.records.digest

"""One's own pictures: a folder with a JSONL, CSV or TSV file of captions, or a JSON list as BLIP has it.

Each record names a picture, relative to the file's folder, and says what is on it. The columns are called `image` or
`file_name`, and `caption` or `text`.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from .records import PackedRecords, json_array
from .sample import BrokenSample, Sample, Source, SourceError, caption_messages

SUFFIXES = (".jsonl", ".csv", ".tsv")
PICTURE_COLUMNS = ("image", "file_name", "filename", "image_path", "path")
CAPTION_COLUMNS = ("caption", "text", "description")


class CaptionSource(Source):
    """`path` is the file; `images` the folder that the names in it are relative to, where it is not the file's."""

    def __init__(self, path: str | Path, images: str | Path | None = None, name: str = "captions"):
        super().__init__(name)
        self.file = Path(path)
        self.images = Path(images) if images else self.file.parent
        try:
            self.records = PackedRecords(_records(self.file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceError(f"--data {path}: is not a table or list in UTF-8 ({error}).") from error
        self.picture_column, self.caption_column = self._columns()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        picture = record.get(self.picture_column)
        if not isinstance(picture, str) or not picture.strip():
            raise BrokenSample(f"no {self.picture_column}")
        messages = caption_messages(picture_path(self.images, picture.strip()), record.get(self.caption_column))
        return Sample(self.key(index), messages, self.name, index)

    def key(self, index: int) -> str:
        return f"{self.file.name}[{index}]"

    @property
    def fingerprint(self) -> str:
        return self.records.digest

    def _columns(self) -> tuple[str, str]:
        """What the picture and the caption are called, seen in the first record that can be read."""
        for index in range(len(self.records)):
            try:
                found = self.records[index]
            except BrokenSample:
                continue
            picture = next((name for name in PICTURE_COLUMNS if name in found), None)
            caption = next((name for name in CAPTION_COLUMNS if name in found), None)
            missing = [" or ".join(names[:2]) for names, column in ((PICTURE_COLUMNS, picture), (CAPTION_COLUMNS, caption)) if not column]
            if missing:
                raise SourceError(f"{self.file} has no column {' and no column '.join(missing)}. It has: {', '.join(found)}.")
            return picture, caption
        raise SourceError(f"{self.file} holds no records.")


def picture_path(folder: Path, name: str) -> Path | bytes:
    """The picture's file. Raises `BrokenSample` when it is not there or has no bytes."""
    path = folder / name
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise BrokenSample("the picture's file is missing", f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise BrokenSample("the picture's file cannot be read", f"{path}: {error}") from None
    if not size:
        raise BrokenSample("the picture has no bytes", f"{path} is empty")
    return path


def _records(path: Path) -> Iterator[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return json_array(path.read_text("utf-8-sig"), str(path))
    return _json_lines(path) if suffix == ".jsonl" else _rows(path)


def _json_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        for line in lines:
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if line:
                yield line


def _rows(path: Path) -> Iterator[bytes]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        # Spreadsheets write semicolons where the comma is for decimals.
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in head and "," not in head else ","
        for row in csv.DictReader(file, delimiter=delimiter):
            yield json.dumps({column.strip(): value for column, value in row.items() if column is not None}).encode()

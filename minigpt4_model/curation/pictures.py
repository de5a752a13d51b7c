"""Taking pictures into a project: each is opened once, with the checks of the chat, and kept as an upright JPEG without metadata.

A picture that is there already, whatever its file is called, becomes no second item. What cannot be opened is written down with the
reason and tried again by the next run.
"""

import io
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from ..chat.pictures import LoadedPicture, PictureError, load_picture
from ..training.sources import BrokenSample
from ..weights.cache import write_atomically
from .errors import CurationError
from .found_pictures import FoundPicture, find_pictures
from .project import Project, add_text
from .schema import GIVEN

THUMBNAIL_SIDE = 16
MAX_SIDE = 1024
_QUALITY = 95


@dataclass
class Taken:
    """What a run found: new items, pictures that were there already, and places where none could be had."""

    new: int = 0
    known: int = 0
    unusable: int = 0


def take_pictures(
    project: Project,
    path: str,
    *,
    name: str = "",
    licence: str = "",
    sample: int | None = None,
    seed: int = 0,
    max_side: int = MAX_SIDE,
    with_texts: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Taken:
    """Adds the pictures at `path`, or `sample` of them drawn at random. `progress` wraps the places, as tqdm does.

    Raises `CurationError` when there are none.
    """
    found = find_pictures(path, with_texts)
    chosen: Sequence[int] = range(len(found))
    if sample is not None and sample < len(found):
        chosen = sorted(random.Random(seed).sample(chosen, sample))
    source = _add_source(project, path, name, licence)
    known = {
        row["place"]: row["stamp"]
        for row in project.rows("SELECT place, stamp FROM places WHERE source_id = ? AND item_id IS NOT NULL", source)
    }
    taken = Taken()
    for index in progress(chosen):
        one = found[index]
        if known.get(one.place) == one.stamp:
            taken.known += 1
            continue
        problem = _take(project, source, one, max_side, taken)
        if problem:
            taken.unusable += 1
    if not project.value("SELECT COUNT(*) FROM items"):
        problem = project.value("SELECT problem FROM places WHERE problem != '' LIMIT 1")
        raise CurationError(f"{path}: none of {len(chosen)} pictures can be used. For example: {problem}")
    return taken


def _take(project: Project, source: int, found: FoundPicture, max_side: int, taken: Taken) -> str:
    """Adds one picture; returns why it could not be had, or ""."""
    try:
        closed, text = found.read()
        picture = load_picture(closed)
    except (BrokenSample, PictureError, OSError) as error:
        with project.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO places VALUES (?, ?, ?, NULL, ?)", (source, found.place, found.stamp, str(error) or "unreadable")
            )
        return str(error) or "unreadable"
    item = project.value("SELECT id FROM items WHERE digest = ?", picture.digest)
    file = project.picture_file(picture.digest)
    if item is None or not file.is_file():
        write_atomically(file, encode_jpeg(picture, max_side))  # before the item, so that no item is ever without its picture
    with project.writing() as connection:
        if item is None:
            item, is_new = _add_item(connection, picture)
            taken.new += is_new
            taken.known += not is_new
        else:
            taken.known += 1
        connection.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, '')", (source, found.place, found.stamp, item))
        if (
            text
            and not connection.execute("SELECT 1 FROM texts WHERE item_id = ? AND step = ? AND text = ?", (item, GIVEN, text)).fetchone()
        ):
            add_text(connection, item, GIVEN, "source", text)
    return ""


def _add_item(connection, picture: LoadedPicture) -> tuple[int, bool]:
    """The item of a picture and whether it is new; another process may have added it in the meantime."""
    there = connection.execute("SELECT id FROM items WHERE digest = ?", (picture.digest,)).fetchone()
    if there:
        return there["id"], False
    row = connection.execute(
        "INSERT INTO items (digest, width, height, thumbnail, lot, added_at) VALUES (?, ?, ?, ?, ?, ?)",
        (picture.digest, *picture.image.size, thumbnail(picture.image), drawn_lot(picture.digest), time.time()),
    )
    return row.lastrowid, True


def _add_source(project: Project, path: str, name: str, licence: str) -> int:
    """The source's id; a name or licence that is given later replaces the one before."""
    place = str(Path(path).expanduser().resolve()) if Path(path).expanduser().exists() else path
    with project.writing() as connection:
        connection.execute(
            "INSERT INTO sources (path, name, licence, added_at) VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
            "name = COALESCE(NULLIF(?, ''), name), licence = COALESCE(NULLIF(?, ''), licence)",
            (place, name or Path(place).name, licence, time.time(), name, licence),
        )
        return connection.execute("SELECT id FROM sources WHERE path = ?", (place,)).fetchone()["id"]


def encode_jpeg(picture: LoadedPicture, max_side: int) -> bytes:
    """The picture as a JPEG whose longer side has at most `max_side` pixels."""
    image = picture.image
    if max(image.size) > max_side:
        image = image.copy()
        image.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=_QUALITY, subsampling=0)
    return written.getvalue()


def thumbnail(image: PIL.Image.Image) -> bytes:
    """16 x 16 RGB: pictures that look the same, at whatever size and compression, have nearly the same."""
    return image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), PIL.Image.Resampling.BOX).tobytes()


def drawn_lot(digest: str, start: int = 0) -> float:
    """A number from 0 to below 1 that a picture has by its content; another `start`, a multiple of 8, draws an independent one."""
    return int(digest[start : start + 8], 16) / 2**32

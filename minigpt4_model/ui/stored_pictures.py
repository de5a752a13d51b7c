"""The pictures of all conversations as files: upright RGB, without the camera's metadata. Knows nothing of conversations.

A file lies in a folder named by the picture's pixels and is called as the visitor called it. Memory holds only the pixels of the
last few pictures; those of the others are read from their files again if a backend has to look at them, which it need not for a
picture that it remembers by its digest.
"""

import dataclasses
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from ..chat.pictures import LoadedPicture, load_picture, save_picture

# Longest side of a picture as the page shows it, in pixels.
VIEW_SIDE = 1024
# Pictures whose pixels stay in memory, each at most 13 MB.
REMEMBERED = 8
# In characters, of which each may take four bytes; a file's name has 255.
LONGEST_NAME = 50


@dataclass(frozen=True)
class StoredPicture:
    """A picture of a conversation. `path` has its exact pixels; `view` is smaller, for the page; `loaded` is what a backend gets."""

    path: Path
    view: Path
    width: int
    height: int
    loaded: LoadedPicture = dataclasses.field(compare=False, repr=False)
    notice: str = ""


class PictureFiles:
    """The files in `folder`. Safe to use from several threads, as long as nobody forgets a picture that is just being stored."""

    def __init__(self, folder: Path, remembered: int = REMEMBERED):
        self._folder = folder
        self._remembered = remembered
        self._pixels: OrderedDict[str, PIL.Image.Image] = OrderedDict()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def place(self, picture: LoadedPicture, name: str = "") -> StoredPicture:
        """Where `picture` belongs, if the visitor called it `name`. Nothing is written yet."""
        folder = self._folder / picture.digest
        stem = re.sub(r"[^\w .-]", "_", Path(name).stem)[:LONGEST_NAME].strip(" .") or "picture"
        path = folder / f"{stem}.png"
        loaded = _PictureInFile(self, path, picture.digest)
        return StoredPicture(path, folder / f"{stem}.webp", picture.image.width, picture.image.height, loaded, picture.notice)

    def write(self, picture: LoadedPicture, stored: StoredPicture) -> None:
        """Write the files of `stored`, unless they are there."""
        self._remember(picture.digest, picture.image)
        stored.path.parent.mkdir(exist_ok=True)
        if not stored.path.exists():
            save_picture(picture, stored.path)
        if not stored.view.exists():
            small = picture.image.copy()
            small.thumbnail((VIEW_SIDE, VIEW_SIDE))
            save_picture(dataclasses.replace(picture, image=small), stored.view)

    def forget(self, pictures: Iterable[StoredPicture], used: set[Path]) -> None:
        """Delete the files of `pictures`, apart from those whose path is `used`."""
        folders = {path.parent for path in used}
        for picture in pictures:
            if picture.path in used:
                continue
            picture.path.unlink(missing_ok=True)
            picture.view.unlink(missing_ok=True)
            if picture.path.parent not in folders:
                with self._lock:
                    self._pixels.pop(picture.loaded.digest, None)
                with suppress(OSError):  # there is another name's file in it
                    picture.path.parent.rmdir()

    def pixels(self, path: Path, digest: str) -> PIL.Image.Image:
        """The picture with that digest, from memory or from its file. Raises `PictureError`."""
        with self._lock:
            image = self._pixels.get(digest)
        return self._remember(digest, image or load_picture(path).image)

    def _remember(self, digest: str, image: PIL.Image.Image) -> PIL.Image.Image:
        with self._lock:
            self._pixels[digest] = image
            self._pixels.move_to_end(digest)
            while len(self._pixels) > self._remembered:
                self._pixels.popitem(last=False)
        return image


class _PictureInFile(LoadedPicture):
    """A loaded picture whose pixels are fetched when they are looked at. Its notice is empty: the page tells it by itself."""

    def __init__(self, files: PictureFiles, path: Path, digest: str):
        for name, value in {"_files": files, "_path": path, "digest": digest, "notice": ""}.items():
            object.__setattr__(self, name, value)

    @property
    def image(self) -> PIL.Image.Image:
        return self._files.pixels(self._path, self.digest)

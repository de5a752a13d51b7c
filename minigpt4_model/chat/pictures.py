"""Opening a picture: one function for every entrance (page, API, verbs, training).

What is taken becomes upright RGB over white, at most 2048 pixels long, without metadata; what is not raises `PictureError`
with one sentence that says why and what to do. Nothing outside the allow-list of formats is ever opened, whatever the file
is called; a picture takes under 200 MB and about a second at most, which is decided from its header. No global setting of
Pillow is changed, so threads and other users of Pillow are not affected.
"""

import hashlib
import logging
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from .picture_checks import (
    FORMATS,
    MAX_FILE_BYTES,
    MAX_SIDE,
    READABLE,
    MeasuredBytes,
    MeasuredFile,
    PictureError,
    check_cost,
    check_size,
    damaged,
    heif_available,
    is_heic,
    refusal,
    too_large,
)
from .picture_pixels import reduction, to_rgb, upright

__all__ = ["LoadedPicture", "PictureError", "load_picture", "save_picture"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedPicture:
    """An upright RGB picture, transparency over white. `digest` names its pixels; `notice` tells what a person should know."""

    image: PIL.Image.Image
    digest: str
    notice: str = ""


def load_picture(source: str | Path | bytes | PIL.Image.Image) -> LoadedPicture:
    """The picture in a file, in bytes, or in a Pillow image (of which the current frame is taken, and which is not changed).

    Raises `PictureError`.
    """
    if isinstance(source, PIL.Image.Image):
        return _load_pillow(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = "The picture"
        file = MeasuredBytes(bytes(source))
    elif isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        name = Path(os.fsdecode(path)).name or str(path)
        file = _open_file(path)
    else:
        raise PictureError(f"A picture must be a path, bytes or a Pillow image, not {type(source).__name__}.")
    with file:
        return _load_file(file, name)


def save_picture(picture: LoadedPicture, path: str | Path) -> None:
    """Writes the picture for the page to show, whole or not at all: PNG or WebP by the suffix of `path`.

    Raises `ValueError` for another suffix and `OSError` when it cannot be written.
    """
    path = Path(path)
    options = {".png": {"format": "PNG", "compress_level": 3}, ".webp": {"format": "WEBP", "quality": 90, "method": 2}}
    if path.suffix.lower() not in options:
        raise ValueError(f"{path}: a picture is saved as .png or .webp.")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        picture.image.save(unfinished, **options[path.suffix.lower()])
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _open_file(path: str | bytes) -> MeasuredFile:
    shown = os.fsdecode(path)
    if not shown:
        raise PictureError("A picture has no file name: name the file.")
    if shown.startswith(("http://", "https://", "data:")):
        raise PictureError(f"{shown[:80]} is a web address, not a file: download the picture first.")
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise PictureError(f"{shown} is a folder: name a picture in it.")
        if not stat.S_ISREG(mode):  # a pipe or a device could make us wait or read for ever
            raise PictureError(f"{shown} is not an ordinary file.")
        return MeasuredFile(path)
    except FileNotFoundError:
        raise PictureError(f"There is no file {shown}.") from None
    except PermissionError:
        raise PictureError(f"{shown} may not be read: check its permissions.") from None
    except PictureError:
        raise
    except (OSError, ValueError) as error:  # too long a name, a null byte, a broken disk
        raise PictureError(f"{shown[:200]!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _load_file(file: MeasuredFile | MeasuredBytes, name: str) -> LoadedPicture:
    head = file.read(1024)
    if not head:
        raise PictureError(f"{name} is empty: there are no bytes in it.")
    if file.size > MAX_FILE_BYTES:
        raise PictureError(f"{name} is larger than {MAX_FILE_BYTES // 1_000_000} MB: make it smaller, or save it as JPEG.")
    formats = [*FORMATS, "HEIF"] if is_heic(head) and heif_available() else list(FORMATS)
    try:
        image = PIL.Image.open(file, formats=formats)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):  # the warning when a caller made it an error
        raise too_large(name) from None
    except Exception as error:  # decoders raise whatever they like on bytes like these; all of it means the same to a person
        log.debug("picture not opened", exc_info=error)
        raise refusal(head, name) from None
    with image:
        notice = check_size(image.size, name)
        full_size = image.size
        factor = reduction(full_size, MAX_SIDE)
        if image.format in ("JPEG", "MPO"):  # these decode at a half, a quarter or an eighth by themselves
            image.draft(image.mode, tuple(-(-side // factor) for side in full_size))
        try:
            check_cost(image, full_size, file, name)
            file.restart()
            return _finish(image, file, notice)
        except PictureError:
            raise
        except Exception as error:
            log.debug("picture not decoded", exc_info=error)
            raise damaged(name) from None


def _finish(image: PIL.Image.Image, file: MeasuredFile | MeasuredBytes, notice: str) -> LoadedPicture:
    image.load()
    if image.format in ("WEBP", "AVIF"):
        image.fp = None  # the plugin keeps a second copy of the pixels there
    rgb = upright(to_rgb(image, MAX_SIDE), image)
    frames = _frames_notice(image, file)
    return _loaded(rgb, " ".join(filter(None, (notice, frames))))


def _frames_notice(image: PIL.Image.Image, file: MeasuredFile | MeasuredBytes) -> str:
    """What to say about a picture with more frames or pages than the one that is used. Called when the pixels are done with."""
    if image.format not in ("PNG", "GIF", "WEBP", "AVIF", "TIFF"):  # a JPEG's or HEIC's further pictures are its previews
        return ""
    part = "pages" if image.format == "TIFF" else "frames"
    file.restart()
    try:
        count = image.n_frames
    except Exception as error:  # damaged, or endless, behind the first frame: that one is good
        log.debug("frames not counted", exc_info=error)
        return f"Only the first of its {part} is used."
    return f"Only the first of its {count} {part} is used." if count > 1 else ""


def _load_pillow(image: PIL.Image.Image) -> LoadedPicture:
    name = "The picture"
    if image.format is not None and image.format not in (*FORMATS, "MPO", "HEIF"):
        raise PictureError(f"{name} was opened as {image.format}, which is not taken: use {READABLE}.")
    notice = check_size(image.size, name)
    try:
        return _loaded(upright(to_rgb(image, MAX_SIDE), image), notice)
    except Exception as error:
        log.debug("picture not converted", exc_info=error)
        raise damaged(name) from None


def _loaded(rgb: PIL.Image.Image, notice: str) -> LoadedPicture:
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    digest.update(rgb.tobytes())
    return LoadedPicture(rgb, digest.hexdigest(), notice)

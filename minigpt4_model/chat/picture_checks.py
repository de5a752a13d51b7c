"""May these bytes be decoded? What they are, and what decoding them would cost, read from the header alone.

Knows signatures, sizes and Pillow's appetite per format; decodes nothing and touches no pixels. Every refusal is a
`PictureError` whose text is one sentence for the person who sent the picture.
"""

import io
import os
import threading

import PIL.AvifImagePlugin  # registered here so that Pillow never has to import its other plugins to find these
import PIL.BmpImagePlugin
import PIL.GifImagePlugin
import PIL.Image
import PIL.JpegImagePlugin
import PIL.MpoImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin
import PIL.WebPImagePlugin

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

MAX_FILE_BYTES = 100_000_000
MAX_MEGAPIXELS = 50
MIN_SIDE = 8
MAX_ASPECT = 50
WARN_ASPECT = 3
MAX_SIDE = 2048  # a loaded picture's longer side; the vision encoders look at 224 or 260 pixels
# Peak bytes while a picture is opened: decoded pixels plus what the decoder holds, as measured with Pillow 12.3.
MEMORY_BUDGET = 205_000_000
DECODED_BUDGET = 150_000_000  # bytes of decoded pixels: about a second of work
WORK_BYTES = 28_000_000  # the result and one band of rows on the way to it
WHOLE_FILE_DECODERS = {"WEBP": 16, "AVIF": 16, "HEIF": 8}  # bytes per pixel at the peak; these read the whole file first
MAX_SCAN_MEGAPIXELS = 1500  # scans of a JPEG x megapixels: about a second of decoding


class PictureError(ValueError):
    """A picture that is not taken; the text is a sentence that says why and what to do."""


class _Measured:
    """Bounds how often and how much a decoder reads: a crafted file can make one read the same bytes without end."""

    MAX_READS = 150_000
    reads = 0
    taken = 0
    size = 0

    def read(self, count=-1, /):
        data = super().read(count)
        self.reads += 1
        self.taken += len(data)
        if self.reads > self.MAX_READS or self.taken > 4 * self.size + 1_000_000:
            raise ValueError("the file makes its decoder read far more than it holds")
        return data

    def restart(self) -> None:
        """Grant a fresh allowance for the next pass over the file."""
        self.reads = self.taken = 0


class MeasuredFile(_Measured, io.BufferedReader):
    """An open file whose reads are bounded. `size` is in bytes."""

    def __init__(self, path: str):
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size


class MeasuredBytes(_Measured, io.BytesIO):
    """Bytes in memory whose reads are bounded. `size` is in bytes."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.size = len(data)


_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_HEIF_LOCK = threading.Lock()

# First bytes (after white space, lower case) -> what to tell the person. Pictures that could be taken are not here.
_OTHER_FILES = (
    ((b"%pdf",), "is a PDF document, not a picture: save the page you mean as PNG or JPEG"),
    ((b"%!ps", b"\xc5\xd0\xd3\xc6"), "is a PostScript (EPS) file, which is a program and is never run here: save it as PNG or JPEG"),
    ((b"<!doctype html", b"<html"), "is a web page, not a picture: save the picture itself"),
    ((b"\x1f\x8b", b"pk\x03\x04", b"7z\xbc\xaf", b"rar!"), "is a compressed archive, not a picture: unpack it first"),
    ((b"\x00\x00\x01\x00", b"8bps", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjp  ", b"p1", b"p2", b"p3", b"p4", b"p5", b"p6"), ""),
)
# The signatures of the formats that are taken: with one of these, a file that cannot be opened is damaged.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89png\r\n\x1a\n", b"gif87a", b"gif89a", b"bm", b"ii*\x00", b"mm\x00*", b"ii+\x00", b"mm\x00+")


def is_heic(head: bytes) -> bool:
    """Whether the first bytes are those of a HEIC/HEIF file (which may still turn out to be AVIF under a shared brand)."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def heif_available() -> bool:
    """Registers pillow_heif with Pillow, once. False when it is not installed (it is the optional `heic` extra)."""
    with _HEIF_LOCK:
        if "HEIF" not in PIL.Image.OPEN:
            try:
                import pillow_heif
            except ImportError:
                return False
            pillow_heif.register_heif_opener(thumbnails=False)
        return True


def refusal(head: bytes, name: str) -> PictureError:
    """The sentence for a file that Pillow cannot open, from its first kilobyte."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start and start.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")):
        return PictureError(f"{name} is an SVG drawing, which is a document and not pixels: export it as PNG.")
    for signatures, words in _OTHER_FILES:
        if start.startswith(signatures):
            return PictureError(f"{name} {words or f'is a picture in a format that is not taken: save it as {READABLE}'}.")
    if is_heic(head) and not heif_available():
        return PictureError(f"{name} is a HEIC picture: convert it to JPEG, or install the heic extra (pip install pillow-heif).")
    webp = start.startswith(b"riff") and start[8:12] == b"webp"
    if webp or is_heic(head) or head[4:12] in (b"ftypavif", b"ftypavis") or start.startswith(_SIGNATURES):
        return damaged(name)
    return PictureError(f"{name} is not a picture that can be read: use {READABLE}.")


def damaged(name: str) -> PictureError:
    return PictureError(f"{name} is damaged or cut off: open it in an image viewer, save it again and send the new copy.")


def too_large(name: str, size: tuple[int, int] | None = None) -> PictureError:
    measured = f" ({size[0]} x {size[1]})" if size else ""
    return PictureError(f"{name} has more than {MAX_MEGAPIXELS} megapixels{measured}, which is the most that is taken: make it smaller.")


def check_size(size: tuple[int, int], name: str) -> str:
    """Refuses a width and height in pixels that cannot be used; returns a notice for a very long picture, or ""."""
    width, height = size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise too_large(name, size)
    if width < 1 or height < 1:
        raise PictureError(f"{name} has no pixels ({width} x {height}).")
    aspect = max(size) / min(size)
    if aspect > MAX_ASPECT:
        raise PictureError(
            f"{name} is too narrow ({width} x {height}): the longer side may be at most {MAX_ASPECT} times the other; cut out a part."
        )
    if min(size) < MIN_SIDE:
        raise PictureError(f"{name} is too small ({width} x {height}): each side must have at least {MIN_SIDE} pixels.")
    if aspect > WARN_ASPECT:
        return f"{name} is {aspect:.0f} times as long as the other way and is squeezed into a square for the model: details may be lost."
    return ""


def check_cost(image: PIL.Image.Image, full_size: tuple[int, int], file: "MeasuredFile | MeasuredBytes", name: str) -> None:
    """Refuses a picture whose decoding would take more memory or time than one picture may.

    `image` is opened, not loaded, and already set to decode at a reduced size where its format can; `full_size` is the size
    in the header.
    """
    format_ = "JPEG" if image.format == "MPO" else image.format
    pixels = full_size[0] * full_size[1]
    core = image.width * image.height * _bytes_per_pixel(image.mode)
    if format_ in WHOLE_FILE_DECODERS:
        peak = max(pixels * WHOLE_FILE_DECODERS[format_] + file.size, core + WORK_BYTES)
    elif format_ == "TIFF":
        peak = core + _tiff_extra(image, core) + WORK_BYTES
    elif format_ == "JPEG":
        scans = _jpeg_scans(file)
        if scans * pixels > MAX_SCAN_MEGAPIXELS * 1_000_000:
            raise PictureError(f"{name} is stored in {scans} passes, which takes too long to open: save it again as an ordinary JPEG.")
        peak = core + (_jpeg_coefficients(image, pixels) if scans > 1 else 0) + WORK_BYTES
    else:
        peak = core + WORK_BYTES
    if peak > MEMORY_BUDGET or core > DECODED_BUDGET:
        kind = "multi-pass JPEG" if format_ == "JPEG" else format_
        raise PictureError(
            f"{name} ({full_size[0]} x {full_size[1]}) takes too much memory to open as {kind}: make it smaller or save it as plain JPEG."
        )


def _bytes_per_pixel(mode: str) -> int:
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _tiff_extra(image, core: int) -> int:
    """Bytes that libtiff holds beside the pixels: one strip or tile, and a second picture when it has to be turned."""
    tags = image.tag_v2
    width, height = (tags.get(322), tags.get(323)) if 322 in tags else (image.width, min(tags.get(278, image.height), image.height))
    depth = max(tags.get(258, (8,))) // 8 or 1
    strip = int(width) * int(height) * depth * int(tags.get(277, 1))
    return strip + (core if tags.get(274, 1) != 1 else 0)


def _jpeg_scans(file) -> int:
    """How many passes the (first) picture in a JPEG file is stored in. More than one makes the decoder hold all coefficients."""
    file.seek(0)
    data = file.read()
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        if data[position + 1] == 0xFF:  # padding
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    end = data.find(b"\xff\xd9", position)
    return max(1, data.count(b"\xff\xda", position, end if end > 0 else len(data)))


def _jpeg_coefficients(image, pixels: int) -> int:
    """Bytes of a JPEG's coefficients: two per sample of each component."""
    factors = [layer[1] * layer[2] for layer in image.layer]
    return int(2 * pixels * sum(factors) / max(factors))

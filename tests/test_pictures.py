"""Picture loading: what is taken comes out right, what is not is refused with the right sentence, and nothing is expensive."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.chat import picture_checks
from minigpt4_model.chat.pictures import LoadedPicture, PictureError, load_picture, save_picture

ROOT = Path(__file__).parents[1]
RED, GREEN, BLUE, YELLOW, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)


def corners(width=64, height=32) -> PIL.Image.Image:
    """Red, green / blue, yellow quarters."""
    picture = PIL.Image.new("RGB", (width, height), RED)
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    picture.paste(YELLOW, (width // 2, height // 2, width, height))
    return picture


def encoded(picture: PIL.Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def corner_colours(loaded: LoadedPicture) -> list[tuple]:
    width, height = loaded.image.size
    return [loaded.image.getpixel(at) for at in ((4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5))]


def near(colour, expected, tolerance=3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(colour, expected, strict=True))


def refused(source) -> str:
    with pytest.raises(PictureError) as caught:
        load_picture(source)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300
    return sentence


# What is taken


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_allowed_format_opens_by_content_whatever_it_is_called(tmp_path, format):
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95, "subsampling": "4:4:4"}}
    data = encoded(corners(), format, **options.get(format, {}))
    path = tmp_path / "picture.xyz"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        loaded = load_picture(source)
        assert loaded.image.mode == "RGB" and loaded.image.size == (64, 32) and loaded.notice == ""
        assert all(near(got, want, 8) for got, want in zip(corner_colours(loaded), (RED, GREEN, BLUE, YELLOW), strict=True))


# The stored picture is what a camera held this way writes; each orientation must come out as the upright original.
_STORED = {
    1: lambda p: p,
    2: lambda p: p.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda p: p.transpose(PIL.Image.Transpose.ROTATE_180),
    4: lambda p: p.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda p: p.transpose(PIL.Image.Transpose.TRANSPOSE),
    6: lambda p: p.transpose(PIL.Image.Transpose.ROTATE_90),
    7: lambda p: p.transpose(PIL.Image.Transpose.TRANSVERSE),
    8: lambda p: p.transpose(PIL.Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_comes_out_upright(orientation, format):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} | ({"quality": 95, "subsampling": 0} if format == "JPEG" else {})
    loaded = load_picture(encoded(_STORED[orientation](corners()), format, **options))
    assert loaded.image.size == (64, 32)
    assert all(near(got, want, 12) for got, want in zip(corner_colours(loaded), (RED, GREEN, BLUE, YELLOW), strict=True))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_a_senseless_orientation_is_ignored(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    assert load_picture(encoded(corners(), "PNG", exif=exif)).image.size == (64, 32)


def test_broken_exif_is_no_reason_to_refuse():
    assert load_picture(encoded(corners(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12")).image.size == (64, 32)


def _half_transparent(mode: str) -> PIL.Image.Image:
    picture = PIL.Image.new("RGBA", (32, 32), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (16, 0, 32, 32))
    return picture.convert(mode)


def _palette_with_transparency() -> bytes:
    picture = PIL.Image.new("P", (32, 32), 0)
    picture.putpalette([255, 0, 0, 10, 20, 30])
    picture.paste(1, (16, 0, 32, 32))
    return encoded(picture, "PNG", transparency=bytes([255, 0]))


TRANSPARENT = {
    "RGBA png": (lambda: encoded(_half_transparent("RGBA"), "PNG"), RED),
    "RGBA webp": (lambda: encoded(_half_transparent("RGBA"), "WEBP", lossless=True), RED),
    "RGBA tiff": (lambda: encoded(_half_transparent("RGBA"), "TIFF"), RED),
    "LA png": (lambda: encoded(_half_transparent("LA"), "PNG"), (76, 76, 76)),
    "palette with alpha": (_palette_with_transparency, RED),
    "gif": (lambda: encoded(_half_transparent("RGBA"), "GIF"), RED),
    "RGB with tRNS": (lambda: encoded(_half_transparent("RGBA").convert("RGB"), "PNG", transparency=(0, 0, 0)), RED),
    "L with tRNS": (lambda: encoded(_half_transparent("RGBA").convert("L"), "PNG", transparency=0), (76, 76, 76)),
}


@pytest.mark.parametrize("case", TRANSPARENT)
def test_transparency_lies_over_white(case):
    make, left = TRANSPARENT[case]
    picture = load_picture(make()).image
    assert near(picture.getpixel((8, 16)), left)
    assert picture.getpixel((24, 16)) == WHITE


def test_half_transparent_red_over_white_is_pink():
    assert near(load_picture(encoded(PIL.Image.new("RGBA", (16, 16), (255, 0, 0, 128)), "PNG")).image.getpixel((8, 8)), (255, 127, 127), 1)


def test_premultiplied_pillow_images_are_taken():
    for mode in ("RGBa", "La"):
        assert load_picture(_half_transparent(mode.upper()).convert(mode)).image.getpixel((24, 16)) == WHITE


@pytest.mark.parametrize(
    "ink, expected", [((0, 255, 255, 0), RED), ((255, 0, 255, 0), GREEN), ((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), (0, 0, 0))]
)
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(ink, expected, format):
    assert near(load_picture(encoded(PIL.Image.new("CMYK", (32, 32), ink), format)).image.getpixel((16, 16)), expected, 6)


@pytest.mark.parametrize("sample, grey", [(0, 0), (257, 1), (32768, 128), (65535, 255)])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(sample, grey, format):
    picture = PIL.Image.fromarray(np.full((32, 32), sample, np.uint16))
    assert load_picture(encoded(picture, format)).image.getpixel((9, 9)) == (grey, grey, grey)


def test_big_endian_sixteen_bit_tiff():
    rows = np.full((16, 16), 32768, ">u2").tobytes()
    tags = [(256, 3, 16), (257, 3, 16), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 16), (279, 4, len(rows))]
    ifd = b"".join(
        struct.pack(">HHI", tag, kind, 1) + struct.pack(">HH" if kind == 3 else ">I", *([v, 0] if kind == 3 else [v]))
        for tag, kind, v in tags
    )
    data = b"MM\x00*" + struct.pack(">I", 8 + len(rows)) + rows + struct.pack(">H", len(tags)) + ifd + b"\0\0\0\0"
    assert load_picture(data).image.getpixel((3, 3)) == (128, 128, 128)


def test_sixteen_bit_transparent_sample_is_white():
    samples = np.full((16, 16), 1000, np.uint16)
    samples[:, 8:] = 40000
    chunk = b"tRNS" + struct.pack(">H", 1000)
    data = encoded(PIL.Image.fromarray(samples), "PNG")
    data = data[:33] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    picture = load_picture(data).image
    assert picture.getpixel((2, 2)) == WHITE and picture.getpixel((12, 2)) == (156, 156, 156)


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-5.0, 5.0), (0.0, 30000.0)])
def test_float_pictures_span_black_to_white(low, high):
    ramp = np.linspace(low, high, 64, dtype=np.float32)[None].repeat(16, 0)
    picture = load_picture(encoded(PIL.Image.fromarray(ramp), "TIFF")).image
    assert [picture.getpixel((x, 5))[0] for x in (0, 63)] == [0, 255]
    assert abs(picture.getpixel((32, 5))[0] - 129) <= 1


def test_float_pictures_with_holes_in_them():
    samples = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    samples[0, :3] = np.nan, np.inf, -np.inf
    picture = load_picture(encoded(PIL.Image.fromarray(samples), "TIFF")).image
    assert [picture.getpixel((x, 0))[0] for x in (0, 1, 2)] == [0, 255, 0] and picture.getpixel((15, 15)) == WHITE
    assert load_picture(PIL.Image.fromarray(np.full((16, 16), np.nan, np.float32))).image.getpixel((3, 3)) == (0, 0, 0)
    assert load_picture(PIL.Image.fromarray(np.full((16, 16), 0.5, np.float32))).image.getpixel((3, 3)) == (128, 128, 128)


@pytest.mark.parametrize("high, grey", [(200, 200), (51400, 200), (16_000_000, 255)])
def test_whole_number_samples_keep_the_depth_they_fit(high, grey):
    samples = np.zeros((16, 16), np.int32)
    samples[:, 8:] = high
    assert load_picture(PIL.Image.fromarray(samples)).image.getpixel((12, 3)) == (grey, grey, grey)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_is_taken_and_said(format):
    frames = [PIL.Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    loaded = load_picture(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    assert near(loaded.image.getpixel((16, 16)), RED, 6)
    assert loaded.notice == f"Only the first of its 3 {'pages' if format == 'TIFF' else 'frames'} is used."


def test_damage_behind_the_first_frame_does_not_matter():
    frames = [PIL.Image.effect_noise((64, 64), 90) for _ in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_picture(data[:-1500]).image.size == (64, 64)


def test_a_phone_s_jpeg_with_previews_inside_is_one_picture():
    data = encoded(corners(), "MPO", save_all=True, append_images=[corners()])
    assert load_picture(data).notice == ""


def test_metadata_does_not_survive(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x010E] = "taken at home"
    exif.get_ifd(0x8825)[1] = "N"
    data = encoded(corners(), "JPEG", exif=exif, comment=b"a secret comment")
    loaded = load_picture(data)
    assert loaded.image.info == {} and not loaded.image.getexif()
    for suffix in ("png", "webp"):
        save_picture(loaded, tmp_path / f"copy.{suffix}")
        written = (tmp_path / f"copy.{suffix}").read_bytes()
        assert b"home" not in written and b"secret" not in written and b"Exif" not in written and b"EXIF" not in written


# HEIC


def test_heic_opens_with_the_extra():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    data = encoded(corners(), "HEIF", quality=95)
    assert near(corner_colours(load_picture(data))[1], GREEN, 12)


def test_heic_without_the_extra_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(PIL.Image.OPEN, "HEIF", raising=False)
    sentence = refused(b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf" + bytes(200))
    assert "HEIC" in sentence and "convert it to JPEG" in sentence and "pillow-heif" in sentence


# What is not taken

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
NOT_PICTURES = {
    "drawing.svg": (SVG, "SVG drawing"),
    "drawing.png": (b"\xef\xbb\xbf  <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing"),
    "paper.pdf": (b"%PDF-1.7\n1 0 obj\n", "PDF document"),
    "paper.png": (b"%PDF-1.7\n1 0 obj\n", "PDF document"),
    "plot.eps": (EPS, "PostScript"),
    "plot.jpg": (EPS, "PostScript"),
    "plot-binary.eps": (b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 32, len(EPS), 0, 0, 0, 0) + b"\xff\xff\0\0" + EPS, "PostScript"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "notes.png": (b"just some words, no picture\n" * 9, "not a picture that can be read"),
    "archive.png": (b"PK\x03\x04" + bytes(60), "archive"),
    "icon.ico": (encoded(corners(), "ICO"), "format that is not taken"),
    "old.ppm": (encoded(corners(), "PPM"), "format that is not taken"),
    "old.tga": (encoded(corners(), "TGA"), "not a picture that can be read"),
    "new.jp2": (encoded(corners(), "JPEG2000"), "format that is not taken"),
    "empty.png": (b"", "is empty"),
    "cut.jpg": (encoded(PIL.Image.effect_noise((200, 200), 80), "JPEG")[:4000], "damaged"),
    "cut.png": (encoded(PIL.Image.effect_noise((200, 200), 80), "PNG")[:4000], "damaged"),
    "cut.webp": (encoded(PIL.Image.effect_noise((200, 200), 80), "WEBP")[:2000], "damaged"),
    "cut.gif": (encoded(PIL.Image.effect_noise((200, 200), 80), "GIF")[:4000], "damaged"),
    "cut.tif": (encoded(PIL.Image.effect_noise((200, 200), 80), "TIFF")[:4000], "damaged"),
    "cut.bmp": (encoded(PIL.Image.effect_noise((200, 200), 80), "BMP")[:4000], "damaged"),
    "cut.avif": (encoded(PIL.Image.effect_noise((200, 200), 80), "AVIF")[:900], "damaged"),
    "head.jpg": (b"\xff\xd8\xff\xe0", "damaged"),
    "head.png": (b"\x89PNG\r\n\x1a\n", "damaged"),
    "one.png": (encoded(PIL.Image.new("RGB", (1, 1)), "PNG"), "too small"),
    "seven.png": (encoded(PIL.Image.new("RGB", (7, 100)), "PNG"), "too small"),
    "line.png": (encoded(PIL.Image.new("RGB", (1, 20000)), "PNG"), "too narrow"),
    "strip.png": (encoded(PIL.Image.new("RGB", (10, 511)), "PNG"), "too narrow"),
}


@pytest.mark.parametrize("name", NOT_PICTURES)
def test_what_is_refused_says_what_it_is(tmp_path, name):
    data, words = NOT_PICTURES[name]
    (tmp_path / name).write_bytes(data)
    sentence = refused(tmp_path / name)
    assert words in sentence and name in sentence
    assert words in refused(data)


def test_the_smallest_and_the_longest_that_are_taken():
    assert load_picture(encoded(PIL.Image.new("RGB", (8, 8)), "PNG")).notice == ""
    assert load_picture(encoded(PIL.Image.new("RGB", (300, 100)), "PNG")).notice == ""
    assert "4 times" in load_picture(encoded(PIL.Image.new("RGB", (400, 100)), "PNG")).notice
    assert "50 times" in load_picture(encoded(PIL.Image.new("RGB", (10, 500)), "PNG")).notice


def test_places_that_hold_no_picture(tmp_path):
    assert str(tmp_path / "gone.png") in refused(tmp_path / "gone.png") and "no file" in refused(str(tmp_path / "gone.png"))
    assert "is a folder" in refused(tmp_path)
    assert "web address" in refused("https://example.org/cat.png")
    assert "cannot be read" in refused("a\0b.png")
    assert "cannot be read" in refused("x" * 5000)
    assert "no file name" in refused("")
    assert "int" in refused(3)


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "not an ordinary file" in refused(tmp_path / "pipe.png")


def test_ghostscript_is_never_started(tmp_path, monkeypatch):
    started = tmp_path / "started"
    for program in ("gs", "gswin64c"):
        (tmp_path / program).write_text(f"#!/bin/sh\ntouch {started}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "plot.png").write_bytes(EPS)
    refused(EPS)
    refused(tmp_path / "plot.png")
    with PIL.Image.open(io.BytesIO(EPS)) as opened_elsewhere:
        assert "EPS" in refused(opened_elsewhere)
    assert not started.exists()


# Bounds


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def _blank_png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    samples = {0: 1, 2: 3, 6: 4}[colour]
    packer, row = zlib.compressobj(1), bytes(1 + (width * samples * depth + 7) // 8)
    return _png(width, height, depth, colour, b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


def _with_chunks(count: int) -> bytes:
    data = encoded(corners(), "PNG")
    return data[:33] + (struct.pack(">I", 0) + b"abCd" + struct.pack(">I", zlib.crc32(b"abCd"))) * count + data[33:]


def _text_bomb() -> bytes:
    chunk = b"zTXtbomb\0\0" + zlib.compress(bytes(70_000_000))
    data = encoded(corners(), "PNG")
    return data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def _greedy_tags() -> bytes:
    """A 5 MB TIFF of which 2000 tags each claim all 5 MB."""
    pixels, body = 4096, bytes(5_000_000)
    tags = [(256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, pixels)]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries += [struct.pack("<HHII", 40000 + number, 1, len(body), 8) for number in range(2000)]
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def _endless_gif() -> bytes:
    data = encoded(PIL.Image.new("P", (64, 64)), "GIF")
    return data[:-1] + (b"\x2c" + struct.pack("<4H", 0, 0, 8, 8) + b"\0\x02\x02\x4c\x01\0") * 300_000 + b";"


def _scan_bomb() -> bytes:
    data = encoded(PIL.Image.new("L", (4000, 3000)), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * 400 + data[-2:]


BOMBS = {
    "60000 x 60000 at one bit": (lambda: _png(60000, 60000, 1, 0, zlib.compress(bytes(1000))), "50 megapixels"),
    "12000 x 12000 warning size": (lambda: _png(12000, 12000, 1, 0, zlib.compress(bytes(1000))), "50 megapixels"),
    "9400 x 9400": (lambda: _png(9400, 9400, 8, 2, zlib.compress(bytes(1000))), "50 megapixels"),
    "7000 x 7000 RGBA": (lambda: _blank_png(7000, 7000, colour=6), "too much memory"),
    "6000 x 6000 RGBA": (lambda: _blank_png(6000, 6000, colour=6), None),
    "7000 x 7000 grey": (lambda: _blank_png(7000, 7000, colour=0), None),
    "7000 x 7000 grey, 16 bits": (lambda: _blank_png(7000, 7000, 16, 0), None),
    "49 megapixel JPEG": (lambda: encoded(PIL.Image.new("RGB", (8160, 6120), RED), "JPEG"), None),
    "49 megapixel progressive JPEG": (
        lambda: encoded(PIL.Image.new("RGB", (8160, 6000)), "JPEG", progressive=True, subsampling=0),
        "too much memory",
    ),
    "50 to 1 JPEG": (lambda: encoded(PIL.Image.new("RGB", (50000, 1000)), "JPEG"), None),
    "16 megapixel WebP": (lambda: encoded(PIL.Image.new("RGB", (4000, 4000)), "WEBP", method=0), "too much memory"),
    "12 megapixel WebP": (lambda: encoded(PIL.Image.new("RGB", (4032, 3024)), "WEBP", method=0), None),
    "49 megapixel GIF": (lambda: encoded(PIL.Image.new("P", (7000, 7000)), "GIF"), None),
    "36 megapixel TIFF to be turned": (
        lambda: encoded(PIL.Image.new("RGB", (6000, 6000)), "TIFF", compression="tiff_deflate", tiffinfo={274: 6}),
        "memory",
    ),
    "70 MB of text in 70 kB": (_text_bomb, "damaged"),
    "a million PNG chunks": (lambda: _with_chunks(1_000_000), "damaged"),
    "TIFF tags that all claim the file": (_greedy_tags, "damaged"),
    "300 000 frames": (_endless_gif, None),
    "400 JPEG scans": (_scan_bomb, "passes"),
}
MEASURE = """
import json, resource, sys, time
import numpy
from minigpt4_model.chat.pictures import PictureError, load_picture
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start, said = peak(), time.process_time(), None
try:
    load_picture(sys.argv[1])
except PictureError as error:
    said = str(error)
print(json.dumps([said, peak() - before, time.process_time() - start]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize("name", BOMBS)
def test_no_picture_is_expensive(tmp_path, name):
    make, words = BOMBS[name]
    (tmp_path / "bomb").write_bytes(make())
    run = subprocess.run([sys.executable, "-c", MEASURE, tmp_path / "bomb"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    said, megabytes, seconds = json.loads(run.stdout)
    assert (said is None) if words is None else (words in said)
    assert megabytes < 200
    assert seconds < 1.5  # processor time of a shared machine; at most about 0.9 on an idle one


def test_sizes_are_refused_before_any_pixel_is_decoded(monkeypatch):
    monkeypatch.setattr(PIL.Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert "50 megapixels" in refused(_png(8000, 8000, 8, 2, b""))
    assert "too narrow" in refused(_png(9, 600, 8, 2, b""))


def test_large_pictures_shrink_by_a_whole_factor_and_small_ones_stay():
    assert load_picture(PIL.Image.new("RGB", (2048, 100))).image.size == (2048, 100)
    big = np.zeros((60, 2050, 3), np.uint8)
    big[:, 1025:] = 255
    shrunk = load_picture(PIL.Image.fromarray(big)).image
    assert shrunk.size == (1025, 30)
    assert shrunk.getpixel((511, 5)) == (0, 0, 0) and shrunk.getpixel((512, 5)) == (128, 128, 128) and shrunk.getpixel((513, 5)) == WHITE


def test_bands_leave_no_seams():
    ramp = np.linspace(0, 255, 3000)[:, None].repeat(2400, 1).astype(np.uint8)
    rows = np.asarray(load_picture(PIL.Image.fromarray(ramp)).image).astype(int)[:, 0, 0]
    assert len(rows) == 1500 and (np.diff(rows) >= 0).all() and np.diff(rows).max() == 1


# Pillow images, digests, threads, saving


def test_pillow_images_are_normalised_and_left_alone():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    with PIL.Image.open(io.BytesIO(encoded(_STORED[6](corners()), "PNG", exif=exif))) as image:
        assert corner_colours(load_picture(image)) == [RED, GREEN, BLUE, YELLOW]
        assert image.size == (32, 64) and image.getexif()[0x0112] == 6
    assert "too small" in refused(PIL.Image.new("RGB", (3, 3)))
    assert "50 megapixels" in refused(PIL.Image.new("1", (9000, 9000)))
    image.close()
    assert "damaged" in refused(image)


def test_the_digest_names_the_pixels():
    png, bmp = load_picture(encoded(corners(), "PNG")), load_picture(encoded(corners(), "BMP"))
    assert png.digest == bmp.digest == load_picture(corners()).digest
    assert load_picture(PIL.Image.new("RGB", (16, 32))).digest != load_picture(PIL.Image.new("RGB", (32, 16))).digest
    assert load_picture(PIL.Image.new("RGB", (16, 32), RED)).digest != load_picture(PIL.Image.new("RGB", (16, 32))).digest


def test_threads_do_not_disturb_each_other_or_pillow():
    before = (PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES)
    good, cut, bomb = encoded(corners(), "PNG"), NOT_PICTURES["cut.png"][0], BOMBS["12000 x 12000 warning size"][0]()
    expected, wrong = load_picture(good).digest, []

    def work():
        for _ in range(10):
            if load_picture(good).digest != expected or "damaged" not in refused(cut) or "megapixels" not in refused(bomb):
                wrong.append(threading.current_thread().name)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert before == (PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES)


def test_files_are_closed(tmp_path):
    for name, (data, _) in NOT_PICTURES.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name)
    for format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF"):
        (tmp_path / format).write_bytes(encoded(corners(), format))
        load_picture(tmp_path / format)
    still_open = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()] if Path("/proc/self/fd").exists() else []
    assert not [target for target in still_open if str(tmp_path) in target]


def test_save_picture_writes_whole_files_only(tmp_path, monkeypatch):
    loaded = load_picture(corners())
    save_picture(loaded, tmp_path / "a.png")
    assert load_picture(tmp_path / "a.png").digest == loaded.digest
    save_picture(loaded, tmp_path / "a.webp")
    assert near(corner_colours(load_picture(tmp_path / "a.webp"))[2], BLUE, 20)
    with pytest.raises(ValueError, match=r"\.png or \.webp"):
        save_picture(loaded, tmp_path / "a.jpg")

    def broken(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(PIL.Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_picture(loaded, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.webp"]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "huge.bmp"
    with open(path, "wb") as file:
        file.write(b"BM")
        file.truncate(picture_checks.MAX_FILE_BYTES + 1)
    start = time.perf_counter()
    assert "larger than 100 MB" in refused(path)
    assert time.perf_counter() - start < 0.5

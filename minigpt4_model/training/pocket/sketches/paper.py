"""Paper and how it is photographed: plain, squared or lined sheets, seen straight on, turned, or lying on a table in poor light."""

import math
import random

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

from .pen import FINE

SIDE = 260  # of the picture
SHEET = 300  # of the sheet in the same pixels: larger, so that a turned one still fills the picture
PLAIN, SQUARED, LINED, DOTTED = "plain", "squared", "lined", "dotted"
_WHITES = ((255, 255, 255), (252, 252, 250), (246, 246, 246), (253, 248, 232), (248, 240, 215), (240, 236, 228), (238, 243, 248))
_WHITE_WEIGHTS = (7, 3, 2, 2, 1, 1, 1)
_RULINGS = ((185, 205, 230), (170, 190, 220), (205, 205, 205), (190, 215, 195))
_TABLES = ((120, 85, 55), (160, 120, 80), (70, 55, 45), (90, 90, 95), (45, 48, 55), (175, 170, 165), (60, 80, 95))


def draw_paper(chance: random.Random) -> PIL.Image.Image:
    """An empty sheet, RGB, FINE * SHEET pixels wide and high."""
    colour = chance.choices(_WHITES, _WHITE_WEIGHTS)[0]
    picture = PIL.Image.new("RGB", (FINE * SHEET, FINE * SHEET), colour)
    ruling = chance.choices((PLAIN, SQUARED, LINED, DOTTED), (12, 4, 4, 1))[0]
    if ruling != PLAIN:
        draw, gap, start = PIL.ImageDraw.Draw(picture), FINE * chance.uniform(10, 17), FINE * chance.uniform(0, 10)
        places = [start + gap * index for index in range(int(FINE * SHEET / gap) + 1)]
        ink, far = chance.choice(_RULINGS), FINE * SHEET
        for y in places:
            if ruling == DOTTED:
                draw.point([(x + shift, y) for x in places for shift in (0, 1)], ink)
                continue
            draw.line((0, y, far, y), ink, 1)
            if ruling == SQUARED:
                draw.line((y, 0, y, far), ink, 1)
        if ruling == LINED and chance.random() < 0.5:
            margin = FINE * chance.uniform(24, 40)
            draw.line((margin, 0, margin, far), (230, 150, 150), 2)
    return picture


def photograph(sheet: PIL.Image.Image, chance: random.Random) -> np.ndarray:
    """The drawn sheet as a picture, uint8 (SIDE, SIDE, 3): scanned, or (two in five) photographed from above."""
    numbers = np.random.default_rng(chance.getrandbits(64))
    photo = chance.random() < 0.4
    corners = _photo_corners(chance) if photo else _scan_corners(chance)
    # At half the sheet's size a bilinear pixel is the mean of four.
    picture = sheet.transform(
        (SIDE, SIDE),
        PIL.Image.Transform.PERSPECTIVE,
        _perspective(corners),
        PIL.Image.Resampling.BILINEAR,
        fillcolor=chance.choice(_TABLES),
    )
    if photo and chance.random() < 0.5:
        picture = picture.filter(PIL.ImageFilter.GaussianBlur(chance.uniform(0.3, 0.8)))
    pixels = np.asarray(picture, np.float32)
    if photo:
        pixels = pixels * _light(chance) * np.array([1, chance.uniform(0.95, 1), chance.uniform(0.86, 1.02)], np.float32)
    if photo or chance.random() < 0.3:
        pixels = pixels + numbers.normal(0, chance.uniform(1, 5), (SIDE, SIDE, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _scan_corners(chance: random.Random) -> list[tuple[float, float]]:
    """Where the sheet's corners fall in the picture: outside of it, the sheet a little turned."""
    angle = math.radians(chance.choice((0.0, chance.uniform(-4, 4))))
    half = SHEET / 2
    return _turned([(-half, -half), (half, -half), (half, half), (-half, half)], angle)


def _photo_corners(chance: random.Random) -> list[tuple[float, float]]:
    """Corners of a sheet seen from a slant, the table around it in view now and then."""
    half = SHEET / 2 * chance.uniform(0.86, 1.0)
    tilt = (chance.uniform(-0.06, 0.06), chance.uniform(-0.06, 0.06))
    corners = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        near = 1 + tilt[0] * x + tilt[1] * y
        corners.append((half * x * near, half * y * near))
    return _turned(corners, math.radians(chance.uniform(-6, 6)))


def _turned(corners: list[tuple[float, float]], angle: float) -> list[tuple[float, float]]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(SIDE / 2 + x * cosine - y * sine, SIDE / 2 + x * sine + y * cosine) for x, y in corners]


def _perspective(corners: list[tuple[float, float]]) -> list[float]:
    """Pillow's eight numbers that lead from the picture's pixels back to the sheet's."""
    far = FINE * SHEET
    rows, wanted = [], []
    for (x, y), (column, row) in zip(corners, ((0, 0), (far, 0), (far, far), (0, far)), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -column * x, -column * y], [0, 0, 0, x, y, 1, -row * x, -row * y]]
        wanted += [column, row]
    return np.linalg.solve(np.array(rows, np.float64), np.array(wanted, np.float64)).tolist()


def _light(chance: random.Random) -> np.ndarray:
    """Shading (SIDE, SIDE, 1): a fall-off in some direction, and half the time the soft shadow of a hand or a head."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
    angle = chance.uniform(0, 2 * math.pi)
    light = chance.uniform(0.8, 1.0) + chance.uniform(0.05, 0.35) * (rows * math.sin(angle) + columns * math.cos(angle))
    if chance.random() < 0.5:
        x, y, reach = chance.uniform(-0.6, 0.6), chance.uniform(-0.6, 0.6), chance.uniform(0.2, 0.5)
        light = light * (1 - chance.uniform(0.1, 0.3) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2)))
    return light[..., None]

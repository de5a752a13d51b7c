"""Letters of single strokes, as a person prints capitals with a pen."""

# Strokes of digits "xy": x from 0 to 4, y from 0 (top) to 6 (the line they stand on).
_STROKES = {
    "A": "06 20 46;14 34", "B": "06 00 30 41 42 33 03;33 44 45 36 06", "C": "41 30 10 01 05 16 36 45", "D": "06 00 20 41 45 26 06",
    "E": "40 00 06 46;03 33", "G": "41 30 10 01 05 16 36 45 43 23", "H": "00 06;40 46;03 43", "I": "10 16", "L": "00 06 46",
    "M": "06 00 23 40 46", "N": "06 00 46 40", "O": "10 30 41 45 36 16 05 01 10", "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40;20 26", "U": "00 05 16 36 45 40", "X": "00 46;40 06",
}  # fmt: skip
LETTERS = frozenset(_STROKES)
ADVANCE = 5.5  # from a letter to the next, where a letter is 4 wide and 6 high
NARROW = {"I": 3.0}  # letters that need less
HEIGHT = 6


def letter_strokes(letter: str) -> list[list[tuple[int, int]]]:
    """The strokes of a letter of `LETTERS`, each a list of points (x, y)."""
    return [[(int(point[0]), int(point[1])) for point in stroke.split()] for stroke in _STROKES[letter].split(";")]

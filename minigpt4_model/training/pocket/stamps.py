"""What the Tux Paint stamps show, read from the one-sentence caption beside each picture.

Many stamps are photographs, the only ones of the corpus. Captions that name nothing ("Happy!") or tell a story leave the picture out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .names import Named, head_noun, named, table

_LEFT_OUT = re.compile(r"^symbols/(alphabets|math|money|music|chess|faces|clock)|roadsigns|/flags/|hanukkah/dreydl-|hair_manga|body_parts/wig")
_MENTION = re.compile(r"^(?P<article>an?|the|some|our|two|another)\s+(?P<rest>.+)$", re.IGNORECASE)
_WRAPPED = re.compile(r"^(pair|cluster|bunch|string|head|couple|quarter|cup) of ")
# Captions that say it in another way.
_BY_FILE = {
    "bread": "loaf of bread", "loaf_of_bread": "loaf of bread", "cheese": "cheese", "broccoli": "broccoli", "corn": "ear of corn",
    "inkjet_printer": "printer", "laser_printer": "printer", "teddy_bear": "teddy bear", "edward_bear": "teddy bear", "toilet": "toilet",
    "clover": "four leaf clover", "shamrock": "shamrock", "menorah": "menorah", "Candy_cane_photo_1": "candy cane", "daffodil": "daffodil",
    "Candy_cane_photo_2": "candy cane", "Christmas_pudding": "Christmas pudding", "Roast_turkey": "roast turkey", "Santa": "Santa Claus",
    "Mince_Pie": "pie", "globe": "globe", "mobile": "mobile phone", "phone": "telephone", "calculator": "calculator", "fire": "fire",
    "fireworks": "fireworks", "fireworks2": "fireworks", "stethoscope": "stethoscope", "hard_candy": "candy", "chick-hatched": "chick",
    "chick-in-egg": "chick", "leafrake": "rake", "mortarboard": "graduation cap", "hoverfly": "fly", "compact_disc": "compact disc",
    "football_helmet_front": "football helmet", "football_helmet_side": "football helmet", "camera": "camera", "laptop": "laptop",
    "monitor": "computer monitor", "mouse": "mouse", "uk_post_box": "mailbox", "7spoke256": "wheel", "boxcar": "boxcar", "caboose": "caboose",
    "tanker": "tank wagon", "bulldozer": "bulldozer", "dumper": "dump truck", "tux": "penguin", "pengwin": "penguin", "penguin": "penguin",
    "wheelie_bin": "trash can", "trash_can": "trash can", "garbagecan": "trash can", "chemparathi": "hibiscus", "4_mars": "Mars", "6_saturn": "Saturn",
    "5_jupiter": "Jupiter", "0_sun": "sun", "3_earth": "globe", "circus": "circus tent", "cathedral": "cathedral", "confetti": "confetti",
    "holly_leaves": "holly leaves", "knitting": "knitting", "measuring_tape": "measuring tape", "plane": "airplane", "747": "airplane",
    "eddieCopter": "helicopter", "truck": "pickup truck", "painttube": "tube of paint", "clothes_iron": "iron", "expresso": "cup of coffee",
    "sunglasses_01": "sunglasses", "sunglasses_02": "sunglasses", "moon_full": "full moon", "moon_crescent": "crescent moon", "moon_3qt": "full moon",
    "drake": "duck", "gander": "duck", "dromedary": "camel", "kitten": "cat", "doe": "deer", "firetruck": "fire truck", "stripedfish": "fish",
    "hedgehog": "hedgehog", "digitalthermometer": "thermometer", "mercurythermometer": "thermometer", "spider_computer": "", "spider_fly": "",
    "penguin_with_spider": "", "spider_football": "", "wings": "", "final-roll-call": "", "explosion": "explosion", "old_naval_shell": "",
    "ww2_german_gun": "", "bradley": "tank", "infantry-stryker": "tank", "sedan_police": "", "trainSign": "", "tender": "", "bathyscape": "submarine",
    "docks": "", "magic_stones": "", "rambutan": "tree", "tree336": "tree", "German_Christmas_toy": "", "dreydl": "dreidel", "fountain": "fountain",
    "adeenia": "flower", "anthoorium": "flower", "appooppanthady": "", "bolsom": "", "chuvanna_plastic_poo": "red flower", "xanthia": "moth",
    "recyclingbox": "", "recyclingbox2": "", "recycle": "recycling symbol", "8_neptune": "planet", "7_uranus": "planet", "9_pluto": "planet",
    "1_mercury": "planet", "2_venus": "planet", "bluegroper": "fish", "girlface": "", "head_female": "", "voyager2": "satellite", "cep-2": "mushroom",
    "cep-1": "mushroom", "cep": "mushroom", "inukshuk-outline": "", "inukshuk-photo": "", "mine": "", "grannysmith": "doll", "xmas_tp_bulb": "ornament",
    "magellanic_penguin": "penguin", "little-penguin": "penguin", "tiger_sumatran": "tiger", "pig_golden": "pig", "pig_golden2": "pig",
    "coffeecup": "cup of coffee", "pink_flamingo": "flamingo", "birch": "tree", "holm_oak": "tree", "liberia-palm": "palm tree", "fireman200b": "firefighter",
    "fireman240a": "firefighter", "beetle": "car", "sedan": "car", "f22_raptor": "fighter jet", "albino_peahen": "peacock", "chimp": "monkey",
    "hen": "chicken", "tux_tractor": "tractor", "rabbit_little": "rabbit", "gold_dreydl": "dreidel", "tree": "Christmas tree", "Christmas_Tree_photo": "Christmas tree",
}  # fmt: skip


@dataclass(frozen=True)
class Stamp:
    """One picture file, what it shows, and whether it is a photograph."""

    path: Path
    shown: Named
    photograph: bool


def stamps(directory: Path) -> Iterator[Stamp]:
    """The stamps under `directory` that a name can be given to, in a fixed order."""
    for caption in sorted(directory.rglob("*.txt")):
        inside = caption.relative_to(directory).as_posix()
        picture = next((caption.with_suffix(suffix) for suffix in (".png", ".svg") if caption.with_suffix(suffix).is_file()), None)
        if picture is None or _LEFT_OUT.search(inside):
            continue
        name = _BY_FILE.get(caption.stem)
        if name is None:
            name = name_in_caption(caption.read_text("utf-8", errors="replace").splitlines()[0])
        if name:
            yield Stamp(picture, shown_by(name), picture.suffix == ".png" and "/cartoon/" not in f"/{inside}")


def name_in_caption(caption: str) -> str | None:
    """"A pair of blue jeans with patches." -> "blue jeans"; None when the sentence does not begin by mentioning a thing."""
    sentence = re.split(r"[.!?;:(]|\s[—–-]\s|—|,", caption.strip())[0].replace("’", "'").strip()
    match = _MENTION.match(sentence)
    if not match:
        return None
    rest = re.sub(r"[“”\"']s?\b|[“”\"]", "", match["rest"])
    rest = _WRAPPED.sub("", rest)
    rest = re.split(r" (?:is|are|from|for|that|worn|used|covered|resembles|in|with|making|at|can|lets|carries|on) ", rest + " ")[0].strip()
    rest = re.sub(r"^(very small|large|big|little|happy|colorful|modern|old-fashioned|old|huge|male|female) ", "", rest)
    words = rest.split()
    return rest if 1 <= len(words) <= 3 else None


def shown_by(name: str) -> Named:
    """The concept of that name: the one of the table where it has it, so that a stamp and an icon of a dog are one concept."""
    known = _by_name().get(name.lower()) or _by_name().get(head_noun(name)) if " " not in name else _by_name().get(name.lower())
    if known is not None:
        return known
    relative = _by_name().get(head_noun(name))
    kind = relative.kind if relative is not None else ("plural" if re.search(r"[^s]s$", name) and not name.endswith(("us", "is")) else "count")
    return named(name, relative.head if relative is not None else "", kind, relative.synonyms if relative is not None else ())


def _by_name() -> dict[str, Named]:
    return {shown.name.lower(): shown for shown in table().values()}

"""What the Tux Paint stamps show, read from the one-sentence caption beside each picture.

Many stamps are photographs, the only ones of the corpus. Captions that name nothing ("Happy!") or tell a story leave the picture out.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from .names import Named, head_noun, named, table

_LEFT_OUT = re.compile(
    r"^symbols/(alphabets|math|money|music|chess|faces|clock)|roadsigns|/flags/|hanukkah/dreydl-|hair_manga|body_parts/wig"
)
# Words that are a synonym of one icon's name and yet another thing.
_OWN_THINGS = frozenset({"moustache", "party hat", "gate", "lettuce", "jacket", "yam", "flowers", "monitor", "tennis racket"})
_MENTION = re.compile(r"^(?P<article>an?|the|some|our|two|another)\s+(?P<rest>.+)$", re.IGNORECASE)
_WRAPPED = re.compile(r"^(pair|cluster|bunch|string|head|couple|quarter|cup) of ")


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
        name = _names_by_file().get(f"{caption.parent.name}/{caption.stem}", _names_by_file().get(caption.stem))
        if name is None:
            name = name_in_caption(caption.read_text("utf-8", errors="replace").splitlines()[0])
        if name:
            yield Stamp(picture, shown_by(name), picture.suffix == ".png" and "/cartoon/" not in f"/{inside}")


def name_in_caption(caption: str) -> str | None:
    """ "A pair of blue jeans with patches." -> "blue jeans"; None when the sentence does not begin by mentioning a thing."""
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
    known = _known_names().get(name.lower())
    if known is not None:
        return known
    relative = _known_names().get(head_noun(name))
    if relative is not None:
        return named(name, relative.head, relative.kind, relative.synonyms)
    return named(name, kind="proper" if name[0].isupper() and " " not in name else "plural" if re.search(r"[^sui]s$", name) else "count")


@cache
def _names_by_file() -> dict[str, str]:
    """File name -> name, from `stamps.txt`; an empty name leaves the picture out."""
    lines = resources.files(__package__).joinpath("stamps.txt").read_text("utf-8").splitlines()
    rows = (line.partition(":") for line in lines if line.strip() and not line.startswith("#"))
    return {file: name.strip() for name, _, files in rows for file in files.split()}


@cache
def _known_names() -> dict[str, Named]:
    """Name -> concept; also the synonyms that belong to one concept alone ("bunny")."""
    concepts = {shown.concept: shown for shown in table().values()}.values()
    uses = Counter(word for shown in concepts for word in shown.synonyms)
    found = {word: shown for shown in concepts for word in shown.synonyms if uses[word] == 1 and word not in _OWN_THINGS}
    return found | {shown.name.lower(): shown for shown in concepts}

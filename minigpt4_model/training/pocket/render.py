"""Pixels of the corpus: every picture that has a name is rendered once, to 192 x 192 RGBA, and cached.

For each collection two files lie in `<cache>/corpus/sprites/`: `NAME.npy`, uint8 of shape (N, 192, 192, 4) to be memory-mapped, and
`NAME.jsonl` with one line per row: what it shows, its colours, its split. When names change only the index is written again;
pixels are rendered again only for pictures that are new. Rendering is deterministic. Pictures that fail are counted and left out.
"""

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from .collections import Collection, CorpusError, corpus_home, fetch
from .colours import COLOURS, dominant_colours
from .names import Named, lookup, split_of
from .stamps import stamps

logger = logging.getLogger(__name__)

SIZE = 192
_LEAST_COVER = 0.01  # share of opaque pixels below which a rendering counts as failed: the picture is empty


@dataclass(frozen=True)
class Sprite:
    """One line of an index: a rendered picture and what it shows. `row` is its place in the collection's array."""

    collection: str
    icon: str
    row: int
    concept: str
    name: str
    head: str
    kind: str
    synonyms: tuple[str, ...]
    colours: tuple[str, ...]
    split: str
    photograph: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture to be rendered: `render` gives RGBA pixels of any size and raises ValueError or OSError for a broken one."""

    icon: str
    shown: Named
    render: Callable[[], PIL.Image.Image]
    photograph: bool = False


@dataclass(frozen=True)
class Rendered:
    """What became of one collection."""

    sprites: int
    failed: int
    concepts: int


def sprites_home(root: Path | None = None) -> Path:
    return (root or corpus_home()) / "sprites"


def wrap_svg(body: str, left: float, top: float, width: float, height: float) -> str:
    """An Iconify body as a whole square SVG, the picture in its middle."""
    side = max(width, height)
    box = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side:g} {side:g}"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="{box}" width="{SIZE}" height="{SIZE}">{body}</svg>'


def render_svg(svg: str) -> PIL.Image.Image:
    """Raises ValueError for SVG that cannot be rendered."""
    import resvg_py

    return PIL.Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, skip_system_fonts=True)))).convert("RGBA")


def square(picture: PIL.Image.Image) -> np.ndarray:
    """Any RGBA picture, cut to what is visible and fitted into (192, 192, 4) uint8 with a transparent rim."""
    box = picture.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
    if box:
        picture = picture.crop(box)
    room = SIZE - 8
    scale = room / max(picture.size)
    fitted = picture.resize([max(1, round(side * scale)) for side in picture.size], PIL.Image.Resampling.LANCZOS)
    canvas = PIL.Image.new("RGBA", (SIZE, SIZE))
    canvas.paste(fitted, ((SIZE - fitted.width) // 2, (SIZE - fitted.height) // 2))
    return np.asarray(canvas)


def icon_pictures(row: Collection, directory: Path) -> Iterator[Picture]:
    """The nameable icons of an Iconify set, without aliases (the same picture under another name) and hidden icons (outdated)."""
    data = json.loads((directory / "icons.json").read_text("utf-8"))
    for icon, entry in sorted(data["icons"].items()):
        shown = None if entry.get("hidden") else lookup(icon, row.name)
        if shown is None:
            continue
        size = [entry.get(key, data.get(key, default)) for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
        svg = wrap_svg(entry["body"], *size)
        yield Picture(icon, shown, lambda svg=svg: render_svg(svg))


def stamp_pictures(directory: Path) -> Iterator[Picture]:
    """The nameable stamps; see `stamps`."""

    def opened(path: Path) -> PIL.Image.Image:
        if path.suffix == ".svg":
            return render_svg(path.read_text("utf-8", errors="replace"))
        return PIL.Image.open(path).convert("RGBA")

    for stamp in stamps(directory / "stamps"):
        icon = stamp.path.relative_to(directory / "stamps").as_posix()
        yield Picture(icon, stamp.shown, lambda path=stamp.path: opened(path), stamp.photograph)


def render_collection(row: Collection, root: Path | None = None, limit: int | None = None) -> Rendered:
    """Fetches, renders and indexes one collection; what an earlier run has rendered is used again. `limit` renders the first N."""
    directory, target = fetch(row, root), sprites_home(root)
    pictures = list(icon_pictures(row, directory) if row.source == "npm" else stamp_pictures(directory))[:limit]
    return write_sprites(row, pictures, target)


def write_sprites(row: Collection, pictures: list[Picture], target: Path) -> Rendered:
    """Renders what is new, then writes array and index, each whole or not at all."""
    from tqdm import tqdm

    target.mkdir(parents=True, exist_ok=True)
    known = _rendered_before(row.name, target)
    rows, kept, failed = [], [], 0
    for picture in tqdm(pictures, desc=row.name, unit="picture", mininterval=1):
        pixels = known.get(picture.icon)
        if pixels is None:
            try:
                pixels = square(picture.render())
            except (ValueError, OSError) as error:
                logger.debug("%s/%s cannot be rendered: %s", row.name, picture.icon, error)
                failed += 1
                continue
        if (pixels[..., 3] > 127).mean() < _LEAST_COVER:
            failed += 1
            continue
        rows.append(np.asarray(pixels))
        kept.append(
            Sprite(
                row.name, picture.icon, len(kept), picture.shown.concept, picture.shown.name, picture.shown.head, picture.shown.kind,
                picture.shown.synonyms, colours_of(picture.shown, pixels), split_of(row, picture.icon, picture.shown), picture.photograph,
            )
        )  # fmt: skip
    if not rows:
        raise CorpusError(f"{row.name}: none of {len(pictures)} pictures could be rendered. Is resvg-py installed?")
    array = target / f".{row.name}.partial.npy"
    np.save(array, np.stack(rows))
    index = target / f".{row.name}.partial.jsonl"
    index.write_text("".join(json.dumps(asdict(sprite), ensure_ascii=False) + "\n" for sprite in kept), "utf-8")
    (target / f"{row.name}.jsonl").unlink(missing_ok=True)  # never a new array beside an old index
    os.replace(array, target / f"{row.name}.npy")
    os.replace(index, target / f"{row.name}.jsonl")
    return Rendered(len(kept), failed, len({sprite.concept for sprite in kept}))


def colours_of(shown: Named, pixels: np.ndarray) -> tuple[str, ...]:
    """The colours of a rendering; where the name says one ("red apple"), it comes first."""
    said = [word for word in shown.name.lower().split() if word in COLOURS]
    return tuple(dict.fromkeys([*said, *dominant_colours(pixels)]))[:3]


def _rendered_before(name: str, target: Path) -> dict[str, np.ndarray]:
    if not (target / f"{name}.jsonl").is_file():
        return {}
    pixels = np.load(target / f"{name}.npy", mmap_mode="r")
    return {sprite.icon: pixels[sprite.row] for sprite in load_index(name, target)}


def load_index(name: str, target: Path | None = None) -> list[Sprite]:
    """The index of one collection. Raises `CorpusError` when it was not built."""
    path = (target or sprites_home()) / f"{name}.jsonl"
    if not path.is_file():
        raise CorpusError(f"{path} is missing: build the corpus with `python -m minigpt4_model.training.pocket.build`.")
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [Sprite(**{**row, "synonyms": tuple(row["synonyms"]), "colours": tuple(row["colours"])}) for row in rows]


def load_pixels(name: str, target: Path | None = None) -> np.ndarray:
    """The pixels of one collection, memory-mapped: uint8 (N, 192, 192, 4)."""
    return np.load((target or sprites_home()) / f"{name}.npy", mmap_mode="r")

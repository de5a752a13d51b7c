"""A small curation project for tests: pictures of one colour each, with descriptions and corrections, and no model anywhere."""

from pathlib import Path

import PIL.Image

from minigpt4_model.curation.pictures import take_pictures
from minigpt4_model.curation.project import Project, add_text
from minigpt4_model.curation.schema import DESCRIBE, REFINE

PLACES = ("garden", "kitchen", "harbour", "forest", "station", "museum", "market", "desert", "library", "stadium")


def colour(number: int) -> tuple[int, int, int]:
    return (number * 67 % 256, number * 151 % 256, number * 211 % 256)


def write_pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        PIL.Image.new("RGB", (40 + number, 30), colour(number)).save(folder / f"{number:03}.png")
    return folder


def description(number: int) -> str:
    """One that no rule marks, and that is like no other."""
    place = PLACES[number % len(PLACES)]
    return (
        f"The picture number {number} was taken in a {place} early in the morning. A woman with a basket of type {number} stands in the "
        f"{place} and looks at {number + 2} birds. Behind her there is a wall, and the light of the {place} is soft and warm."
    )


def build_project(folder: Path, count: int = 6, corrected: bool = False) -> Project:
    """A project with `count` described pictures; with `corrected`, texts that began with a blunder and lost it."""
    project = Project(folder / "project", create=True)
    take_pictures(project, str(write_pictures(folder / "pictures", count)), name="colours", licence="CC0-1.0")
    with project.writing() as connection:
        for item in [row["id"] for row in connection.execute("SELECT id FROM items ORDER BY id")]:
            text = description(item)
            first = add_text(connection, item, DESCRIBE, "describer", f"I am sorry. {text}" if corrected else text)
            if corrected:
                add_text(connection, item, REFINE, "mender", text, first)
    return project

"""The files of pictures: names, pixels, what is in memory, what goes."""

import PIL.Image
import pytest

from minigpt4_model.chat.pictures import PictureError, load_picture
from minigpt4_model.ui import stored_pictures
from minigpt4_model.ui.stored_pictures import PictureFiles


def picture(colour: str = "teal", size: tuple[int, int] = (64, 48)):
    return load_picture(PIL.Image.new("RGB", size, colour))


def keep(files: PictureFiles, loaded, name: str = ""):
    stored = files.place(loaded, name)
    files.write(loaded, stored)
    return stored


@pytest.fixture
def read(monkeypatch):
    """The paths of the pictures that are read from their files."""
    paths = []
    monkeypatch.setattr(stored_pictures, "load_picture", lambda path: paths.append(path) or load_picture(path))
    return paths


def test_stored_pictures_keep_their_pixels_and_show_a_smaller_copy(tmp_path):
    files, original = PictureFiles(tmp_path), picture("orange", (1600, 400))
    stored = keep(files, original)
    assert load_picture(stored.path).digest == stored.loaded.digest == original.digest
    with PIL.Image.open(stored.view) as view:
        assert view.size == (1024, 256)
    assert (stored.width, stored.height) == (1600, 400)
    assert keep(files, picture("orange", (1600, 400))) == stored


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("/upload/7f/Unser Häuschen.jpg", "Unser Häuschen.png"),
        ("", "picture.png"),
        ("...", "picture.png"),
        ("a?b#c%d.png", "a_b_c_d.png"),
        ("語" * 200 + ".png", "語" * 50 + ".png"),
    ],
)
def test_a_file_is_called_as_the_visitor_called_it(tmp_path, name, called):
    stored = keep(PictureFiles(tmp_path), picture(), name)
    assert stored.path.name == called and stored.path.exists() and stored.view.exists()
    assert stored.path.resolve().is_relative_to(tmp_path.resolve())


def test_pixels_are_read_only_when_somebody_looks_at_those_that_memory_let_go(tmp_path, read):
    files = PictureFiles(tmp_path, remembered=2)
    kept = [keep(files, picture(colour)) for colour in ("red", "green", "blue")]
    assert [stored.loaded.digest for stored in kept] == [picture(colour).digest for colour in ("red", "green", "blue")]
    assert read == []
    for stored in kept[::-1]:
        for _ in range(2):
            assert stored.loaded.image.getpixel((0, 0)) == load_picture(stored.path).image.getpixel((0, 0))
    assert read == [kept[0].path]
    assert len(files._pixels) == 2


def test_what_nobody_uses_goes_and_the_same_pixels_under_another_name_stay(tmp_path):
    files = PictureFiles(tmp_path)
    mine, yours = keep(files, picture(), "mine.png"), keep(files, picture(), "yours.png")
    files.forget([mine, yours], used={yours.path})
    assert not mine.path.exists() and not mine.view.exists() and yours.path.exists() and yours.view.exists()
    files.forget([yours], used=set())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PictureError):
        yours.loaded.image.load()

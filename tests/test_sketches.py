"""Sketches of pages: what they show and what they mean agree, held-out layouts stay out, and evaluation reads what is written."""

import json
import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from minigpt4_model.evaluation.html_page import extract_html, read_page, structure_f1
from minigpt4_model.evaluation.tasks.sketches import judge_page, page_sketches
from minigpt4_model.training.conversations import PLACEHOLDER, render_example
from minigpt4_model.training.features import FeatureCache
from minigpt4_model.training.pocket.sketches import (
    KINDS,
    SKETCH_REQUESTS,
    Element,
    Sketch,
    compose_sketch,
    describe,
    held_out_sketches,
    is_held_out,
)
from minigpt4_model.training.pocket.sketches.__main__ import main
from minigpt4_model.training.pocket.sketches.alphabet import LETTERS
from minigpt4_model.training.pocket.sketches.compose import draw_sketch
from minigpt4_model.training.pocket.sketches.layout import COUNTS, LONGEST, draw_layout
from minigpt4_model.training.pocket.sketches.markup import BUTTON, ITEM, LABELS, LINKS, SEND, TITLE, fenced, length_of
from minigpt4_model.training.pocket.sketches.sources import PocketSketches, sketch_conversations, sketch_messages, sketch_words
from minigpt4_model.training.pocket.sketches.words import WORDS, layout_words
from tests.tiny_chat import build_chatml_model

COLUMNS = Element("columns", 2, ((Element("image"), Element("text")), (Element("list", 3),)))


def layouts(count: int, held_out: bool = False) -> list[Sketch]:
    chance = random.Random(7)
    return [draw_layout(chance, held_out) for _ in range(count)]


def tree(elements) -> list:
    """What a page's judge should find."""
    inner = {"header": [("text", [])], "form": [("button", [])]}
    return [(one.kind, tree([part for column in one.columns for part in column]) or inner.get(one.kind, [])) for one in elements]


def read_tree(nodes) -> list:
    return [(node.kind, read_tree(node.children)) for node in nodes]


# --- layouts and their HTML


def test_the_html_is_valid_and_has_the_elements_that_are_drawn():
    for sketch in layouts(400) + layouts(100, held_out=True):
        page = read_page(sketch.html)
        assert page.valid, (sketch.html, page.faults)
        assert read_tree(page.root.children) == tree(sketch.elements)


def test_one_page_is_one_string():
    written: dict[tuple, str] = {}
    pages = layouts(600)
    for sketch in pages:
        assert written.setdefault(sketch.elements, sketch.html) == sketch.html
    assert len(set(written.values())) == len(written) > 250


def test_every_kind_and_every_number_of_elements_comes():
    pages = layouts(600)
    assert {element.kind for sketch in pages for element in sketch.elements} == set(KINDS)
    assert {len(sketch.elements) for sketch in pages} == {1, 2, 3, 4, 5, 6}
    for kind, (least, most) in COUNTS.items():
        assert {element.count for sketch in pages for element in sketch.elements if element.kind == kind} == set(range(least, most + 1))


def test_pages_are_short_and_unambiguous():
    for sketch in layouts(400):
        kinds = [element.kind for element in sketch.elements]
        assert length_of(sketch.html) <= LONGEST
        assert all(first != second for first, second in zip(kinds, kinds[1:], strict=False))
        assert [kind for kind in kinds if kind in ("header", "nav")] == [kind for kind in ("header", "nav") if kind in kinds]
        assert not {"header", "nav"} & set(kinds[2:])
        assert kinds.count("form") <= 1 and kinds.count("columns") <= 1


def test_html_of_a_page():
    sketch = Sketch((Element("header"), Element("nav", 2), COLUMNS, Element("form", 1)))
    assert sketch.html.splitlines() == [
        "<header><h1>Title</h1></header>",
        '<nav><a href="#">Home</a> <a href="#">About</a></nav>',
        "<main>",
        '<div style="display:flex;gap:2em">',
        '<div><figure><img src="image.png" alt="Image"></figure><p>Some text.</p></div>',
        "<div><ul><li>Item</li><li>Item</li><li>Item</li></ul></div>",
        "</div>",
        "<form><label>Name <input></label><br><button>Send</button></form>",
        "</main>",
    ]
    assert sketch.structure == "header nav columns(image text|list) form"


def test_an_element_that_nobody_draws_is_refused():
    with pytest.raises(ValueError, match="'footer'"):
        Sketch((Element("footer"),)).html  # noqa: B018


# --- held out


def test_layouts_are_split_by_their_structure_alone():
    trained, held_out = layouts(400), layouts(200, held_out=True)
    assert not {sketch.structure for sketch in trained} & {sketch.structure for sketch in held_out}
    assert not any(map(is_held_out, trained)) and all(map(is_held_out, held_out))
    more = Sketch((Element("header"), Element("list", 2))), Sketch((Element("header"), Element("list", 4)))
    assert is_held_out(more[0]) == is_held_out(more[1])
    assert not any(is_held_out(Sketch((Element(kind),))) for kind in KINDS)


def test_one_layout_in_ten_is_held_out():
    # All pages of three different kinds, which the random draw does not weigh.
    pages = [Sketch(tuple(map(Element, (a, b, c)))) for a in KINDS for b in KINDS for c in KINDS]
    assert 0.06 < sum(map(is_held_out, pages)) / len(pages) < 0.14


def test_held_out_sketches_are_the_same_always_and_all_different():
    first, again = held_out_sketches(6), held_out_sketches(4)
    assert len({sketch.structure for _, sketch in first}) == 6
    for (pixels, sketch), (same, twin) in zip(first, again, strict=False):
        assert np.array_equal(pixels, same) and sketch == twin


# --- drawing


def test_the_same_chance_draws_the_same_picture():
    first, sketch = compose_sketch(random.Random("a"))
    second, same = compose_sketch(random.Random("a"))
    other, _ = compose_sketch(random.Random("b"))
    assert first.shape == (260, 260, 3) and first.dtype == np.uint8
    assert np.array_equal(first, second) and sketch == same and not np.array_equal(first, other)


def ink(pixels: np.ndarray) -> float:
    """How much of the picture differs clearly from its neighbourhood, as lines do."""
    grey = pixels.mean(-1)
    return float((np.abs(np.diff(grey, axis=0)) > 25).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_element_is_seen(kind):
    element = COLUMNS if kind == "columns" else Element(kind, COUNTS.get(kind, (1,))[0])
    for seed in range(6):
        assert ink(draw_sketch(Sketch((element,)), random.Random(seed))) > 0.003


def test_more_elements_are_more_ink():
    one, many = Sketch((Element("image"),)), Sketch((Element("image"), Element("form", 3), Element("list", 4)))
    pairs = [[draw_sketch(sketch, random.Random(f"hand {seed}")) for sketch in (one, many)] for seed in range(8)]
    assert sum(ink(more) > ink(less) for less, more in pairs) >= 7


def test_the_words_that_people_write_have_letters():
    assert set("".join((TITLE, BUTTON, SEND, ITEM, *LINKS, *LABELS)).upper()) <= LETTERS


# --- in words


@pytest.mark.parametrize(
    "elements, said",
    [
        ((Element("header"), Element("nav", 3), Element("form", 2)), "a header, a navigation bar and a form"),
        ((Element("image"), Element("text"), Element("image")), "two images and a paragraph"),
        ((Element("image"),), "an image"),
        ((Element("header"), COLUMNS), "a header and two columns"),
        ((Element("columns", 3, ((Element("button"), Element("text")),) * 3),), "three columns, each with a button and a paragraph"),
    ],
)
def test_a_sentence_about_a_sketch(elements, said):
    assert describe(Sketch(elements)) == f"A sketch of a web page with {said}."


def test_conversations_ask_for_html_or_for_what_it_is():
    sketch, asked = layouts(1)[0], set()
    for seed in range(60):
        request, answer = sketch_messages(sketch, PLACEHOLDER, random.Random(seed))
        question, text = request["content"][1]["text"], answer["content"][0]["text"]
        asked.add(question in SKETCH_REQUESTS)
        assert extract_html(text) == (sketch.html if question in SKETCH_REQUESTS else "")
    assert asked == {True, False}
    turns = sketch_messages(sketch, PLACEHOLDER, random.Random(0), turns=2)
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    assert "web page" in turns[1]["content"][0]["text"] and turns[3]["content"][0]["text"] == fenced(sketch.html)


# --- for training


@pytest.fixture(scope="module")
def tiny():
    model, processor = build_chatml_model()
    model.config.trained_with = {"vision_encoder": {"fingerprint": "a" * 64}}
    return model, processor


def test_features_are_kept_by_number_and_encoder(tiny, tmp_path, monkeypatch):
    model, processor = tiny
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path))
    sketches = PocketSketches(3, part_size=2)
    features = sketches.features(model, processor.image_processor)
    assert len(features) == 3 and sketches.compose(1)[1] == sketches.sketch(1)
    pixels = processor(images=PIL.Image.fromarray(sketches.compose(2)[0]))["pixel_values"]
    with torch.no_grad():
        assert torch.allclose(features[[2]], model.get_image_features(pixels).last_hidden_state, atol=5e-3)
    assert sorted(path.name for path in (sketches.directory / ("a" * 16)).iterdir()) == ["0-2.npy", "2-3.npy"]
    assert PocketSketches(3, held_out=True).directory != sketches.directory
    assert all(is_held_out(PocketSketches(2, held_out=True).sketch(index)) for index in range(2))


def test_a_source_draws_features_and_conversations_that_render(tiny):
    model, processor = tiny
    cache = FeatureCache([np.random.default_rng(0).normal(size=(5, 103, 8)).astype(np.float16)])
    sketches = PocketSketches(5)
    draw = sketch_conversations(cache, sketches)
    features, examples = draw(np.random.default_rng(3), 4)
    same, again = draw(np.random.default_rng(3), 4)
    assert features.shape == (4, 103, 8) and torch.equal(features, same)
    assert [example.messages for example in examples] == [example.messages for example in again]
    pages = {fenced(sketches.sketch(index).html) for index in range(5)} | {""}
    for example in examples:
        answer = example.messages[-1]["content"][0]["text"]
        assert (answer if "```" in answer else "") in pages
        assert render_example(example.messages, processor, model.config.chat_template_name).input_ids
    drawn, words = sketch_words(cache, sketches)(np.random.default_rng(3), 4)
    assert drawn.shape == (4, 103, 8) and {said.name for said in words} == {"web page"}
    assert {said.layout for said in words} <= {layout_words(sketches.sketch(index)) for index in range(5)}


def test_a_sketch_means_what_is_drawn():
    for held_out in (False, True):
        sketches = PocketSketches(4, held_out)
        assert all(sketches.sketch(index) == sketches.compose(index)[1] for index in range(4))


def test_layouts_in_words():
    image, text, two = Element("image"), Element("text"), Element("list", 2)
    assert layout_words(Sketch((Element("header"), Element("nav", 3), text))) == "header menu three text"
    cards = Element("columns", 3, ((image, two),) * 3)
    assert layout_words(Sketch((cards,))) == "columns three each image list two"
    assert layout_words(Sketch((cards, text))) == "columns three each image list two below text"
    assert layout_words(Sketch((Element("columns", 2, ((image, text), (two,))),))) == "columns two image text beside list two"


def test_words_tell_pages_apart_and_fit_the_free_places():
    pages = {draw_layout(random.Random(index)) for index in range(1500)}
    said = [layout_words(page) for page in pages]
    assert len(set(said)) == len(pages)
    assert max(len(words.split()) for words in said) <= 16 and {word for words in said for word in words.split()} == set(WORDS)


# --- for evaluation


def test_the_command_writes_what_evaluation_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path))
    main(["--count", "5"])
    file = Path(capsys.readouterr().out.split(": ")[1].strip())
    assert file == tmp_path / "corpus" / "sketches" / "held-out.jsonl"
    task = page_sketches()
    items = list(task.items())
    assert not task.missing and len(items) == 5
    for item, line, (pixels, sketch) in zip(items, file.read_text("utf-8").splitlines(), held_out_sketches(5), strict=True):
        assert np.array_equal(np.asarray(PIL.Image.open(file.parent / json.loads(line)["image"])), pixels)
        assert item.expected == {"html": sketch.html}
        assert judge_page(item, fenced(sketch.html)).right
        other = "<main>\n<p>Some text.</p>\n</main>"
        assert judge_page(item, other).values["f1"] == structure_f1(read_page(other).root, read_page(sketch.html).root) < 1


def test_the_command_refuses_no_sketches(capsys):
    with pytest.raises(SystemExit):
        main(["--count", "0"])
    assert "--count must be 1 or more" in capsys.readouterr().err

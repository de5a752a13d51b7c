"""The HTML guard: what it lets be written is whole, and it lets be written what people write."""

import random
from dataclasses import replace

import pytest
import torch

from minigpt4_model.chat.decoding import WholeHtml, build_logits_processors
from minigpt4_model.chat.guards import GuardFactory
from minigpt4_model.chat.html_guard import HtmlGuard, OpenPage, open_page
from minigpt4_model.chat.messages import Turn
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.chat.templates import CHATML
from minigpt4_model.evaluation.html_page import read_page
from minigpt4_model.training.pocket.sketches.layout import draw_layout
from minigpt4_model.training.pocket.sketches.sources import sketch_messages
from tests.tiny_chat import chatml_tokenizer

WHOLE = """<!DOCTYPE html>
<html lang="en"><head><title>A &lt; B</title><style>p > a { color: red }</style>
<script>if (1 < 2) { document.write("</div>"); }</script></head>
<body class="page">
<header><h1>Title</h1></header><nav><a href="#">Home</a> <a href='#'>About</a></nav>
<form><label>Name <input type="text" name="name" required></label><br/><button type="submit">Send</button></form>
<ul><li>One<li>Two<ul><li>Three</li></ul></ul>
<table><tr><th>1<td>2<tr><td>3</table>
<p>First<p>Second, <b>bold</b><div>A block</div>
<figure><img src="a.png" alt="a"><figcaption>It</figcaption></figure>
<svg viewBox="0 0 1 1"><circle r="1"/><g><path d="M0 0"/></g></svg>
<select><option>A<option selected>B</select><textarea>1 &lt; 2</textarea>
</body></html>"""


@pytest.mark.parametrize(
    "html",
    [
        WHOLE,
        "<P>Capitals</P>",
        "Words <br> alone",
        "<html><head><title>T</title><body><p>A",
        "<main><!-- a > b --></main>",
        "<details open><summary>S</summary><p>T</p></details>",
        "<details><summary><h3>S</h3></summary><p>T</p></details>",
        "<table>" + ("<tr>" + "<td></td>" * 9 + "</tr>") * 9 + "</table>",
        "<!-- index.html -->\n<!DOCTYPE html><html></html>",
        "<head><!--[if lt IE 9]><script src='a.js'></script><![endif]--></head><body><!-- <!a --></body>",
        "<svg><linearGradient id='g'><stop offset='1'/></linearGradient><text>A<tspan>B</tspan></text></svg>",
    ],
)
def test_what_people_write_may_be_written(html):
    page = OpenPage()
    assert page.feed(html) and page.may_end


@pytest.mark.parametrize("number", range(20))
def test_every_page_that_the_pocket_model_learns_may_be_written(number):
    chance = random.Random(number)
    answer = sketch_messages(draw_layout(chance), None, chance)[-1]["content"][0]["text"]
    for length in range(len(answer)):
        if answer[:length].endswith("```html\n"):
            page = OpenPage()
            assert page.feed(answer[length:]) and page.may_end


@pytest.mark.parametrize(
    ("html", "at"),
    [
        ("<ul><li>A</li></ul></ul>", "</"),
        ("<label>Name</button>", "</b"),
        ("<button>Send</label>", "</l"),
        ("<figure><figure>", "><figu"),
        ("<header><h1>Title</h1><header>", "<he"),
        ("<ul><p>A</p></ul>", "<p"),
        ("<div><li>A</li></div>", "<li>"),
        ("<main><blob>", "<blob"),
        ("<a href=\"#>Home</a>", ">"),
        ("<p>A<ul><li>B</li></ul></p>", "</"),
        ("<main>```", "`"),
        ("<textarea><![CDATA[", "<!["),
        ("<main><!doctype html>", "<!d"),
        ("<main><html>", "<ht"),
        ("<h2><hgroup>", "<h2><h"),
        ("<hgroup><hr>", "<hr"),
        ("<div" * 2, "<"),
        ("<h1><div>A</div></h1>", "<di"),
        ("<div>1 < 2</div>", " "),
        ("<main><p>\n<p>", "\n<p>"),
        ("<ul><li><li>", "<li><li>"),
        ("<ul>" + "<li>One</li>\n" * 6 + "<li>", "\n<l"),
        ("<main>" + "<img src='a.png'>" * 6 + "<img>", "<im"),
        ("<table><tr>" + "<td></td>" * 10 + "<td>", "</td><td"),
        ("<p>" + "One<br>\n" * 6 + "One<br>", "\nOne<br"),
        ("<main><!-- A --><!doctype html>", "<!d"),
        ("<main><circle>", "<cir"),
    ],
)  # fmt: skip
def test_it_stops_where_a_page_falls_apart(html, at):
    page = OpenPage()
    taken = next(place for place, sign in enumerate(html) if not page.feed(sign))
    assert html[: taken + 1].endswith(at)


def test_items_that_differ_may_be_many():
    page = OpenPage()
    assert page.feed("<ul>" + "".join(f"<li>{number}</li>" for number in range(30)) + "</ul>") and page.may_end
    assert page.feed("<ul>" + "<li>One</li>" * 5 + "<li>Two</li>" + "<li>One</li>" * 5 + "</ul>") and page.may_end


@pytest.mark.parametrize("html", ["<p>" + "".join(f"Line {n}<br>" for n in range(30)), "".join(f"<input> {n}\n" for n in range(30))])
def test_elements_with_other_words_before_them_may_be_many(html):
    page = OpenPage()
    assert page.feed(html) and page.may_end


def test_elements_in_each_other_have_an_end():
    page = OpenPage()
    deep = 0
    while page.copy().feed("<div>"):
        page.feed("<div>")
        deep += 1
    assert deep == 12 and not page.may_end and page.feed("<img>" + "</div>" * 12) and page.may_end


TAGS = ["a", "b", "p", "h1", "ul", "li", "div", "main", "figure", "button", "table", "tr", "td", "title", "script", "svg", "path"]
PIECES = [f"<{end}{tag}>" for tag in TAGS for end in ("", "/", "/")] + [
    "<",
    "</",
    "/",
    ">",
    "=",
    '"',
    "'",
    " ",
    "`",
    "x",
    "<img>",
    "<br/>",
    "<p ",
]


def test_whatever_is_written_by_chance_is_whole_when_it_may_end():
    ends = 0
    for seed in range(200):
        chance, page, html = random.Random(seed), OpenPage(), ""
        for piece in chance.choices(PIECES, k=80) + ['">', "'>", ">"] + chance.choices([f"</{tag}>" for tag in TAGS], k=600):
            if "```" not in html + piece and page.copy().feed(piece):
                page.feed(piece)
                html += piece
        if page.may_end:
            assert read_page(html).faults == [], html
            ends += 1
    assert ends > 20


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        ("It is a cat.", False),
        ("Use `<b>` for bold", False),
        ("```html\n", True),
        ("Sure:\n```html\n<main>\n<p>", True),
        ("```\n<main>", True),
        ("```python\nprint('<b>')", False),
        ("```html\n<p>A</p>\n```\nIt has <b", False),
        ("```html\n<p>A</p>\n```\nAnd:\n```html\n<ul>", True),
        ("<main><p>Bare", True),
        ("```html\n</main>", False),  # beyond mending
    ],
)
def test_pages_are_found_in_answers(text, begun):
    assert (open_page(text) is not None) == begun


class Tokens:
    """A vocabulary of pieces; the last ends an answer."""

    texts = ("```html\n", "<ul>", "</li>", "</ul>", "<li>", "One", "```", "")
    end = 7

    def guard(self) -> HtmlGuard:
        return HtmlGuard(lambda ids: "".join(self.texts[one] for one in ids), [self.end])

    def kept(self, said: str) -> list[str]:
        """What may follow, of a processor that likes all equally."""
        ids = [self.texts.index(piece) for piece in said.split("|") if piece]
        scores = WholeHtml(self.guard(), 200)(torch.tensor([ids], dtype=torch.long), torch.zeros(1, len(self.texts)))
        return [text or "END" for text, score in zip(self.texts, scores[0].tolist(), strict=True) if score == 0]


def test_only_what_may_follow_is_chosen_from():
    tokens = Tokens()
    assert tokens.kept("") == [*tokens.texts[:-1], "END"]
    assert tokens.kept("```html\n") == ["```html\n", "<ul>", "One", "```", "END"]
    assert tokens.kept("```html\n|<ul>") == ["</ul>", "<li>", "One"]
    assert tokens.kept("```html\n|<ul>|<li>|One") == ["<ul>", "</li>", "</ul>", "<li>", "One"]
    assert tokens.kept("```html\n|<ul>|<li>|</li>|</ul>|```") == [*tokens.texts[:-1], "END"]


@pytest.mark.parametrize("seed", range(30))
def test_before_the_answer_has_to_end_its_page_is_closed(seed):
    tokens, chance, ids, limit = Tokens(), random.Random(seed), [0], 40
    close = WholeHtml(tokens.guard(), limit)
    while len(ids) < limit and ids[-1] != tokens.end and tokens.texts[ids[-1]] != "```":
        scores = close(torch.tensor([ids]), torch.zeros(1, len(tokens.texts)))[0].tolist()
        ids.append(
            chance.choice([place for place, score in enumerate(scores) if place and score == 0 and (place != tokens.end or len(ids) > 30)])
        )
    page = read_page("".join(tokens.texts[one] for one in ids[1:]).removesuffix("```"))
    assert page.faults in ([], ["there is no HTML"])


@pytest.mark.parametrize(
    ("begun", "end"),
    [
        ("<main><p>Some wor", "</p></main>"),
        ("<main><a href=", '""></a></main>'),
        ('<img src="a.p', '">'),
        ("<ul><li>One</li>\n", "</ul>"),
        ("<main><bu", "tton></button></main>"),
        ("<main></mai", "n>"),
        ("<main><!-- a", "--></main>"),
        ("<style>p { co", "</style>"),
    ],
)
def test_where_little_is_left_nothing_but_the_end_may_follow(begun, end):
    page = OpenPage()
    assert page.feed(begun)
    page.close_within(8)
    assert not any(page.copy().feed(more) for more in ("x<b>", " <b>", "<b>"))
    assert page.feed(end) and page.may_end


def test_a_name_that_cannot_stand_there_is_not_begun():
    """ "<a" may become "<article", but what is meant is another link in a link."""
    guard = HtmlGuard(lambda ids: {0: "<a>", 1: "<", 2: "a", 3: "article>"}[ids[0]], [])
    page = guard.page([0, 1])
    assert not guard.fits(page, 2) and guard.fits(page, 3)


def test_a_name_that_begins_with_a_drawings_may_be_begun():
    guard = HtmlGuard(lambda ids: {0: "<form>", 1: "<", 2: "text", 3: "area>"}[ids[0]], [])
    assert guard.fits(guard.page([0, 1]), 2) and guard.fits(guard.page([0, 1, 2]), 3)


def test_where_the_likeliest_is_taken_it_is_the_first_that_may_follow():
    scores = torch.tensor([[0.0, 1.0, 5.0, 2.0, 3.0, 1.0, 0.0, 4.0]])
    kept = WholeHtml(Tokens().guard(), 200, takes_first=True)(torch.tensor([[0, 1]]), scores)
    assert Tokens.texts[kept.argmax()] == "<li>"  # "</li>" and the end are likelier and may not follow


@pytest.mark.parametrize("seed", range(20))
def test_reading_on_is_as_good_as_reading_anew(seed):
    tokens, chance, ids = Tokens(), random.Random(seed), []
    on = WholeHtml(tokens.guard(), 60)
    for _ in range(60):
        found = on(torch.tensor([ids], dtype=torch.long), torch.zeros(1, len(tokens.texts)))
        assert torch.equal(found, WholeHtml(tokens.guard(), 60)(torch.tensor([ids], dtype=torch.long), torch.zeros(1, len(tokens.texts))))
        ids.append(chance.randrange(7) if chance.random() < 0.05 else chance.choice((found[0, :7] == 0).nonzero()[:, 0].tolist() or [0]))


def test_rows_are_told_apart():
    """Beams, each with an answer of its own."""
    scores = WholeHtml(Tokens().guard(), 200)(torch.tensor([[0, 1], [5, 5]]), torch.zeros(2, 8))
    assert torch.isinf(scores[0]).any() and not torch.isinf(scores[1]).any()


def test_it_is_a_setting():
    tokenizer = chatml_tokenizer()
    factory = GuardFactory(CHATML, tokenizer, frozenset([tokenizer.eos_token_id]))
    turns = [Turn("user", ("Write the page.",))]
    for wanted in (True, False):
        settings = replace(GenerationSettings(), html_guard=wanted)
        processors = build_logits_processors(settings, (), factory.build(settings, turns))
        assert any(isinstance(one, WholeHtml) for one in processors) == wanted

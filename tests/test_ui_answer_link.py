"""Links that ask again: the way there and back, and what is refused."""

import pytest

from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.answer_link import AnswerLink, LinkError, read_link, write_link

LINK = AnswerLink(
    "pocket", "What is this? #1 & “more”\n是", GenerationSettings(temperature=0.25, seed=2**63 - 1, read_text=True), ("cat.png",), 2, 3
)


def test_a_link_is_read_back_as_it_was_written():
    assert read_link(write_link(LINK), ["cat.png"]) == LINK
    assert read_link("#" + write_link(LINK), ["cat.png"]) == LINK


def test_a_link_names_every_setting_and_stays_one_word():
    written = write_link(AnswerLink("pocket", "a b", GenerationSettings(seed=7)))
    assert "top_p=0.9" in written and "leak_guard=true" in written and "seed=7" in written
    assert not set(written) & set(" #<>\"'\n")


@pytest.mark.parametrize("fragment", ["", "#", "chat", "#section-2"])
def test_other_addresses_are_no_links(fragment):
    assert read_link(fragment) is None


@pytest.mark.parametrize(
    "fragment, told",
    [
        ("question=x&temperature=9", "temperature"),
        ("question=x&temperature=nan", "temperature"),
        ("question=x&temperature=cold", "temperature"),
        ("question=x&seed=-1", "seed"),
        ("question=x&seed=1e400", "seed"),
        ("question=x&read_text=7", "read_text"),
        ("question=x&__class__=1", "__class__"),
        ("question=x&picture=../../etc/passwd", "not here"),
        ("question=x&pictures=many", "damaged"),
        ("question=x&earlier=²", "damaged"),
        ("question=x&&&;", "damaged"),
        ("question=" + "x" * 20_001, "20,000"),
        ("question=" + "x" * 40_000, "longer"),
        ("question=x" + "&a=1" * 200, "damaged"),
    ],
)
def test_a_link_that_cannot_be_asked_is_refused_with_a_sentence(fragment, told):
    with pytest.raises(LinkError, match=told) as refusal:
        read_link(fragment, ["cat.png"])
    assert len(str(refusal.value)) < 400

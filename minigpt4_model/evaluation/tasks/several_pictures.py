"""Two pictures in one question: what they show, and which of them shows a thing."""

import re
from collections.abc import Iterator, Sequence

from ...chat.messages import question
from ...training.pocket.judge import asserted, clauses, says
from .. import corpus
from ..items import Figure, Item, Judged, Task, Verdict
from ..statistics import share_of
from .naming import judge_name

COMPARED = 60


def judge_compared(item: Item, answer: str) -> Verdict:
    """ "Which picture shows the cat?" wants first or second; "What do they show?" wants both things named."""
    wanted = item.expected
    if "which" not in wanted:
        named = [judge_name(Item("", "", [], {"names": names}), answer).right for names in wanted["objects"]]
        return Verdict(all(named), {"both": all(named)}, f"named {sum(named)} of 2")
    which = which_said(answer, wanted["names"])
    return Verdict(which == wanted["which"], {"which": which == wanted["which"]}, f"said: {which or 'neither'}")


# "Picture one" and a bare "1" are ordinals; "the one on the right" and "a picture of two cats" have none in "one" and "two".
_PICTURE_NUMBER = r"(?:picture|image|photo|drawing|number|option) #?"
_ALONE = r"^(?:it is |it's )?#?"
_FIRST = re.compile(
    r"(?<![^\W_])(?:(?<!\bat )first(?! (?:glance|sight|of all)\b)|1st|former|left)(?![^\W_])"
    rf"|{_PICTURE_NUMBER}(?:one|1)(?![^\W_])|{_ALONE}(?:one|1)$"
)
_SECOND = re.compile(
    r"(?<![^\W_])(?:second|2nd|latter|right(?! (?:next|beside|there|here|away|above|below|under|behind)\b))(?![^\W_])"
    rf"|{_PICTURE_NUMBER}(?:two|2)(?![^\W_])|{_ALONE}(?:two|2)$"
)
_DENIES_BEFORE = re.compile(r"\b(?:do|does|did|is|are|was|were|has|have|can|could)$")


def which_said(answer: str, names: Sequence[str]) -> str:
    """ "first", "second" or "": the picture that an answer gives for `names`, or at all where it does not say for what.

    What is denied counts for nothing: "not the first but the second", "the first picture does not show it".
    """
    told = "".join(part for part in re.findall(r"[^.!?\n]+[.!?\n]*", answer) if not part.rstrip().endswith("?"))  # no question told again
    parts = [part for clause in clauses(told) for part in _one_each(_not_denied(clause))]
    found = [(which, says(part, names)) for part in parts if (which := _ordinal(part))]
    return next((which for which, own in found if own), found[0][0] if found else "")


def _ordinal(part: str) -> str:
    first, second = _FIRST.search(part), _SECOND.search(part)
    if first and second:
        return "" if re.search(r"\bor\b", part) else "first" if first.start() < second.start() else "second"
    return "first" if first else "second" if second else ""


def _not_denied(clause: str) -> str:
    """The clause; of one with a negation only what stands before it, where it denies the other picture: "the first and not the second"."""
    said = asserted(clause)
    if said == clause:
        return clause
    follows = clause[len(said) :]
    the_other = _ordinal(follows) and not re.match(r"\w+n't|cannot", follows) and not _DENIES_BEFORE.search(said.strip())
    return said if the_other else ""


def _one_each(clause: str) -> list[str]:
    """The clause, parted at an "and" with a picture on either hand: "a dog on the left and a cat on the right"."""
    parts = re.split(r"\band\b", clause)
    return parts if len(parts) > 1 and all(map(_ordinal, parts)) else [clause]


def compared() -> Task:
    """Two drawings of unlike common things: what they show, and which of them shows the one."""
    task = "two-pictures"

    def items() -> Iterator[Item]:
        source, common = corpus.held_out(), corpus.common_concepts()
        things = [sprite for sprite in corpus.shuffled(source.sprites, task) if sprite.kind == "count" and sprite.concept in common]
        for index in range(COMPARED):
            first = things[2 * index % len(things)]
            second = next(sprite for sprite in things[(2 * index + 1) % len(things) :] + things if not corpus.alike(first, sprite))
            images = [corpus.picture_of(source, sprite, f"{task} {index} {sprite.icon}")[0] for sprite in (first, second)]
            which = index // 2 % 2
            if index % 2:
                asked, expected = "What do the two pictures show?", {"objects": [corpus.accepted(first), corpus.accepted(second)]}
                shown = f"{first.name}; {second.name}"
            else:
                name = (first, second)[which].name
                asked = f"Which picture shows the {name}, the first or the second?"
                expected = {"which": ("first", "second")[which], "names": corpus.accepted((first, second)[which])}
                shown = expected["which"]
            yield Item(f"{task}/{index}", task, [question(asked, images)], expected, shown, {"max_new_tokens": 64})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        return [share_of(judged, "both pictures named", "both"), share_of(judged, "the right one of two", "which")]

    return Task(task, "Two pictures compared", items, judge_compared, figures)

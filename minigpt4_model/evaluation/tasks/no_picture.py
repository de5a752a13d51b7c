"""No picture given: a question about one is to be told so, a question that needs none is to be answered."""

import re
from collections.abc import Iterator, Sequence

from ...chat.messages import question
from ...training.pocket.judge import plain
from ..items import Figure, Item, Judged, Task, Verdict
from ..statistics import share, share_of

ABOUT_A_PICTURE = (
    "What is in this picture?",
    "Describe the image.",
    "What is this?",
    "What colour is it in the picture?",
    "How many animals are there in the picture?",
    "Can you describe this photo in detail?",
    "Is there a dog in the picture?",
    "What is on the left of the picture?",
    "What do you see?",
    "Write a poem about this picture.",
    "What does the drawing show?",
    "Turn this sketch into HTML.",
    "Which animal is this?",
    "What is the main object in this picture?",
    "Please caption this image.",
    "Tell me about this picture.",
)
ABOUT_NO_PICTURE = (
    "What is the capital of France?",
    "Name three colours.",
    "What is two plus two?",
    "Write one sentence about the sea.",
    "What do cats like to eat?",
    "Say hello in one short sentence.",
    "Which month comes after May?",
    "What is bread made of?",
)
_PICTURE = r"(?:picture|image|photo|photograph|drawing|sketch|attachment|file)s?\b(?! (?:frame|book|on the (?:wall|table|page))\b)"
_DET = r"(?:(?:a|an|any|the|your|this|that|such|what|which) )?(?:(?:single|attached|uploaded|actual|new|such) )?"
_NOT = r"(?:not|cannot|never|unable to|[a-z]+n't)"
# What can be done with a picture, or not. A negation must govern the picture through one of these; "no people in the picture" does not.
_SEE = (
    r"(?:(?:be|been|being|able|to|yet|actually|really|currently|directly|also) )*"
    r"(?:see|seen|view|find|have|had|receive|received|get|got|access|open|give|given|provide|provided|attach|attached|upload|uploaded"
    r"|share|shared|send|sent|include|included|add|added|detect|show|shown|display|read|load|describe|caption|interpret|analy[sz]e"
    r"|process|know|look at|have access to|see or \w+)"
    r"(?: (?:me|us|with|to|know))*"
)
_GIVEN = r"(?:attached|provided|there|given|included|shared|uploaded|available|visible|loading|loaded|sent)"
_MEANT = r"(?: (?:that|you|mean|meant|mention|mentioned|refer|referred|to|are|were|talking|about|attached|file|itself|here|seems|appears))*"
_NOT_IN = "".join(rf"(?<!\b{word} )(?<!\b{word} {article} )" for word in ("in", "of", "on") for article in ("the", "this", "your"))
_ASK = r"(?:share|upload|attach|provide|send|show|give|add|insert|paste|post)"
_END = r"(?= *(?:[.,;:!?]|$|yet\b|here\b|from\b|in (?:your|this|our)\b|and\b|so\b|because\b))"
_SAYS_NONE = re.compile(
    rf"\b(?:no|without) (?:(?:access to|way to \w+|seeing) )?{_DET}{_PICTURE}"
    rf"|\b{_NOT} {_SEE} {_DET}{_PICTURE}"
    rf"|\bthere(?: is not|'s not|'s no| isn't| are not| aren't| was not| wasn't| were not| weren't) {_DET}{_PICTURE}"
    rf"|\b{_NOT_IN}{_PICTURE}{_MEANT} (?:is |are |was |were |be |has been |have been )?(?:missing{_END}"
    rf"|(?:not|isn't|aren't|wasn't|weren't|hasn't|haven't) (?:been |be )?{_GIVEN}\b(?! (?:a|an|any|much)\b))"
    rf"|\b{_NOT_IN}{_PICTURE}{_MEANT} (?:(?:did|does|do) not|(?:did|does|do)n't|failed to) "
    r"(?:come|load|arrive|upload|show up|appear|attach)\b"
    rf"|\bmissing {_DET}{_PICTURE}"
    rf"|(?:(?:^|[.,;:!?]) ?|\b(?:please|kindly|you|and|then|try to|need to|have to) ){_ASK} (?:me |us |it as )?(?:with )?{_DET}"
    rf"(?:(?:link to|copy of) {_DET})?{_PICTURE}"
    rf"|\bneed (?:to see )?{_DET}{_PICTURE}|^(?:what|which) {_PICTURE}[^.!]*\?"
    rf"|\b{_NOT} (?:able to )?see (?:it|anything|one|what you \w+){_END}"
)


def judge_no_picture(item: Item, answer: str) -> Verdict:
    """Whether the answer says that there is no picture, or asks for one; it should when the question is about one, and only then."""
    says_none = bool(_SAYS_NONE.search(plain(answer)))
    key = "admits" if item.expected["about_a_picture"] else "objects"
    return Verdict(says_none == item.expected["about_a_picture"], {key: says_none}, f"says so: {'yes' if says_none else 'no'}")


def no_picture() -> Task:
    """Questions about a picture that was not given, and ordinary questions, which need none."""
    task = "no-picture"

    def items() -> Iterator[Item]:
        # Two that need a picture, one that needs none: any first N hold both.
        order = [(True, text) for text in ABOUT_A_PICTURE]
        for place, text in enumerate(ABOUT_NO_PICTURE):
            order.insert(3 * place + 2, (False, text))
        for index, (about, text) in enumerate(order):
            shown = "says that there is no picture" if about else "an answer, without asking for a picture"
            yield Item(f"{task}/{index}", task, [question(text)], {"about_a_picture": about}, shown, {"max_new_tokens": 64})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        wrongly = share(
            "asks for a picture where none is needed",
            [one.verdict.values["objects"] for one in judged if "objects" in one.verdict.values],
            less_is_better=True,
            looks=False,
        )
        return [share_of(judged, "says that there is no picture", "admits", looks=False), wrongly]

    return Task(task, "No picture given", items, judge_no_picture, figures, own_text=False)

"""How each family of LLMs writes a conversation: one `ChatTemplate` a family, as data.

Knows the strings and what a user's text must not contain to stay a text; knows nothing of turns, tensors or
decoding (`render.py` and `decoding.py` read the tables). Official strings are upstream's `CONV_VISION_Vicuna0` and
`CONV_VISION_LLama2` (`minigpt4/conversation/conversation.py`) and, for training, the `prompt_template` and `end_sym` of
`train_configs/`; ChatML is SmolLM2's own.
"""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

OFFICIAL_SYSTEM_TEXT = (
    "Give the following image: <Img>ImageContent</Img>. "
    "You will be able to see the image once I provide it to you. Please answer my questions."
)


@dataclass(frozen=True)
class ChatTemplate:
    """One family. A pair of strings is what is written before and after the thing it is named for.

    A conversation is `system`, then per turn `user` or `assistant`; a prompt to be answered ends with `assistant[0]`.
    """

    name: str
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    # The end symbol: written after an answer and learned with it.
    answer_end: str
    # Written when the conversation has no system text of its own; None writes no system turn.
    default_system: str | None
    picture: tuple[str, str] = ("", "")
    # Between a picture and the text that follows it.
    after_picture: str = ""
    # The original makes a message of its own of each upload and joins the next text to it, so two pictures and a question
    # are "###Human: <Img>..</Img>###Human: <Img>..</Img> question". False: a turn is one message, whatever it holds.
    message_per_picture: bool = False
    # True: an answer is tokenised apart from its prompt, so that the ids learned, generated and remembered are the same.
    # False: a whole text segment is tokenised at once, as the original's chat does.
    answers_apart: bool = True
    bos: bool = True
    # transformers 4.30, which the original ran on, put BOS in front of what the repetition penalty sees.
    penalty_sees_bos: bool = True
    stop_tokens: tuple[str, ...] = ()
    stop_sequences: tuple[tuple[int, ...], ...] = ()
    stop_texts: tuple[str, ...] = ()
    # A label that the LLM may put before its answer, which people are not shown.
    answer_label: str = ""
    # Beyond the tokenizer's special tokens: what a text must not contain.
    markers: tuple[str, ...] = ("<ImageHere>",)
    # How the same family is written to learn from, where that differs.
    training: "ChatTemplate | None" = field(default=None, repr=False)

    def cut_answer(self, text: str) -> str:
        """A whole decoded answer, cut as upstream's `Chat.answer` cuts it: at a stop text, then after the last label."""
        for stop in self.stop_texts:
            text = text.split(stop)[0]
        if self.answer_label:
            text = text.split(self.answer_label)[-1]
        return text.strip()


VICUNA_V0 = ChatTemplate(
    name="vicuna-v0",
    system=("", "###"),
    user=("Human: ", "###"),
    assistant=("Assistant: ", ""),
    answer_end="###",
    default_system=OFFICIAL_SYSTEM_TEXT,
    picture=("<Img>", "</Img>"),
    after_picture=" ",
    message_per_picture=True,
    answers_apart=False,
    stop_tokens=("</s>",),
    # "###" at the start of a segment and inside a text, in Llama's vocabulary.
    stop_sequences=((835,), (2277, 29937)),
    stop_texts=("###",),
    answer_label="Assistant:",
    markers=("<ImageHere>", "<Img>", "</Img>", "###"),
)
# Upstream's prompt_template '###Human: {} ###Assistant: ' without a system text; end_sym "###".
VICUNA_V0 = replace(VICUNA_V0, training=replace(VICUNA_V0, default_system="", user=("Human: ", " ###"), answers_apart=True))

LLAMA2 = ChatTemplate(
    name="llama2",
    system=("", ""),
    user=("<s>[INST] ", ""),
    assistant=(" [/INST] ", ""),
    # Upstream's separator is empty: answers in the history are not closed.
    answer_end="",
    default_system=OFFICIAL_SYSTEM_TEXT,
    picture=("<Img>", "</Img>"),
    after_picture=" ",
    message_per_picture=True,
    answers_apart=False,
    stop_tokens=("</s>",),
    markers=("<ImageHere>", "<Img>", "</Img>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
)
# Upstream's prompt_template '[INST] {} [/INST] ' behind one BOS, without a system text; end_sym "</s>".
LLAMA2 = replace(LLAMA2, training=replace(LLAMA2, default_system=None, answer_end="</s>", answers_apart=True))

CHATML = ChatTemplate(
    name="chatml",
    system=("<|im_start|>system\n", "<|im_end|>\n"),
    user=("<|im_start|>user\n", "<|im_end|>\n"),
    assistant=("<|im_start|>assistant\n", "\n"),
    answer_end="<|im_end|>",
    default_system=None,
    picture=("", "\n"),
    bos=False,
    penalty_sees_bos=False,
    stop_tokens=("<|im_end|>", "<|endoftext|>"),
    markers=("<ImageHere>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"),
)

TEMPLATES = {template.name: template for template in (VICUNA_V0, LLAMA2, CHATML)}


def get_template(name: str) -> ChatTemplate:
    """The template called `name`. Raises `ValueError` that lists the names there are."""
    if name not in TEMPLATES:
        raise ValueError(f"chat_template_name {name!r}: there is no such chat template. Choose one of: {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def template_markers(template: ChatTemplate, tokenizer: Any) -> list[str]:
    """What a text must not contain to stay a text, the longest first: the template's markers, every added or special token."""
    markers = {marker.strip() for marker in (*template.markers, *tokenizer.all_special_tokens, *tokenizer.get_added_vocab())}
    return sorted((marker for marker in markers if len(marker) > 1), key=lambda marker: (-len(marker), marker))


@lru_cache(maxsize=8)
def _marker_pattern(template: ChatTemplate, tokenizer: Any, _size: int) -> re.Pattern:
    """Of `template_markers`, which takes a tokenizer as long as a text does; `_size` changes with added tokens."""
    return re.compile("|".join(map(re.escape, template_markers(template, tokenizer))))


def escape_user_text(text: str, template: ChatTemplate, tokenizer: Any) -> str:
    """`text` with everything broken that would be read as template: a space goes behind the first character.

    Broken are the template's markers and every added or special token of the tokenizer; any other text comes back
    unchanged. A text that ends with the first character of a stop text gets a space behind it, because "C#" in front of
    a "###" would be tokenised as "C" and "####", and the turn would not end.
    """
    pattern = _marker_pattern(template, tokenizer, len(tokenizer))
    while pattern.search(text):  # a longer run, "#####", needs several rounds
        text = pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    if any(text.endswith(stop[0]) for stop in template.stop_texts):
        text += " "
    return text

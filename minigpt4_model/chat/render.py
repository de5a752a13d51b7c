"""From turns to ids: the one renderer, for chatting and for training.

`render` makes ids, loss mask and cache keys in the same pass, so none of them can drift from the others.
`fit_to_context` decides what an overlong conversation forgets. Knows nothing of tensors or of the model.
"""

import bisect
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .messages import MessageError, Picture, Turn
from .templates import ChatTemplate, escape_user_text

IGNORED = -100


@dataclass
class Rendered:
    """A conversation as the LLM reads it. The three lists have one entry per position.

    `labels` are the ids to learn, -100 elsewhere. `keys` name what stands at a position: the token's id, or for an image
    token a negative number made of the picture's digest and the token's place in it; equal keys mean equal embeddings.
    """

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


class _Answer(str):
    """An assistant's text with its end symbol: what is learned."""


def render(
    turns: list[Turn],
    template: ChatTemplate,
    tokenizer: Any,
    *,
    image_token_id: int,
    num_image_tokens: int,
    add_generation_prompt: bool = True,
    blank: Picture | None = None,
) -> Rendered:
    """The ids of a conversation.

    With `add_generation_prompt` it is a prompt, ready to be answered, written as the original's chat writes it. Without, it
    is an example to learn from, written as the family was trained (`template.training`); its labels are the answers with
    their end symbols. Each text segment between pictures is tokenised on its own and BOS goes in front of the first, as in
    upstream's `get_context_emb`. `blank`, where given, goes in front of a first question that comes without a picture.
    """
    if not add_generation_prompt:
        template = template.training or template
    rendered = Rendered()
    if blank is not None:
        turns = with_blank(turns, blank)

    def add(ids: list[int], keys: list[int], learn: bool = False) -> None:
        rendered.input_ids += ids
        rendered.keys += keys
        rendered.labels += ids if learn else [IGNORED] * len(ids)

    def add_text(text: str, learn: bool = False) -> None:
        ids = tokenizer(text, add_special_tokens=False).input_ids if text else []
        if template.bos and not rendered.input_ids and ids[:1] != [tokenizer.bos_token_id]:
            add([tokenizer.bos_token_id], [tokenizer.bos_token_id])
        add(ids, ids, learn)

    segment = ""
    for piece in _write(turns, template, tokenizer, add_generation_prompt):
        if isinstance(piece, str) and not (isinstance(piece, _Answer) and template.answers_apart):
            segment += piece
            continue
        add_text(segment)
        segment = ""
        if isinstance(piece, str):
            add_text(piece, learn=True)
        else:
            rendered.pictures.append(piece)
            add([image_token_id] * num_image_tokens, picture_keys(piece.digest, num_image_tokens))
    add_text(segment)
    return rendered


def _write(turns: list[Turn], template: ChatTemplate, tokenizer: Any, add_generation_prompt: bool) -> Iterator[str | Picture]:
    """The conversation as template strings, escaped texts, answers and pictures, in order."""
    if template.default_system is not None and (not turns or turns[0].role != "system"):
        yield template.system[0] + template.default_system + template.system[1]
    for turn in turns:
        if turn.role == "user":
            for message in _messages_of(turn, template):
                yield from _write_message(message, template, tokenizer)
            continue
        text = escape_user_text("\n".join(part for part in turn.parts if part), template, tokenizer)
        if turn.role == "system":
            yield template.system[0] + text + template.system[1]
        else:
            yield template.assistant[0]
            yield _Answer(text + template.answer_end)
            yield template.assistant[1]
    if add_generation_prompt:
        yield template.assistant[0]


def with_blank(turns: list[Turn], blank: Picture) -> list[Turn]:
    """`turns` with `blank` in front of a first question that comes without a picture."""
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None or turns[first].pictures:
        return turns
    return [*turns[:first], Turn("user", (blank, *turns[first].parts)), *turns[first + 1 :]]


def _messages_of(turn: Turn, template: ChatTemplate) -> list[list[str | Picture]]:
    """A user's turn as the messages the template makes of it, blank texts left out and neighbouring texts joined."""
    messages: list[list[str | Picture]] = [[]]
    for part in turn.parts:
        message = messages[-1]
        if isinstance(part, Picture):
            if message and template.message_per_picture:
                messages.append([part])
            else:
                message.append(part)
        elif not part.strip():
            continue
        elif message and isinstance(message[-1], str):
            message[-1] += "\n" + part
        else:
            message.append(part)
    return messages


def _write_message(message: list[str | Picture], template: ChatTemplate, tokenizer: Any) -> Iterator[str | Picture]:
    yield template.user[0]
    for index, part in enumerate(message):
        if isinstance(part, Picture):
            yield template.picture[0]
            yield part
            yield template.picture[1]
        else:
            yield (template.after_picture if index else "") + escape_user_text(part, template, tokenizer)
    yield template.user[1]


def picture_keys(digest: str, count: int) -> list[int]:
    """The cache keys of a picture's `count` tokens: negative, so never a token's id."""
    number = int.from_bytes(hashlib.blake2b(digest.encode(), digest_size=8).digest(), "big")
    return [-(number * count + index + 1) for index in range(count)]


def describe_labels(rendered: Rendered, tokenizer: Any) -> str:
    """The conversation as text, with what is learned in ⟦brackets⟧ and pictures as ⟨32 image tokens⟩: for a person to look at."""
    out, start = [], 0
    kinds = [
        "image" if key < 0 else "learned" if label != IGNORED else "" for key, label in zip(rendered.keys, rendered.labels, strict=True)
    ]
    for end in range(1, len(kinds) + 1):
        if end < len(kinds) and kinds[end] == kinds[start]:
            continue
        if kinds[start] == "image":
            out.append(f"⟨{end - start} image tokens⟩")
        else:
            text = tokenizer.decode(rendered.input_ids[start:end])
            out.append(f"⟦{text}⟧" if kinds[start] else text)
        start = end
    return "".join(out)


def fit_to_context(turns: list[Turn], render_fn: Callable[[list[Turn]], Rendered], max_tokens: int) -> tuple[list[Turn], str]:
    """The turns that fit into `max_tokens`, and a sentence for the person if some were left out ("" if none).

    The oldest questions go first, each with its answer; their pictures move to the front of the next question that stays,
    and the system text always stays. What goes is rounded up to a quarter of the room, so that the following turns keep
    the same beginning, and with it their place in the cache. Raises `MessageError` with the counts when the last question
    with the pictures and the system text is too long by itself.
    """
    total = len(render_fn(turns).input_ids)
    if total <= max_tokens:
        return turns, ""
    questions = [index for index, turn in enumerate(turns) if turn.role == "user"]

    def without(count: int) -> list[Turn]:
        return leave_out(turns, questions[count])

    def freed(count: int) -> int:
        return total - len(render_fn(without(count)).input_ids)

    most = len(questions) - 1
    if total - freed(most) > max_tokens:
        pictures = len(render_fn(turns).pictures)
        room = f"The conversation has room for {max_tokens} tokens"
        needed = f"the last question with {pictures} picture{'s' if pictures != 1 else ''} and the system text needs {total - freed(most)}"
        raise MessageError(f"{room}, but {needed}. Shorten the question or start a new conversation.")
    quarter = max(1, max_tokens // 4)
    wanted = math.ceil((total - max_tokens) / quarter) * quarter
    count = min(bisect.bisect_left(range(most + 1), wanted, key=freed), most)
    dropped = f"the oldest {count} questions and their answers were" if count > 1 else "the oldest question and its answer were"
    return without(count), f"The conversation outgrew the model's memory: {dropped} left out. Pictures are kept."


def leave_out(turns: list[Turn], first_kept: int) -> list[Turn]:
    """`turns` without those before `first_kept`, a user's; the system text and the pictures stay."""
    system = [turn for turn in turns[:first_kept] if turn.role == "system"]
    pictures = tuple(picture for turn in turns[:first_kept] for picture in turn.pictures)
    question = turns[first_kept]
    return [*system, Turn(question.role, pictures + question.parts), *turns[first_kept + 1 :]]

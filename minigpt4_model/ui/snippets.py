"""A question as code: in Python with the engine, and with curl against the page's OpenAI-compatible API.

The code names picture files as the visitor's were called; whoever runs it has them. Every text is quoted for the language that it
stands in. Knows nothing of Gradio.
"""

import dataclasses
import json
import pprint
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ..chat.settings import GenerationSettings

# What the API calls a field of the settings, where OpenAI has a name for it.
_OPENAI_NAMES = {"max_new_tokens": "max_tokens"}
_PICTURE = "@picture-{}@"


@dataclass(frozen=True)
class AskedTurn:
    """A question with the names of its picture files, and what was answered; the last turn of a conversation needs no answer."""

    question: str
    pictures: tuple[str, ...] = ()
    answer: str = ""


def python_snippet(model: str, turns: Sequence[AskedTurn], settings: GenerationSettings) -> str:
    """A program that prints the answer to the last of `turns`. `model` is a preset or the directory of a model."""
    messages = _messages(turns, lambda name: {"type": "image", "image": name})
    options = "".join(f"    {name}={value!r},\n" for name, value in dataclasses.asdict(settings).items() if value is not None)
    return f"""from minigpt4_model import GenerationSettings, load_engine

engine = load_engine({model!r})
messages = {pprint.pformat(messages, width=100, sort_dicts=False)}
settings = GenerationSettings(
{options})
print(engine.generate(messages, settings))
"""


def curl_snippet(base_url: str, model: str, turns: Sequence[AskedTurn], settings: GenerationSettings) -> str:
    """The same question as a request that a POSIX shell sends to the API at `base_url`, its pictures as data URLs."""
    names: list[str] = []

    def part(name: str) -> dict:
        names.append(name)
        return {"type": "image_url", "image_url": {"url": _PICTURE.format(len(names) - 1)}}

    request = {"model": model, "messages": _messages(turns, part)}
    for name, value in dataclasses.asdict(settings).items():
        if value is not None:
            request[_OPENAI_NAMES.get(name, name)] = value
    body = _in_here_document(json.dumps(request, ensure_ascii=True, indent=1))
    for number, name in enumerate(names):
        encoded = f"data:image/{_image_type(name)};base64,$(base64 < {shlex.quote(name)} | tr -d '\\n')"
        body = body.replace(f'"url": "{_PICTURE.format(number)}"', f'"url": "{encoded}"', 1)
    address = shlex.quote(f"{base_url.rstrip('/')}/v1/chat/completions")
    # Servers without keys take any.
    headers = "-H 'Content-Type: application/json' -H \"Authorization: Bearer ${OPENAI_API_KEY:-none}\""
    return f"curl {address} {headers} --data-binary @- <<REQUEST\n{body}\nREQUEST\n"


def _messages(turns: Sequence[AskedTurn], picture_part) -> list[dict]:
    messages = []
    for number, turn in enumerate(turns):
        text = {"type": "text", "text": turn.question}
        messages.append({"role": "user", "content": [*(picture_part(name) for name in turn.pictures), text]})
        if number < len(turns) - 1 and turn.answer:
            messages.append({"role": "assistant", "content": turn.answer})
    return messages


def _in_here_document(text: str) -> str:
    """`text` for a here-document in which the shell still expands what is inserted afterwards."""
    return text.replace("\\", "\\\\").replace("$", "\\$").replace("`", "\\`")


def _image_type(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    return {"jpg": "jpeg"}.get(suffix, suffix if suffix in ("png", "webp", "gif", "jpeg") else "png")

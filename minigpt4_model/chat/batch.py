"""Questions from a JSON-lines file, answers to another: in order, one line each, safe to kill and to resume.

A line that cannot be answered becomes `{"id", "error"}` and never stops the others. The output grows by whole lines; on resuming,
a line torn by a kill is dropped, failed lines are asked again, and at the end the lines stand in the input's order. Knows nothing
of flags (`ask.py`) and of what answers (a `Backend`).
"""

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..weights.cache import write_atomically
from .backends.base import Answer, Backend, BackendError
from .messages import MessageError, question, text_message
from .pictures import LoadedPicture, PictureError, load_picture
from .settings import GenerationSettings, SettingsError

log = logging.getLogger(__name__)

# The characters beside "\n" at which some readers, such as str.splitlines, end a line. JSON escapes the control characters itself.
_LINE_ENDS = str.maketrans({character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"})


class BatchError(ValueError):
    """The files cannot be used as they are; nothing was asked. The text names the file and the fix."""


class _LineError(ValueError):
    """One line of the input is not a question; the text says where and why."""


@dataclass
class Item:
    """One line of the input: what it asks (`record`) or what is wrong with it (`error`), and its line of the output once there is one."""

    number: int
    id: object = None
    record: dict = field(default_factory=dict)
    error: str = ""
    line: str = ""


def run_batch(
    source: Path,
    output: Path,
    *,
    resume: bool,
    system: str | None,
    open_backend: Callable[[], tuple[Backend, GenerationSettings]],
) -> int:
    """Answers every line of `source` into `output` and returns how many failed.

    `open_backend` is called once, and only when something is left to ask. Raises `BatchError` before anything is asked,
    `OSError` when the output cannot be written, and what `open_backend` raises.
    """
    items = read_items(source)
    output = output.resolve()  # through a link, so that replacing the file leaves the link
    _take_answers(output, source, items, resume)
    left = [item for item in items if not item.line]
    kept, failed = len(items) - len(left), 0
    backend, settings = open_backend() if any(not item.error for item in left) else (None, None)
    try:
        _arrange(output, items)
        with open(output, "a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            for item in _progress(left, kept):
                record = _answer(item, source.parent, system, backend, settings)
                failed += "error" in record
                item.line = dump_record(record)
                file.write(item.line + "\n")
                file.flush()
    finally:
        _arrange(output, items)
        if backend is not None:
            backend.close()
    print(f"{len(left) - failed} answered, {failed} failed, {kept} kept.", file=sys.stderr)
    if failed:
        print(f'What failed says why under "error" in {output}.', file=sys.stderr)
    return failed


def answer_record(id_: object, answer: Answer) -> dict:
    """The JSON record of an answer: a line of a batch's output, and what `ask --json` prints."""
    return {
        "id": id_,
        "answer": answer.text,
        "token_ids": answer.token_ids,
        "finish_reason": answer.finish_reason,
        "usage": dataclasses.asdict(answer.usage),
        "timings": {name: round(seconds, 4) for name, seconds in dataclasses.asdict(answer.timings).items()},
    }


def dump_record(record: dict) -> str:
    """`record` as one line of JSON, whatever its reader takes for the end of a line."""
    return json.dumps(record, ensure_ascii=False).translate(_LINE_ENDS)


def read_items(source: Path) -> list[Item]:
    """The lines of a batch file that are not blank, each with its id or with what is wrong with it. Raises `BatchError`."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise BatchError(f"--batch {source} cannot be read: {error.strerror}.") from None
    items: list[Item] = []
    first: dict[str, int] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        item = _read_item(number, line)
        if not item.error and first.setdefault(json.dumps(item.id), number) != number:
            item.error = f"line {number} has the id of line {first[json.dumps(item.id)]}: each line needs an id of its own."
        items.append(item)
    return items


def _read_item(number: int, line: bytes) -> Item:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Item(number, error=f"line {number} is not UTF-8 text.")
    except (ValueError, RecursionError) as error:
        return Item(number, error=f"line {number} is not JSON: {error}.")
    if not isinstance(record, dict):
        return Item(number, error=f'line {number} must be an object like {{"id": 1, "images": ["a.jpg"], "question": "..."}}.')
    id_ = record.get("id")
    if id_ is None or isinstance(id_, (bool, dict, list)):
        return Item(number, error=f'line {number} has no "id": give it a text or a number of its own.')
    return Item(number, id=id_, record=record)


def _answer(
    item: Item,
    folder: Path,
    system: str | None,
    backend: Backend | None,
    settings: GenerationSettings | None,
) -> dict:
    """The output record of one line; every fault of the line or of answering it becomes its "error"."""
    if item.error:
        return {"id": item.id, "error": item.error}
    try:
        messages, pictures = _messages(item.record, folder, system)
        with backend.stream(messages, _settings(item.record, settings)) as stream:
            answer = stream.join()
    except (_LineError, MessageError, PictureError, SettingsError, BackendError) as error:
        return {"id": item.id, "error": str(error)}
    except Exception as error:  # such as out of memory on one long line: the other lines still have their chance
        log.exception("line %d could not be answered", item.number)
        return {"id": item.id, "error": f"{type(error).__name__}: {error}"}
    for notice in dict.fromkeys([*(picture.notice for picture in pictures), *answer.notices]):
        if notice:
            print(f"note: line {item.number}: {notice}", file=sys.stderr)
    return answer_record(item.id, answer)


def _messages(record: dict, folder: Path, system: str | None) -> tuple[list[dict], list[LoadedPicture]]:
    """The conversation of one line, its pictures opened."""
    if "messages" in record:
        if "question" in record or "images" in record:
            raise _LineError('Give either "messages" or "images" and "question", not both.')
        messages = record["messages"]
        if not isinstance(messages, list):
            raise _LineError('"messages" must be a list.')
    else:
        images = record.get("images", [])
        if "image" in record:
            raise _LineError('Pictures are called "images" here, a list: "images": ["a.jpg"].')
        if not isinstance(images, list):
            raise _LineError('Pictures are given as a list: "images": ["a.jpg"].')
        if not isinstance(record.get("question"), str):
            raise _LineError('There is no "question" (a text) and there are no "messages".')
        messages = [question(record["question"], images)]
    pictures: list[LoadedPicture] = []
    messages = [_open_pictures(message, folder, pictures) for message in messages]
    if system and not any(isinstance(message, dict) and message.get("role") == "system" for message in messages):
        messages.insert(0, text_message("system", system))
    return messages, pictures


def _open_pictures(message: object, folder: Path, opened: list[LoadedPicture]) -> object:
    """`message` with its picture paths replaced by the pictures; what is malformed stays for `load_conversation` to name."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    parts = []
    for part in message["content"]:
        if isinstance(part, dict) and part.get("type") == "image" and part.get("image") is not None:
            if not isinstance(part["image"], str):
                raise _LineError("A picture is given by its path, as a text.")
            opened.append(load_picture(_find(part["image"], folder)))
            part = {"type": "image", "image": opened[-1]}
        parts.append(part)
    return {**message, "content": parts}


def _find(path: str, folder: Path) -> str:
    """A relative path beside the batch file when there is such a file, otherwise as it is, from the current directory."""
    beside = os.path.join(folder, path)
    return beside if path and os.path.lexists(beside) else path


def _settings(record: dict, settings: GenerationSettings) -> GenerationSettings:
    given = record.get("settings")
    if given is None:
        return settings
    if not isinstance(given, dict):
        raise _LineError('"settings" must be an object such as {"temperature": 0}.')
    return GenerationSettings.from_mapping(given, settings)


def _take_answers(output: Path, source: Path, items: list[Item], resume: bool) -> None:
    """Gives the items the answers that `output` already holds. Raises `BatchError` rather than lose anything in that file."""
    if not output.parent.is_dir():
        raise BatchError(f"--output {output}: there is no folder {output.parent}.")
    if not output.exists():
        return
    if not output.is_file():
        raise BatchError(f"--output {output} is not an ordinary file: name a file, which grows line by line.")
    if output.samefile(source):
        raise BatchError(f"--output {output} is the --batch file itself: name another file.")
    lines = output.read_bytes().split(b"\n")
    if lines == [b""]:
        return
    if not resume:
        raise BatchError(f"--output {output} exists: add --resume to go on with it, or name another file.")
    asked = {json.dumps(item.id): item for item in items if not item.error}
    foreign = []
    for number, line in enumerate(lines, start=1):
        record = _read_answer(line)
        if record is not None and "error" not in record:
            identity = json.dumps(record["id"])
            if identity in asked:
                asked[identity].line = line.decode("utf-8").strip()
            else:
                foreign.append(identity)
        elif record is None and number == len(lines) and _is_torn(line):
            print(f"note: the last line of {output} was cut off and is asked again.", file=sys.stderr)
        elif record is None and line.strip():
            raise BatchError(f"--output {output}, line {number} is not an answer record: is it the right file?")
    if foreign:
        shown = ", ".join(foreign[:3])
        raise BatchError(f"--output {output} holds {len(foreign)} answers to ids that {source} does not have ({shown}): name another file.")


def _read_answer(line: bytes) -> dict | None:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "id" in record and ("answer" in record or "error" in record) else None


def _is_torn(line: bytes) -> bool:
    """Whether `line` is the beginning of a record that this module writes."""
    start = b'{"id": '
    return bool(line) and (line.startswith(start) or start.startswith(line))


def _arrange(output: Path, items: list[Item]) -> None:
    """Makes `output` hold the lines there are, in the input's order: failed lines that are asked again come out of it."""
    whole = "".join(item.line + "\n" for item in items if item.line).encode("utf-8", "backslashreplace")
    if output.exists() and output.read_bytes() == whole:
        return
    write_atomically(output, whole)


def _progress(items: list[Item], done: int) -> Iterable[Item]:
    """`items`, with a bar on standard error when a person is looking."""
    if not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    return tqdm(items, total=done + len(items), initial=done, unit="question", file=sys.stderr)

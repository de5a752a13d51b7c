"""Asking a backend the items of tasks, so that a run can be killed at any moment and go on.

Each answer is one line of `answers.jsonl`, written when it is there; the next run asks what is missing. `run.json` records what
answered, and a folder that was answered by another model is refused. Judging is apart: it reads the lines.
"""

import dataclasses
import hashlib
import itertools
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from ..chat.backends.base import Backend, BackendError
from ..chat.batch import dump_record
from ..chat.messages import MessageError
from ..chat.pictures import PictureError
from ..chat.settings import GenerationSettings, SettingsError
from ..weights.cache import write_atomically
from .items import EvaluationError, Item, Task

ANSWERS, RUN = "answers.jsonl", "run.json"

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Answers:
    """What was said, by item id; `errors` are items that could not be answered, with the reason."""

    said: dict[str, dict[str, Any]]
    errors: dict[str, str]

    def text(self, item: Item) -> str | None:
        """What was said to this very item; None when it was not asked, or when its question or picture was another then."""
        record = self.said.get(item.id)
        return record["answer"] if record and record["asked"] == asked_hash(item) else None


def asked_hash(item: Item) -> str:
    """Names what an item asks: the texts, the pictures, the settings. An answer to anything else is no answer to it."""
    digest = hashlib.sha256(json.dumps(item.settings, sort_keys=True).encode())
    for message in item.messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            digest.update(f"\0{message['role']}\0{part['type']}\0".encode())
            shown = part["text"] if part["type"] == "text" else part["image"]
            if isinstance(shown, PIL.Image.Image):
                digest.update(f"{shown.size}".encode() + shown.tobytes())
            elif part["type"] == "image" and Path(shown).is_file():
                digest.update(f"{Path(shown).name} {Path(shown).stat().st_size}".encode())  # reading thousands of photographs takes minutes
            else:
                digest.update(str(shown).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:16]


def fingerprint(model: Path | None) -> str:
    """Names the weights that answer: the hash over a checkpoint's files, "" without one."""
    if model is None or not model.is_dir():
        return ""
    digest = hashlib.sha256()
    for file in sorted(model.glob("*.safetensors")) + sorted(model.glob("config.json")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def open_run(folder: Path, about: dict[str, Any], resume: bool) -> Answers:
    """The answers there are. Raises `EvaluationError` for a folder that holds another run, or that holds one and `resume` is not set."""
    folder.mkdir(parents=True, exist_ok=True)
    run, answers = folder / RUN, folder / ANSWERS
    if run.is_file():
        if not resume:
            raise EvaluationError(f"--output {folder} holds a run already: add --resume to go on with it, or name another folder.")
        before = json.loads(run.read_text("utf-8"))
        if differing := [name for name in about if before.get(name) != about[name]]:
            told = "; ".join(f"{name} was {before.get(name)!r} and is {about[name]!r}" for name in differing)
            raise EvaluationError(f"--output {folder} holds the answers of another run ({told}): name another folder.")
    write_atomically(run, (json.dumps(about, indent=2) + "\n").encode())
    return _read_answers(answers)


def _read_answers(file: Path) -> Answers:
    """The whole lines of the file; a line torn by a kill is cut off, so that what is appended starts a line of its own."""
    found = Answers({}, {})
    if not file.is_file():
        return found
    data = file.read_bytes()
    if data and not data.endswith(b"\n"):
        write_atomically(file, data[: data.rfind(b"\n") + 1])
        data = data[: data.rfind(b"\n") + 1]
    for line in data.split(b"\n")[:-1]:
        record = json.loads(line)
        kept, other = (found.errors, found.said) if "error" in record else (found.said, found.errors)
        kept[record["id"]] = record.get("error", record)
        other.pop(record["id"], None)  # the last line counts
    return found


def limited(task: Task, limit: int | None) -> Iterable[Item]:
    """The first `limit` items, made one by one: pictures are drawn when they are asked about."""
    return itertools.islice(task.items(), limit)


def answer_tasks(backend: Backend, tasks: Sequence[Task], answers: Answers, folder: Path, limit: int | None) -> None:
    """Asks everything that has no answer yet, greedily, and adds it to `answers` and to the folder's file."""
    from tqdm import tqdm

    settings = dataclasses.replace(backend.description.settings, temperature=0.0)
    with open(folder / ANSWERS, "a", encoding="utf-8", newline="\n") as file:
        for place, task in enumerate(tasks, 1):
            items = list(limited(task, limit))
            left = [item for item in items if answers.text(item) is None]
            bar = tqdm(
                left, f"[{place}/{len(tasks)}] {task.title}", len(items), initial=len(items) - len(left), disable=not sys.stderr.isatty()
            )
            for item in bar:
                record = _ask(backend, item, settings)
                file.write(dump_record(record) + "\n")
                file.flush()
                if "error" in record:
                    answers.errors[item.id] = record["error"]
                else:
                    answers.said[item.id] = record
                    answers.errors.pop(item.id, None)
            if not sys.stderr.isatty():
                print(f"[{place}/{len(tasks)}] {task.title}: {len(items)} items, {len(left)} asked now", file=sys.stderr, flush=True)


def _ask(backend: Backend, item: Item, settings: GenerationSettings) -> dict[str, Any]:
    try:
        answer = backend.answer(item.messages, GenerationSettings.from_mapping(item.settings, settings))
    except (BackendError, MessageError, PictureError, SettingsError) as error:
        return {"id": item.id, "error": str(error)}
    return {
        "id": item.id,
        "asked": asked_hash(item),
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
        "completion_tokens": answer.usage.completion_tokens,
        "seconds": round(answer.timings.ttft_s + answer.timings.decode_s, 3),
    }

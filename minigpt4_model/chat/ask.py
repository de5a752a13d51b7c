"""The verb `ask`: a question about pictures from the command line, or a file of questions with `--batch`.

The answer goes to standard output as it is made; notices, errors and the progress bar go to standard error. Exit code 0: all
answered; 1: something could not be answered; 2: wrong flags, nothing was started; 130: interrupted.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from .backends import BACKENDS, open_backend
from .backends.base import Backend, BackendError
from .backends.flags import add_model_flags, model_options
from .batch import BatchError, answer_record, dump_record, run_batch
from .messages import MessageError, question, text_message
from .pictures import PictureError, load_picture
from .settings import GenerationSettings, SettingsError, add_flags, settings_from_flags

INTERRUPTED = 130

BATCH_HELP = """\
batch files:
  IN.jsonl holds one JSON object a line: {"id": ..., "images": ["a.jpg"], "question": "..."} or {"id": ..., "messages": [...]},
  and may give "settings": {"temperature": 0} of its own. Relative picture paths are looked up beside IN.jsonl first, then in the
  current directory. OUT.jsonl gets one line for each, in the same order: the answer's record, or {"id", "error"}.
  --resume keeps the answers that OUT.jsonl already holds and asks the rest, failed ones included.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model ask",
        usage="%(prog)s [flags] [--image FILE]... QUESTION\n       %(prog)s [flags] --batch IN.jsonl --output OUT.jsonl [--resume]",
        description="Ask about pictures.",
        epilog=BATCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="what to ask")
    parser.add_argument("--image", action="append", default=[], metavar="FILE", help="a picture to ask about; may be given several times")
    parser.add_argument("--system", metavar="S", help="a system text before the question (in a batch: where a line has none of its own)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON with the answer, token counts and timings")
    batch = parser.add_argument_group("many questions")
    batch.add_argument("--batch", type=Path, metavar="IN.jsonl", help="questions, one JSON object a line")
    batch.add_argument("--output", type=Path, metavar="OUT.jsonl", help="where the answers go")
    batch.add_argument("--resume", action="store_true", help="go on with an output file that is there; failed ids are asked again")
    model = parser.add_argument_group("model")
    add_model_flags(model)
    model.add_argument(
        "--backend", choices=list(BACKENDS), default="torch", help="who answers (default: %(default)s; echo repeats, for tests)"
    )
    add_flags(parser)
    parser.add_argument("--greedy", action="store_true", help="always take the likeliest word: the same as --temperature 0")
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    _check_flags(parser, args)
    try:
        return _ask_many(args) if args.batch else _ask_one(args)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _check_flags(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program with 2 when the flags contradict each other or a setting is out of range."""
    if args.batch:
        if args.question is not None or args.image:
            parser.error("--batch takes its questions and pictures from the file: give neither QUESTION nor --image")
        if not args.output:
            parser.error("--batch needs --output OUT.jsonl")
    elif args.output or args.resume:
        parser.error("--output and --resume belong to --batch IN.jsonl")
    elif args.question is None:
        parser.error("give a QUESTION, or --batch IN.jsonl --output OUT.jsonl")
    if args.greedy and args.temperature is not None:
        parser.error("--greedy means --temperature 0: give one of the two")
    try:
        settings_from_flags(args, GenerationSettings())
    except SettingsError as error:
        parser.error(str(error))


def _open(args: argparse.Namespace) -> tuple[Backend, GenerationSettings]:
    backend = open_backend(args.backend, **model_options(args))
    settings = settings_from_flags(args, backend.description.settings)
    return backend, dataclasses.replace(settings, temperature=0.0) if args.greedy else settings


def _ask_one(args: argparse.Namespace) -> int:
    try:
        pictures = [load_picture(path) for path in args.image]  # before the model, which takes longer to say no
        messages = [text_message("system", args.system)] if args.system else []
        messages.append(question(args.question, pictures))
        _tell(dict.fromkeys(picture.notice for picture in pictures if picture.notice))
        backend, settings = _open(args)
        try:
            with backend.stream(messages, settings) as stream:
                _tell(notice for notice in stream.answer.notices if notice not in [picture.notice for picture in pictures])
                told = len(stream.answer.notices)
                for piece in stream:
                    if not args.json:
                        print(piece, end="", flush=True)
        finally:
            backend.close()
    except (BackendError, MessageError, PictureError, SettingsError) as error:
        if args.json:
            print(dump_record({"id": None, "error": str(error)}))
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(dump_record(answer_record(None, stream.answer)) if args.json else "", flush=True)
    _tell(stream.answer.notices[told:])
    return 0


def _ask_many(args: argparse.Namespace) -> int:
    try:
        failed = run_batch(args.batch, args.output, resume=args.resume, system=args.system, open_backend=lambda: _open(args))
    except BatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BackendError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0


def _tell(notices) -> None:
    for notice in notices:
        print(f"note: {notice}", file=sys.stderr)

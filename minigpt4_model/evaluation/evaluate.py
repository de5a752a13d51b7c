"""The verb `evaluate`: asks a model the questions of a suite, judges the answers and writes a report.

    python -m minigpt4_model evaluate --suite pocket --output runs/evaluation/pocket

Answers come from the stream that chatting uses, greedily. They are kept as they come, so that `--resume` goes on after an interruption
and judging again needs no model. Exit code 0: reported; 1: some items could not be asked, or the model could not be opened; 2: wrong
flags or files, nothing was asked; 130: interrupted.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..chat.backends import BACKENDS, open_backend
from ..chat.backends.base import BackendError
from ..chat.backends.flags import add_model_flags, model_options
from ..presets import DEFAULT_PRESET
from ..training.pocket.collections import CorpusError
from ..weights.cache import write_atomically
from .answering import Answers, answer_tasks, fingerprint, limited, open_run
from .items import EvaluationError, Task
from .report import Report, as_json, build_report, table
from .report_page import render_page
from .suites import SUITES, build_tasks

INTERRUPTED = 130

EPILOG = """\
suites:
  pocket   the project's own measures, on pictures the pocket model was not trained on; needs the pocket corpus
  coco     caption metrics; --annotations captions_val2017.json, or Karpathy's dataset_coco.json
  vqav2    --annotations v2_OpenEnded_mscoco_val2014_questions.json v2_mscoco_val2014_annotations.json
  gqa      --annotations testdev_balanced_questions.json
  pope     --annotations coco_pope_random.json coco_pope_popular.json coco_pope_adversarial.json
  FILE     your own questions: {"id", "question", "images": [...], "expected": ["dog", "puppy"]}, one a line
docs/evaluation.md says what every figure means and where the files come from.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model evaluate",
        description="Ask a model the questions of a suite, judge its answers and write a report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model_flags(parser)
    parser.add_argument(
        "--backend", choices=list(BACKENDS), default="torch", help="who answers (default: %(default)s; echo repeats, for tests)"
    )
    parser.add_argument("--suite", default="pocket", metavar="S", help=f"{', '.join(SUITES)} or a FILE.jsonl (default: %(default)s)")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="T", help="only these tasks of the suite; --list names them")
    parser.add_argument("--list", action="store_true", help="name the suite's tasks and how many items each has, and stop")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N items of each task, which are a fair sample of it")
    parser.add_argument("--annotations", nargs="+", type=Path, default=[], metavar="FILE", help="a standard benchmark's files")
    parser.add_argument("--images", type=Path, metavar="DIR", help="a standard benchmark's pictures")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where answers and reports go (default: runs/evaluation/MODEL-SUITE)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an output folder that is there; what was answered is not asked again"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < 1:
        parser.error(f"--limit must be at least 1, not {args.limit}.")
    try:
        return _evaluate(args)
    except KeyboardInterrupt:
        print("\nInterrupted. The same command with --resume goes on.", file=sys.stderr)
        return INTERRUPTED
    except (BackendError, CorpusError, EvaluationError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, EvaluationError) else 1


def _evaluate(args: argparse.Namespace) -> int:
    tasks = build_tasks(args.suite, args.annotations, args.images, args.tasks)
    if args.list:
        for task in tasks:
            count = sum(1 for _ in limited(task, args.limit))
            print(f"{task.name:22} {count:6}  {task.title}{f' ({task.missing})' if task.missing else ''}")
        return 0
    folder = args.output or Path("runs", "evaluation", f"{_model_name(args)}-{Path(args.suite).stem}")
    about = _about(args)
    answers = open_run(folder, about, args.resume)
    device = _ask(args, tasks, answers, folder)
    report = build_report({**about, "limit": args.limit, "device": device}, tasks, answers, args.limit)
    _add_drift(args, report)
    _write(report, folder)
    print(table(report))
    print(f"\nReport: {folder / 'report.html'}, {folder / 'report.json'}; answers: {folder / 'answers.jsonl'}")
    return 1 if any(one.unanswered for one in report.tasks) else 0


def _model_name(args: argparse.Namespace) -> str:
    if args.backend != "torch":
        return args.backend
    return Path(args.model).resolve().name if args.model else args.preset or DEFAULT_PRESET


def _model_folder(args: argparse.Namespace) -> Path | None:
    """The folder whose weights answer, as far as it is known before they are loaded."""
    if args.backend != "torch":
        return None
    if args.model:
        return Path(args.model)
    from ..weights.pocket import POCKET_CHECKPOINT

    return POCKET_CHECKPOINT if (args.preset or DEFAULT_PRESET) == "pocket" else None


def _about(args: argparse.Namespace) -> dict[str, Any]:
    """What a run must have in common with the answers it goes on with."""
    size = args.image_size and f"pictures of {args.image_size}"
    engine = args.engine if args.engine != "auto" else ""
    given = ("8bit" if args.load_in_8bit else "", "4bit" if args.load_in_4bit else "", args.dtype, size, engine)
    precision = [name for name in given if name]
    return {
        "model": _model_name(args),
        "weights": fingerprint(_model_folder(args)),
        "precision": " ".join(precision) or "default",
        "suite": args.suite if args.suite in SUITES else str(Path(args.suite).resolve()),
        "annotations": [str(file.resolve()) for file in args.annotations],
    }


def _ask(args: argparse.Namespace, tasks: list[Task], answers: Answers, folder: Path) -> str:
    """Fills `answers`; the model is opened only when something is left to ask. The device's name."""
    if all(answers.text(item) is not None for task in tasks for item in limited(task, args.limit)):
        return ""
    backend = open_backend(args.backend, **model_options(args))
    try:
        answer_tasks(backend, tasks, answers, folder, args.limit)
        return backend.description.device
    finally:
        backend.close()


def _add_drift(args: argparse.Namespace, report: Report) -> None:
    """Language drift, where descriptions and the LLM's own were both asked: it needs the model itself, so not every backend has it."""
    judged = {one.task.name: one.judged for one in report.tasks}
    if args.backend != "torch" or not (judged.get("description") and judged.get("llm-alone")):
        return
    from ..weights.errors import WeightsError
    from ..weights.load import load_model
    from .language import answer_likelihoods
    from .tasks.hallucination import drift_figures

    options = {name: value for name, value in model_options(args).items() if name not in ("preset", "model", "image_size", "engine")}
    try:
        model, processor = load_model(Path(args.model) if args.model else args.preset or DEFAULT_PRESET, **options)
    except WeightsError as error:
        raise BackendError(str(error)) from error
    report.language += drift_figures(lambda pairs: answer_likelihoods(model, processor, pairs), judged)


def _write(report: Report, folder: Path) -> None:
    document = json.dumps(as_json(report), indent=1, ensure_ascii=False)
    write_atomically(folder / "report.json", (document + "\n").encode("utf-8", "backslashreplace"))
    write_atomically(folder / "report.html", render_page(report).encode("utf-8", "backslashreplace"))

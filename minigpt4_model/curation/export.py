"""`curate export`: writes what passes as a data set that `scripts/train_stage2.sh --data DIR --eval-data DIR/held_out` trains on.

The folder is there whole or not at all: it is made beside its place and then renamed.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ..weights.cache import write_atomically
from .card import build_card
from .clean import ALL_RULES
from .errors import CurationError
from .flags import add_project_flag
from .layouts import LAYOUTS
from .project import Project, recorded_run
from .prompts import QUESTIONS_FILE, read_questions
from .selection import Chosen, Selection, select

HELD_OUT, CARD, MANIFEST = "held_out", "README.md", "provenance.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder of the data set; it must not exist")
    parser.add_argument("--format", choices=list(LAYOUTS), default="alignment", help="the layout (default: %(default)s, the original's)")
    parser.add_argument(
        "--held-out", type=float, default=0.1, metavar="X", help="share of pictures that is not trained on (default: %(default)s)"
    )
    parser.add_argument(
        "--only-checked",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="only what people kept or edited (default: unmarked, too)",
    )
    parser.add_argument(
        "--allow-rule", action="append", default=[], choices=list(ALL_RULES), metavar="RULE", help="a mark that keeps nothing out"
    )
    parser.add_argument("--title", default="", metavar="T", help="the data set's name on its card (default: the folder's)")
    parser.add_argument(
        "--overwrite", action=argparse.BooleanOptionalAction, default=False, help="put it in the place of an earlier export"
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not 0 <= args.held_out < 1:
        parser.error(f"--held-out must be at least 0 and below 1, not {args.held_out:g}.")


def run(args: argparse.Namespace) -> int:
    project = Project(args.project)
    output = args.output.resolve()
    _check_place(output, project, args.overwrite)
    selection = select(project, args.held_out, args.only_checked, args.allow_rule)
    if not selection.train:
        why = ", ".join(f"{count} {reason}" for reason, count in selection.left_out.most_common()) or "the project has no pictures"
        raise CurationError(f"{args.project} has nothing to export: {why}.")
    told = {name: getattr(args, name) for name in ("format", "held_out", "only_checked", "allow_rule")}
    with recorded_run(project, "export", {**told, "output": str(output)}) as summary:
        unfinished = output.with_name(f".{output.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
        try:
            _write(unfinished, project, selection, args, args.title or output.name)
            _put_in_place(unfinished, output)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        summary.update(train=len(selection.train), held_out=len(selection.held_out), left_out=dict(selection.left_out))
    for reason, count in selection.left_out.most_common():
        print(f"{count:6} left out: {reason}", file=sys.stderr)
    print(f"{len(selection.train)} pictures to train on and {len(selection.held_out)} held out, in {args.output}. {CARD} is its card.")
    print(f"bash scripts/train_stage2.sh --data {args.output}" + (f" --eval-data {args.output / HELD_OUT}" if selection.held_out else ""))
    return 0


def _check_place(output: Path, project: Project, overwrite: bool) -> None:
    if output == project.folder.resolve() or output in project.folder.resolve().parents:
        raise CurationError(f"--output {output} is the project's own folder or above it: name another.")
    if not output.exists():
        return
    if not (output / MANIFEST).is_file():
        raise CurationError(f"--output {output} exists and is no export: name a folder that does not exist.")
    if not overwrite:
        raise CurationError(f"--output {output} holds an export: name another folder, or replace it with --overwrite.")


def _write(folder: Path, project: Project, selection: Selection, args: argparse.Namespace, title: str) -> None:
    questions = read_questions(QUESTIONS_FILE)
    write = LAYOUTS[args.format]
    write(folder, selection.train, questions)
    if selection.held_out:
        write(folder / HELD_OUT, selection.held_out, questions)
    write_atomically(folder / MANIFEST, (json.dumps(_provenance(selection.chosen), ensure_ascii=False, indent=1) + "\n").encode())
    write_atomically(folder / CARD, build_card(project, selection, title, args.format, args.held_out, args.only_checked).encode())


def _provenance(chosen: Sequence[Chosen]) -> dict:
    """For each picture: whose text it is, what it went through, where the picture was found."""
    return {
        "items": [
            {
                "id": one.item,
                "split": HELD_OUT if one.held_out else "train",
                "sha256_of_pixels": one.digest,
                "status": one.status,
                "history": [{"step": step, "author": author} for step, author in one.history],
                "marks": one.marks,
                "found_at": one.places,
            }
            for one in chosen
        ]
    }


def _put_in_place(unfinished: Path, output: Path) -> None:
    """The new folder takes the place; an old one is moved aside first and goes last, so that one of them is always whole."""
    aside = output.with_name(f".{output.name}.replaced")
    shutil.rmtree(aside, ignore_errors=True)
    if output.exists():
        os.replace(output, aside)
    os.replace(unfinished, output)
    shutil.rmtree(aside, ignore_errors=True)

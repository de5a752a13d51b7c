"""The verb `curate`: finds the sub-verb's module and runs it. Exit code 0: done; 1: something could not be done; 2: wrong flags or
files, nothing was begun; 130: interrupted, and the same command goes on.
"""

import argparse
import importlib
import sys

from ..chat.backends.base import BackendError
from ..chat.messages import MessageError
from ..chat.pictures import PictureError
from .endpoint import EndpointDown
from .errors import CurationError

INTERRUPTED = 130
# sub-verb -> what `--help` says about it; its module has `add_arguments`, `check_arguments` and `run`.
STEPS = {
    "describe": "take pictures into a project and have a model describe each",
    "refine": "have a language model, or rules, correct the texts",
    "clean": "mark what is wrong with texts, by rules with names",
    "annotate": "open the page on which people keep, edit or drop each text",
    "export": "write a data set that stage 2 trains on, with its card",
    "status": "say what a project holds",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model curate",
        description="Make the data of stage 2 from your own pictures. docs/curation.md tells the whole way.",
        allow_abbrev=False,
    )
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for name, about in STEPS.items():
        step = steps.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".", allow_abbrev=False)
        _module(name).add_arguments(step)
        step.set_defaults(parser=step)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    step = _module(args.step)
    step.check_arguments(args.parser, args)
    try:
        return step.run(args)
    except KeyboardInterrupt:
        print("\nInterrupted. What was done is kept; the same command goes on.", file=sys.stderr)
        return INTERRUPTED
    except (BackendError, EndpointDown, MessageError, PictureError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except CurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _module(step: str):
    return importlib.import_module(f"{__package__}.{step}")

"""`python -m minigpt4_model VERB`: finds the verb's module and calls its `main(argv) -> exit code`.

Knows the verbs' names only: a verb's module is imported when it is called, so that `--help` costs nothing. To add a verb, write
its module and add a row to `VERBS`.
"""

import importlib
import io
import logging
import sys

from . import __version__

PROGRAM = "python -m minigpt4_model"
MISSING_PACKAGE = "Use .venv/bin/python (scripts/start.sh makes it), or pip install -r requirements.txt."
# verb -> (module, what `--help` says about it)
VERBS = {
    "ask": ("minigpt4_model.chat.ask", "ask about pictures: one question, or a file of them with --batch"),
    "doctor": ("minigpt4_model.weights.doctor", "check this machine, the files of a preset and the memory it needs"),
    "import-official": ("minigpt4_model.weights.import_official", "make a model of the original project's .pth files"),
    "export-official": ("minigpt4_model.weights.export_official", "write a projection as the original project reads it"),
    "evaluate": ("minigpt4_model.evaluation.evaluate", "ask a model the questions of a suite, judge its answers, write a report"),
    "curate": ("minigpt4_model.curation.curate", "make stage-2 data from your own pictures: describe, refine, clean, annotate, export"),
    "serve": ("minigpt4_model.serving.serve", "serve the model as an OpenAI-compatible API, without the page"),
    "bench": ("minigpt4_model.evaluation.bench", "measure speed and memory on this machine"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns its exit code; 2 when there is no such verb."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an answer may hold what the terminal's encoding has no sign for
            stream.reconfigure(errors="backslashreplace")
    if argv and argv[0] in VERBS:
        module, _ = VERBS[argv[0]]
        try:
            return importlib.import_module(module).main(argv[1:])
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == __package__:
                raise  # a fault of this program, not of the environment
            print(f"This Python ({sys.executable}) has no package {error.name}. {MISSING_PACKAGE}", file=sys.stderr)
            return 1
    if argv and argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv and argv[0] == "--version":
        print(__version__)
        return 0
    print(f"There is no verb {argv[0]!r}.\n" if argv else "Name a verb.\n", _help(), sep="\n", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, VERBS))
    rows = "\n".join(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items())
    return f"usage: {PROGRAM} VERB [flags]\n\n{rows}\n\n{PROGRAM} VERB --help lists the flags of a verb."


if __name__ == "__main__":
    sys.exit(main())

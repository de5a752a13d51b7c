"""The page: flags -> backend -> Gradio page and HTTP on one server. `python app.py` opens it on http://127.0.0.1:7860.

It is also what a Hugging Face Space runs. Importing this module, `--help` and the echo backend need no torch.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from minigpt4_model.chat.backends.flags import add_backend_flags, backend_options, check_backend_flags, model_named
from minigpt4_model.presets import DEFAULT_PRESET, PRESETS
from minigpt4_model.serving.flags import add_address_flags, add_api_flags, api_options
from minigpt4_model.serving.operator_flags import add_operator_flags, build_front, flags_from_environment

_LEAST_ROOM = 20_000_000  # bytes for uploads; `serving.health` says sooner that there is little


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="Opens a page to chat about pictures. Without flags: the pocket preset, on this machine only.",
        epilog="Presets: " + "; ".join(f"{preset.name} is good for {preset.good_for}" for preset in PRESETS.values()) + ".",
    )
    model = parser.add_argument_group("what answers")
    add_backend_flags(model)
    model.add_argument(
        "--compare-with",
        metavar="P|DIR",
        help="a second model to ask beside the first, under Compare: a preset or a directory, such as an earlier stage's checkpoint",
    )
    page = parser.add_argument_group("where the page is")
    # A Space sets these two variables.
    host, port = (os.environ.get(f"GRADIO_SERVER_{name}") for name in ("NAME", "PORT"))
    add_address_flags(page, host or "127.0.0.1", port or "7860")
    page.add_argument(
        "--share", action=argparse.BooleanOptionalAction, default=False, help="also open a public address through Gradio's tunnel"
    )
    page.add_argument(
        "--feedback-file",
        metavar="FILE",
        help="show thumbs below answers, and append votes, with question, answer and comment, to this file (default: neither)",
    )
    api = parser.add_argument_group("the OpenAI-compatible API at /v1")
    api.add_argument(
        "--api", action=argparse.BooleanOptionalAction, default=True, help="serve the API beside the page (default: %(default)s)"
    )
    add_api_flags(api)
    add_operator_flags(parser)
    parser.set_defaults(preset=DEFAULT_PRESET)
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args([*flags_from_environment(parser, os.environ), *(sys.argv[1:] if argv is None else argv)])
    check_backend_flags(parser, args)
    if args.compare_with and args.backend != "torch":
        parser.error("--compare-with loads a second model here: it needs --backend torch.")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")

    try:
        return _open_page(args)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _open_page(args: argparse.Namespace) -> int:
    """Serve the page that the flags ask for. What can be wrong is looked at before anything is loaded, which takes long."""
    from minigpt4_model.serving.address import listen
    from minigpt4_model.ui.demo_questions import load_demo_questions

    try:
        listener = listen(args.host, args.port)
        examples = load_demo_questions()
        options = api_options(args) if args.api else None
        front_of = build_front(args)
        _make_upload_folder()
        feedback = _open_feedback(args.feedback_file)
        backend = _open_backend(args)
        models = _open_models(args, backend)
    except (ValueError, RuntimeError, OSError) as fault:
        print(fault, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what follows cleans up
    run_page(backend, listener, examples, args.share, front_of, options, feedback, models)
    return 0


def run_page(backend, listener, examples=(), share: bool = False, front_of=None, api=None, feedback=None, models=None) -> None:
    """Serve the page of `backend` on the socket `listener` until interrupted. `examples` are demo questions to begin with.

    `front_of` is what `build_front` gives: limits, accounts, metrics. `api` are the `ApiOptions` of the API at /v1, None where there shall
    be none. `feedback`, a `FeedbackFile`, is where visitors' votes are kept. `models` are all that can be compared, by their names,
    `backend` first, or None. What visitors upload lies in a folder that nobody else on this
    machine can read and that is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="minigpt4-", dir=_upload_folder(), ignore_cleanup_errors=True) as name:
        # Before Gradio is imported: it reads both when it is.
        os.environ["GRADIO_TEMP_DIR"] = name
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from minigpt4_model.chat.backends.zero_gpu import on_zero_gpu
        from minigpt4_model.serving.api import add_api
        from minigpt4_model.serving.front import Front
        from minigpt4_model.serving.health import room_for_uploads
        from minigpt4_model.serving.running import serve
        from minigpt4_model.ui.cleaning import Cleaner
        from minigpt4_model.ui.conversation import ConversationStore
        from minigpt4_model.ui.page import build_page
        from minigpt4_model.ui.server import build_server

        folder = Path(name)
        pictures = folder / "pictures"
        front = front_of(backend) if front_of else Front()
        front.checks.append(room_for_uploads(folder))
        keep_seconds = front.limits.keep_hours * 3600
        store = ConversationStore(pictures, front.limits.max_conversations, keep_seconds)
        front.api_has_keys = bool(api and api.keys)
        watched_models = {called: front.watched(model) for called, model in (models or {backend.description.name: backend}).items()}
        watched = next(iter(watched_models.values()))
        # With API keys, who has none shall not ask by program.
        endpoint = bool(api and not api.keys)
        page = build_page(watched, store, examples, front.limits, front.notice, endpoint=endpoint, feedback=feedback, models=watched_models)
        if front.metrics:
            front.metrics.add_gauge("conversations", "Conversations that are kept.", lambda: len(store))
        cleaner = Cleaner(folder, pictures, store, page.grants, keep_seconds)
        if on_zero_gpu():  # the processes that have a GPU close what they inherit of this port; they look for it here
            page.server = SimpleNamespace(config=SimpleNamespace(port=listener.getsockname()[1]))
        try:
            cleaner.start()
            serve(build_server(page, routes=lambda server: api and add_api(server, watched, api), front=front), listener, share)
        except KeyboardInterrupt:
            print("Closed.")
        finally:
            cleaner.stop()
            for model in (models or {"": backend}).values():
                model.close()


def _open_feedback(name: str | None):
    """The file of `--feedback-file`, if there is one. Raises `OSError`."""
    if name is None:
        return None
    from minigpt4_model.ui.feedback import FeedbackFile

    try:
        return FeedbackFile(Path(name))
    except OSError as fault:
        raise OSError(f"--feedback-file {name}: it cannot be written ({fault.strerror}). Name a file in a folder to write in.") from fault


def _upload_folder() -> str | None:
    return os.environ.get("GRADIO_TEMP_DIR") or None


def _make_upload_folder() -> None:
    """The folder for uploads, which GRADIO_TEMP_DIR names. Raises `OSError` if nothing can be written there."""
    named = _upload_folder()
    folder = named or tempfile.gettempdir()
    called = f"GRADIO_TEMP_DIR={folder}" if named else folder
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        free = shutil.disk_usage(folder).free
    except OSError as fault:
        raise OSError(
            f"{called}: uploads cannot be kept there ({fault.strerror}). Name a folder to write in by GRADIO_TEMP_DIR."
        ) from fault
    if free < _LEAST_ROOM:
        told = f"{called}: {free / 1e6:.0f} MB are free there, and uploads need {_LEAST_ROOM / 1e6:.0f} MB at least."
        raise OSError(f"{told} Free some space, or name a folder on another disk by GRADIO_TEMP_DIR.")


def _open_models(args: argparse.Namespace, backend) -> dict:
    """What can be compared, by its name on the page: `backend`, and what --compare-with names."""
    name = Path(args.model).resolve().name if args.model else args.preset if args.backend == "torch" else backend.description.name
    if not args.compare_with:
        return {name: backend}
    is_preset = args.compare_with in PRESETS
    other = args.compare_with if is_preset else Path(args.compare_with).resolve().name
    asked = {**vars(args), "preset": args.compare_with} if is_preset else {**vars(args), "model": args.compare_with}
    if is_preset:
        asked["model"] = None
    try:
        second = _open_backend(argparse.Namespace(**asked))
    except RuntimeError as fault:
        raise RuntimeError(f"--compare-with {args.compare_with}: {fault}") from fault
    return {name: backend, other if other != name else f"{other} (2)": second}


def _open_backend(args: argparse.Namespace):
    from minigpt4_model.chat.backends import open_backend

    if args.backend == "torch":
        print(f"Loading {model_named(args)} …", flush=True)
    return open_backend(args.backend, **backend_options(args))


if __name__ == "__main__":
    sys.exit(main())

"""The `bench` verb: how fast a conversation is, with and without what the engine remembers of it.

Both ways run in turn in the same process, on the same model and with the same history, so their ratio holds on a busy machine
too; the absolute figures are the machine's.

`bench compare` is `bench_compare`'s, `bench serving` `bench_serving`'s, `bench train` `bench_train`'s, `bench guards` `bench_guards`'.
"""

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass

import PIL.Image
import PIL.ImageDraw

from ..chat.backends import open_backend
from ..chat.backends.base import BackendError
from ..chat.backends.flags import add_model_flags, model_options
from ..chat.messages import MessageError, question, text_message
from ..chat.pictures import PictureError, load_picture
from ..chat.settings import GenerationSettings, SettingsError
from ..weights.errors import WeightsError
from ..weights.sources import OFFICIAL_PRESETS

QUESTIONS = (
    "What is in this picture?",
    "What colour is it?",
    "Where is it in the picture?",
    "Write two sentences about it.",
    "What else could be in a picture like this?",
)


@dataclass(frozen=True)
class TurnFigures:
    """Medians over the repeats. Seconds; `tokens_per_s` counts decoding only."""

    turn: int
    reuse: bool
    prompt_tokens: int
    reused_tokens: int
    encode_s: float
    ttft_s: float
    tokens_per_s: float


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model bench",
        description="Time the turns of one conversation about a picture, with and without reusing what earlier turns computed. "
        "Prints a table and, as its last line, one JSON document. `bench compare` sets the engines beside each other and beside "
        "others, `bench serving` says how many people a server can answer, `bench train` times training steps, "
        "`bench guards` measures what the guards do.",
    )
    add_model_flags(parser)
    parser.add_argument(
        "--random-weights",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="a full-size preset with random weights, none downloaded: its speed without its files. In 16 bits vicuna-7b and llama2-7b "
        "take 19 GB, vicuna-13b 32 GB, of the CPU's memory while they are built and then of the device's; refused where that is not free",
    )
    parser.add_argument(
        "--small", action=argparse.BooleanOptionalAction, default=False, help="with --random-weights: a small model of the kind"
    )
    parser.add_argument("--image", metavar="FILE", help="the picture to talk about (default: one drawn for the purpose)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help=f"questions to ask, 1 to {len(QUESTIONS)} (default: 5)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="conversations each way; the median counts (default: 3)")
    parser.add_argument("--max-new-tokens", type=int, default=32, metavar="N", help="longest answer in tokens (default: 32)")
    return parser


def default_picture() -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (640, 480), (140, 190, 245))
    PIL.ImageDraw.Draw(picture).ellipse((170, 90, 470, 390), fill=(220, 40, 40))
    return picture


def run_conversation(engine, image, turns: int, settings: GenerationSettings, said: list[str]) -> list[dict]:
    """One conversation from a cold start; the figures of each turn.

    `said` are the answers that the history holds; it is filled by the first conversation, so that all have the same prompts.
    """
    engine.forget()
    messages, figures = [], []
    for turn in range(turns):
        messages.append(question(QUESTIONS[turn], [image] if turn == 0 else None))
        answer = engine.answer(messages, settings)
        if turn == len(said):
            said.append(answer.text or "...")
        messages.append(text_message("assistant", said[turn]))
        decoded = max(0, answer.usage.completion_tokens - 1)
        figures.append(
            {
                "prompt_tokens": answer.usage.prompt_tokens,
                "reused_tokens": answer.usage.reused_tokens,
                "encode_s": answer.timings.encode_s,
                "ttft_s": answer.timings.ttft_s,
                "tokens_per_s": decoded / answer.timings.decode_s if decoded and answer.timings.decode_s else 0.0,
            }
        )
    return figures


def measure(engine, image, turns: int, repeat: int, settings: GenerationSettings) -> list[TurnFigures]:
    """Alternates conversations with and without reuse, after one of each that does not count."""
    runs: dict[bool, list[list[dict]]] = {True: [], False: []}
    said: list[str] = []
    for attempt in range(repeat + 1):
        for reuse in (True, False):
            engine.reuse_kv = reuse
            figures = run_conversation(engine, image, turns, settings, said)
            if attempt:
                runs[reuse].append(figures)
    return [
        TurnFigures(turn + 1, reuse, **{name: statistics.median(run[turn][name] for run in runs[reuse]) for name in runs[reuse][0][turn]})
        for turn in range(turns)
        for reuse in (True, False)
    ]


def table(figures: list[TurnFigures]) -> str:
    lines = [
        f"{'turn':>4}  {'reuse':5}  {'prompt':>6}  {'reused':>6}  {'picture s':>9}  {'first token s':>13}  {'tokens/s':>8}  {'ratio':>5}"
    ]
    for with_reuse, without in zip(figures[::2], figures[1::2], strict=True):
        for row in (with_reuse, without):
            ratio = f"{without.ttft_s / with_reuse.ttft_s:5.1f}" if row.reuse else ""
            lines.append(
                f"{row.turn:4}  {'yes' if row.reuse else 'no':5}  {row.prompt_tokens:6.0f}  {row.reused_tokens:6.0f}  {row.encode_s:9.3f}  "
                f"{row.ttft_s:13.3f}  {row.tokens_per_s:8.1f}  {ratio}"
            )
    return "\n".join([*lines, "ratio: time to the first token without reuse over that with it"])


def main(argv: list[str]) -> int:
    if argv[:1] == ["train"]:
        from . import bench_train

        return bench_train.main(argv[1:])
    if argv[:1] == ["compare"]:
        from . import bench_compare

        return bench_compare.main(argv[1:])
    if argv[:1] == ["serving"]:
        from . import bench_serving

        return bench_serving.main(argv[1:])
    if argv[:1] == ["guards"]:
        from . import bench_guards

        return bench_guards.main(argv[1:])
    parser = build_parser()
    args = parser.parse_args(argv)
    if not 1 <= args.turns <= len(QUESTIONS):
        parser.error(f"--turns must be between 1 and {len(QUESTIONS)}, not {args.turns}.")
    if args.random_weights and (
        args.model or args.preset not in OFFICIAL_PRESETS or args.load_in_8bit or args.load_in_4bit or args.device_map
    ):
        parser.error(f"--random-weights goes with --preset {' or '.join(OFFICIAL_PRESETS)}, in 32 or 16 bits on one device.")
    if args.small and not args.random_weights:
        parser.error("--small goes with --random-weights.")
    if args.repeat < 1:
        parser.error(f"--repeat must be at least 1, not {args.repeat}.")
    try:
        settings = GenerationSettings(temperature=0.0, max_new_tokens=args.max_new_tokens)
    except SettingsError as error:
        parser.error(f"--max-new-tokens {args.max_new_tokens}: {error}")
    try:
        image = load_picture(args.image) if args.image else default_picture()
        engine = _open_engine(args)
        figures = measure(engine, image, args.turns, args.repeat, settings)
    except (PictureError, MessageError, BackendError, WeightsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{engine.description.title} on {engine.description.device}, median of {args.repeat}")
    print(table(figures))
    print(json.dumps({"device": engine.description.device, "repeat": args.repeat, "turns": [asdict(row) for row in figures]}))
    return 0


def _open_engine(args: argparse.Namespace):
    if not args.random_weights:
        return open_backend("torch", **model_options(args))
    from .random_engine import open_random_engine

    return open_random_engine(args.preset, args.small, args.device, args.dtype)

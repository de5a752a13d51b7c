"""`bench compare`: this project's engines beside what else could answer, in one run, taking turns.

Who takes turns (`contenders.py`): the engine that this machine would take, the torch engine, transformers' `generate`, the original's
flow, which computes the whole conversation anew at every turn, llama.cpp alone on the GGUF as it was published, and vLLM where it is
installed. What is measured:
the picture, the first token of turns 1, 2, 5 and 10, tokens per second of one answer and of several at a time, start-up and memory
(`bench_start.py`), and what the memory's bandwidth would allow. Ratios are taken within a round, so that they hold on a busy machine;
the absolute figures are the machine's.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..chat.backends.base import BackendError
from ..chat.messages import question, text_message
from ..presets import DEFAULT_PRESET
from ..weights.cache import write_atomically
from ..weights.errors import WeightsError
from ..weights.machine import cpu_title
from .bench import default_picture

TURNS = (1, 2, 5, 10)
VISITORS = (1, 2, 4, 8, 16)
ASKED = ("What is in this picture?", "What colour is it?", "Where is it?", "Is it large?", "What is behind it?")
MEASURES = ("decode", "visitors", "turns", "start")
STARTS = 3  # a start takes as long as many answers
READING_S = 0.5  # between an answer and the next question: a person reads for longer
INTERRUPTED = 130  # the exit code after Ctrl-C, as a shell gives it


@dataclass
class Figures:
    """Values by what was measured and who did it, one for each round. `notes` are told under the tables."""

    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    file: Path | None = None
    _pending: list[tuple[str, str, float]] = field(default_factory=list)

    def add(self, what: str, who: str, value: float) -> None:
        """A value of the round that is under way: it counts when the round is whole."""
        self._pending.append((what, who, value))

    def measuring(self, measure: str, rounds: int) -> Iterator[bool]:
        """The rounds of a measure that are still to be done: False for the one that does not count, then True for each that does.

        After each of these the figures so far are written to `file`, so that an interrupted run goes on from there.
        """
        missing = rounds - self.done.get(measure, 0)
        start = time.perf_counter()
        for number in range(missing + 1 if missing > 0 else 0):
            yield number > 0
            if number:
                for what, who, value in self._pending:
                    self.rounds.setdefault(what, {}).setdefault(who, []).append(value)
                self.done[measure] = self.done.get(measure, 0) + 1
                self.write()
            self._pending.clear()
            spent = time.perf_counter() - start
            print(f"{measure}: {self.done.get(measure, 0)} of {rounds} rounds, {spent:.0f} s", file=sys.stderr, flush=True)

    def document(self) -> dict:
        return {"machine": cpu_title(), "rounds": self.rounds, "notes": self.notes, "done": self.done}

    def write(self) -> None:
        if self.file is not None:
            write_atomically(self.file, (json.dumps(self.document(), indent=1) + "\n").encode())

    def take_up(self) -> None:
        """Goes on from `file`, where there is one of this machine. Raises `BackendError` when it is another's or damaged."""
        if self.file is None or not self.file.exists():
            return
        try:
            known = json.loads(self.file.read_bytes())
            machine, self.rounds, self.done = known["machine"], known["rounds"], known["done"]
        except (ValueError, KeyError, TypeError) as fault:
            raise BackendError(f"{self.file} is not what an interrupted run left: remove it, or give another --output.") from fault
        if machine != cpu_title():
            raise BackendError(f"{self.file} was measured on another machine ({machine}): give another --output.")

    def kept(self) -> str:
        """What an interrupted run leaves, and how to go on, as a sentence."""
        if self.file is None:
            return "Interrupted, and nothing is kept: with --output DIR every whole round is."
        whole = ", ".join(f"{count} of {measure}" for measure, count in self.done.items()) or "none yet"
        return f"Interrupted. Whole rounds kept in {self.file}: {whole}. The same command goes on from there."

    def ratios(self, what: str, who: str, to: str) -> list[float]:
        """`who` over `to`, round by round."""
        measured = self.rounds.get(what, {})
        return [mine / other for mine, other in zip(measured.get(who, ()), measured.get(to, ()), strict=False) if other]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model bench compare", description="Time the engines of this machine.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default=DEFAULT_PRESET, choices=[DEFAULT_PRESET], help="the model (default: %(default)s)")
    which.add_argument("--model", metavar="DIR", help="a checkpoint over the same frozen parts")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often everybody has a turn, after one that does not count")
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="tokens of each answer whose speed is measured")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="M", help=f"of {', '.join(MEASURES)}")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="also write compare.json after every round, and plots where matplotlib is installed; an interrupted run goes on from there",
    )
    return parser


def conversation(said: Sequence[str], turn: int, image) -> list[dict]:
    """The messages of a conversation up to question `turn`, counted from 1; `said` are the answers before."""
    messages = []
    for number in range(turn):
        messages.append(question(ASKED[number % len(ASKED)], [image] if number == 0 else None))
        if number + 1 < turn:
            messages.append(text_message("assistant", said[number]))
    return messages


def measure_decode(figures: Figures, contenders: Sequence, image, rounds: int, tokens: int) -> None:
    """Tokens per second of one answer, and the seconds for the picture."""
    messages = [question("Tell me a long story about this.", [image])]
    for counts in figures.measuring("decode", rounds):
        for contender in contenders:
            contender.forget()
            timed = contender.answer(messages, tokens)
            if counts:
                figures.add("decode", contender.name, timed.tokens_per_s)
                if timed.encode_s:
                    figures.add("encode", contender.name, timed.encode_s)


def measure_visitors(figures: Figures, contenders: Sequence, image, rounds: int, tokens: int, counts: Sequence[int]) -> None:
    """Tokens per second of all answers together, of so many visitors at a time."""
    for is_measured in figures.measuring("visitors", rounds):
        for count in counts if is_measured else counts[:1]:
            for contender in contenders:
                speed = together(contender, image, count, tokens)
                if is_measured:
                    figures.add(f"visitors {count}", contender.name, speed)


def together(contender, image, count: int, tokens: int) -> float:
    """Tokens per second from the first visitor's first token to the last one's last."""
    talks = [[question(f"Visitor {number} asks: tell me a long story about this.", [image])] for number in range(count)]
    with ThreadPoolExecutor(count) as threads:
        start = time.perf_counter()
        timed = list(threads.map(lambda messages: contender.answer(messages, tokens), talks))
    seconds = time.perf_counter() - start - min(one.ttft_s for one in timed)
    return sum(one.tokens - 1 for one in timed) / seconds


def measure_turns(figures: Figures, contenders: Sequence, image, rounds: int, tokens: int = 12) -> None:
    """Seconds to the first token of `TURNS`, each question `READING_S` after the answer before, as somebody has to read that first.

    The answers in between are those of the first contender, so that all have the same prompts.
    """
    said: list[str] = []
    for counts in figures.measuring("turns", rounds):
        for contender in contenders:
            contender.forget()
            for turn in range(1, max(TURNS) + 1):
                if turn not in TURNS and not contender.remembers:
                    continue
                time.sleep(READING_S if turn > 1 else 0)
                timed = contender.answer(conversation(said, turn, image), tokens, until_end=True)
                if len(said) < turn:
                    said.append(timed.text or "...")
                if counts and turn in TURNS:
                    figures.add(f"turn {turn}", contender.name, timed.ttft_s)


def table(figures: Figures, what: str, unit: str, baseline: str, better: Callable[[float], float]) -> list[str]:
    """Who, the median, its range, and the ratio to `baseline`, above 1 where it is better than that."""
    lines = [f"{what + ' (' + unit + ')':<42}{'median':>9}{'range':>19}   times {baseline} (range)"]
    for who, values in figures.rounds.get(what, {}).items():
        ratios = sorted(better(ratio) for ratio in figures.ratios(what, who, baseline))
        spread = f"{min(values):.3g}-{max(values):.3g}"
        told = f"{statistics.median(ratios):6.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})" if ratios else ""
        lines.append(f"  {who:<40}{statistics.median(values):>9.3g}{spread:>19}   {told}")
    return lines


def report(figures: Figures) -> str:
    from .contenders import GENERATE, OURS

    parts: list[list[str]] = [table(figures, "encode", "s", OURS, lambda ratio: 1 / ratio)]
    parts.append(table(figures, "decode", "tokens/s", GENERATE, float))
    parts += [table(figures, f"turn {turn}", "s to the first token", "original's flow", lambda ratio: 1 / ratio) for turn in TURNS]
    parts += [table(figures, f"visitors {count}", "tokens/s of all", "the torch engine", float) for count in VISITORS]
    for what, unit in (("ready", "s until the page answers"), ("load", "s until an engine can answer"), ("memory", "MB at most")):
        parts.append(table(figures, what, unit, OURS, lambda ratio: 1 / ratio))
    lines = [line for part in parts if len(part) > 1 for line in [*part, ""]]
    ours = figures.rounds.get("visitors 1", {}).get(OURS)
    for count in VISITORS[1:]:
        many = figures.rounds.get(f"visitors {count}", {}).get(OURS)
        if ours and many:
            gains = sorted(together / alone for together, alone in zip(many, ours, strict=False))
            lines.append(f"{count} visitors, all together against one: {statistics.median(gains):.2f} ({gains[0]:.2f}-{gains[-1]:.2f})")
    return "\n".join([*lines, *figures.notes])


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.tokens < 2:
        parser.error("--rounds must be at least 1 and --tokens at least 2.")
    figures = Figures(file=args.output / "compare.json" if args.output else None)
    image = default_picture()
    source = Path(args.model) if args.model else args.preset
    try:
        figures.take_up()
        if {"decode", "visitors", "turns"} & set(args.only):
            from .contenders import open_contenders

            with open_contenders(source, figures.notes) as contenders:
                if "decode" in args.only:
                    measure_decode(figures, contenders.all, image, args.rounds, args.tokens)
                if "turns" in args.only:
                    measure_turns(figures, contenders.conversing, image, args.rounds)
                if "visitors" in args.only:
                    measure_visitors(figures, contenders.serving, image, args.rounds, max(2, args.tokens // 2), VISITORS)
        if "start" in args.only:
            from .bench_start import measure_start

            measure_start(figures, source, min(args.rounds, STARTS))
    except (BackendError, WeightsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(figures.kept(), file=sys.stderr)
        return INTERRUPTED
    print(f"{cpu_title()}, {args.rounds} rounds")
    print(report(figures))
    if args.output:
        figures.write()
        from .bench_plots import plot

        for path in plot(figures.rounds, args.output):
            print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(figures.document()))
    return 0

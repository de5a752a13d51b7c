"""`bench serving`: how many people a server can answer, from what it writes for several visitors at a time.

    python -m minigpt4_model bench serving --base-url http://127.0.0.1:8000/v1 --visitors 1 4 16 64

The server is any that speaks OpenAI's chat completions: vLLM, this project's own, or another. What the figures are made into people with
is told in docs/serving.md, and can be set by flags.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ..chat.backends.base import BackendError
from .bench import default_picture
from .bench_compare import together
from .server_contender import ServerContender


@dataclass(frozen=True)
class Demand:
    """What one user asks of a server: questions a minute, tokens of an answer, how much busier than average busy times are, and the
    tokens per second that an answer must not fall below, which is how fast people read."""

    questions_per_minute: float = 1.0
    answer_tokens: int = 150
    peak: float = 2.0
    reading_speed: float = 10.0

    @property
    def tokens_per_s(self) -> float:
        return self.questions_per_minute * self.answer_tokens / 60 * self.peak


@dataclass(frozen=True)
class Capacity:
    """What one copy of the model carries: `visitors` answered at a time, `tokens_per_s` of all of them, so many `users`."""

    visitors: int
    tokens_per_s: float
    users: int


def capacity(speeds: Mapping[int, float], demand: Demand) -> Capacity | None:
    """From tokens per second of all answers by the number of visitors at a time; None where even one reads faster than is written."""
    fast_enough = [count for count, speed in speeds.items() if speed / count >= demand.reading_speed]
    if not fast_enough:
        return None
    most = max(fast_enough)
    return Capacity(most, speeds[most], math.floor(speeds[most] / demand.tokens_per_s))


def copies(users: int, one: Capacity) -> int:
    """How many copies of the model so many users need."""
    return math.ceil(users / max(1, one.users))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model bench serving", description="How many people a server can answer.")
    parser.add_argument("--base-url", required=True, metavar="URL", help="the server; its key is read from OPENAI_API_KEY")
    parser.add_argument("--served-model", metavar="NAME", help="which of its models")
    parser.add_argument(
        "--visitors", type=int, nargs="+", default=[1, 4, 16, 64], metavar="N", help="so many at a time (default: 1 4 16 64)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the median of so many counts (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="tokens of each answer (default: %(default)s)")
    parser.add_argument("--users", type=int, nargs="+", default=[10, 100, 1000], metavar="N", help="say how many copies these need")
    for name, about in (
        ("questions_per_minute", "of one user"),
        ("answer_tokens", "of an average answer"),
        ("peak", "busy times over the average"),
        ("reading_speed", "tokens per second that no answer may fall below"),
    ):
        default = getattr(Demand, name)
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default, help=f"{about} (default: {default:g})")
    return parser


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if min(args.visitors) < 1 or args.rounds < 1 or args.tokens < 2:
        parser.error("--visitors and --rounds must be at least 1, --tokens at least 2.")
    demand = Demand(args.questions_per_minute, args.answer_tokens, args.peak, args.reading_speed)
    try:
        server = ServerContender("server", args.base_url, args.served_model)
        image = default_picture()
        together(server, image, 1, args.tokens)  # does not count
        rounds = [{count: together(server, image, count, args.tokens) for count in sorted(args.visitors)} for _ in range(args.rounds)]
        server.close()
    except BackendError as fault:
        print(fault, file=sys.stderr)
        return 1
    speeds = {count: statistics.median(one[count] for one in rounds) for count in rounds[0]}
    print(f"{'visitors':>8}  {'tokens/s of all':>15}  {'of each':>8}")
    for count, speed in speeds.items():
        print(f"{count:8}  {speed:15.1f}  {speed / count:8.1f}")
    one = capacity(speeds, demand)
    if one is None:
        print(f"Nobody gets {demand.reading_speed:g} tokens per second: this server is too slow for anybody.")
    else:
        carries = f"{one.visitors} at a time with {one.tokens_per_s:.0f} tokens/s"
        print(f"One copy: {carries}; that is {one.users} users of {demand.tokens_per_s:g} tokens/s each")
        for users in args.users:
            print(f"{users:8} users: {copies(users, one)} copies")
    print(json.dumps({"tokens_per_s": speeds, "demand": asdict(demand), "one_copy": asdict(one) if one else None}))
    return 0

"""`curate refine`: a language model corrects each text (paper 3.2: ChatGPT, with the prompt of prompts/refine.txt), or rules do.

A correction is a new version beside the old one, stored when it comes: an interruption loses the requests that are under way, no
more. Who asks an endpoint sees first what it will cost.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from .cost import Estimate, Prices, estimate_cost
from .endpoint import Completion, Endpoint, RequestRefused
from .errors import CurationError
from .flags import add_endpoint_flags, add_project_flag, check_counts, check_endpoint_flags, open_endpoint
from .languages import check_language
from .mending import mend
from .progress_bar import bar
from .project import Project, add_failure, add_text, recorded_run
from .prompts import REFINE_FILE, TEXT_PLACE, read_refine_prompt
from .schema import REFINE

RULES_AUTHOR = "rules"
_SHOWN = 2  # requests that a dry run shows in full


@dataclass(frozen=True)
class Unrefined:
    """A text to correct: the current version of an item."""

    id: int
    item: int
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    which = parser.add_argument_group("which texts")
    which.add_argument("--limit", type=int, metavar="N", help="correct N texts now")
    which.add_argument(
        "--only-marked", action=argparse.BooleanOptionalAction, default=False, help="only texts that curate clean has marked"
    )
    which.add_argument("--again", action=argparse.BooleanOptionalAction, default=False, help="also texts that are corrected already")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--rules-only", action=argparse.BooleanOptionalAction, default=False, help="no model: rules take out what is surely wrong"
    )
    how.add_argument("--language", default="en", metavar="L", help="with --rules-only: sentences in others go; '' keeps all (default: en)")
    how.add_argument(
        "--prompt", type=Path, default=REFINE_FILE, metavar="FILE", help="what the model is told (default: prompts/refine.txt)"
    )
    how.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests at the same time (default: %(default)s)")
    how.add_argument("--temperature", type=float, metavar="X", help="of the answers (default: the server's own)")
    cost = parser.add_argument_group("cost")
    cost.add_argument(
        "--dry-run", action=argparse.BooleanOptionalAction, default=False, help="show what would be sent and what it would cost"
    )
    cost.add_argument("--input-price", type=float, metavar="P", help="price of a million tokens that the model reads")
    cost.add_argument("--output-price", type=float, metavar="P", help="price of a million tokens that it writes")
    cost.add_argument("--max-cost", type=float, metavar="P", help="stop when the answers have cost this much; needs both prices")
    cost.add_argument("--yes", action=argparse.BooleanOptionalAction, default=False, help="begin without asking")
    add_endpoint_flags(parser)


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    check_endpoint_flags(parser, args)
    if args.rules_only == bool(args.base_url) and not (args.dry_run and not args.rules_only):
        parser.error("give --base-url URL for a language model, or --rules-only")
    check_counts(parser, args, "limit", "concurrency")
    if args.max_cost is not None and (args.input_price is None or args.output_price is None):
        parser.error("--max-cost needs --input-price and --output-price")


def run(args: argparse.Namespace) -> int:
    """Corrects what is not corrected. Returns 1 when some could not be, or when --max-cost ended it."""
    project = Project(args.project)
    texts = _unrefined(project, args)
    if not texts:
        print("There is no text to correct.")
        return 0
    if args.rules_only:
        return _by_rules(project, texts, args)
    prompt = read_refine_prompt(args.prompt)
    prices = Prices(args.input_price, args.output_price)
    estimate = estimate_cost(prompt, [one.text for one in texts], prices, args.requests_per_minute, args.concurrency)
    print(estimate)
    if args.dry_run:
        for one in texts[:_SHOWN]:
            print(f"\n--- item {one.item}\n{prompt.replace(TEXT_PLACE, one.text)}")
        print("\nNothing was sent.")
        return 0
    if not (args.yes or _agreed(estimate)):
        raise CurationError("Nothing was sent: answer y, or say --yes.")
    return _by_model(project, texts, prompt, prices, args)


def _agreed(estimate: Estimate) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Send {estimate.requests:,} requests? [y/N] ").strip().lower() in ("y", "yes")


def _unrefined(project: Project, args: argparse.Namespace) -> list[Unrefined]:
    wanted = ["1" if args.again else f"c.step != '{REFINE}'"]
    if args.only_marked:
        wanted.append("c.id IN (SELECT text_id FROM marks)")
    rows = project.rows(f"SELECT c.id, c.item_id, c.text FROM current c WHERE {' AND '.join(wanted)} ORDER BY c.item_id")
    return [Unrefined(row["id"], row["item_id"], row["text"]) for row in rows[: args.limit]]


def _by_rules(project: Project, texts: Sequence[Unrefined], args: argparse.Namespace) -> int:
    if args.language:
        check_language(args.language)
    changed = 0
    if args.dry_run:
        for one in texts:
            mended, done = mend(one.text, args.language)
            changed += bool(done)
            if done and changed <= _SHOWN:
                print(f"--- item {one.item}: {', '.join(done)}\n{one.text}\n->\n{mended}\n")
        print(f"Rules would change {changed} of {len(texts)} texts. Nothing was stored.")
        return 0
    with recorded_run(project, REFINE, {"author": RULES_AUTHOR, "language": args.language}) as summary:
        for batch in _batches(bar(texts, "texts"), 200):
            mended = [(one, *mend(one.text, args.language)) for one in batch]
            with project.writing() as connection:
                for one, text, done in mended:
                    add_text(connection, one.item, REFINE, RULES_AUTHOR, text, one.id, {"done": done})
                    changed += bool(done)
        summary.update(refined=len(texts), changed=changed)
    print(f"Rules looked at {len(texts)} texts and changed {changed}.")
    return 0


def _batches(things, size: int) -> Iterator[list]:
    things = iter(things)
    while batch := list(islice(things, size)):
        yield batch


def _by_model(project: Project, texts: Sequence[Unrefined], prompt: str, prices: Prices, args: argparse.Namespace) -> int:
    endpoint = open_endpoint(args)
    settings = {"author": endpoint.model, "base_url": args.base_url, "prompt": prompt, "temperature": args.temperature}
    failed = changed = stored = 0
    try:
        with recorded_run(project, REFINE, settings) as summary:
            affordable = bar(takewhile(lambda _: not _too_dear(endpoint, prices, args.max_cost), texts), "corrected", len(texts))
            for one, answer in _answers(endpoint, affordable, prompt, args.concurrency, args.temperature):
                problem = _problem(answer)
                with project.writing() as connection:
                    if problem:
                        failed += 1
                        add_failure(connection, one.item, REFINE, problem)
                    else:
                        stored += 1
                        changed += answer.text != one.text
                        tokens = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
                        add_text(connection, one.item, REFINE, endpoint.model, answer.text, one.id, tokens)
            summary.update(refined=stored, changed=changed, failed=failed, **vars(endpoint.used))
    finally:
        endpoint.close()
    used = endpoint.used
    spent = prices.cost(used.prompt_tokens, used.completion_tokens)
    if stored + failed < len(texts):
        print(f"--max-cost {args.max_cost:g} is reached.", file=sys.stderr)
    money = f", {spent:,.4f} in all" if spent is not None else ""
    print(f"{stored} texts corrected, {changed} of them changed; {failed} failed; {len(texts) - stored - failed} left.")
    print(f"The endpoint counted {used.prompt_tokens:,} tokens read and {used.completion_tokens:,} written{money}.")
    return 1 if stored < len(texts) else 0


def _too_dear(endpoint: Endpoint, prices: Prices, most: float | None) -> bool:
    """Whether what was answered has cost as much as it may; what is under way is waited for and stored all the same."""
    spent = prices.cost(endpoint.used.prompt_tokens, endpoint.used.completion_tokens)
    return most is not None and spent is not None and spent >= most


def _answers(
    endpoint: Endpoint, texts, prompt: str, concurrency: int, temperature: float | None
) -> Iterator[tuple[Unrefined, Completion | RequestRefused]]:
    """Each text with its answer, as they come. No more requests are under way than are allowed; none is begun once this is closed."""

    def ask(text: str) -> Completion | RequestRefused:
        try:
            return endpoint.complete([{"role": "user", "content": prompt.replace(TEXT_PLACE, text)}], temperature=temperature)
        except RequestRefused as error:
            return error

    threads = ThreadPoolExecutor(concurrency)
    left, under_way = iter(texts), dict[Future, Unrefined]()
    try:
        while True:
            for one in islice(left, concurrency - len(under_way)):
                under_way[threads.submit(ask, one.text)] = one
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for answered in done:
                yield under_way.pop(answered), answered.result()
    finally:
        endpoint.gate.close()  # who waits for another attempt gives up
        threads.shutdown(cancel_futures=True)


def _problem(answer: Completion | RequestRefused) -> str:
    """Why an answer is no correction, or ""."""
    if isinstance(answer, RequestRefused):
        return str(answer)
    if not answer.text:
        return "The answer is empty."
    return "The answer was cut off by the server's limit." if answer.finish_reason == "length" else ""

"""`curate describe`: a model says everything it sees in each picture; an answer that stopped early is continued (paper 3.2).

Each batch is stored when it is there; the next run describes what has no description yet.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from ..chat.backends import open_backend
from ..chat.backends.flags import add_model_flags, model_options
from ..chat.messages import question, text_message
from ..chat.settings import GenerationSettings, SettingsError, add_flags, settings_from_flags
from ..presets import DEFAULT_PRESET
from .describers import BackendDescriber, Describer, EndpointDescriber, Said
from .flags import add_endpoint_flags, add_project_flag, check_counts, check_endpoint_flags, open_endpoint
from .pictures import MAX_SIDE, take_pictures
from .progress_bar import bar
from .project import Project, add_failure, add_text, recorded_run
from .prompts import DESCRIBE_FILE, DescribePrompts, read_describe_prompts
from .schema import DESCRIBE

MIN_TOKENS = 80  # paper 3.2: a shorter answer is taken for one that stopped early
_GENERATION = [option.name for option in dataclasses.fields(GenerationSettings)]
_OPTIONS = {"max_new_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "seed": "seed"}  # what every endpoint takes

EPILOG = """\
PICTURES is a folder (with all that is below it), a picture, web shards (a folder of .tar files, a glob, {00000..00099}.tar), or anything
else that --data of the training scripts takes. Run it again to go on after an interruption, or to add pictures.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument("pictures", nargs="*", metavar="PICTURES", help="where pictures are; none: only describe what the project has")
    add_project_flag(parser)
    taking = parser.add_argument_group("pictures")
    taking.add_argument(
        "--source-name", default="", metavar="NAME", help="what the source is called in the data set's card (default: its folder)"
    )
    taking.add_argument("--licence", default="", metavar="L", help="the licence of these pictures, for the card")
    taking.add_argument("--sample", type=int, metavar="N", help="take N of them, drawn at random (the paper: 5,000)")
    taking.add_argument("--sample-seed", type=int, default=0, metavar="S", help="which ones (default: %(default)s)")
    taking.add_argument("--max-side", type=int, default=MAX_SIDE, metavar="PX", help="longest side of what is kept (default: %(default)s)")
    taking.add_argument(
        "--use-captions", action=argparse.BooleanOptionalAction, default=False, help="take the source's own texts and ask no model"
    )
    taking.add_argument("--take-only", action=argparse.BooleanOptionalAction, default=False, help="take the pictures and describe none now")
    asking = parser.add_argument_group("asking")
    asking.add_argument("--prompts", type=Path, default=DESCRIBE_FILE, metavar="FILE", help="what is asked (default: prompts/describe.txt)")
    asking.add_argument(
        "--min-tokens",
        type=int,
        default=MIN_TOKENS,
        metavar="N",
        help="ask to continue after a shorter answer; 0 never (default: %(default)s)",
    )
    asking.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures described at the same time (default: %(default)s)")
    asking.add_argument("--limit", type=int, metavar="N", help="describe N pictures now")
    asking.add_argument(
        "--again", action=argparse.BooleanOptionalAction, default=False, help="describe pictures anew whose description is another model's"
    )
    model = parser.add_argument_group("model in this process")
    add_model_flags(model)
    model.add_argument("--backend", choices=("torch", "echo"), default="torch", help="who answers (default: %(default)s; echo: for tests)")
    add_endpoint_flags(parser)
    add_flags(parser)


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    check_endpoint_flags(parser, args)
    check_counts(parser, args, "sample", "batch_size", "limit", "max_side")
    if args.again and args.base_url and not args.served_model:
        parser.error("--again with --base-url needs --served-model: pictures that this model has described are left alone")
    for name in _GENERATION:
        if args.base_url and name not in _OPTIONS and getattr(args, name) is not None:
            parser.error(f"--{name.replace('_', '-')} is for a model in this process: an endpoint of --base-url does not take it.")
    try:
        settings_from_flags(args, GenerationSettings())
    except SettingsError as error:
        parser.error(str(error))


def run(args: argparse.Namespace) -> int:
    """Takes the pictures and describes what is not described. Returns 1 when something could not be."""
    prompts = read_describe_prompts(args.prompts)
    project = Project(args.project, create=bool(args.pictures))
    unusable = 0
    for path in args.pictures:
        taken = take_pictures(
            project,
            path,
            name=args.source_name,
            licence=args.licence,
            sample=args.sample,
            seed=args.sample_seed,
            max_side=args.max_side,
            with_texts=args.use_captions,
            progress=lambda places: bar(places, "pictures"),
        )
        unusable += taken.unusable
        print(f"{path}: {taken.new} new pictures, {taken.known} known, {taken.unusable} that cannot be used.", file=sys.stderr)
    for row in project.rows("SELECT place, problem FROM places WHERE problem != '' LIMIT 3") if unusable else ():
        place, problem = row["place"], row["problem"]
        name = Path(place).name + " "  # which a problem may begin with already
        print(f"  {place} {problem.removeprefix(name)}" if problem.startswith(name) else f"  {place}: {problem}", file=sys.stderr)
    if args.take_only:
        return 1 if unusable else 0
    if args.use_captions:
        print(f"{project.value('SELECT COUNT(*) FROM current')} pictures of {args.project} have a text.")
        return 1 if unusable else 0
    left = _left(project, args)
    if not left:
        print("Every picture has its description.")
        return 1 if unusable else 0
    describer = _open(args)
    try:
        failed = describe_pictures(project, describer, left, prompts, args.min_tokens, _settings(args))
    finally:
        describer.close()
    texts = project.value("SELECT COUNT(*) FROM current")
    print(f"{len(left) - failed} pictures described, {failed} failed; {args.project} has {texts} texts.")
    return 1 if failed or unusable else 0


def describe_pictures(
    project: Project, describer: Describer, items: list[tuple[int, Path]], prompts: DescribePrompts, min_tokens: int, settings: dict
) -> int:
    """Describes the items (id, picture), a batch at a time, and returns how many could not be described."""
    failed = continued = 0
    batches = [items[start : start + describer.batch_size] for start in range(0, len(items), describer.batch_size)]
    who = {"author": describer.name, **({"engine": describer.engine} if describer.engine else {})}
    settings = {**who, **settings, "question": prompts.question, "continue": prompts.continuation, "min_tokens": min_tokens}
    with recorded_run(project, DESCRIBE, settings) as summary, bar(None, "described", len(items)) as progress:
        for batch in batches:
            told = _describe(describer, [picture for _, picture in batch], prompts, min_tokens)
            with project.writing() as connection:
                for (item, _), (text, said) in zip(batch, told, strict=True):
                    if not text:
                        failed += 1
                        add_failure(connection, item, DESCRIBE, said[-1].problem or "The answer is empty.")
                        continue
                    continued += len(said) > 1
                    details = {"tokens": [one.tokens for one in said], "finish_reason": said[-1].finish_reason, "continued": len(said) > 1}
                    add_text(connection, item, DESCRIBE, describer.name, text, details=details)
            progress.update(len(batch))
        summary.update(described=len(items) - failed, failed=failed, continued=continued)
    return failed


def _describe(describer: Describer, pictures: list[Path], prompts: DescribePrompts, min_tokens: int) -> list[tuple[str, list[Said]]]:
    """For each picture the whole text and the one or two answers that it is joined of."""
    asked = [[question(prompts.question, [picture])] for picture in pictures]
    told = [[said] for said in describer.ask(asked)]
    short = [place for place, (said,) in enumerate(told) if said.text and said.tokens < min_tokens and said.finish_reason == "stop"]
    if short:
        go_on = [
            [*asked[place], text_message("assistant", told[place][0].text), text_message("user", prompts.continuation)] for place in short
        ]
        for place, said in zip(short, describer.ask(go_on), strict=True):
            if said.text:
                told[place].append(said)
    return [(" ".join(one.text for one in said if one.text), said) for said in told]


def _left(project: Project, args: argparse.Namespace) -> list[tuple[int, Path]]:
    """The items to describe: those without any text or, with --again, without a description of this model."""
    wanted = "id NOT IN (SELECT item_id FROM current)"
    values: tuple = ()
    if args.again:
        wanted, values = "id NOT IN (SELECT item_id FROM texts WHERE step = ? AND author = ?)", (DESCRIBE, _name(args))
    rows = project.rows(f"SELECT id, digest FROM items WHERE {wanted} ORDER BY id", *values)
    return [(row["id"], project.picture_file(row["digest"])) for row in rows[: args.limit]]


def _name(args: argparse.Namespace) -> str:
    """Who will have written the descriptions."""
    if args.base_url:
        return args.served_model or ""
    if args.backend != "torch":
        return args.backend
    return str(Path(args.model).resolve().name) if args.model else args.preset or DEFAULT_PRESET


def _settings(args: argparse.Namespace) -> dict:
    """What a person would have to say again to get the like."""
    names = ("preset", "model", "base_url", "dtype", "load_in_8bit", "load_in_4bit", "image_size", "batch_size", *_GENERATION)
    given = {name: getattr(args, name) for name in names}
    return {name: value for name, value in given.items() if value is not None and (name in _GENERATION or value is not False)}


def _open(args: argparse.Namespace) -> Describer:
    if args.base_url:
        options = {name: getattr(args, ours) for ours, name in _OPTIONS.items() if getattr(args, ours) is not None}
        return EndpointDescriber(open_endpoint(args), args.batch_size, options)
    backend = open_backend(args.backend, **model_options(args))
    return BackendDescriber(backend, _name(args), settings_from_flags(args, backend.description.settings), args.batch_size)

"""Settings and flags are one thing, and the scripts of the paper's stages say what the settings say."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from minigpt4_model.training import train
from minigpt4_model.training.arguments import ArgumentsError, TrainingArguments, add_flags, from_flags, was
from minigpt4_model.training.pocket import train as pocket_train
from minigpt4_model.training.stage_arguments import Stage1Arguments, Stage2Arguments

SCRIPTS = Path(__file__).parents[1] / "scripts"


def script_flags(name: str) -> list[str]:
    """What a script passes to the program, one flag a line."""
    text = (SCRIPTS / name).read_text(encoding="utf-8")
    command = text[text.rindex("exec ") :].replace("\\\n", "\n").splitlines()
    flags = [line.strip() for line in command[1:] if line.strip() and line.strip() != '"$@"']
    assert all(re.fullmatch(r"--[a-z0-9-]+ \S+", line) for line in flags), flags
    assert text.rstrip().endswith('"$@"')
    return shlex.split(" ".join(flags))


@pytest.mark.parametrize("number, arguments", [(1, Stage1Arguments), (2, Stage2Arguments)])
def test_the_scripts_are_the_papers_defaults_written_out(number, arguments, monkeypatch):
    monkeypatch.chdir(SCRIPTS.parent)
    written = script_flags(f"train_stage{number}.sh")
    args = train.build_parser().parse_args([f"stage{number}", *written])
    bare = train.build_parser().parse_args([f"stage{number}", *written[:2]])  # --model or --init has no default
    ours, defaults = (from_flags(given, arguments) for given in (args, bare))
    if number == 2:
        assert ours.prompts.resolve() == defaults.prompts
        ours = from_flags(args, arguments, prompts=defaults.prompts)
    assert ours == defaults
    assert {"--max-steps", "--batch-size", "--learning-rate", "--warmup-steps", "--max-text-tokens"} <= set(written)


@pytest.mark.parametrize("stage", ["representation", "stage1", "stage2"])
def test_the_pocket_scripts_flags_are_flags(stage):
    args = pocket_train.build_parser().parse_args([stage, *script_flags(f"train_pocket_{stage}.sh")])
    assert args.output_dir == Path(f"runs/pocket-{stage}")


def test_flags_and_fields_are_the_same():
    parser = argparse.ArgumentParser()
    add_flags(parser, TrainingArguments)
    needed = ["--output-dir", "x", "--max-steps", "5", "--batch-size", "2", "--learning-rate", "1e-3", "--min-learning-rate", "1e-4"]
    given = from_flags(parser.parse_args([*needed, "--warmup-steps", "1", "--no-train-qformer", "--max-minutes", "2.5"]), TrainingArguments)
    assert given == TrainingArguments(
        output_dir=Path("x"),
        max_steps=5,
        batch_size=2,
        learning_rate=1e-3,
        min_learning_rate=1e-4,
        warmup_steps=1,
        train_qformer=False,
        max_minutes=2.5,
    )
    with pytest.raises(SystemExit):
        parser.parse_args(needed[2:])


def test_help_has_the_papers_sections(capsys):
    with pytest.raises(SystemExit):
        train.build_parser().parse_args(["stage1", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "Samples of a step over all processes (paper 3.1; upstream: 64 on each of 4 A100). (default: 256)" in told
    assert "(default: data/laion@115 data/cc_sbu@14)" in told


def test_data_that_is_given_takes_the_place_of_the_default():
    parser = train.build_parser()
    args = parser.parse_args(["stage1", "--model", "m", "--data", "a@1", "b@2", "--data", "c@3"])
    assert from_flags(args, Stage1Arguments).data == ("a@1", "b@2", "c@3")
    assert from_flags(parser.parse_args(["stage1", "--model", "m"]), Stage1Arguments).data == ("data/laion@115", "data/cc_sbu@14")


def test_contradictory_arguments_name_the_flag():
    given = dict(output_dir=Path("x"), batch_size=2, learning_rate=1e-3, min_learning_rate=1e-4)
    with pytest.raises(ArgumentsError, match=r"--warmup-steps \(7\) must not exceed --max-steps \(6\)"):
        TrainingArguments(**given, max_steps=6, warmup_steps=7)
    with pytest.raises(ArgumentsError, match="--max-steps must be at least 1, not 0"):
        TrainingArguments(**given, max_steps=0, warmup_steps=0)
    with pytest.raises(ArgumentsError, match="--save-total-limit must be at least 1, not 0"):
        TrainingArguments(**given, max_steps=6, warmup_steps=0, save_total_limit=0)
    with pytest.raises(ArgumentsError, match="--learning-rate must not be negative, not -1"):
        TrainingArguments(output_dir=Path("x"), max_steps=1, batch_size=1, learning_rate=-1.0, min_learning_rate=0.0, warmup_steps=0)


def test_the_documents_commands_are_commands():
    text = (SCRIPTS.parent / "docs" / "training.md").read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if " -m minigpt4_model.training.train " in line]
    assert commands
    for command in commands:
        args = train.build_parser().parse_args(shlex.split(command.partition("training.train ")[2]))
        from_flags(args, train.STAGES[args.stage])
    assert [name for name in re.findall(r"scripts/\w+\.sh", text) if not (SCRIPTS.parent / name).exists()] == []
    told = set(re.findall(r"`(--[a-z0-9-]+)", text)) - {"--model"}
    known = {action for stage in ("stage1", "stage2") for action in _flags_of(stage)}
    assert told - known - {"--help", "--ipc", "--shm-size"} == set()  # the last two are docker's


def _flags_of(stage: str) -> set[str]:
    (stages,) = [action for action in train.build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return {flag for action in stages.choices[stage]._actions for flag in action.option_strings}


def test_a_pocket_stage_without_the_one_before_it_says_what_to_run(tmp_path, capsys):
    assert pocket_train.main(["stage2", "--init", str(tmp_path / "none"), "--output-dir", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "scripts/train_pocket_stage1.sh" in said and "--init checkpoints/pocket" in said


def test_people_read_what_was_given_and_what_differs_from_the_defaults(tmp_path):
    stage = Stage1Arguments(output_dir=tmp_path, model="models/vicuna-7b", data=("a", "b@2"), seed=42, max_steps=20_000)
    assert stage.given()["--data"] == "a b@2" and stage.given()["--model"] == "models/vicuna-7b"
    assert stage.given()["--seed"] == "42" and "--init" not in stage.given() and "--eval-data" not in stage.given()
    assert set(stage.changed()) == {"--output-dir", "--model", "--data"}


def test_a_fingerprint_is_told_as_the_path_that_was_given():
    then, now = {"--data": "data/a", "--seed": "1"}, {"--data": "data/b", "--seed": "2"}
    assert was("--data", "1fbf710a0c542729", then, now) == "was data/a"
    assert was("--data", "1fbf710a0c542729", then, then) == "what data/a holds has changed since; it was 1fbf710a0c542729"
    assert was("--data", "1fbf710a0c542729", {}, now) == "was 1fbf710a0c542729"  # a state of an older version
    assert was("--seed", "1", then, now) == "was 1" and was("--new", None, then, now) == "was not given"

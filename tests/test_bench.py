"""The bench verb: its bookkeeping on a tiny model, its table and its flags. It asserts no speed."""

import json

import pytest

from minigpt4_model.__main__ import main
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.evaluation import bench
from tests.tiny_chat import build_chatml_model


@pytest.fixture(scope="module")
def figures():
    from minigpt4_model.chat.engine import Engine

    settings = GenerationSettings(temperature=0, max_new_tokens=4)
    return bench.measure(Engine(*build_chatml_model()), bench.default_picture(), turns=3, repeat=1, settings=settings)


def test_both_ways_are_measured_on_the_same_prompts(figures):
    assert [(row.turn, row.reuse) for row in figures] == [(1, True), (1, False), (2, True), (2, False), (3, True), (3, False)]
    for with_reuse, without in zip(figures[::2], figures[1::2], strict=True):
        assert with_reuse.prompt_tokens == without.prompt_tokens
        assert without.reused_tokens == 0


def test_later_turns_reuse_the_picture_and_do_not_encode_it_again(figures):
    second = figures[2]
    assert second.turn == 2 and second.reused_tokens > 32
    assert second.encode_s < figures[0].encode_s


def test_table_has_a_ratio_for_each_turn(figures):
    rows = bench.table(figures).splitlines()[1:-1]
    assert len(rows) == 6
    assert all(len(row.split()) == 8 for row in rows[::2])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--turns", "9"], "--turns must be between 1 and 5"),
        (["--repeat", "0"], "--repeat must"),
        (["--max-new-tokens", "0"], "--max-new-tokens 0: "),
        (["--load-in-8bit", "--load-in-4bit"], "not allowed with"),
    ],
)
def test_flags_out_of_range_are_named(flags, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["bench", *flags])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_picture_is_one_sentence(capsys):
    assert main(["bench", "--image", "nowhere.png"]) == 1
    assert "nowhere.png" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_one_sentence(capsys, tmp_path):
    assert main(["bench", "--model", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"--model {tmp_path}: there is no config.json")


def test_json_is_the_last_line(monkeypatch, capsys):
    from minigpt4_model.chat import engine, load

    monkeypatch.setattr(load, "load_engine", lambda *args, **kwargs: engine.Engine(*build_chatml_model()))
    assert main(["bench", "--turns", "1", "--repeat", "1", "--max-new-tokens", "2"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["reuse"] for row in document["turns"]] == [True, False]


def test_random_weights_of_a_presets_kind_are_timed(capsys):
    flags = ["--preset", "vicuna-7b", "--random-weights", "--small", "--device", "cpu", "--dtype", "float32"]
    assert main(["bench", *flags, "--turns", "2", "--repeat", "1", "--max-new-tokens", "3"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [turn["turn"] for turn in document["turns"]] == [1, 1, 2, 2]
    assert document["turns"][2]["reused_tokens"] > 32


@pytest.mark.parametrize("flags", [[], ["--preset", "pocket"], ["--model", "."], ["--preset", "vicuna-7b", "--load-in-4bit"]])
def test_random_weights_are_full_size_presets_alone(flags, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--random-weights", *flags])
    assert "--random-weights goes with --preset" in capsys.readouterr().err

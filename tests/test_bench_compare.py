"""`bench compare`: who takes turns, what is a ratio, and the whole on a tiny model. It asserts no speed."""

import json
from types import SimpleNamespace

import pytest

from minigpt4_model.__main__ import main
from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.evaluation import bench_compare, bench_start, contenders
from minigpt4_model.evaluation.bench import default_picture
from minigpt4_model.evaluation.bench_compare import Figures, conversation, measure_turns, measure_visitors
from minigpt4_model.evaluation.contenders import EngineContender, GenerateContender
from minigpt4_model.evaluation.server_contender import ServerContender
from minigpt4_model.evaluation.timed import Timed
from minigpt4_model.weights.errors import WeightsError
from tests.api_server import serving
from tests.tiny_chat import build_chatml_model


@pytest.fixture(autouse=True)
def quick_reader(monkeypatch):
    monkeypatch.setattr(bench_compare, "READING_S", 0.0)


class Scripted:
    """Says what it was asked, and takes notes."""

    def __init__(self, name="one", remembers=True):
        self.name, self.remembers, self.asked = name, remembers, []

    def forget(self):
        self.asked.append("forgot")

    def answer(self, messages, tokens, until_end=False):
        self.asked.append(len(messages))
        return Timed(0.5, 1.0, tokens, 10.0, f"{self.name} {len(messages)}")


def test_ratios_are_taken_within_a_round():
    figures, values = Figures(), iter([(1, 1), (10, 5), (40, 10), (9, 3)])
    for _ in figures.measuring("decode", 3):
        mine, other = next(values)
        figures.add("decode", "mine", mine)
        figures.add("decode", "other", other)
    assert figures.ratios("decode", "mine", "other") == [2, 4, 3]
    lines = bench_compare.table(figures, "decode", "tokens/s", "other", float)
    assert "times other" in lines[0] and "3.00 (2.00-4.00)" in lines[1]


def test_all_hear_the_answers_of_the_first():
    one, other = Scripted("one"), Scripted("other", remembers=False)
    figures = Figures()
    measure_turns(figures, [one, other], default_picture(), rounds=2)
    assert figures.rounds["turn 5"] == {"one": [1.0, 1.0], "other": [1.0, 1.0]}
    assert one.asked == ["forgot", *range(1, 20, 2)] * 3
    assert other.asked == ["forgot", 1, 3, 9, 19] * 3  # who remembers nothing need not hear the turns in between
    history = conversation(["one 1", "one 3"], 3, None)
    assert [message["role"] for message in history] == ["user", "assistant", "user", "assistant", "user"]


def test_visitors_come_at_once_and_none_is_lost():
    figures, one = Figures(), Scripted()
    measure_visitors(figures, [one], default_picture(), 1, 8, (1, 4))
    assert set(figures.rounds) == {"visitors 1", "visitors 4"}
    assert one.asked == [1] * (1 + 5)  # a short round that does not count, and one that does


def test_an_interrupted_run_goes_on_with_whole_rounds(tmp_path):
    def interrupted(file, rounds, after):
        figures, asked = Figures(file=file), 0
        figures.take_up()
        for counts in figures.measuring("decode", rounds):
            for who in ("one", "other"):
                asked += 1
                if asked > after:
                    return figures, asked
                if counts:
                    figures.add("decode", who, float(asked))
        return figures, asked

    file = tmp_path / "compare.json"
    interrupted(file, 3, after=5)  # one round that does not count, one that does, and half of another
    assert json.loads(file.read_text())["rounds"] == {"decode": {"one": [3.0], "other": [4.0]}}
    figures, asked = interrupted(file, 3, after=99)
    assert asked == 6 and figures.rounds["decode"] == {"one": [3.0, 3.0, 5.0], "other": [4.0, 4.0, 6.0]}
    assert interrupted(file, 3, after=99)[1] == 0
    for damage in ('{"machine": "another", "rounds": {}, "done": {}}', "[]"):
        file.write_text(damage)
        with pytest.raises(BackendError, match="another"):
            Figures(file=file).take_up()


@pytest.mark.parametrize("written", [True, False])
def test_ctrl_c_ends_in_a_sentence(written, monkeypatch, tmp_path, capsys):
    """It says what is kept and how to go on, and the kept rounds are not done again."""
    built, asked = build_chatml_model(), []
    monkeypatch.setattr(contenders, "load_engine", lambda *args, **kwargs: Engine(*built))
    monkeypatch.setattr(contenders, "unpack_gguf", no_gguf)
    monkeypatch.setattr(contenders, "has_vllm", lambda: False)
    real = EngineContender.answer

    def interrupted(self, *args, **more):
        asked.append(1)
        if len(asked) == 6:  # two engines: a round that does not count, one that does, and half of another
            raise KeyboardInterrupt
        return real(self, *args, **more)

    monkeypatch.setattr(EngineContender, "answer", interrupted)
    command = ["bench", "compare", "--only", "decode", "--rounds", "2", "--tokens", "3", *(["--output", str(tmp_path)] if written else [])]
    assert main(command) == 130
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == "" and "Traceback" not in err
    if not written:
        assert last == "Interrupted, and nothing is kept: with --output DIR every whole round is."
        return
    file = tmp_path / "compare.json"
    assert last == f"Interrupted. Whole rounds kept in {file}: 1 of decode. The same command goes on from there."
    kept = json.loads(file.read_text())["rounds"]["decode"]
    assert main(command) == 0
    assert {who: values[:1] for who, values in json.loads(file.read_text())["rounds"]["decode"].items()} == kept


def test_what_is_lost_is_told():
    one = Scripted()

    def lost(*args, **more):
        raise BackendError("gone")

    one.answer = lost
    with pytest.raises(BackendError, match="gone"):
        bench_compare.together(one, default_picture(), 2, 8)


def test_engines_and_generate_say_the_same():
    engine = Engine(*build_chatml_model())
    ours, theirs = EngineContender("ours", engine), GenerateContender("theirs", engine)
    messages = conversation([], 1, default_picture())
    mine, other = ours.answer(messages, 6), theirs.answer(messages, 6)
    assert mine.tokens == other.tokens == 6 and mine.tokens_per_s > 0 < other.tokens_per_s
    assert 0 < mine.encode_s < mine.ttft_s
    ours.forget()
    assert ours.answer(messages, 20, until_end=True).text == engine.generate(messages, bench_settings(20))
    assert engine._stop_rules.end_tokens


def test_a_server_takes_part_like_an_engine():
    with serving(EchoBackend(seconds_per_word=0.01)) as server:
        one = ServerContender("server", server.url)
        timed = one.answer(conversation([], 1, default_picture()), 6)
        assert (timed.tokens, timed.encode_s) == (6, 0.0) and timed.ttft_s > 0 < timed.tokens_per_s
        assert bench_compare.together(one, default_picture(), 3, 6) > 0
        one.close()


def bench_settings(tokens):
    return GenerationSettings(temperature=0.0, repetition_penalty=1.0, max_new_tokens=tokens, loop_guard=0, leak_guard=False)


def test_the_verb_writes_its_figures_and_plots(monkeypatch, tmp_path, capsys):
    built = build_chatml_model()
    monkeypatch.setattr(contenders, "load_engine", lambda *args, **kwargs: Engine(*built))
    monkeypatch.setattr(contenders, "unpack_gguf", no_gguf)
    monkeypatch.setattr(contenders, "has_vllm", lambda: False)
    monkeypatch.setattr(bench_start, "_load", lambda source, engine: (2.0, 300.0))
    monkeypatch.setattr(bench_start, "_page", lambda source, engine: 5.0 if engine == "auto" else 6.0)
    monkeypatch.setattr(bench_compare, "VISITORS", (1, 2))
    monkeypatch.setattr(bench_compare, "TURNS", (1, 2))
    assert main(["bench", "compare", "--rounds", "1", "--tokens", "3", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    document = json.loads(out[-1])
    assert document == json.loads((tmp_path / "compare.json").read_text())
    assert set(document["rounds"]) == {
        "decode", "encode", "turn 1", "turn 2", "visitors 1", "visitors 2", "load", "memory", "ready",
    }  # fmt: skip
    assert any("vLLM is left out: it is not installed" in line for line in out)
    assert any("llama.cpp alone is left out: no wheel" in line for line in out)
    assert any(line.startswith("2 visitors, all together against one") for line in out)
    pytest.importorskip("matplotlib")
    assert (tmp_path / "compare.png").stat().st_size > 10_000


def no_gguf(folder):
    raise WeightsError("no wheel")


def test_a_page_that_does_not_open_is_told(monkeypatch):
    ended = SimpleNamespace(poll=lambda: 1, terminate=lambda: None, wait=lambda seconds: None)
    monkeypatch.setattr(bench_start.subprocess, "Popen", lambda *args, **kwargs: ended)
    with pytest.raises(BackendError, match="did not open"):
        bench_start._page("pocket", "auto")


def test_flags_are_checked(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "compare", "--rounds", "0"])
    assert "--rounds must be at least 1" in capsys.readouterr().err

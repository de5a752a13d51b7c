"""`bench train`: its bookkeeping, its flags, what it prints. It asserts no speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minigpt4_model.__main__ import main
from minigpt4_model.evaluation import bench_train, random_weights
from minigpt4_model.evaluation.training_steps import PARTS, StepFigures
from minigpt4_model.model import MiniGPT4Config
from minigpt4_model.model.configuration import bert_base_qformer
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.memory import SIZES
from tests.tiny_chat import build_chatml_model


def tiny_config() -> MiniGPT4Config:
    return MiniGPT4Config(
        vision_config=dict(image_size=28, hidden_size=32, num_hidden_layers=1, num_attention_heads=4),
        qformer_config=bert_base_qformer(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, encoder_hidden_size=32
        ),
        text_config=dict(
            model_type="llama", vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
        ),
        chat_template_name="vicuna-v0",
    )


@pytest.fixture
def tiny_pocket(tmp_path):
    model, processor = build_chatml_model()
    model.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def last_line(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("stage", ["1", "2"])
def test_the_ways_are_measured_and_told(tiny_pocket, capsys, stage):
    flags = ["--model", tiny_pocket, "--dtype", "float32", "--device", "cpu", "--batch-size", "2", "--steps", "2", "--no-memory"]
    assert main(["bench", "train", *flags, "--stage", stage]) == 0
    out = capsys.readouterr().out
    document = json.loads(out.splitlines()[-1])
    assert list(document["ways"]) == ["naive", "computed", "cached"] and document["stage"] == int(stage)
    for way, row in document["ways"].items():
        assert sum(row["share"].values()) == pytest.approx(1) and set(row["part_s"]) == set(PARTS)
        assert row["samples_per_s"] == pytest.approx(2 / row["step_s"]["median"])
        assert row["gradient_distance"] < 0.03 and row["loss"] == pytest.approx(document["ways"]["naive"]["loss"], rel=1e-3)
        assert ("speedup" in row) == (way != "naive")
        assert f"\n{way}" in out
    assert document["learning_parameters"] == 33 * 32  # of a directory that is not the pocket preset: the projection alone


def test_one_way_measures_its_own_memory(tiny_pocket, capsys):
    flags = ["--model", tiny_pocket, "--device", "cpu", "--dtype", "float32", "--batch-size", "2", "--steps", "0", "--ways", "cached"]
    assert main(["bench", "train", *flags, "--train-qformer"]) == 0
    row = last_line(capsys)["ways"]["cached"]
    assert row["memory"]["peak_bytes"] >= row["memory"]["before_bytes"] > 10**7


def test_memory_of_several_ways_comes_from_processes_of_their_own(monkeypatch):
    asked = []

    def answer(command, **_):
        asked.append(command)
        if "naive" in command:
            return subprocess.CompletedProcess(command, -9, "", "")
        way = command[command.index("--ways") + 1]
        document = {"ways": {way: {"memory": {"peak_bytes": 5, "before_bytes": 3}}}}
        return subprocess.CompletedProcess(command, 0, f"table\n{json.dumps(document)}\n", "")

    monkeypatch.setattr(subprocess, "run", answer)
    assert bench_train.memory_in_own_process(["--batch-size", "2"], "cached") == {"peak_bytes": 5, "before_bytes": 3}
    assert bench_train.memory_in_own_process(["--batch-size", "2"], "naive") is None
    assert asked[0][1:] == ["-m", "minigpt4_model", "bench", "train", "--batch-size", "2", "--ways", "cached", "--steps", "0"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_peak_is_that_of_the_steps():
    code = (
        "from minigpt4_model.evaluation.bench_train import peak_rss, reset_peak_rss\n"
        "big = bytearray(400_000_000); del big; before = peak_rss(); after = reset_peak_rss()\n"
        "big = bytearray(100_000_000); print(before, after, peak_rss())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    before, after, peak = map(int, run.stdout.split())
    assert before > 400_000_000 > after and 100_000_000 < peak - after < 200_000_000


def test_ratios_are_taken_step_by_step():
    def figures(*seconds: float) -> list[StepFigures]:
        return [StepFigures(dict.fromkeys(PARTS, second / len(PARTS)), samples=4) for second in seconds]

    summary = bench_train.summarise({"naive": figures(6, 12, 60), "cached": figures(2, 3, 30)})
    assert summary["cached"]["speedup"] == pytest.approx({"median": 3, "min": 2, "max": 4})
    assert summary["cached"]["samples_per_s"] == pytest.approx(4 / 3) and "speedup" not in summary["naive"]
    assert summary["naive"]["step_s"] == pytest.approx({"median": 12, "min": 6, "max": 60})


def test_what_does_not_fit_is_left_out_or_refused(capsys):
    ways, gib = ["naive", "cached"], 2**30
    assert bench_train.fitting_ways(ways, 4 * gib, 9 * gib) == ways
    assert bench_train.fitting_ways(ways, 4 * gib, 7 * gib) == ["cached"]
    assert "naive is left out: weights and their gradients take 8.0 GiB, and 7.0 GiB are free" in capsys.readouterr().out
    with pytest.raises(WeightsError, match="4.0 GiB, and 3.0 GiB are free"):
        bench_train.fitting_ways(ways, 4 * gib, 3 * gib)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ways", "naive,quick"], "there is no quick"),
        (["--batch-size", "0"], "--batch-size must"),
        (["--steps", "-1"], "--steps must"),
        (["--random-weights"], "full-size preset"),
        (["--random-weights", "--preset", "pocket"], "full-size preset"),
        (["--stage", "3"], "--stage"),
    ],
)
def test_flags_that_cannot_be_are_named(flags, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "train", *flags])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_model_that_is_not_there_is_one_sentence(capsys, tmp_path):
    assert main(["bench", "train", "--model", str(tmp_path), "--no-memory"]) == 1
    assert "there is no config.json" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["vicuna-7b", "vicuna-13b", "llama2-7b"])
def test_full_sizes_are_the_presets(preset):
    from minigpt4_model.model import MiniGPT4ForConditionalGeneration

    config = random_weights.full_size_config(preset)
    with torch.device("meta"):
        model = MiniGPT4ForConditionalGeneration(config)
    size = SIZES[preset]
    llm = sum(p.numel() for name, p in model.named_parameters() if name.startswith(("model.language_model.", "lm_head.")))
    vision = sum(p.numel() for p in model.model.vision_model.parameters())
    assert llm == pytest.approx(size.language_model.linear_parameters + size.language_model.table_parameters, rel=1e-3)
    assert vision == pytest.approx(size.vision_encoder_parameters, rel=0.03)
    assert config.num_image_tokens == (64 if preset == "llama2-7b" else 32)


def test_random_weights_are_made_in_their_precision_and_take_a_step(monkeypatch, capsys):
    model, processor = random_weights.build_random(tiny_config(), torch.bfloat16)
    kinds = {name: p.dtype for name, p in model.named_parameters()}
    assert kinds["model.language_model.layers.0.mlp.up_proj.weight"] == kinds["lm_head.weight"] == torch.bfloat16
    assert kinds["model.language_projection.weight"] == kinds["model.query_tokens"] == torch.float32
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert model.model.language_model.layers[1].mlp.up_proj.weight.detach().float().std() == pytest.approx(0.02, rel=0.1)

    monkeypatch.setattr(random_weights, "full_size_config", lambda preset: tiny_config())
    monkeypatch.setattr(bench_train, "free_memory", lambda: 10**12)
    flags = ["--preset", "vicuna-7b", "--random-weights", "--device", "cpu", "--batch-size", "2", "--steps", "1", "--no-memory"]
    assert main(["bench", "train", *flags, "--gradient-checkpointing"]) == 0
    document = last_line(capsys)
    assert document["model"] == "vicuna-7b with random weights" and document["learning_parameters"] == 33 * 32
    assert all(0 < row["loss"] < 100 for row in document["ways"].values())

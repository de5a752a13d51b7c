"""Runs in programs of their own: killed for good, interrupted politely, and shared out over two processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minigpt4_model.training import train
from minigpt4_model.training.arguments import ArgumentsError
from minigpt4_model.training.checkpoint import load_state
from minigpt4_model.training.processes import build_accelerator, frozen_dtype, load_random_state, random_state
from tests import tiny_training
from tests.test_sources import pairs, write_shard
from tests.tiny_models import build_tiny_model

ROOT = Path(__file__).parents[1]
FLAGS = ["--max-steps", "6", "--batch-size", "4", "--learning-rate", "1e-3", "--min-learning-rate", "1e-4", "--warmup-steps", "2"]
FLAGS += ["--save-steps", "2", "--eval-steps", "6"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}


def command(directory: Path, *more: str, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *launcher, "-m", "tests.tiny_training", "--output-dir", str(directory), *FLAGS, *more]


def train_tiny(directory: Path, *more: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(directory, *more, launcher=launcher), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


def curve(directory: Path) -> list[dict]:
    records = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in ("seconds", "samples_per_s")} for record in records]


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "straight"
    assert tiny_training.main(["--output-dir", str(directory), *FLAGS, "--noise", "0.1"]) == 0
    return directory


@pytest.mark.slow
def test_killed_twice_the_curve_is_that_of_an_uninterrupted_run(straight, tmp_path):
    directory = tmp_path / "killed"
    for more in (["--kill-at", "3"], ["--kill-while-saving", "2"]):
        assert train_tiny(directory, "--noise", "0.1", *more).returncode == -signal.SIGKILL
    assert list(directory.glob("checkpoint-6.tmp")), "the second kill came in the middle of a save"
    done = train_tiny(directory, "--noise", "0.1")
    assert done.returncode == 0, done.stderr
    assert curve(directory) == curve(straight)
    assert (directory / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    assert not list(directory.glob("*.tmp"))


def two_processes() -> tuple[str, ...]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    two = train_tiny(tmp_path / "two", "--per-device-batch-size", "1", launcher=two_processes())
    assert two.returncode == 0, two.stderr
    assert tiny_training.main(["--output-dir", str(tmp_path / "one"), *FLAGS]) == 0
    assert json.loads((tmp_path / "two" / "report.json").read_text())["processes"] == 2
    ours, theirs = (load_state(tmp_path / name)["model"] for name in ("one", "two"))
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 5e-5
    for record, other in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        assert other == pytest.approx(record, rel=2e-4)


def answers(directory: Path) -> list[dict]:
    return json.loads((directory / "samples.json").read_text())["columns"]


@pytest.mark.slow
def test_sharded_processes_learn_and_answer_as_one_does_and_go_on(tmp_path):
    assert tiny_training.main(["--output-dir", str(tmp_path / "one"), *FLAGS, "--answers"]) == 0
    sharded = tmp_path / "sharded"
    for _ in ("anew", "from the checkpoint of step 4"):
        done = train_tiny(sharded, "--fsdp", "--answers", launcher=two_processes())
        assert done.returncode == 0, done.stderr
        ours, theirs = (load_state(directory)["model"] for directory in (tmp_path / "one", sharded))
        assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 5e-5
        assert answers(sharded) == answers(tmp_path / "one") and len(answers(sharded)) == 2
        for record, other in zip(curve(tmp_path / "one"), curve(sharded), strict=True):
            assert other == pytest.approx(record, rel=2e-4)
        (sharded / "report.json").unlink()
        shutil.rmtree(sharded / "checkpoint-6")
    # The state is whole, so that a run may also go on without shards.
    assert tiny_training.main(["--output-dir", str(sharded), *FLAGS, "--answers"]) == 0
    theirs = load_state(sharded)["model"]
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 5e-5


@pytest.mark.slow
def test_sharded_in_16_bits_with_a_frozen_qformer(tmp_path):
    more = ["--mixed-precision", "bf16", "--no-train-qformer", "--gradient-checkpointing", "--answers"]
    done = train_tiny(tmp_path / "sharded", *more, "--fsdp", launcher=two_processes())
    assert done.returncode == 0, done.stderr
    assert tiny_training.main(["--output-dir", str(tmp_path / "one"), *FLAGS, *more]) == 0
    losses = [[record["loss"] for record in curve(tmp_path / name) if "loss" in record] for name in ("one", "sharded")]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.slow
def test_machines_that_share_no_folder_are_told_so(tmp_path):
    done = train_tiny(tmp_path, "--apart", launcher=two_processes())
    assert done.returncode == 0, done.stderr
    assert load_state(tmp_path / "0")["step"] == 6 and load_state(tmp_path / "1") is None
    (tmp_path / "0" / "report.json").unlink()
    done = train_tiny(tmp_path, "--apart", launcher=two_processes())
    assert done.returncode != 0
    assert "holds no checkpoint for process 1 and the checkpoint of step 6 for process 0. It has to be one folder" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number, code, said", [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")])
def test_an_interrupted_run_saves_and_says_how_to_go_on(tmp_path, number, code, said):
    process = subprocess.Popen(
        command(tmp_path, "--slow", "--save-steps", "6"), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "log.jsonl"
    for _ in range(600):
        if log.exists() and log.read_text():
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, told = process.communicate(timeout=300)
    assert process.returncode == code and "Traceback" not in told
    step = load_state(tmp_path)["step"]
    assert 1 <= step < 6 and f"Stopped by {said}; saved at step {step} in {tmp_path}. Run the same command again to go on." in told


SPAWNING = """
import sys, torch
from minigpt4_model.training import train
torch.multiprocessing.set_start_method("spawn")  # as on macOS and Windows
torch.set_num_threads(1)
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no groups of processes to send a signal to")
def test_a_terminals_ctrl_c_reaches_workers_too_and_the_run_goes_on_exactly(tmp_path):
    model, processor = build_tiny_model()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    write_shard(tmp_path / "00000.tar", [*pairs(0, 30), ("bad.jpg", b"junk"), ("bad.txt", b"words")])
    flags = ["stage1", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "00000.tar"), "--batch-size", "4", "--log-steps", "1"]
    flags += [
        "--max-steps",
        "80",
        "--warmup-steps",
        "2",
        "--save-steps",
        "80",
        "--eval-steps",
        "80",
        "--report-to",
        "none",
        "--device",
        "cpu",
    ]
    interrupted, whole = tmp_path / "interrupted", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-c", SPAWNING, *flags, "--output-dir", str(interrupted), "--num-workers", "1"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = interrupted / "log.jsonl"
    for _ in range(6000):
        if log.exists() and log.read_text() or process.poll() is not None:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in told and "Stopped by Ctrl-C; saved at step" in told, told
    assert 1 <= load_state(interrupted)["step"] < 80
    for directory in (interrupted, whole):
        assert train.main([*flags, "--output-dir", str(directory), "--num-workers", "0"]) == 0
    assert curve(interrupted) == curve(whole)
    counted = [json.loads((directory / "report.json").read_text())["notices"] for directory in (interrupted, whole)]
    assert counted[0] == counted[1] and "10 of 330 samples cannot be used" in counted[0][0], counted


def test_wrong_settings_are_one_sentence(tmp_path, capsys):
    assert tiny_training.main(["--output-dir", str(tmp_path), *FLAGS, "--warmup-steps", "7"]) == 1
    assert capsys.readouterr().err == "--warmup-steps (7) must not exceed --max-steps (6).\n"


def test_a_gradient_that_is_not_finite_is_one_sentence(tmp_path, capsys):
    assert tiny_training.main(["--output-dir", str(tmp_path), *FLAGS, "--noise", "inf"]) == 1
    told = capsys.readouterr().err
    assert "The gradient at step 0 is not finite" in told and "Traceback" not in told


def test_a_device_that_is_not_there():
    with pytest.raises(ArgumentsError, match="--device cuda:1: choose auto, cpu, cuda or mps"):
        build_accelerator(device="cuda:1")
    if not torch.cuda.is_available():
        with pytest.raises(ArgumentsError, match="--device cuda: not available"):
            build_accelerator(device="cuda")


@pytest.mark.parametrize("precision, dtype", [("bf16", "bfloat16"), ("no", "float32")])
def test_frozen_parts_are_loaded_as_they_are_computed(precision, dtype):
    assert frozen_dtype(build_accelerator(precision, "cpu")) == dtype


@pytest.mark.parametrize("native, precision", [(True, "bf16"), (False, "no")])
def test_16_bits_on_a_processor_only_where_it_computes_them_natively(monkeypatch, native, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert build_accelerator("auto", "cpu").mixed_precision == precision


def test_the_random_state_comes_back():
    device = torch.device("cpu")
    state = random_state(device)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    load_random_state(state, device)
    assert torch.equal(torch.rand(3), drawn)

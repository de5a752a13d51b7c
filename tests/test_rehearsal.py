"""The rehearsal with small files: they are in the original's layouts, are imported whole, and every stage tells what it took."""

import json
import sys

import pytest
import torch

from minigpt4_model.evaluation import rehearsal
from minigpt4_model.evaluation.process_memory import memory_of, run_watched
from minigpt4_model.evaluation.random_official import files_in, write_official
from minigpt4_model.evaluation.random_weights import RandomTensors
from minigpt4_model.weights.import_official import import_official
from minigpt4_model.weights.import_plan import OfficialParts
from minigpt4_model.weights.load import load_model
from tests.tiny_models import PARITY

TOKENIZER = PARITY / "llama_tiny"


@pytest.mark.parametrize(("preset", "variant"), [("vicuna-7b", "vicuna"), ("llama2-7b", "llama2")])
def test_random_files_are_imported_and_become_what_they_were_made_from(preset, variant, tmp_path):
    config = rehearsal.sized_config(preset, small=True)
    files = write_official(config, tmp_path / "official", TOKENIZER, shard_bytes=20_000_000)
    assert len(list(files.language_model.glob("pytorch_model-*.bin"))) > 2
    parts = OfficialParts(
        vision=files.vision,
        projection=files.projection,
        language_model=files.language_model,
        variant=variant,
        qformer=files.qformer,
        vision_heads=8,
        qformer_heads=6,
    )
    import_official(parts, tmp_path / "model")
    model, processor = load_model(tmp_path / "model", device="cpu", dtype="float32")
    make = RandomTensors()
    for name, tensor in model.state_dict().items():
        expected = make(name, tuple(tensor.shape), torch.float16 if "language_model" in name or ".trunk." in name else torch.float32)
        assert torch.equal(tensor, expected.float()) or name.startswith("lm_head"), name
    assert processor.num_image_tokens == (32 if variant == "vicuna" else 64)
    assert model.config.vision_config.num_hidden_layers == 2 and model.config.chat_template_name == PRESET_TEMPLATES[variant]


PRESET_TEMPLATES = {"vicuna": "vicuna-v0", "llama2": "llama2"}


def test_flags_are_those_of_the_import(tmp_path):
    flags = files_in(tmp_path, has_qformer=False).import_flags("llama2")
    assert "--qformer" not in flags and flags[-2:] == ["--variant", "llama2"]
    from minigpt4_model.weights.import_official import build_parser

    args = build_parser().parse_args([*files_in(tmp_path, True).import_flags("vicuna"), "--output", "x"])
    assert args.qformer == tmp_path / "blip2_pretrained_flant5xxl.pth" and args.language_model == tmp_path / "language-model"


def test_a_watched_command_is_measured(tmp_path):
    program = "import time; held = bytearray(80_000_000); time.sleep(0.3); print('{\"answer\": 1}'); raise SystemExit(3)"
    run = run_watched([sys.executable, "-c", program], tmp_path / "log")
    assert run.code == 3 and json.loads(run.output) == {"answer": 1}
    assert run.peak > 80_000_000 and run.seconds > 0.3 and run.cpu_seconds < run.seconds + 1
    if memory_of():
        assert 80_000_000 < run.own_peak <= run.peak


def test_wrong_flags_name_the_fault(tmp_path, capsys):
    (tmp_path / "something").touch()
    for flags, told in ((["--ways", "16,3"], "there is no 3"), ([], "is not empty")):
        with pytest.raises(SystemExit):
            rehearsal.main(["--directory", str(tmp_path), *flags])
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_rehearsal_from_end_to_end(tmp_path, capsys):
    place = tmp_path / "rehearsal"
    assert rehearsal.main(["--small", "--directory", str(place), "--ways", "16", "--max-new-tokens", "2"]) == 0
    report = json.loads((place / "rehearsal.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == ["write", "import", "ask, 16"]
    figures = report["stages"][-1]["figures"]
    assert figures["image_tokens"] == 32 and figures["completion_tokens"] == 2 and figures["load_s"] > 0
    assert figures["load_peak_bytes"] <= figures["reckoned_bytes"]
    assert sorted(path.name for path in place.iterdir()) == ["rehearsal.json", "stages.log"]
    assert "of processor time" in capsys.readouterr().out

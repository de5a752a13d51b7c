"""The doctor: each fault is found on files broken for the purpose, has a command that mends it, and decides the exit code."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from minigpt4_model.__main__ import VERBS
from minigpt4_model.presets import PRESETS
from minigpt4_model.weights import doctor, machine, pocket
from minigpt4_model.weights.cache import write_manifest
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.memory import PRECISIONS, SIZES, needed_bytes, size_of
from minigpt4_model.weights.pairing import describe_pairing

EMBEDDING = torch.arange(12.0).reshape(4, 3)
ENCODER = {"conv_stem.weight": torch.ones(2, 3)}


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A whole little installation: cached parts, and a checkpoint that was trained with them. Returns (cache, checkpoint)."""
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(doctor.pocket, "POCKET_CHECKPOINT", tmp_path / "checkpoint")
    monkeypatch.setattr(doctor, "version_faults", lambda requirements: ([], []))
    for part, tensors in ((pocket.LANGUAGE_MODEL, {"model.embed_tokens.weight": EMBEDDING}), (pocket.VISION_ENCODER, ENCODER)):
        part.directory.mkdir(parents=True)
        save_file(tensors, part.directory / "model.safetensors")
        write_manifest(part.directory, part.recipe)
    row = PRESETS["pocket"]
    trained_with = describe_pairing(
        language_model=row.language_model, embedding=EMBEDDING, vision_encoder=row.vision_encoder, encoder=ENCODER
    )
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    write_config(checkpoint, trained_with=trained_with)
    save_file({"model.query_tokens": torch.zeros(1, 32, 4)}, checkpoint / "model.safetensors")
    return tmp_path / "home", checkpoint


def write_config(checkpoint, **fields):
    config = {"model_type": "minigpt4", "frozen_parts": "pocket", **fields}
    (checkpoint / "config.json").write_text(json.dumps(config))


def examine(capsys, *flags):
    """(exit code, the JSON document, checks by name)."""
    code = doctor.main([*flags, "--json"])
    report = json.loads(capsys.readouterr().out)
    for check in report["checks"]:
        assert_fix_can_be_followed(check)
    return code, report, {check["name"]: check for check in report["checks"]}


def assert_fix_can_be_followed(check):
    """A fault has a fix; what it names is there: the verb, the module, the file, this very Python."""
    fix = check["fix"] or ""
    assert fix or check["state"] != "fault", check
    assert not re.match(r"(python|pip|git checkout)\b", fix), fix
    for module, verb in re.findall(r" -m (minigpt4_model\S*)(?: (\S+))?", fix):
        assert verb in VERBS if module == "minigpt4_model" else module.startswith("minigpt4_model.weights."), fix
    for path in re.findall(r"\S+\.(?:py|txt|sh)\b", fix):
        assert Path(path).is_absolute() and Path(path).exists(), fix


def test_a_whole_installation_passes(installation, capsys):
    code, report, checks = examine(capsys)
    assert (code, report["ok"]) == (0, True)
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert "EfficientNet-Lite2" in checks["pairing"]["detail"]
    assert report["versions"]["torch"] == torch.__version__
    assert report["devices"][-1]["name"] == "cpu"
    assert [row["precision"] for row in report["memory"]] == list(PRECISIONS)


def test_the_table_for_people_says_the_same(installation, capsys):
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert out.endswith("pocket can run here.\n")
    assert "FAULT" not in out and "cpu:" in out and str(installation[0]) in out
    (installation[1] / "config.json").unlink()
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "FAULT  config:" in out and f"-> {pocket.how_to_restore_checkpoint()}" in out


@pytest.mark.parametrize("part", pocket.PARTS, ids=lambda part: part.name)
def test_a_flipped_byte_is_found_though_size_and_time_agree(installation, capsys, part):
    path = part.directory / "model.safetensors"
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, _, checks = examine(capsys)
    assert code == 1
    assert checks[part.name]["state"] == "fault"
    assert "sha256" in checks[part.name]["detail"]
    assert checks[part.name]["fix"] == f"{sys.executable} -m minigpt4_model.weights.pocket"


def test_a_projection_without_a_record_is_a_fault(installation, capsys):
    write_config(installation[1])
    code, _, checks = examine(capsys)
    assert (code, checks["pairing"]["state"]) == (1, "fault")
    assert checks["pairing"]["fix"] == pocket.how_to_restore_checkpoint()
    code, _, checks = examine(capsys, "--model", str(installation[1]))
    assert checks["pairing"]["fix"] == "Restore the directory from where it came from."


def test_the_fix_is_a_git_command_only_in_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(pocket, "REPOSITORY", tmp_path)
    monkeypatch.setattr(pocket, "POCKET_CHECKPOINT", tmp_path / "nowhere")
    assert pocket.how_to_restore_checkpoint().startswith(f"Copy checkpoints/pocket from the project's repository to {tmp_path / 'nowhere'}")
    (tmp_path / ".git").mkdir()
    assert pocket.how_to_restore_checkpoint() == f"git -C {tmp_path} checkout -- checkpoints/pocket"


def test_an_empty_cache_needs_a_download_and_has_the_command_that_fills_it(installation, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path / "elsewhere"))
    code, report, checks = examine(capsys)
    assert code == 1
    assert "is not there" in checks["SmolLM2-135M-Instruct"]["detail"] and checks["SmolLM2-135M-Instruct"]["state"] == "download"
    assert doctor.render(report).endswith(
        "pocket needs download: a start with a network fetches what is marked so, and nothing else stops it."
    )
    assert checks["pairing"]["state"] == "warning"
    assert not (tmp_path / "elsewhere").exists()
    assert report["cache"]["free_bytes"] > 0


def test_a_projection_of_another_model_is_a_fault_that_names_both(installation, capsys):
    _, checkpoint = installation
    other = describe_pairing(language_model="Vicuna", embedding=EMBEDDING + 1, vision_encoder="Lite2", encoder=ENCODER)
    write_config(checkpoint, trained_with=other)
    code, _, checks = examine(capsys)
    assert code == 1
    assert "Vicuna" in checks["pairing"]["detail"] and "SmolLM2-135M-Instruct" in checks["pairing"]["detail"]


@pytest.mark.parametrize(
    "fields",
    [
        {"trained_with": "SmolLM2"},
        {"trained_with": {"language_model": "SmolLM2"}},
        {"text_config": [1]},
        {"text_config": {"hidden_size": "x"}},
    ],
)
@pytest.mark.parametrize("frozen_parts", ["pocket", None])
def test_a_config_with_nonsense_in_it_ends_in_no_traceback(installation, capsys, fields, frozen_parts):
    write_config(installation[1], frozen_parts=frozen_parts, **fields)
    _, _, checks = examine(capsys, "--model", str(installation[1]))
    assert checks["pairing"]["state"] == ("ok" if frozen_parts is None else "fault")


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "llama"}', "{}"])
def test_a_config_that_is_not_ours(installation, capsys, content):
    (installation[1] / "config.json").write_text(content)
    code, _, checks = examine(capsys)
    assert code == 1 and checks["config"]["state"] == "fault"


@pytest.mark.parametrize("keep", [None, 0, 5, 40])
def test_a_checkpoint_whose_weights_are_missing_or_cut(installation, capsys, keep):
    path = installation[1] / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(data[:keep])
    code, _, checks = examine(capsys)
    assert code == 1 and checks["weights"]["state"] == "fault"


def test_a_model_directory_of_ones_own(installation, capsys, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    write_config(whole, frozen_parts=None)
    save_file({"a": torch.zeros(1)}, whole / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (whole / "model.safetensors.index.json").write_text(json.dumps(index))
    code, _, checks = examine(capsys, "--model", str(whole))
    assert code == 1 and "model-00002-of-00002.safetensors" in checks["weights"]["detail"]
    save_file({"b": torch.zeros(1)}, whole / "model-00002-of-00002.safetensors")
    code, _, checks = examine(capsys, "--model", str(whole))
    assert code == 0 and checks["pairing"]["detail"] == "One directory holds all parts of the model."
    assert doctor.main(["--model", str(whole)]) == 0
    assert capsys.readouterr().out.endswith(f"{whole} can run here.\n")


def test_a_preset_that_was_not_fetched_says_what_can_be_done(installation, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    code, _, checks = examine(capsys, "--preset", "vicuna-7b")
    assert code == 1 and checks["files"]["fix"].endswith("-m minigpt4_model.weights.official_presets vicuna-7b")
    assert "fetches 16.0 GB" in checks["files"]["detail"] and "--local-dir DIR" in checks["files"]["detail"]
    assert "13.5 GB (LLaMA's licence: research only, not commercial)" in checks["Vicuna v0 7B"]["detail"]


def test_a_disk_that_cannot_hold_a_preset_is_a_fault(installation, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for free, state in ((33 * 10**9, None), (31 * 10**9, "fault")):
        monkeypatch.setattr(doctor, "_free_disk", lambda directory, free=free: free)
        code, _, checks = examine(capsys, "--preset", "vicuna-7b")
        assert code == 1 and checks.get("disk", doctor.Check("", None, "").__dict__)["state"] == state
    assert "32.3 GB are needed for that in" in checks["disk"]["detail"] and "31.0 GB are free" in checks["disk"]["detail"]


def test_too_little_memory(installation, capsys, monkeypatch):
    size = SIZES["pocket"]
    alone, together = (needed_bytes(size, precision, 2048, n) for precision, n in (("4 bit", 1), ("8 bit", PRESETS["pocket"].kv_slots)))
    for free, code, state in ((alone - 1, 1, "fault"), (alone, 0, "warning"), (together, 0, "warning")):
        monkeypatch.setattr(doctor, "find_devices", lambda free=free: [machine.Device("cpu", "a small one", free)])
        got, _, checks = examine(capsys)
        assert (got, checks["memory"]["state"], "one conversation" in checks["memory"]["detail"]) == (code, state, free == alone)


def test_the_best_choice_is_recommended_with_its_command(installation, capsys, monkeypatch):
    def machine_with(*devices):
        monkeypatch.setattr(doctor, "find_devices", lambda: [machine.Device(*device) for device in devices])
        _, report, checks = examine(capsys, "--preset", "vicuna-7b")
        return report, checks["memory"]

    cpu = ("cpu", "a processor", 30 * 10**9, "float32")
    report, check = machine_with(("cuda:0", "large", 40 * 10**9, "bfloat16"), cpu)
    assert check["state"] == "ok" and report["recommended"]["flags"] == [] and "Best is 16 bit" in check["detail"]
    assert {row["devices"][0] for row in report["memory"]} == {"cuda:0"} and {row["precision"] for row in report["elsewhere"]} == set(
        PRECISIONS
    )
    report, check = machine_with(("cuda:0", "small", 11 * 10**9, "bfloat16"), cpu)
    assert check["state"] == "warning" and check["detail"] == "Only 4 bit fit on cuda:0 with all conversations. Best is 4 bit on cuda:0."
    assert check["fix"].endswith("app.py --preset vicuna-7b --load-in-4bit")
    report, check = machine_with(("cuda:0", "a", 12 * 10**9, "bfloat16"), ("cuda:1", "b", 12 * 10**9, "bfloat16"), cpu)
    assert report["recommended"]["devices"] == ["cuda:0", "cuda:1"] and check["fix"].endswith("--device-map cuda:0,cuda:1")
    report, check = machine_with(("cuda:0", "tiny", 7 * 10**9, "bfloat16"), cpu)
    assert report["recommended"]["devices"] == ["cuda:0", "cpu"] and "(slow: layers come from the CPU" in check["detail"]


def test_the_table_is_of_the_directory_that_is_asked_for(installation, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "find_devices", lambda: [machine.Device("cpu", "a processor", 5 * 10**9)])
    whole = tmp_path / "whole"
    whole.mkdir()
    text = {
        "hidden_size": 2048,
        "intermediate_size": 5504,
        "num_hidden_layers": 20,
        "num_attention_heads": 16,
        "max_position_embeddings": 1024,
    }
    write_config(whole, frozen_parts=None, text_config=text, vision_config={"architecture": "eva_vit", "num_hidden_layers": 1})
    _, report, checks = examine(capsys, "--model", str(whole))
    size = size_of(json.loads((whole / "config.json").read_text()))
    assert [row["needed_bytes"] for row in report["memory"]] == [needed_bytes(size, precision, 1024, 2) for precision in PRECISIONS]
    assert (report["context_length"], report["conversations"]) == (1024, 2)
    assert f"--model {whole}" in checks["memory"]["fix"]
    doctor.main(["--model", str(whole)])
    assert "Memory for 2 conversations of 1024 tokens at a time:" in capsys.readouterr().out


def test_torch_that_does_not_import_is_reported_not_raised(installation, capsys, monkeypatch):
    def broken():
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(doctor, "find_devices", broken)
    code, _, checks = examine(capsys)
    assert code == 1 and "libtorch.so" in checks["torch"]["detail"]


def test_an_unknown_preset_ends_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        doctor.main(["--preset", "gpt-5"])
    assert caught.value.code == 2
    assert "vicuna-13b" in capsys.readouterr().err


def test_versions_are_compared_with_the_requirements_file(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        "# a comment\n-r other.txt\nsafetensors>=0.1  # fine\nnot-a-real-package==1.0\npillow<1\nwinonly; sys_platform == 'never'\n"
    )
    missing, unusual = machine.version_faults(requirements)
    assert len(missing) == 1 and "not-a-real-package is not installed" in missing[0]
    assert len(unusual) == 1 and unusual[0].startswith("pillow is ")
    assert machine.version_faults(tmp_path / "absent.txt") == ([], [])


def test_a_python_without_any_package_is_told_what_is_missing(tmp_path):
    """As people meet it who type `python` in place of .venv/bin/python."""
    venv.create(tmp_path / "bare", with_pip=False)
    environment = {**os.environ, "PYTHONPATH": str(pocket.REPOSITORY), "MINIGPT4_HOME": str(tmp_path)}
    python = tmp_path / "bare" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    run = subprocess.run([python, "-m", "minigpt4_model", "doctor", "--json"], **options)
    assert (run.returncode, run.stderr) == (1, "")
    faults = {check["name"]: check for check in json.loads(run.stdout)["checks"] if check["state"] == "fault"}
    assert "torch is not installed (torch==" in faults["packages"]["detail"]
    assert str(python) in faults["packages"]["fix"] and str(pocket.REPOSITORY / "requirements.txt") in faults["packages"]["fix"]
    run = subprocess.run([python, "-m", "minigpt4_model", "ask", "hi"], **options)
    assert run.returncode == 1 and run.stderr.count("\n") == 1 and "Use .venv/bin/python" in run.stderr


def test_where_pip_must_not_install_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert machine.pip_may_install()
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert not machine.pip_may_install()
    monkeypatch.setattr(sys, "prefix", "elsewhere")
    assert machine.pip_may_install()


def test_every_preset_has_a_size_and_the_figures_are_those_of_the_models():
    assert set(SIZES) == set(PRESETS)
    for name, billions in {"pocket": 0.1345, "vicuna-7b": 6.738, "vicuna-13b": 13.015}.items():
        size = SIZES[name].language_model
        assert (size.linear_parameters + size.table_parameters) / 1e9 == pytest.approx(billions, rel=0.002)
    needs = [needed_bytes(SIZES["vicuna-7b"], precision, 2048, PRESETS["vicuna-7b"].kv_slots) for precision in PRECISIONS]
    assert needs == sorted(needs, reverse=True)
    assert 15e9 < needs[1] < 20e9  # 16 bit does not fit a 16 GB card, and fits a 24 GB one
    assert SIZES["pocket"].language_model.cache_bytes(1, 2) == 2 * 30 * 3 * 64 * 2
    one, three = (needed_bytes(SIZES["vicuna-7b"], "16 bit", 2048, conversations) for conversations in (1, 3))
    assert three - one == 2 * SIZES["vicuna-7b"].language_model.cache_bytes(2048, 2) == 2 * (1 << 30)


def test_the_engine_is_told_with_its_reason(installation, monkeypatch, capsys):
    from minigpt4_model.weights import engine_choice

    monkeypatch.setattr(engine_choice, "find_library", lambda: "a library")
    monkeypatch.setattr(doctor, "find_devices", lambda: [machine.Device("cpu", "a CPU", 20 * 10**9)])
    code, report, checks = examine(capsys)
    assert code == 0 and report["engine"]["name"] == "llama.cpp"
    assert checks["engine"]["detail"].startswith("llama.cpp computes the LLM.")
    assert "the first start makes it" in checks["SmolLM2-135M-Instruct-llama.cpp"]["detail"]
    pocket.LLAMA_CPP_MODEL.directory.mkdir(parents=True)
    code, _, checks = examine(capsys)
    assert code == 0 and checks["SmolLM2-135M-Instruct-llama.cpp"]["state"] == "warning"

    def missing():
        raise WeightsError("No library here.")

    monkeypatch.setattr(engine_choice, "find_library", missing)
    code, report, checks = examine(capsys)
    assert code == 0 and report["engine"] == {"name": "torch", "why": "No library here."}
    assert "SmolLM2-135M-Instruct-llama.cpp" not in checks

"""What the flags about placement lead to on machines of all kinds, which are made up; refusals come before anything is read."""

import logging

import pytest

from minigpt4_model.weights import memory_check
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.machine import Device
from minigpt4_model.weights.memory import CONFIGS
from minigpt4_model.weights.memory_check import (
    TooLittleMemory,
    conversations_that_fit,
    find_place,
    need_of,
    read_device_map,
    read_max_memory,
)

GB = 10**9
CONFIG = CONFIGS["vicuna-7b"]


@pytest.fixture
def machine(monkeypatch):
    """Called with free gigabytes by device: the machine to be on."""

    def be(**free: float) -> None:
        devices = [Device(name.replace("cuda", "cuda:"), "made up", int(amount * GB), "bfloat16") for name, amount in free.items()]

        def find(only=None):
            return [device for device in devices if only in (None, device.name) or (only == "cuda" and device.name == "cuda:0")]

        monkeypatch.setattr(memory_check, "find_devices", find)
        monkeypatch.setattr(memory_check, "own_memory", lambda: 0)

    return be


def layers_on(placed: dict[str, str]) -> dict[str, int]:
    layers = [device for part, device in placed.items() if part.startswith("model.language_model.layers.")]
    return {device: layers.count(device) for device in dict.fromkeys(layers)}


def test_one_device(machine):
    machine(cuda0=24, cpu=8)
    assert find_place("--model x", CONFIG, "cuda", "16 bit") == {"": "cuda:0"}
    with pytest.raises(TooLittleMemory, match=r"--model x in 16 bit needs 17\.\d GB of memory on cpu, and 8\.0 GB are free"):
        find_place("--model x", CONFIG, "cpu", "16 bit")
    assert find_place("--model x", CONFIG, "cpu", "16 bit", memory_check=False) == {"": "cpu"}


def test_a_refusal_is_a_table_that_says_what_to_type(machine):
    machine(cuda0=12, cuda1=12, cpu=30)
    with pytest.raises(TooLittleMemory) as refused:
        find_place("--preset vicuna-7b", CONFIG, "cuda:0", "16 bit")
    told = str(refused.value).splitlines()
    assert told[0].startswith("--preset vicuna-7b in 16 bit needs 17") and "cuda:0" in told[0] and "12.0 GB are free" in told[0]
    assert told[1] == "Memory for 2 conversations of 2048 tokens at a time, above for one:"
    assert sum("--load-in-4bit" in line and "fits" in line for line in told) == 3  # one GPU, both, the CPU
    assert not any("slow" in line for line in told)  # the two GPUs hold it
    assert told[-1].startswith("Use --device-map cuda:0,cuda:1, or close other programs. --no-memory-check")


def test_nothing_fits_anywhere(machine):
    machine(cpu=1)
    with pytest.raises(TooLittleMemory, match="Use a machine with more memory, or close other programs"):
        find_place("--model x", CONFIG, "cpu", "4 bit")


def test_auto_takes_as_few_devices_as_do(machine, caplog):
    machine(cuda0=24, cuda1=24, cpu=64)
    assert find_place("x", CONFIG, "cuda", "16 bit", "auto") == {"": "cuda:0"}
    machine(cuda0=12, cuda1=12, cpu=64)
    with caplog.at_level(logging.WARNING):
        placed = find_place("x", CONFIG, "cuda", "16 bit", "auto")
    assert list(layers_on(placed)) == ["cuda:0", "cuda:1"] and placed["model.vision_model"] == placed["lm_head"] == "cuda:0"
    assert "layers: " in caplog.text and "slow" not in caplog.text
    machine(cuda0=6, cpu=64)
    with caplog.at_level(logging.WARNING):
        offloaded = layers_on(find_place("x", CONFIG, "cuda", "16 bit", "auto"))
    assert offloaded["cpu"] > offloaded["cuda:0"] > 0 and "which is slow" in caplog.text
    assert find_place("x", CONFIG, "cuda", "4 bit", "auto", memory_check=False) == {"": "cuda:0"}


def test_a_list_is_followed(machine):
    machine(cuda0=24, cuda1=24, cpu=64)
    assert list(layers_on(find_place("x", CONFIG, "cuda:1", "16 bit", "cuda:1,cuda:0"))) == ["cuda:1", "cuda:0"]
    assert list(layers_on(find_place("x", CONFIG, "cpu", "16 bit", "cpu,disk", "cpu=6GB"))) == ["cpu", "disk"]
    assert find_place("x", CONFIG, "cpu", "16 bit", "cpu,disk") == {"": "cpu"}  # which holds it all


def test_limits_make_a_device_smaller(machine):
    machine(cuda0=24, cuda1=24, cpu=64)
    free = layers_on(find_place("x", CONFIG, "cuda", "16 bit", "cuda:0,cuda:1"))
    limited = layers_on(find_place("x", CONFIG, "cuda", "16 bit", "cuda:0,cuda:1", "cuda:0=8GiB"))
    assert limited["cuda:0"] < free["cuda:0"]
    with pytest.raises(TooLittleMemory, match=r"and 8\.0 GB are free"):
        find_place("x", CONFIG, "cuda:0", "16 bit", max_memory="cuda:0=8GB")
    with pytest.raises(WeightsError, match="--max-memory cpu=8GB: the model is not to use cpu"):
        find_place("x", CONFIG, "cuda:0", "16 bit", max_memory="cpu=8GB")


def test_fewer_bits_do_not_go_with_offloading(machine):
    machine(cuda0=3, cuda1=3, cpu=64)
    with pytest.raises(WeightsError, match="--load-in-4bit with --device-map cuda:0,cpu: layers on the cpu or the disk can't be quantised"):
        find_place("x", CONFIG, "cuda:0", "4 bit", "cuda:0,cpu")
    with pytest.raises(TooLittleMemory):  # "auto" does without the CPU then
        find_place("x", CONFIG, "cuda:0", "8 bit", "auto")
    machine(cuda0=7, cuda1=7, cpu=64)
    assert set(layers_on(find_place("x", CONFIG, "cuda:0", "8 bit", "auto"))) == {"cuda:0", "cuda:1"}


def test_a_rest_of_32_bits_beside_fewer_is_counted(machine):
    """`--dtype float32 --load-in-4bit`: 3.5 GB more for the encoder, the Q-Former, the tables and one conversation."""
    machine(cpu=10)
    assert find_place("x", CONFIG, "cpu", "4 bit") == {"": "cpu"}
    with pytest.raises(TooLittleMemory, match=r"x in 4 bit with the rest in float32 needs 1\d\.\d GB of memory on cpu, and 10\.0 GB") as no:
        find_place("x", CONFIG, "cpu", "4 bit", beside="float32")
    assert "4 bit    9.0 GB needed" in str(no.value) and "Use --load-in-4bit" in str(no.value)  # without --dtype float32 it would fit


def test_the_disk_needs_all_weights_in_one_directory(machine):
    machine(cpu=6)
    with pytest.raises(WeightsError, match="takes its frozen parts from elsewhere: disk in --device-map"):
        find_place("--model x", {**CONFIG, "frozen_parts": "/some/model"}, "cpu", "16 bit", "cpu,disk")


def test_no_check_places_what_does_not_fit_where_it_was_asked_for(machine):
    machine(cuda0=8, cuda1=4, cpu=64)
    placed = layers_on(find_place("x", CONFIG, "cuda", "16 bit", "cuda:0,cuda:1", memory_check=False))
    assert sum(placed.values()) == 32 and set(placed) <= {"cuda:0", "cuda:1"}
    machine(cuda0=1, cuda1=1, cpu=64)
    assert find_place("x", CONFIG, "cuda", "16 bit", "cuda:0,cuda:1", memory_check=False) == {"": "cuda:0"}


@pytest.mark.parametrize("text", ["cpu", "cpu=", "cpu=many", "cpu=5XB", "=5GB,cpu", "cpu=5GBGB", "cpu=infGB", "cpu=nan", "cpu=-5GB"])
def test_amounts_that_are_none(text):
    with pytest.raises(WeightsError, match="is no amount of a device. Write it as in cuda:0=10GB,cpu=20GB"):
        read_max_memory(text)


def test_amounts():
    assert read_max_memory(None) == read_max_memory("") == {}
    assert read_max_memory("cuda:0=10GB, cpu = 1.5gib") == {"cuda:0": 10 * GB, "cpu": 3 << 29}
    assert read_max_memory("cpu=1000000") == {"cpu": 10**6}


@pytest.mark.parametrize(
    ("text", "fault"), [("cuda:3", "cuda:3 is not on this machine"), ("disk", "one that computes first"), ("cpu,cpu", "once")]
)
def test_maps_that_are_none(text, fault):
    devices = [Device("cuda:0", "", 1), Device("cpu", "", 1)]
    with pytest.raises(WeightsError, match=f"--device-map {text}: .*{fault}.* Write auto, or a list of: cuda:0, cpu, disk"):
        read_device_map(text, devices)
    assert [device.name for device in read_device_map("auto", devices)] == ["cuda:0", "cpu"]
    assert [device.name for device in read_device_map("cuda, disk", devices)] == ["cuda:0", "disk"]
    assert [device.name for device in read_device_map("auto", [Device("mps", "", 1), Device("cpu", "", 1)])] == ["mps"]


def test_conversations_kept_are_those_that_fit(machine):
    one = need_of(CONFIG).size.conversation_bytes("16 bit", 2048)
    for free, kept in ((0.1 * one, 1), (1.9 * one, 1), (3.5 * one, 3), (99 * one, 4)):
        machine(cuda0=free / GB, cpu=64)
        assert conversations_that_fit(CONFIG, "cuda:0", 2, 2048, wanted=4) == kept


def test_lengths_are_those_of_the_engine():
    assert (need_of(CONFIG).context_length, need_of(CONFIG).conversations) == (2048, 2)
    assert need_of({**CONFIG, "frozen_parts": "pocket", "text_config": {"max_position_embeddings": 8192}}).conversations == 8
    assert need_of({"text_config": {"max_position_embeddings": 8192}}).context_length == 8192

"""Spreading a model over devices, the table of choices and what it recommends: reckoning only, no device is needed."""

from itertools import groupby

import pytest

from minigpt4_model.weights.choices import list_choices, recommend, render_choices
from minigpt4_model.weights.machine import Device
from minigpt4_model.weights.memory import SIZES
from minigpt4_model.weights.placement import DISK, Need, device_map_of, place_layers

GB = 10**9
NEED = Need(SIZES["vicuna-7b"], 2048, 2)
POCKET = Need(SIZES["pocket"], 2048, 8)


def gpu(index: int, gigabytes: float, dtype: str = "bfloat16") -> Device:
    return Device(f"cuda:{index}", "a GPU", int(gigabytes * GB), dtype)


def cpu(gigabytes: float, dtype: str = "float32") -> Device:
    return Device("cpu", "a processor", int(gigabytes * GB), dtype)


def runs(placed: list[str] | None) -> list[tuple[str, int]]:
    assert placed is not None
    return [(device, len(list(group))) for device, group in groupby(placed)]


# --- layers


def test_a_device_that_is_large_enough_takes_all():
    assert runs(place_layers(NEED, "16 bit", [("cuda:0", 24 * GB)], 2)) == [("cuda:0", 32)]
    assert place_layers(NEED, "16 bit", [("cuda:0", 15 * GB)], 2) is None
    assert device_map_of("cuda:0", ["cuda:0"] * 32, True) == {"": "cuda:0"}


def test_equal_gpus_share_the_layers_and_the_first_has_fewer_for_it_has_the_encoder():
    (first, on_first), (second, on_second) = runs(place_layers(NEED, "16 bit", [("cuda:0", 12 * GB), ("cuda:1", 12 * GB)], 2))
    assert (first, second) == ("cuda:0", "cuda:1") and on_first + on_second == 32 and 0 < on_first < on_second
    by_size = dict(runs(place_layers(NEED, "16 bit", [("cuda:0", 12 * GB), ("cuda:1", 24 * GB)], 2)))
    assert by_size["cuda:1"] > on_second


@pytest.mark.parametrize("precision", ["16 bit", "8 bit", "4 bit"])
@pytest.mark.parametrize("rooms", [(6, 6, 6), (8, 3, 9), (4.2, 20), (5, 7)])
def test_no_device_gets_more_than_it_holds(precision, rooms):
    named = [(f"cuda:{index}", int(room * GB)) for index, room in enumerate(rooms)]
    placed = place_layers(NEED, precision, named, 1)
    size = NEED.size
    held = size.conversation_bytes(precision, 2048) // 32
    if placed is None:
        assert sum(rooms) * GB < NEED.needed_bytes(precision, 1) + len(rooms) * 1.3 * GB
        return
    for index, (name, room) in enumerate(named):
        used = placed.count(name) * (size.layer_bytes(precision) + held) + (
            0.8 * GB + size.other_bytes(precision) if index == 0 else 0.5 * GB
        )
        assert used <= room


def test_what_the_gpus_do_not_hold_goes_to_the_cpu_and_then_to_the_disk():
    parts = dict(runs(place_layers(NEED, "16 bit", [("cuda:0", 10 * GB), ("cpu", 32 * GB)], 1)))
    assert parts["cuda:0"] + parts["cpu"] == 32 and parts["cuda:0"] > 4
    assert place_layers(NEED, "16 bit", [("cuda:0", 10 * GB), ("cpu", 3 * GB)], 1) is None
    three = runs(place_layers(NEED, "16 bit", [("cuda:0", 10 * GB), ("cpu", 5 * GB), (DISK, 0)], 1))
    assert [device for device, _ in three] == ["cuda:0", "cpu", DISK] and sum(count for _, count in three) == 32
    # The caches of all layers are where they are computed.
    few, many = (dict(runs(place_layers(NEED, "16 bit", [("cuda:0", 10 * GB), ("cpu", 32 * GB)], count)))["cuda:0"] for count in (1, 4))
    assert many < few
    assert place_layers(NEED, "16 bit", [("cuda:0", 3 * GB), ("cpu", 64 * GB)], 1) is None  # not even the encoder and the tables


def test_the_map_names_every_part_of_the_model():
    from accelerate.utils import check_device_map  # what accelerate itself asks of a map

    from minigpt4_model.model import MiniGPT4ForConditionalGeneration
    from tests.tiny_models import build_tiny_model

    for kind in ("eva", "llama2"):
        model: MiniGPT4ForConditionalGeneration = build_tiny_model(kind)[0]
        placed = device_map_of("cuda:0", ["cuda:0", "cuda:1"], has_qformer=kind == "eva")
        if kind == "eva":
            with pytest.warns(UserWarning, match="model.query_tokens"):  # a parameter, not a module; it has to be named all the same
                check_device_map(model, placed)
        else:
            check_device_map(model, placed)
        assert placed["model.language_model.layers.1"] == "cuda:1" and placed["lm_head"] == "cuda:0"


# --- choices


@pytest.mark.parametrize(
    ("devices", "where", "precision", "flags"),
    [
        ([gpu(0, 80), cpu(100)], "cuda:0", "16 bit", ()),
        ([gpu(0, 24), cpu(30)], "cuda:0", "16 bit", ()),
        ([gpu(0, 16, "float16"), cpu(30)], "cuda:0", "8 bit", ("--load-in-8bit",)),
        ([gpu(0, 11.5), cpu(30)], "cuda:0", "4 bit", ("--load-in-4bit",)),
        ([gpu(0, 12), gpu(1, 12), cpu(30)], "cuda:0, cuda:1", "16 bit", ("--device-map", "cuda:0,cuda:1")),
        ([gpu(0, 2), gpu(1, 24), cpu(8)], "cuda:1", "16 bit", ("--device", "cuda:1")),
        ([gpu(0, 6.9), cpu(30)], "cuda:0, cpu", "16 bit", ("--device-map", "auto")),
        ([gpu(0, 2), cpu(64)], "cpu", "float32", ("--device", "cpu")),
        ([cpu(64)], "cpu", "float32", ()),
        ([cpu(64, "bfloat16")], "cpu", "16 bit", ()),
        ([cpu(24)], "cpu", "16 bit", ("--dtype", "bfloat16")),
        ([cpu(14, "bfloat16")], "cpu", "4 bit", ("--load-in-4bit",)),
        ([Device("mps", "Apple GPU", 24 * GB, "float16"), cpu(24)], "mps", "16 bit", ()),
    ],
)
def test_the_best_choice_on_a_machine(devices, where, precision, flags):
    best = recommend(list_choices(NEED, devices), devices)
    assert best is not None and (best.where, best.precision, best.flags) == (where, precision, flags)
    assert best.runs and best.needed_bytes <= best.available_bytes + GB


def test_little_memory_gets_one_conversation_or_the_disk_or_nothing():
    least = NEED.needed_bytes("4 bit", 1)
    devices = [Device("cpu", "small", least)]
    best = recommend(list_choices(NEED, devices), devices)
    assert best is not None
    smaller = [Device("cpu", "small", least - 1)]
    choices = list_choices(NEED, smaller)
    assert {choice.where for choice in choices if choice.runs} <= {"cpu, disk"}
    assert recommend(list_choices(NEED, [cpu(1)]), [cpu(1)]) is None
    unknown = [Device("cpu", "who knows", None)]
    assert recommend(list_choices(NEED, unknown), unknown) is None and "unknown" in render_choices(list_choices(NEED, unknown))


def test_small_models_are_not_spread():
    choices = list_choices(POCKET, [gpu(0, 8), gpu(1, 8), cpu(16)])
    assert {choice.where for choice in choices} == {"cuda:0", "cpu"}


def test_the_table_shows_what_to_type_for_what_fits():
    table = render_choices(list_choices(NEED, [gpu(0, 11.5), gpu(1, 11.5), cpu(30)])).splitlines()
    assert [line for line in table if line.startswith("cuda:0  ") and "16 bit" in line and line.endswith("does not fit")]
    (spread,) = [line for line in table if "cuda:0, cuda:1" in line and "16 bit" in line and "cpu" not in line.split("bit")[0]]
    assert spread.endswith("fits; --device-map cuda:0,cuda:1")
    assert [line for line in table if "--load-in-4bit" in line] and not [line for line in table if "slow" in line]
    table = render_choices(list_choices(NEED, [gpu(0, 8), cpu(16)])).splitlines()
    assert [line.partition("  ")[0] for line in table if "slow" in line] == ["cuda:0, cpu", "cpu, disk"]

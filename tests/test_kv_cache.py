"""Slots: the longest common beginning, cropped or copied; bounds; nothing half computed is kept."""

import threading

import torch

from minigpt4_model.chat.kv_cache import ConversationSlots, Slot, common_prefix


def filled(keys) -> Slot:
    """A slot whose cache holds the keys themselves, so that what is in it can be read."""
    slot = Slot(list(keys))
    for layer in range(2):
        values = torch.tensor(list(keys), dtype=torch.float32)[None, None, :, None].expand(1, 2, -1, 3)
        slot.cache.update(values + layer, -values, layer)
    return slot


def held(slot: Slot) -> list[int]:
    lengths = {layer.keys.shape[-2] for layer in slot.cache.layers} | {layer.values.shape[-2] for layer in slot.cache.layers}
    assert lengths <= {len(slot.keys)}
    return [int(value) for value in slot.cache.layers[0].keys[0, 0, :, 0]] if slot.cache.layers else []


def slots_with(*contents, max_slots=8, max_tokens=10_000):
    slots = ConversationSlots(max_slots, max_tokens)
    for keys in contents:
        slots.give_back(filled(keys))
    return slots


def test_common_prefix():
    assert [common_prefix(a, b) for a, b in [([], [1]), ([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, -5, 3], [1, -5, 4])]] == [0, 2, 2, 2]


def test_the_next_turn_takes_the_whole_slot():
    slots = slots_with(range(10))
    slot = slots.take(range(15))
    assert held(slot) == slot.keys == list(range(10))
    assert len(slots) == 0


def test_an_edit_crops_to_the_common_beginning():
    slots = slots_with(range(10))
    slot = slots.take([0, 1, 2, 3, 4, 5, 66, 77])
    assert held(slot) == slot.keys == [0, 1, 2, 3, 4, 5]


def test_at_least_one_position_is_left_to_compute():
    slot = slots_with(range(10)).take(range(10))
    assert held(slot) == list(range(9))
    slot = slots_with(range(10)).take(range(8))
    assert held(slot) == list(range(7))


def test_another_conversation_keeps_its_slot():
    slots = slots_with(range(10))
    copy = slots.take([0, 1, 2, 99, 98])
    assert held(copy) == copy.keys == [0, 1, 2]
    copy.cache.update(torch.full((1, 2, 1, 3), 99.0), torch.zeros(1, 2, 1, 3), 0)
    assert held(slots.take(range(20))) == list(range(10))


def test_the_longest_beginning_wins():
    slots = slots_with([0, 1, 2, 50], [0, 1, 2, 3, 4, 60], [7, 8, 9])
    assert slots.take([0, 1, 2, 3, 4, 5]).keys == [0, 1, 2, 3, 4]
    assert slots.take([100, 101]).keys == []


def test_slots_and_tokens_are_bounded_oldest_first():
    slots = slots_with([1] * 5, [2] * 5, [3] * 5, max_slots=2)
    assert len(slots) == 2
    slots.give_back(slots.take([2] * 9))  # used again: now the other one is the oldest
    slots.give_back(filled([4] * 5))
    assert slots.take([2] * 9).keys == [2] * 5
    assert slots.take([1] * 9).keys == slots.take([3] * 9).keys == []
    slots = slots_with(range(0, 40), range(100, 140), range(200, 240), max_tokens=100)
    assert slots.tokens == 80 and slots.take(range(0, 50)).keys == []


def test_what_a_longer_slot_contains_is_dropped():
    slots = slots_with(range(5), range(10), [0, 1, 77])
    assert len(slots) == 2 and slots.tokens == 13


def test_a_slot_left_in_the_middle_of_a_step_is_not_kept():
    slots = slots_with(range(10))
    slot = slots.take(range(12))
    slot.sound = False
    slots.give_back(slot)
    assert len(slots) == 0


def test_giving_back_never_waits():
    """A stream may be finalised by the garbage collector inside `take` itself, in the thread that holds the lock."""
    slots = slots_with()
    with slots._lock:
        thread = threading.Thread(target=slots.give_back, args=(filled(range(5)),))
        thread.start()
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert slots.take(range(9)).keys == list(range(5))


def test_slots_handed_over_count():
    slots = slots_with([1] * 5, [2] * 5, [3] * 5, max_slots=3)
    first, second = slots.take([]), slots.take([2] * 9)
    assert len(slots) == 1 and slots.take([3] * 9).keys == [3] * 5
    assert len(slots) == 0
    for slot in (first, second):
        slots.give_back(slot)
    slots.clear()
    for keys in ([1], [2]):
        slots.give_back(filled(keys))
    assert len(slots) == 2  # one is still handed over


def test_it_says_whether_a_beginning_is_kept():
    slots = slots_with([1, 2, 3], [4, 5])
    assert slots.holds([1, 2]) and slots.holds([4, 5]) and not slots.holds([1, 3]) and not slots.holds([4, 5, 6])
    taken = slots.take([1, 2, 3, 4])
    assert taken.keys == [1, 2, 3] and not slots.holds([1, 2])

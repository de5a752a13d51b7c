"""The order of training: proportions, epochs, purity, and what takes the place of a broken sample."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from minigpt4_model.training.sources import BrokenSample, Mixture, Sample, Source, SourceError, Tally, build_mixture
from minigpt4_model.training.sources.order import ShuffledOrder
from minigpt4_model.training.sources.tally import TooManyBroken

from .test_sources import pairs, picture, write_shard


class Numbers(Source):
    """Conversations in words alone; those in `bad` are broken."""

    def __init__(self, name, count, bad=(), blocks=None):
        super().__init__(name)
        self.count, self.bad, self._blocks = count, frozenset(bad), blocks or [count]

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.bad:
            raise BrokenSample("bad number", f"{index} is bad")
        words = [{"role": role, "content": [{"type": "text", "text": f"{index}"}]} for role in ("user", "assistant")]
        return Sample(self.key(index), words, self.name, index)

    def key(self, index):
        return f"{self.name}/{index}"

    @property
    def fingerprint(self):
        return f"{self.name} {self.count}"

    @property
    def blocks(self):
        return self._blocks


class TestOrder:
    @pytest.mark.parametrize("blocks", [[1], [100], [7, 1, 0, 30, 2], [3] * 40, [0, 0, 5], [10] * 32])
    @pytest.mark.parametrize("window", [1, 2, 16])
    def test_every_element_once_in_an_epoch(self, blocks, window):
        order = ShuffledOrder(blocks, [5], window)
        for epoch in range(3):
            assert sorted(order(epoch, position) for position in range(sum(blocks))) == list(range(sum(blocks)))

    def test_epochs_and_seeds_differ(self):
        orders = [[ShuffledOrder([20] * 10, [seed])(epoch, p) for p in range(200)] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
        assert orders[0] != orders[1] != orders[2] != orders[0]

    def test_reading_stays_in_a_few_blocks(self):
        order = ShuffledOrder([100] * 50, [0], window_blocks=4)
        for start in range(0, 4800, 400):
            blocks = [order(0, position) // 100 for position in range(start, start + 400)]
            assert len(set(blocks)) == 4
            assert len(set(blocks[:40])) > 1  # and it is shuffled among them

    def test_any_position_alone(self):
        walked, asked = ShuffledOrder([9] * 30, [3], 4), ShuffledOrder([9] * 30, [3], 4)
        expected = [walked(2, position) for position in range(270)]
        positions = np.random.default_rng(0).permutation(270)
        assert [asked(2, int(p)) for p in positions] == [expected[p] for p in positions]

    def test_memory_does_not_grow_with_the_source(self):
        order = ShuffledOrder([10_000] * 500, [0], 16)
        for number in range(0, 5_000_000, 250_000):
            order(0, number)
        assert sum(array.nbytes for array in order._windows.values()) < 10e6

    def test_positions_outside(self):
        with pytest.raises(IndexError):
            ShuffledOrder([3], [0])(0, 3)


class TestProportions:
    @pytest.mark.parametrize("weights", [[1, 1], [115, 14], [0.1, 0.2, 0.7], [5, 1e-3], [1, 2, 3, 4], [3]])
    def test_each_source_gives_its_share_at_every_moment(self, weights):
        mixture = Mixture([Numbers(f"s{i}", 1000) for i in range(len(weights))], weights)
        counts = np.zeros(len(weights))
        for number in range(3000):
            counts[mixture.place(number).source] += 1
            assert np.abs(counts - (number + 1) * np.array(weights) / sum(weights)).max() < len(weights)

    def test_exact_far_out(self):
        mixture = Mixture([Numbers("a", 10**7), Numbers("b", 10**6)], [115, 14])
        start = 10**12
        counts = Counter(mixture.place(number).source for number in range(start, start + 1290))
        assert counts == {0: 1150, 1: 140}

    def test_without_weights_by_size(self):
        assert Mixture([Numbers("a", 300), Numbers("b", 100)]).shares == {"a": 0.75, "b": 0.25}

    def test_a_source_is_walked_through_in_its_epochs(self):
        mixture = Mixture([Numbers("a", 50), Numbers("b", 20)], [2, 1])
        drawn = {"a": [], "b": []}
        for number in range(300):
            sample = mixture.sample(number)
            drawn[sample.source].append(sample.index)
        for name, size in (("a", 50), ("b", 20)):
            epochs = [drawn[name][start : start + size] for start in range(0, len(drawn[name]) - size + 1, size)]
            assert len(epochs) >= 4 and all(sorted(epoch) == list(range(size)) for epoch in epochs)
            assert epochs[0] != epochs[1]

    @pytest.mark.parametrize(
        "sources, weights, message",
        [
            ([], None, "Name at least one source with --data"),
            ([Numbers("a", 0)], None, "--data a holds no samples"),
            ([Numbers("a", 5)], [0], "--data a has the weight 0"),
            ([Numbers("a", 5)], [float("nan")], "--data a has the weight nan"),
            ([Numbers("a", 5)], [1, 2], "1 sources have 2 weights"),
            ([Numbers("a", 5), Numbers("a", 6)], None, "the same name"),
        ],
    )
    def test_what_cannot_be_mixed(self, sources, weights, message):
        with pytest.raises(SourceError, match=message):
            Mixture(sources, weights)


class TestBrokenSamples:
    def test_the_replacement_is_a_function_of_the_number(self):
        def run(numbers):
            mixture = Mixture([Numbers("a", 100, bad=range(0, 100, 7))], seed=4)
            return {number: mixture.sample(number).index for number in numbers}

        forwards, backwards = run(range(250)), run(reversed(range(250)))
        assert forwards == backwards
        assert not set(forwards.values()) & set(range(0, 100, 7))

    def test_only_broken_places_change(self):
        whole = Mixture([Numbers("a", 100)], seed=4)
        holed = Mixture([Numbers("a", 100, bad=[13, 40])], seed=4)
        changed = [number for number in range(100) if whole.sample(number).index != holed.sample(number).index]
        assert sorted(whole.sample(number).index for number in changed) == [13, 40]

    def test_the_replacement_lies_in_the_same_window(self):
        source = Numbers("a", 1000, bad=range(0, 1000, 3), blocks=[100] * 10)
        mixture = Mixture([source], shuffle_shards=2)
        order = mixture.orders[0]
        for number in range(0, 1000, 11):
            place = mixture.place(number)
            blocks = {order(0, position) // 100 for position in order.window(0, place.position)}
            assert len(blocks) == 2 and mixture.sample(number).index // 100 in blocks

    def test_they_are_counted(self):
        tally, mixture = Tally(), Mixture([Numbers("a", 100, bad=[1, 2, 3, 4, 5]), Numbers("b", 100)], [1, 1])
        for number in range(200):
            mixture.sample(number, tally)
        counts = tally.sources["a"]
        assert counts.broken >= 5 and counts.looked_at == 100 + counts.broken and len(counts.examples) == 3
        assert tally.sources["b"].broken == 0 and len(tally.report()) == 1 and "bad number" in tally.report()[0]
        assert Tally.from_dict(json.loads(json.dumps(tally.as_dict()))) == tally

    def test_too_many_stop_with_reason_and_examples(self):
        tally, mixture = Tally(), Mixture([Numbers("a", 1000, bad=range(150))])
        for number in range(150):
            mixture.sample(number, tally)
        tally.check(0.1)  # fewer than 200 looked at say nothing
        for number in range(150, 400):
            mixture.sample(number, tally)
        with pytest.raises(
            TooManyBroken, match=r"--data a: \d+ of \d+ samples .* x bad number\). For example: a/\d+: \d+ is bad; .*; .*--max-broken"
        ):
            tally.check(0.1)
        tally.check(0.5)

    def test_a_small_source_is_judged_once_it_was_seen(self):
        tally, mixture = Tally(), Mixture([Numbers("a", 12, bad=range(4))])
        number = 0
        while "a" not in tally.sources or tally.sources["a"].looked_at < 12:
            tally.check(0.1, {"a": 12})
            mixture.sample(number, tally)
            number += 1
        with pytest.raises(TooManyBroken):
            tally.check(0.1, {"a": 12})
        examples = tally.sources["a"].examples
        assert len(set(examples)) == len(examples) == 3

    def test_a_source_of_nothing_but_broken_samples(self):
        with pytest.raises(TooManyBroken, match="100 of 100 samples cannot be used"):
            Mixture([Numbers("a", 50, bad=range(50))]).sample(0)


class TestRealSources:
    @pytest.fixture
    def specs(self, tmp_path):
        for shard in range(4):
            write_shard(tmp_path / "laion" / f"{shard:05d}.tar", pairs(shard, 8))
        (tmp_path / "mine").mkdir()
        for number in range(5):
            (tmp_path / "mine" / f"{number}.png").write_bytes(picture((number, 0, 0), kind="PNG"))
        rows = "\n".join(f"{number}.png,own {number}" for number in range(5))
        (tmp_path / "mine" / "captions.csv").write_text(f"image,caption\n{rows}\n")
        return [f"{tmp_path}/laion@3", f"{tmp_path}/mine@1"]

    def test_another_process_draws_the_same(self, specs):
        code = (
            "import sys; from minigpt4_model.training.sources import build_mixture\n"
            "m = build_mixture(sys.argv[1:], seed=9, questions=['A?', 'B?'])\n"
            "print([(m[n].key, m[n].messages[0]['content'][1]['text'], m[n].pictures[0].digest) for n in range(40)], m.fingerprint)"
        )
        runs = [subprocess.run([sys.executable, "-c", code, *specs], capture_output=True, text=True, timeout=60) for _ in range(2)]
        mixture = build_mixture(specs, seed=9, questions=["A?", "B?"])
        samples = [mixture.sample(number) for number in range(40)]
        ours = [(s.key, s.messages[0]["content"][1]["text"], s.pictures[0].digest) for s in samples]
        assert runs[0].stdout == runs[1].stdout == f"{ours} {mixture.fingerprint}\n", runs[0].stderr
        assert {question for _, question, _ in ours} == {"A?", "B?"} and [s.number for s in samples] == list(range(40))

    def test_the_fingerprint_names_data_and_order(self, specs):
        prints = [
            build_mixture(specs).fingerprint,
            build_mixture(specs, seed=1).fingerprint,
            build_mixture(specs[:1]).fingerprint,
            build_mixture([specs[0].replace("@3", "@4"), specs[1]]).fingerprint,
            build_mixture(specs, questions=["A?"]).fingerprint,
        ]
        assert len(set(prints)) == 5 and build_mixture(specs).fingerprint == prints[0]

    def test_who_has_features_cached_opens_no_picture(self, specs):
        mixture = build_mixture(specs, open_picture=lambda closed: ("closed", type(closed).__name__))
        assert {mixture.sample(number).pictures[0][1] for number in range(20)} == {"bytes", "PosixPath"}

    def test_weights_for_all_or_none(self, specs):
        with pytest.raises(SourceError, match="mine has no weight, and others have one"):
            build_mixture([specs[0], specs[1].removesuffix("@1")])

    def test_the_same_folder_twice_keeps_two_names(self, specs):
        assert set(build_mixture([specs[0], specs[0]]).shares) == {"laion", "laion-2"}

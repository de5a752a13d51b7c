"""Batches by step: the same with any number of workers and ranks, from wherever a run goes on."""

import itertools
import multiprocessing
import os
import signal
import time

import pytest

from minigpt4_model.training.loader import batches
from minigpt4_model.training.sources import BrokenSample, Mixture, SourceError, Tally, build_mixture

from .test_sources import pairs, write_shard
from .test_sources_mixture import Numbers


def keys(samples):
    return [(sample.number, sample.key) for sample in samples]


def take(count, *args, **options):
    """`(step, batch)` of the first `count` steps, and what was found in them."""
    stream, tally = batches(*args, **options), Tally()
    steps = [(step, batch, found) for step, batch, found in itertools.islice(stream, count)]
    stream.close()
    for _, _, found in steps:
        tally.add(found)
    return [(step, batch) for step, batch, _ in steps], tally


@pytest.fixture
def shards(tmp_path):
    for shard in range(4):
        write_shard(tmp_path / f"{shard:05d}.tar", [*pairs(shard, 9), (f"bad{shard}.jpg", b"junk"), (f"bad{shard}.txt", b"words")])
    return build_mixture([str(tmp_path)], seed=3)


def test_as_many_workers_as_you_like(shards):
    runs, tallies = zip(*(take(9, shards, keys, 6, num_workers=workers, max_broken=0.5) for workers in range(3)), strict=True)
    assert runs[0] == runs[1] == runs[2] and [step for step, _ in runs[0]] == list(range(9))
    assert tallies[0] == tallies[1] == tallies[2] and tallies[0].sources[shards.sources[0].name].broken >= 4


def test_resume_goes_on_where_it_was(shards):
    whole, _ = take(9, shards, keys, 6, max_broken=0.5)
    assert take(4, shards, keys, 6, start_step=5, num_workers=2, max_broken=0.5)[0] == whole[5:]


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_together_see_what_one_sees(workers):
    mixture = Mixture([Numbers("a", 40), Numbers("b", 8)], [3, 1])
    one, _ = take(5, mixture, keys, 8, num_workers=workers)
    ranks = [take(5, mixture, keys, 8, rank=rank, world_size=4, num_workers=workers)[0] for rank in range(4)]
    assert [(step, sum((ranks[rank][step][1] for rank in range(4)), [])) for step in range(5)] == one


def test_no_repeats_over_ranks_and_workers_within_an_epoch():
    mixture = Mixture([Numbers("a", 48, blocks=[12] * 4)])
    seen = []
    for rank in range(2):
        for _, batch in take(6, mixture, keys, 8, rank=rank, world_size=2, num_workers=2)[0]:
            seen += [key for _, key in batch]
    assert len(seen) == len(set(seen)) == 48


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_broken_stop_at_the_same_step_with_the_reason(workers):
    mixture = Mixture([Numbers("a", 1000, bad=range(0, 1000, 4))])
    done = []
    with pytest.raises(SourceError, match="--data a: .* x bad number.*For example: a/.*--max-broken 0.1") as error:
        for step, _, _ in batches(mixture, keys, 10, num_workers=workers):
            done.append(step)
    assert 14 <= len(done) <= 16 and "Traceback" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_broken_samples(workers):
    with pytest.raises(SourceError, match="100 of 100 samples cannot be used"):
        next(batches(Mixture([Numbers("a", 9, bad=range(9))]), keys, 2, num_workers=workers))


def test_workers_end_when_the_iterator_is_closed():
    before = set(multiprocessing.active_children())
    stream = batches(Mixture([Numbers("a", 100)]), keys, 4, num_workers=2)
    next(stream)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    stream.close()
    deadline = time.monotonic() + 10
    while any(worker.is_alive() for worker in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(worker.is_alive() for worker in started)


def test_collating_happens_in_the_workers():
    def who(samples):
        return os.getpid()

    mixture = Mixture([Numbers("a", 100)])
    assert {pid for _, pid in take(3, mixture, who, 4)[0]} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in take(3, mixture, who, 4, num_workers=1)[0]}


@pytest.mark.skipif(os.name == "nt", reason="no os.kill with SIGINT")
def test_ctrl_c_does_not_end_the_workers():
    stream = batches(Mixture([Numbers("a", 100)]), lambda samples: os.getpid(), 4, num_workers=1)
    _, worker, _ = next(stream)
    os.kill(worker, signal.SIGINT)
    assert [pid for _, pid, _ in itertools.islice(stream, 6)] == [worker] * 6
    stream.close()


def test_what_was_found_before_counts_and_is_left_alone():
    before = Tally()
    for number in range(199):
        before.broken("a", f"a/{number}", "bad number", "")
    stream = batches(Mixture([Numbers("a", 100)]), keys, 2, before=before)
    with pytest.raises(SourceError, match="199 of 201"):
        next(stream)
    assert before.sources["a"].looked_at == 199


def test_a_sample_that_fails_the_check_is_replaced_and_counted():
    def check(sample):
        if sample.index < 5:
            raise BrokenSample("too small")

    mixture = Mixture([Numbers("a", 50)])
    mixture.check = check
    steps, tally = take(5, mixture, keys, 10, max_broken=1.0)
    assert not {key for _, batch in steps for _, key in batch} & {f"a/{index}" for index in range(5)}
    assert tally.sources["a"].reasons["too small"] >= 5


def test_a_stop_iteration_of_collate_is_not_the_end_of_the_data():
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(batches(Mixture([Numbers("a", 100)]), lambda samples: next(iter(())), 4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_collate_is_not_taken_for_bad_data(workers):
    def faulty(samples):
        raise RuntimeError("collate is wrong")

    with pytest.raises(RuntimeError, match="collate is wrong"):
        next(batches(Mixture([Numbers("a", 100)]), faulty, 4, num_workers=workers))


def test_a_batch_that_cannot_be_shared_out():
    with pytest.raises(ValueError, match="12 cannot be shared out evenly over 5 processes: choose a --batch-size"):
        batches(Mixture([Numbers("a", 9)]), keys, 12, world_size=5)


def test_tensors_pass_through():
    torch = pytest.importorskip("torch")
    mixture = Mixture([Numbers("a", 10)])
    made, _ = take(2, mixture, lambda samples: {"n": torch.tensor([sample.number for sample in samples])}, 5, num_workers=1)
    assert made[1][1]["n"].tolist() == [5, 6, 7, 8, 9]


def test_a_broken_sample_says_why():
    error = BrokenSample("kind", "this one")
    assert (error.reason, str(error), str(BrokenSample("kind"))) == ("kind", "this one", "kind")

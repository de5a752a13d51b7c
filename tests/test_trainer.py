"""The one trainer on a tiny model: what learns, what stays, and that a killed run goes on as if nothing had happened."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.model import MiniGPT4Config
from minigpt4_model.training import checkpoint
from minigpt4_model.training.checkpoint import STATE_FILE, keep_best, load_state, save_projection, save_state, trained_state
from minigpt4_model.training.schedule import LearningRate
from minigpt4_model.training.trainer import Trainer, TrainingArguments, build_optimizer, freeze
from minigpt4_model.weights.load import TRAINED_PREFIXES, read_checkpoint
from tests.tiny_models import build_tiny_model


class Killed(Exception):
    pass


class NamingObjective:
    """Two pictures with two words each to say, other ones at every step; `killed_at` is a step that never gets its batch."""

    def __init__(self, model, killed_at: int | None = None, scores: tuple[float, ...] = (), variety: int = 100):
        self.model, self.killed_at, self.scores, self.variety = model, killed_at, list(scores), variety
        self.seen_at_evaluation: list[dict[str, torch.Tensor]] = []

    def batch(self, step: int):
        if step == self.killed_at:
            raise Killed
        generator = torch.Generator().manual_seed(step % self.variety)
        features = torch.randn(2, 257, 48, generator=generator)
        return features, torch.randint(3, 32000, (2, 2), generator=generator)

    def loss(self, batch):
        features, words = batch
        tokens = self.model.model.project_features(features)
        places = torch.full((2, tokens.shape[1]), self.model.config.image_token_id)
        input_ids = torch.cat([torch.ones(2, 1, dtype=torch.long), places, words], dim=1)
        labels = torch.where(input_ids == self.model.config.image_token_id, -100, input_ids)
        return self.model(input_ids=input_ids, image_features=tokens, labels=labels).loss, {"words": float(words.numel())}

    def evaluate(self):
        self.seen_at_evaluation.append(trained_state(self.model, torch.bfloat16))
        return {"score": self.scores.pop(0)} if self.scores else {"anything": 1.0}


@pytest.fixture(scope="module")
def tiny():
    return build_tiny_model()[0]


@pytest.fixture
def model(tiny):
    return copy.deepcopy(tiny)


def arguments(directory, **changes) -> TrainingArguments:
    given = dict(max_steps=6, learning_rate=5e-3, min_learning_rate=1e-4, warmup_steps=2, save_steps=3, eval_steps=3, log_steps=1)
    return TrainingArguments(output_dir=directory, **{**given, **changes})


def log(directory) -> list[dict]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def differing(one: dict, other: dict) -> set[str]:
    assert one.keys() == other.keys()
    return {key for key in one if not torch.equal(one[key], other[key])}


def whole_state(model) -> dict[str, torch.Tensor]:
    """Every tensor, buffers that no file holds included, copied."""
    return {name: tensor.clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


# --- what learns


@pytest.mark.parametrize("train_qformer", [True, False])
def test_only_what_should_learn_changes(model, tmp_path, train_qformer):
    before = whole_state(model)
    Trainer(model, NamingObjective(model), arguments(tmp_path, train_qformer=train_qformer)).train()
    changed = differing(before, whole_state(model))
    learning = TRAINED_PREFIXES if train_qformer else ("model.language_projection.",)
    assert all(key.startswith(learning) for key in changed)
    assert {key for key in before if key.startswith("model.language_projection.")} <= changed
    assert train_qformer == ("model.query_tokens" in changed) == any(key.startswith("model.qformer.") for key in changed)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == name.startswith(learning), name
        assert parameter.requires_grad or parameter.grad is None, name


def test_without_a_qformer_the_projection_learns():
    model = build_tiny_model("llama2")[0]
    assert sorted(parameter.ndim for parameter in freeze(model, train_qformer=True)) == [1, 2]


def test_weight_decay_is_for_matrices_only(model, tmp_path):
    parameters = freeze(model, train_qformer=True)
    decayed, others = build_optimizer(parameters, arguments(tmp_path)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"], decayed["betas"]) == (0.05, 0.0, (0.9, 0.999))
    assert min(p.ndim for p in decayed["params"]) == 2 and max(p.ndim for p in others["params"]) == 1
    assert len(decayed["params"]) + len(others["params"]) == len(parameters)


def test_the_loss_falls(model, tmp_path):
    Trainer(model, NamingObjective(model, variety=1), arguments(tmp_path, max_steps=30, eval_steps=30, save_steps=30)).train()
    losses = [record["loss"] for record in log(tmp_path) if "loss" in record]
    assert len(losses) == 30 and losses[-1] < 0.7 * losses[0]


def test_dropout_stays_off(model, tmp_path):
    objective = NamingObjective(model)
    Trainer(model.train(), objective, arguments(tmp_path))
    with torch.no_grad():
        assert objective.loss(objective.batch(0))[0] == objective.loss(objective.batch(0))[0]


def test_a_gradient_that_is_not_finite_changes_nothing(model, tmp_path):
    class Broken(NamingObjective):
        def loss(self, batch):
            loss, metrics = super().loss(batch)
            return loss * float("inf"), metrics

    before = whole_state(model)
    with pytest.raises(FloatingPointError, match="step 0 is not finite.*--output-dir with a lower --learning-rate"):
        Trainer(model, Broken(model), arguments(tmp_path)).train()
    assert differing(before, whole_state(model)) == set()


def test_contradictory_arguments_name_the_flag(tmp_path):
    with pytest.raises(ValueError, match=r"--warmup-steps \(7\) must not exceed --max-steps \(6\)"):
        arguments(tmp_path, warmup_steps=7)
    with pytest.raises(ValueError, match="--max-steps must be at least 1, not 0"):
        arguments(tmp_path, max_steps=0, warmup_steps=0)


# --- resuming


@pytest.mark.parametrize("killed_at", [3, 5], ids=["right after a save", "between two saves"])
def test_a_killed_run_goes_on_exactly(tiny, tmp_path, killed_at):
    straight = Trainer(copy.deepcopy(tiny), None, arguments(tmp_path / "straight"))
    straight.objective = NamingObjective(straight.model, scores=(0.2, 0.1))
    straight.train()

    model = copy.deepcopy(tiny)
    with pytest.raises(Killed):
        Trainer(model, NamingObjective(model, killed_at, scores=(0.2,)), arguments(tmp_path / "killed")).train()
    other = build_tiny_model(seed=1)[0]  # nothing of what it starts with may be left
    other.load_state_dict({key: tensor for key, tensor in tiny.state_dict().items() if not key.startswith(TRAINED_PREFIXES)}, strict=False)
    resumed = Trainer(other, NamingObjective(other, scores=(0.1,)), arguments(tmp_path / "killed"))
    resumed.train()

    assert differing(straight.model.state_dict(), other.state_dict()) == set()
    ours, theirs = (load_state(tmp_path / name) for name in ("straight", "killed"))
    assert (theirs["step"], theirs["best_score"]) == (ours["step"], ours["best_score"]) == (6, 0.2)
    for one, two in zip(ours["optimizer"]["state"].values(), theirs["optimizer"]["state"].values(), strict=True):
        assert differing(one, two) == set()
    steps = {record["step"]: record["loss"] for record in log(tmp_path / "killed") if "loss" in record}
    assert steps == {record["step"]: record["loss"] for record in log(tmp_path / "straight") if "loss" in record}


def test_a_finished_run_has_nothing_to_do(model, tmp_path):
    Trainer(model, NamingObjective(model), arguments(tmp_path)).train()
    before = whole_state(model)
    Trainer(model, NamingObjective(model, killed_at=6), arguments(tmp_path)).train()
    assert differing(before, whole_state(model)) == set()


def test_changed_flags_are_refused_by_name(model, tmp_path):
    Trainer(model, NamingObjective(model), arguments(tmp_path)).train()
    before = whole_state(model)
    with pytest.raises(ValueError, match="other values of --max-steps, --learning-rate. Give the same .* another --output-dir"):
        Trainer(model, NamingObjective(model), arguments(tmp_path, max_steps=9, learning_rate=1.0)).train()
    assert differing(before, whole_state(model)) == set()


def test_a_run_of_another_model_is_refused(model, tmp_path):
    Trainer(model, NamingObjective(model), arguments(tmp_path)).train()
    other = build_tiny_model("llama2")[0]
    with pytest.raises(ValueError, match="holds a run of a model of other sizes"):
        Trainer(other, NamingObjective(other), arguments(tmp_path)).train()


# --- what is written


def test_the_best_checkpoint_is_kept(model, tmp_path):
    objective = NamingObjective(model, scores=(0.1, 0.5, 0.3, 0.5))
    Trainer(model, objective, arguments(tmp_path, max_steps=4, eval_steps=1, save_steps=4)).train()
    best, last = (load_file(tmp_path / name / "model.safetensors") for name in ("best", "last"))
    assert differing(best, objective.seen_at_evaluation[1]) == set()
    assert differing(last, objective.seen_at_evaluation[3]) == set() and differing(best, last)
    assert [record["eval_score"] for record in log(tmp_path) if "eval_score" in record] == [0.1, 0.5, 0.3, 0.5]
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "best" / STATE_FILE).exists()


def test_a_saved_projection_can_be_read_and_holds_nothing_else(model, tmp_path):
    model.config.text_config._name_or_path = "/home/someone/llm"
    model.config.trained_with = {"language_model": {"name": "tiny"}}
    save_projection(model, tmp_path / "run")
    tensors = read_checkpoint(tmp_path / "run")
    assert all(key.startswith(TRAINED_PREFIXES) for key in tensors) and {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert tensors.keys() == trained_state(model).keys() and "model.language_projection.bias" in tensors
    text = (tmp_path / "run" / "config.json").read_text()
    assert "/home/someone" not in text
    config = MiniGPT4Config.from_pretrained(tmp_path / "run")
    assert config.trained_with == {"language_model": {"name": "tiny"}} and config.qformer_config.hidden_size == 32


def test_a_failing_write_leaves_the_old_checkpoint(model, tmp_path, monkeypatch):
    save_projection(model, tmp_path)
    (tmp_path / "README.md").write_text("card")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(tensors, path, metadata):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", half)
    with torch.no_grad():
        model.model.language_projection.bias += 1
    with pytest.raises(OSError, match="No space left"):
        save_projection(model, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    monkeypatch.undo()
    save_projection(model, tmp_path)
    assert (tmp_path / "README.md").read_text() == "card" and (tmp_path / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_a_failing_state_leaves_the_old_one(tmp_path, monkeypatch):
    save_state(tmp_path, {"step": 1})

    def half(state, path):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        save_state(tmp_path, {"step": 2})
    assert load_state(tmp_path) == {"step": 1} and load_state(tmp_path / "elsewhere") is None


def test_the_best_is_replaced_only_by_a_whole_copy(tmp_path, monkeypatch):
    for name, text in (("last", "new"), ("best", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(text)

    def half(source, target, ignore):
        target.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.shutil, "copytree", half)
    with pytest.raises(OSError, match="No space left"):
        keep_best(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best" / "model.safetensors").read_text() == "old"
    monkeypatch.undo()
    keep_best(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best" / "model.safetensors").read_text() == "new"


@pytest.mark.parametrize("killed_at", ["rename 1", "rename 2", "deleting"])
def test_a_kill_never_loses_the_best(tmp_path, monkeypatch, killed_at):
    for name, text in (("last", "new"), ("best", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(text)
    calls, replace, rmtree = [], checkpoint.os.replace, checkpoint.shutil.rmtree

    def killed_rename(*arguments):
        calls.append(f"rename {len(calls) + 1}")
        if calls[-1] == killed_at:
            raise KeyboardInterrupt
        replace(*arguments)

    def killed_delete(path, ignore_errors):
        if path.exists() and killed_at == "deleting":
            raise KeyboardInterrupt
        rmtree(path, ignore_errors)

    monkeypatch.setattr(checkpoint.os, "replace", killed_rename)
    monkeypatch.setattr(checkpoint.shutil, "rmtree", killed_delete)
    with pytest.raises(KeyboardInterrupt):
        keep_best(tmp_path / "last", tmp_path / "best")
    monkeypatch.undo()
    kept = {path.parent.name: path.read_text() for path in tmp_path.glob("*/model.safetensors")}
    assert kept.get("best", kept.get("best.old")) in ("old", "new")

    def half(source, target, ignore):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.shutil, "copytree", half)  # the next one fails, and still there is a best one
    with pytest.raises(OSError, match="No space left"):
        keep_best(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best" / "model.safetensors").read_text() == ("new" if killed_at == "deleting" else "old")
    monkeypatch.undo()
    keep_best(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best" / "model.safetensors").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]


# --- the schedule


def test_stage_1_has_the_originals_learning_rates():
    rate = LearningRate(1e-4, 8e-5, 1e-6, warmup_steps=5000, max_steps=20000)
    expected = {0: 1e-6, 2500: 5.05e-5, 4999: 9.998e-5, 5000: 9.707e-5, 10000: 9e-5, 19999: 8e-5}
    assert {step: rate(step) for step in expected} == pytest.approx(expected, rel=1e-4)


def test_stage_2_has_the_originals_learning_rates():
    rate = LearningRate(3e-5, 1e-5, 1e-6, warmup_steps=200, max_steps=1000)
    expected = {0: 1e-6, 100: 1.55e-5, 199: 2.9855e-5, 200: 2.809e-5, 500: 2e-5, 1000: 1e-5}
    assert {step: rate(step) for step in expected} == pytest.approx(expected, rel=1e-4)


def test_without_warm_up_it_starts_at_the_top():
    rate = LearningRate(1e-3, 0.0, 1e-6, warmup_steps=0, max_steps=10)
    assert rate(0) == 1e-3 and rate(10) == rate(99) == 0.0

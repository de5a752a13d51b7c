"""The one trainer on a tiny model: what learns, what stays, and that a killed run goes on as if nothing had happened."""

import copy
import json

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.training import checkpoint
from minigpt4_model.training.arguments import TrainingArguments
from minigpt4_model.training.checkpoint import STATE_FILE, CheckpointError, find_checkpoints, load_state, trained_state
from minigpt4_model.training.objective import SampleAnswer, Share
from minigpt4_model.training.schedule import LearningRate
from minigpt4_model.training.trainer import Trainer, build_optimizer, freeze
from minigpt4_model.weights.load import TRAINED_PREFIXES, read_checkpoint
from tests.tiny_models import build_tiny_model
from tests.tiny_training import NamingObjective


class Killed(Exception):
    pass


class Naming(NamingObjective):
    """Keeps the weights that it was evaluated with; can be killed from inside."""

    def __init__(self, model, killed_at: int | None = None, **options):
        super().__init__(model.config.image_token_id, **options)
        self.model, self.killed_at = model, killed_at
        self.seen_at_evaluation: list[dict[str, torch.Tensor]] = []

    def kill(self):
        raise Killed

    def evaluate(self, model, add_up):
        self.seen_at_evaluation.append(trained_state(self.model, torch.bfloat16))
        return super().evaluate(model, add_up)


@pytest.fixture(scope="module")
def tiny():
    return build_tiny_model()[0]


@pytest.fixture
def model(tiny):
    return copy.deepcopy(tiny)


def arguments(directory, **changes) -> TrainingArguments:
    given = dict(max_steps=6, batch_size=2, learning_rate=5e-3, min_learning_rate=1e-4, warmup_steps=2, save_steps=3, eval_steps=3)
    given |= dict(log_steps=1, mixed_precision="no", report_to="none")
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
    Trainer(model, Naming(model), arguments(tmp_path, train_qformer=train_qformer)).train()
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
    Trainer(model, Naming(model, variety=1), arguments(tmp_path, max_steps=30, eval_steps=30, save_steps=30)).train()
    losses = [record["loss"] for record in log(tmp_path) if "loss" in record]
    assert len(losses) == 30 and losses[-1] < 0.7 * losses[0]


def test_dropout_stays_off(model, tmp_path):
    trainer = Trainer(model.train(), Naming(model), arguments(tmp_path))
    (piece,) = next(trainer.objective.batches(0, Share()))
    with torch.no_grad():
        one, two = (trainer.objective.loss(trainer.wrapped, piece)[0]["answers"] for _ in range(2))
    assert one == two


def test_gradient_checkpointing_changes_no_loss(tiny, tmp_path):
    for name, given in (("plain", {}), ("checkpointed", {"gradient_checkpointing": True})):
        model = copy.deepcopy(tiny)
        Trainer(model, Naming(model), arguments(tmp_path / name, max_steps=3, **given)).train()
    plain, checkpointed = ([record["loss"] for record in log(tmp_path / name) if "loss" in record] for name in ("plain", "checkpointed"))
    assert checkpointed == pytest.approx(plain, rel=1e-5)


def test_gradient_checkpointing_changes_no_answer(model, tmp_path):
    class Answering(Naming):
        def samples(self):
            ids = torch.tensor([[1, *[self.image_token_id] * 32, 400]])
            pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
            said = self.model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=5, do_sample=False)
            return [SampleAnswer(PIL.Image.new("RGB", (8, 8)), "What is it?", str(said.tolist()))]

        def evaluate(self, model, add_up):
            modes.append(self.model.language_model.training)
            return super().evaluate(model, add_up)

    modes, columns = [], []
    for name, checkpointed in (("plain", False), ("checkpointed", True)):
        trained = copy.deepcopy(model)
        Trainer(trained, Answering(trained), arguments(tmp_path / name, max_steps=3, gradient_checkpointing=checkpointed)).train()
        columns.append(json.loads((tmp_path / name / "samples.json").read_text())["columns"])
        assert trained.language_model.training == checkpointed  # and it goes on learning as it did
    assert columns[0] == columns[1] and len(columns[0]) == 2
    assert modes == [False, False]


def test_accumulating_gradients_changes_nothing(tiny, tmp_path):
    for name, given in (("whole", {}), ("pieces", {"per_device_batch_size": 1}), ("uneven", {"per_device_batch_size": 3})):
        model = copy.deepcopy(tiny)
        Trainer(model, Naming(model, batch_size=4), arguments(tmp_path / name, batch_size=4, learning_rate=1e-3, **given)).train()
    whole, pieces, uneven = (load_state(tmp_path / name)["model"] for name in ("whole", "pieces", "uneven"))
    for other in (pieces, uneven):
        assert max(float((whole[key] - other[key]).abs().max()) for key in whole) < 2e-5
    # The figures are of the whole step too: words of a picture.
    assert [record["words"] for record in log(tmp_path / "pieces") if "words" in record] == [7 / 4] * 6


def test_a_gradient_that_is_not_finite_changes_nothing(model, tmp_path):
    class Broken(Naming):
        def loss(self, wrapped, piece):
            sums, figures = super().loss(wrapped, piece)
            return {term: amount * float("inf") for term, amount in sums.items()}, figures

    before = whole_state(model)
    with pytest.raises(
        FloatingPointError, match="step 0 is not finite.*: start anew in another --output-dir, with a lower --learning-rate"
    ):
        Trainer(model, Broken(model), arguments(tmp_path)).train()
    assert differing(before, whole_state(model)) == set()


def test_mixed_precision_keeps_what_learns_in_fp32(model, tmp_path):
    model.to(torch.bfloat16)
    trainer = Trainer(model, Naming(model), arguments(tmp_path, mixed_precision="bf16"))
    trainer.train()
    assert trainer.accelerator.mixed_precision == "bf16"
    assert {parameter.dtype for parameter in trainer.parameters} == {torch.float32}
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert "bf16, frozen parts in torch.bfloat16" in load_state(tmp_path)["binding"]["--mixed-precision"]


# --- resuming


@pytest.mark.parametrize("killed_at", [3, 5], ids=["right after a save", "between two saves"])
def test_a_killed_run_goes_on_exactly(tiny, tmp_path, killed_at):
    model = copy.deepcopy(tiny)
    straight = Trainer(model, Naming(model, scores=(0.2, 0.1), noise=0.1), arguments(tmp_path / "straight"))
    torch.manual_seed(7)
    straight.train()

    model = copy.deepcopy(tiny)
    killed = Trainer(model, Naming(model, killed_at, scores=(0.2,), noise=0.1), arguments(tmp_path / "killed"))
    torch.manual_seed(7)
    with pytest.raises(Killed):
        killed.train()
    model = copy.deepcopy(tiny)
    resumed = Trainer(model, Naming(model, scores=(0.1,), noise=0.1), arguments(tmp_path / "killed"))
    torch.manual_seed(8)  # the state of the random numbers comes from the checkpoint too
    resumed.train()

    assert differing(straight.model.state_dict(), resumed.model.state_dict()) == set()
    ours, theirs = (load_state(tmp_path / name) for name in ("straight", "killed"))
    assert (theirs["step"], theirs["best_score"]) == (ours["step"], ours["best_score"]) == (6, 0.2)
    for one, two in zip(ours["optimizer"]["state"].values(), theirs["optimizer"]["state"].values(), strict=True):
        assert differing(one, two) == set()
    timing = ("seconds", "samples_per_s")
    curves = [
        [{key: record[key] for key in record if key not in timing} for record in log(tmp_path / run)] for run in ("straight", "killed")
    ]
    assert curves[0] == curves[1] and len(curves[0]) == 8


def test_a_finished_run_has_nothing_to_do(tiny, tmp_path):
    model = copy.deepcopy(tiny)
    Trainer(model, Naming(model), arguments(tmp_path)).train()
    trained, again = whole_state(model), copy.deepcopy(tiny)
    Trainer(again, Naming(again, killed_at=6), arguments(tmp_path)).train()
    assert differing(trained, whole_state(again)) == set()


def test_a_kill_in_front_of_the_report_only_costs_the_report(tiny, tmp_path):
    model = copy.deepcopy(tiny)
    Trainer(model, Naming(model, scores=(0.5, 0.25)), arguments(tmp_path)).train()
    whole = json.loads((tmp_path / "report.json").read_text())
    (tmp_path / "report.json").unlink()
    model = copy.deepcopy(tiny)
    Trainer(model, Naming(model, killed_at=6), arguments(tmp_path)).train()
    again = json.loads((tmp_path / "report.json").read_text())
    assert again == whole and again["evaluation"] == {"score": 0.25}


@pytest.mark.parametrize(
    "changes, flags",
    [
        ({"max_steps": 9, "learning_rate": 1.0}, r"--learning-rate \(was 0.005\), --max-steps \(was 6\)"),
        ({"batch_size": 4}, r"--batch-size \(was 2\)"),
        ({"mixed_precision": "bf16"}, r"--mixed-precision \(was no, frozen parts in torch.float32\)"),
        ({"train_qformer": False}, r"--train-qformer \(was True\)"),
    ],
)
def test_changed_settings_are_refused_by_flag(tiny, tmp_path, changes, flags):
    model = copy.deepcopy(tiny)
    Trainer(model, Naming(model), arguments(tmp_path)).train()
    other = copy.deepcopy(tiny)
    before = whole_state(other)
    with pytest.raises(CheckpointError, match=f"other values of {flags}. Give the same .* another --output-dir"):
        Trainer(other, Naming(other), arguments(tmp_path, **changes)).train()
    assert differing(before, whole_state(other)) == set()


def test_other_data_and_another_start_are_refused(tiny, tmp_path):
    class Data(Naming):
        def binding(self):
            return {"--data": self.data}

    def train(model, data):
        objective = Data(model)
        objective.data = data
        Trainer(model, objective, arguments(tmp_path)).train()

    train(copy.deepcopy(tiny), "ours")
    with pytest.raises(CheckpointError, match=r"other values of --data \(was ours\)\."):
        train(copy.deepcopy(tiny), "theirs")
    other = copy.deepcopy(tiny)
    with torch.no_grad():
        other.model.language_projection.bias += 1
    with pytest.raises(CheckpointError, match=r"other values of --init \(was \w{16}\)\."):
        train(other, "ours")
    other = copy.deepcopy(tiny)
    with torch.no_grad():
        other.get_input_embeddings().weight[0] += 1
    with pytest.raises(CheckpointError, match=r"other values of --model \(was \w+ \w+\)\."):
        train(other, "ours")


def test_the_first_steps_are_logged_and_the_bar_says_what_takes_time(tiny, tmp_path, capsys):
    model = copy.deepcopy(tiny)
    Trainer(model, Naming(model, scores=(0.5,)), arguments(tmp_path, log_steps=100)).train()
    assert [record["step"] for record in log(tmp_path) if "loss" in record] == [1, 2, 3, 4, 5, 6]
    bar = capsys.readouterr().err
    assert "evaluating…" in bar and "asking about sample pictures…" in bar and "1/6" in bar and "loss=" in bar


def test_settings_that_change_nothing_may_change(tiny, tmp_path):
    model = copy.deepcopy(tiny)
    with pytest.raises(Killed):
        Trainer(model, Naming(model, 4), arguments(tmp_path)).train()
    model = copy.deepcopy(tiny)
    free = dict(save_steps=1, save_total_limit=2, log_steps=5, per_device_batch_size=1, max_minutes=60.0)
    assert Trainer(model, Naming(model), arguments(tmp_path, **free)).train() == ""
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-6"]


def test_a_run_of_another_model_is_refused(model, tmp_path):
    Trainer(model, Naming(model), arguments(tmp_path)).train()
    other = build_tiny_model("llama2")[0]
    with pytest.raises(CheckpointError, match="other values of --init"):
        Trainer(other, Naming(other), arguments(tmp_path)).train()


def test_a_time_limit_saves_and_the_run_goes_on(tiny, tmp_path):
    model = copy.deepcopy(tiny)
    assert Trainer(model, Naming(model), arguments(tmp_path, max_minutes=0.0)).train() == "--max-minutes"
    assert load_state(tmp_path)["step"] == 0 and not (tmp_path / "report.html").exists()
    model = copy.deepcopy(tiny)
    assert Trainer(model, Naming(model), arguments(tmp_path)).train() == ""


# --- what is written


def test_the_best_checkpoint_is_kept(model, tmp_path):
    objective = Naming(model, scores=(0.1, 0.5, 0.3, 0.5))
    Trainer(model, objective, arguments(tmp_path, max_steps=4, eval_steps=1, save_steps=4)).train()
    best, last = (load_file(tmp_path / name / "model.safetensors") for name in ("best", "."))
    assert differing(best, objective.seen_at_evaluation[1]) == set()
    assert differing(last, objective.seen_at_evaluation[3]) == set() and differing(best, last)
    assert [record["eval_score"] for record in log(tmp_path) if "eval_score" in record] == [0.1, 0.5, 0.3, 0.5]
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "best" / STATE_FILE).exists()


def test_only_the_last_checkpoints_are_kept(model, tmp_path):
    Trainer(model, Naming(model), arguments(tmp_path, save_steps=1, save_total_limit=2)).train()
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-6"]
    last = load_file(tmp_path / "checkpoint-6" / "model.safetensors")
    assert differing(last, load_file(tmp_path / "model.safetensors")) == set()


def test_people_see_the_curve_the_samples_and_a_report(model, tmp_path):
    class Shown(Naming):
        def samples(self):
            return [SampleAnswer(PIL.Image.new("RGB", (8, 8)), "What is <it>?", "A cat & a dog", "a cat")]

        def notices(self, states):
            return [f"{len(states)} process saw 3 broken samples."]

    Trainer(model, Shown(model, scores=(0.5, 0.25)), arguments(tmp_path)).train()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["steps"] == 6 and report["best_score"] == 0.5 and report["evaluation"] == {"score": 0.25}
    assert report["settings"]["--batch-size"] == "2" and report["notices"] == ["1 process saw 3 broken samples."]
    assert report["best_step"] == 3 and "--batch-size" in report["changed"] and report["binding"]["--batch-size"] == "2"
    assert report["first_loss"] == log(tmp_path)[0]["loss"] and report["machine"]["torch"] == torch.__version__
    page = (tmp_path / "samples.html").read_text()
    assert [f"step {step}" in page for step in (0, 3, 6)] == [True] * 3 and "What is &lt;it&gt;?" in page and "A cat &amp; a dog" in page
    assert PIL.Image.open(tmp_path / "loss.png").size > (100, 100)
    html = (tmp_path / "report.html").read_text()
    assert "3 broken samples" in html and "data:image/png;base64," in html


def test_a_folder_that_cannot_be_written_is_said_at_once(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"--output-dir .*file/run cannot be written .*There is no checkpoint yet"):
        Trainer(model, Naming(model), arguments(tmp_path / "file" / "run")).train()


def test_a_full_disk_leaves_the_last_checkpoint(model, tmp_path, monkeypatch):
    calls, write = [], checkpoint.save_file

    def full(tensors, path, metadata):
        calls.append(path)
        if len(calls) > 2:  # the first save writes a checkpoint and the folder's own
            path.write_bytes(b"half a file")
            raise OSError(28, "No space left on device")
        write(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"disk that holds .* is full .*checkpoint-3 is whole: run the same command again"):
        Trainer(model, Naming(model), arguments(tmp_path)).train()
    monkeypatch.undo()
    assert load_state(tmp_path)["step"] == 3 and not list(tmp_path.glob("checkpoint-6*"))
    assert read_checkpoint(tmp_path).keys() == trained_state(model).keys()


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

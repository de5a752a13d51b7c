"""Three ways to take a step: one loss, one gradient; the naive one only works more."""

import pytest
import torch

from minigpt4_model.evaluation import training_steps
from minigpt4_model.evaluation.drawn_source import LENGTHS, DrawnSource
from minigpt4_model.evaluation.training_steps import PARTS, WAYS, TrainingSteps, projection_gradient
from minigpt4_model.training.feature_encoder import CachedEncoder, FeatureOpener, describe_features
from minigpt4_model.training.feature_store import FeatureStore
from minigpt4_model.training.objective import Share
from minigpt4_model.training.sources import Mixture
from minigpt4_model.training.stages import StageObjective, StageText
from minigpt4_model.training.trainer import freeze
from tests.tiny_chat import build_chatml_model


def build(tmp_path, train_qformer: bool, stage: int = 1) -> dict[str, TrainingSteps]:
    from contextlib import nullcontext

    model, processor = build_chatml_model()
    freeze(model, train_qformer)
    source = DrawnSource(6, stage, size=(48, 40))
    text = StageText(stage, processor, "chatml", 64)
    steps = {}
    for way in WAYS:
        mixture, encoder = Mixture([source], questions=["What is it?"] if stage == 2 else ()), None
        if way == "cached":
            kind = "vision" if train_qformer else "qformer"
            store = FeatureStore(tmp_path, describe_features(model, processor.image_processor, kind))
            mixture.open_picture = FeatureOpener(store, processor.image_processor)
            encoder = CachedEncoder(model, store)
            encoder.fill(source.pictures, mixture.open_picture)
        objective = StageObjective(model, text, mixture, 3, encoder=encoder)
        steps[way] = TrainingSteps(way, model, objective, train_qformer, nullcontext())
    return steps


def gradients(steps: TrainingSteps, step: int = 0) -> dict[str, torch.Tensor]:
    steps.prepare()
    steps.run(step, learn=False)
    return {name: parameter.grad.clone() for name, parameter in steps.model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("train_qformer", [False, True])
def test_all_ways_have_one_loss_and_one_gradient(tmp_path, train_qformer, stage):
    steps = build(tmp_path, train_qformer, stage)
    found = {way: gradients(steps[way]) for way in WAYS}
    losses = {way: steps[way].figures.loss for way in WAYS}
    assert losses["computed"] == pytest.approx(losses["naive"], rel=1e-5)
    assert losses["cached"] == pytest.approx(losses["naive"], rel=1e-3)
    learning = {name for name in found["naive"] if name.startswith(("model.language_projection", "model.qformer", "model.query_tokens"))}
    if not train_qformer:
        learning = {name for name in learning if "language_projection" in name}
    assert set(found["computed"]) == set(found["cached"]) == learning
    assert len(found["naive"]) > len(learning)  # gradients that nobody asked for
    assert any(name.startswith("model.language_model") for name in found["naive"])
    assert any(name.startswith("model.vision_model") for name in found["naive"])
    for name in learning:
        expected, scale = found["naive"][name], found["naive"][name].norm() + 1e-3
        assert (found["computed"][name] - expected).norm() < 1e-3 * scale, name
        assert (found["cached"][name] - expected).norm() < 3e-2 * scale, name


def test_the_timed_step_is_the_trainers(tmp_path):
    steps = build(tmp_path, train_qformer=True)
    for way in ("computed", "cached"):
        ours = gradients(steps[way])
        model, objective = steps[way].model, steps[way].objective
        model.zero_grad(set_to_none=True)
        (piece,) = next(objective.batches(0, Share()))
        loss = objective.loss(model, piece)[0]["loss"] / objective.counts(piece)["loss"]
        loss.backward()
        assert float(loss.detach()) == pytest.approx(steps[way].figures.loss, rel=1e-5)
        assert torch.allclose(projection_gradient(model), ours["model.language_projection.weight"], atol=1e-5, rtol=1e-3)


def test_a_step_moves_only_what_learns_whatever_came_before(tmp_path):
    steps = build(tmp_path, train_qformer=False)
    model = steps["naive"].model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for way in WAYS:
        steps[way].prepare()
        figures = steps[way].run(0)
        assert figures.samples == 3 and set(figures.seconds) == set(PARTS)
        assert all(seconds > 0 for seconds in figures.seconds.values()) and figures.total == sum(figures.seconds.values())
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"model.language_projection.weight", "model.language_projection.bias"}


def test_gradient_checkpointing_changes_nothing_but_the_work(tmp_path):
    steps = build(tmp_path, train_qformer=False)["computed"]
    plain = gradients(steps)
    steps.gradient_checkpointing = True
    runs, layer = [], steps.model.language_model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: runs.append(1))
    again = gradients(steps)
    assert len(runs) == 2
    assert torch.allclose(plain["model.language_projection.weight"], again["model.language_projection.weight"], atol=1e-6)
    steps.gradient_checkpointing = False
    gradients(steps)
    assert len(runs) == 3


def test_after_the_first_epoch_the_encoder_does_not_run(tmp_path, monkeypatch):
    steps = build(tmp_path, train_qformer=True)["cached"]

    def refuse(*_):
        raise AssertionError("the encoder ran")

    monkeypatch.setattr(training_steps, "compute_features", refuse)
    monkeypatch.setattr(type(steps.model.model.vision_model), "forward", refuse)
    steps.prepare()
    assert steps.run(5).loss > 0


def test_drawn_samples_are_the_same_every_time():
    for stage in (1, 2):
        one, other = DrawnSource(3, stage), DrawnSource(3, stage)
        assert [one[i] for i in range(3)] == [other[i] for i in range(3)] and one.fingerprint == other.fingerprint
        words = len(one[0].messages[1]["content"][0]["text"].split())
        assert LENGTHS[stage][0] <= words <= LENGTHS[stage][1]
    assert len({one.pictures[i] for i in range(3)}) == 3

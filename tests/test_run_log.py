"""What a run writes down: the log after a kill, curves, pages that hold everything and trust no text."""

import json
import logging

import PIL.Image
import pytest

from minigpt4_model.training import loss_plot, run_log
from minigpt4_model.training.loss_plot import plot_losses, smoothed
from minigpt4_model.training.objective import SampleAnswer
from minigpt4_model.training.run_log import RunLog, read_log
from minigpt4_model.training.sample_page import add_samples


def test_records_of_a_killed_run_go(tmp_path):
    with RunLog(tmp_path, "none") as log:
        for step in (1, 2, 3):
            log.write({"step": step, "loss": float(step)})
    with (tmp_path / "log.jsonl").open("a") as lines:
        lines.write('{"step": 4, "lo')  # cut short by the kill
    with RunLog(tmp_path, "none", first_step=2) as log:
        log.write({"step": 3, "loss": 9.0})
    assert read_log(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 9.0}]


def test_only_the_main_process_writes(tmp_path):
    with RunLog(tmp_path, None) as log:
        log.write({"step": 1, "loss": 1.0})
        log.plot()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_curves(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with RunLog(tmp_path, "tensorboard") as log:
        log.write({"step": 1, "loss": 2.5, "seconds": 1.0})
        log.write({"step": 1, "eval_score": 0.5})
    curves = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    assert sorted(curves.Tags()["scalars"]) == ["eval/score", "train/loss"]
    assert [(event.step, event.value) for event in curves.Scalars("train/loss")] == [(1, 2.5)]


def test_without_tensorboard_or_matplotlib_one_line_says_so(tmp_path, monkeypatch, caplog):
    for module in (run_log, loss_plot):
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO), RunLog(tmp_path, "tensorboard") as log:
        log.write({"step": 1, "loss": 2.5})
        log.plot()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "tensorboard is not installed" in told[0] and "matplotlib is not installed" in told[1]
    assert not (tmp_path / "loss.png").exists() and read_log(tmp_path) == [{"step": 1, "loss": 2.5}]


def test_the_curve_is_drawn(tmp_path):
    records = [{"step": step, "loss": 5 / step, "eval_loss": 6 / step} for step in range(1, 30)]
    assert plot_losses(records, tmp_path / "loss.png")
    drawn = PIL.Image.open(tmp_path / "loss.png").convert("RGB")
    colours = {drawn.getpixel((x, y)) for x in range(0, drawn.width, 2) for y in range(0, drawn.height, 2)}
    assert (31, 78, 140) in colours and (194, 82, 29) in colours  # the smoothed and the held-out curve
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_the_score_has_a_panel_unless_it_is_the_loss_and_the_best_step_is_marked(tmp_path):
    losses = [{"step": step, "loss": 5 / step} for step in range(1, 4)]
    heights = {}
    for name, record in {"none": {}, "own": {"eval_score": 0.5}, "turned": {"eval_loss": 2.0, "eval_score": -2.0}}.items():
        assert plot_losses([*losses, {"step": 2, **record}], tmp_path / name)
        drawn = PIL.Image.open(tmp_path / name).convert("RGB")
        heights[name] = drawn.height
        best = sum(drawn.getpixel((x, y)) == (29, 122, 70) for x in range(drawn.width) for y in range(0, drawn.height, 7))
        assert (best > 0) == bool(record)
    assert heights["none"] == heights["turned"] < heights["own"]


def test_smoothing_starts_at_the_first_value():
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smoothed([1.0, 3.0])[0] == pytest.approx(1.0) and 1 < smoothed([1.0, 3.0])[1] < 3


def answers(*texts: str) -> list[SampleAnswer]:
    return [SampleAnswer(PIL.Image.new("RGB", (400, 300), "red"), "What <b>is</b> it?", text) for text in texts]


def test_samples_get_a_column_a_step_and_a_kill_takes_later_ones(tmp_path):
    for step in (0, 10, 20):
        add_samples(tmp_path, step, answers(f"after {step}", ""))
    add_samples(tmp_path, 10, answers("again <script>", ""))
    page = (tmp_path / "samples.html").read_text()
    assert [f"<th>step {step}</th>" in page for step in (0, 10, 20)] == [True, True, False]
    assert "after 0" in page and "after 10" not in page and "again &lt;script&gt;" in page and "<script" not in page
    assert "What &lt;b&gt;is" in page and page.count("data:image/jpeg;base64,") == 2 and "://" not in page
    assert len(json.loads((tmp_path / "samples.json").read_text())["rows"]) == 2

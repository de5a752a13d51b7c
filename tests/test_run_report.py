"""The report of a finished run: figures in words, settings as given, pictures with what was said of them."""

import json

import PIL.Image
import pytest

from minigpt4_model.training.objective import SampleAnswer
from minigpt4_model.training.run_log import RunLog
from minigpt4_model.training.run_report import duration, write_report
from minigpt4_model.training.sample_page import add_samples

FACTS = {
    "steps": 40,
    "seconds": 738.2,
    "processes": 1,
    "device": "cpu <x>",
    "settings": {"--data": "data/mine", "--init": "pocket", "--seed": "42"},
    "changed": ["--data", "--init"],
    "notices": ["3 of 40 were <broken>."],
}


def write(folder, scores=(), losses=()):
    with RunLog(folder, "none") as log:
        for step in range(10, 50, 10):
            log.write({"step": step, "loss": 4.56789 / step, "samples_per_s": 2.5})
        for step, score in zip((20, 30, 40), scores, strict=False):
            log.write({"step": step, "eval_score": score, "eval_held_out_files": 0.125})
        for step, loss in zip((20, 30, 40), losses, strict=False):
            log.write({"step": step, "eval_loss": loss, "eval_score": -loss})
        log.plot()
    write_report(folder, FACTS)
    return (folder / "report.html").read_text("utf-8"), json.loads((folder / "report.json").read_text("utf-8"))


def test_figures_are_words_and_settings_as_given(tmp_path):
    page, report = write(tmp_path, scores=(0.25, 0.5, 0.4))
    assert "best held-out score</small><strong>0.5</strong><small>at step 30, kept in best/" in page and report["best_step"] == 30
    assert "12 minutes 18 seconds" in page and "loss of the last step</small><strong>0.1142" in page and "738.2" not in page
    assert ">held out files<" in page and "held_out" not in page and "samples_per_s" not in page
    given, rest = page.split("<details>")
    assert (
        "data/mine" in given
        and "pocket" in given
        and "--seed" not in given
        and "--seed" in rest
        and "1 more, which have their defaults" in rest
    )
    assert "were &lt;broken&gt;" in page and "cpu &lt;x&gt;" in page and "<x>" not in page and 'alt="loss over steps"' in page


def test_a_score_that_is_the_loss_is_told_as_the_loss(tmp_path):
    page, report = write(tmp_path, losses=(2.0, 1.5, 1.75))
    assert "best held-out loss</small><strong>1.5</strong>" in page and "at step 30" in page and report["best_step"] == 30


def test_without_held_out_data_nothing_is_said_of_a_best_one(tmp_path):
    page, report = write(tmp_path)
    assert report["best_step"] is None and "best" not in page.split("<main>")[1] and "None" not in page


def test_the_last_answers_stand_in_the_report(tmp_path):
    for step, said in ((0, "noise"), (40, "a <cat>")):
        add_samples(tmp_path, step, [SampleAnswer(PIL.Image.new("RGB", (8, 8)), "What?", said, "a cat")])
    page, _ = write(tmp_path)
    assert "Answers at step 40" in page and "a &lt;cat&gt;" in page and "wanted: a cat" in page and "noise" not in page
    assert page.count("data:image/jpeg;base64,") == 1 and 'href="samples.html"' in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (59.6, "1 minute"),
        (738.2, "12 minutes 18 seconds"),
        (3600, "1 hour"),
        (7502, "2 hours 5 minutes"),
        (90000, "1 day 1 hour"),
    ],
)
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words

"""What the bar says while something takes time."""

import io

from tqdm import tqdm

from minigpt4_model.training.progress import doing


def test_the_bar_says_what_is_done_and_then_what_it_said_before():
    out = io.StringIO()
    with tqdm(total=2, file=out) as bar:
        bar.set_postfix({"loss": "0.500"})
        with doing(bar, "evaluating…"):
            assert bar.postfix == "evaluating…" and "evaluating…" in out.getvalue().split("\r")[-1]
        assert bar.postfix == "loss=0.500"


def test_a_bar_that_is_not_shown_stays_silent():
    out = io.StringIO()
    with tqdm(total=2, file=out, disable=True) as bar, doing(bar, "evaluating…"):
        pass
    assert out.getvalue() == ""

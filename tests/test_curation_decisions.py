"""Several people at one project: what counts, whose turn it is, what is undone, how far they agree."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minigpt4_model.curation import worklist
from minigpt4_model.curation.agreement import agreements, described, kappa, pace
from minigpt4_model.curation.clean import ALL_RULES
from minigpt4_model.curation.decisions import EmptyText, StaleView, accept, drop, save_draft, undo, verdicts_about
from minigpt4_model.curation.differences import count_changes, difference_html
from minigpt4_model.curation.project import Project, add_text
from minigpt4_model.curation.worklist import ALL, ANY_RULE, MINE, NO_RULE, TO_DO, Wish, count_wished, next_item, previous_item, show
from tests.curation_project import build_project, description

ROOT = Path(__file__).parents[1]
BOTH = Wish(overlap=1.0)


@pytest.fixture
def project(tmp_path):
    return build_project(tmp_path, 6, corrected=True)


def view(project, annotator, item, wish=BOTH):
    return show(project, annotator, item, wish).view


def keep(project, annotator, item, text=None, wish=BOTH):
    shown = show(project, annotator, item, wish)
    return accept(project, annotator, shown.view, shown.text if text is None else text)


def statuses(project) -> str:
    return " ".join(row["status"] for row in project.rows("SELECT status FROM items ORDER BY id"))


# --- what counts


def test_keep_edit_drop_and_undo(project):
    assert keep(project, "anna", 1) == "keep"
    assert keep(project, "anna", 2, "Other words.") == "edit"
    drop(project, "anna", view(project, "anna", 3))
    assert statuses(project) == "kept edited dropped open open open"
    assert project.value("SELECT text FROM texts WHERE step = 'edit'") == "Other words."
    assert [undo(project, "anna") for _ in range(4)] == [3, 2, 1, None]
    assert statuses(project) == "open open open open open open"
    assert project.value("SELECT COUNT(*) FROM decisions") == 3  # all of it is still there, marked
    shown = show(project, "anna", 2, BOTH)
    assert shown.text == "Other words." and shown.base_text == description(2)  # the wording of the edit is not lost


def test_a_second_thought_replaces_the_first_and_undo_brings_it_back(project):
    keep(project, "anna", 1)
    drop(project, "anna", view(project, "anna", 1))
    assert statuses(project).split()[0] == "dropped"
    assert undo(project, "anna") == 1 and statuses(project).split()[0] == "kept"


def test_an_edit_that_is_shown_again_and_kept_stays_an_edit(project):
    keep(project, "anna", 1, "First wording.")
    assert show(project, "anna", 1, Wish(MINE)).base_text == "First wording."
    assert keep(project, "anna", 1, wish=Wish(MINE)) == "edit"
    keep(project, "anna", 1, "Second wording.", Wish(MINE))
    chain = project.rows("SELECT text, parent_id FROM texts WHERE step = 'edit' ORDER BY id")
    assert [row["text"] for row in chain] == ["First wording.", "Second wording."]


def test_a_decision_about_something_no_longer_on_the_screen_is_refused(project):
    seen = view(project, "anna", 1)
    accept(project, "anna", seen, description(1))
    for again in (lambda: drop(project, "anna", seen), lambda: accept(project, "anna", seen, "x")):
        with pytest.raises(StaleView):
            again()
    assert not save_draft(project, "anna", seen, "typed too late")
    assert statuses(project).split()[0] == "kept" and project.value("SELECT COUNT(*) FROM drafts") == 0


def test_an_empty_text_is_no_text(project):
    with pytest.raises(EmptyText):
        keep(project, "anna", 1, " \n")
    assert statuses(project).split()[0] == "open"


def test_people_at_odds_and_how_it_is_settled(project):
    keep(project, "anna", 1)
    drop(project, "ben", view(project, "ben", 1))
    assert statuses(project).split()[0] == "disputed"
    shown = show(project, "cleo", 1, Wish("disputed"))
    assert shown.others == [("anna", "keep"), ("ben", "drop")]
    accept(project, "cleo", shown.view, "Settled words.")
    assert statuses(project).split()[0] == "edited"
    keep(project, "ben", 1, wish=Wish(MINE))  # a second thought about what is settled changes nothing
    assert statuses(project).split()[0] == "edited"


def test_of_two_edits_the_newer_counts_and_both_stay(project):
    keep(project, "anna", 1, "By Anna.")
    keep(project, "ben", 1, "By Ben.")
    keep(project, "cleo", 1)
    from minigpt4_model.curation.decisions import outcome

    status, text = outcome(verdicts_about(project, 1))
    assert status == "edited" and project.value("SELECT text FROM texts WHERE id = ?", text) == "By Ben."
    assert project.value("SELECT COUNT(*) FROM texts WHERE step = 'edit'") == 2


def test_a_draft_is_kept_and_goes_when_it_is_taken_back(project):
    seen = view(project, "anna", 1)
    assert save_draft(project, "anna", seen, "half a sent")
    assert show(project, "anna", 1, BOTH).text == "half a sent" and show(project, "ben", 1, BOTH).text == description(1)
    assert save_draft(project, "anna", seen, description(1)) and project.value("SELECT COUNT(*) FROM drafts") == 0


def test_a_draft_stands_on_the_version_it_was_begun_on(project):
    save_draft(project, "anna", view(project, "anna", 1), "half a sent")
    with project.writing() as connection:
        add_text(connection, 1, "refine", "mender", "A newer correction.")
    shown = show(project, "anna", 1, BOTH)
    assert (shown.base_text, shown.text) == (description(1), "half a sent")
    assert show(project, "ben", 1, BOTH).base_text == "A newer correction."


def test_a_decision_survives_a_kill(project):
    code = (
        "import os, signal, sys; from pathlib import Path; from minigpt4_model.curation import project, decisions, worklist\n"
        f"p = project.Project(Path({str(project.folder)!r}))\n"
        "shown = worklist.show(p, 'anna', 2, worklist.Wish())\n"
        "decisions.save_draft(p, 'anna', worklist.show(p, 'anna', 3, worklist.Wish()).view, 'half')\n"
        "decisions.accept(p, 'anna', shown.view, 'Edited.'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    again = Project(project.folder)
    assert statuses(again).split()[1] == "edited" and show(again, "anna", 3, BOTH).text == "half"


# --- whose turn it is


def test_an_item_is_on_one_screen(project):
    assert [next_item(project, name, BOTH) for name in ("anna", "ben", "cleo")] == [1, 2, 3]
    assert next_item(project, "anna", BOTH, 1) == 4  # and lets item 1 go
    assert next_item(project, "ben", BOTH) == 1


def test_what_is_held_too_long_is_free_again(project, monkeypatch):
    next_item(project, "anna", BOTH)
    now = worklist.time.time() + worklist.HOLD_S + 1
    monkeypatch.setattr(worklist.time, "time", lambda: now)
    assert next_item(project, "ben", BOTH) == 1


def test_many_people_at_once_get_different_items(tmp_path):
    project = build_project(tmp_path, 12)
    got, start = [], threading.Barrier(8)

    def take(name):
        start.wait()
        got.append(next_item(project, name, Wish()))

    threads = [threading.Thread(target=take, args=(f"p{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(1, 9))


def test_without_overlap_an_item_is_judged_once_and_with_it_twice(project):
    keep(project, "anna", 1)
    keep(project, "ben", 2)
    assert next_item(project, "ben", Wish()) == 3 and next_item(project, "cleo", Wish(overlap=1.0)) == 1
    keep(project, "cleo", 1)
    assert next_item(project, "dora", Wish(overlap=1.0)) == 2
    assert count_wished(project, "anna", Wish()) == 4 and count_wished(project, "anna", BOTH) == 5  # item 2 for a second look


def test_the_second_judge_does_not_see_what_the_first_decided(project):
    keep(project, "anna", 1, "By Anna.")
    shown = show(project, "ben", 1, BOTH)
    assert (shown.base_text, shown.others, shown.status) == (description(1), [], "open")
    known = show(project, "ben", 1, Wish("edited"))
    assert (known.base_text, known.status) == ("By Anna.", "edited")


def test_filters_by_status_and_rule(project):
    keep(project, "anna", 2)
    drop(project, "ben", view(project, "ben", 3))
    current = project.value("SELECT id FROM current WHERE item_id = 5")
    with project.writing() as connection:
        connection.execute("INSERT INTO marks VALUES (?, 'links', 'x')", (current,))
    assert next_item(project, "anna", Wish("kept")) == 2 and next_item(project, "anna", Wish("dropped")) == 3
    assert next_item(project, "anna", Wish(MINE)) == 2 and next_item(project, "anna", Wish("disputed")) is None
    assert next_item(project, "anna", Wish(TO_DO, "links")) == 5 == next_item(project, "anna", Wish(ALL, ANY_RULE))
    assert next_item(project, "anna", Wish(TO_DO, "boxes")) is None
    assert count_wished(project, "anna", Wish(ALL, NO_RULE)) == 5 and "links" in ALL_RULES
    assert show(project, "anna", 5, Wish()).marks == {"links": "x"}


def test_round_and_back(project):
    assert next_item(project, "anna", BOTH, 6) == 1 and next_item(project, "anna", BOTH, 2) == 3
    assert previous_item(project, "anna", BOTH, 3) == 2 and previous_item(project, "anna", BOTH, 1) is None
    keep(project, "anna", 1)
    assert next_item(project, "anna", BOTH, 6) == 2


def test_what_is_shown(project):
    shown = show(project, "anna", 1, BOTH)
    assert (shown.base_author, shown.previous_author, shown.status) == ("mender", "describer", "open")
    assert shown.previous_text == f"I am sorry. {description(1)}" and shown.places == ["colours: 000.png"]
    assert (shown.width, shown.height) == (40, 30)


# --- agreement and pace


def test_agreement_of_two(project):
    verdicts = {1: ("keep", "keep"), 2: ("keep", "edit"), 3: ("drop", "drop"), 4: ("keep", "drop")}
    for item, told in verdicts.items():
        for name, verdict in zip(("anna", "ben"), told, strict=True):
            if verdict == "drop":
                drop(project, name, view(project, name, item))
            else:
                keep(project, name, item, "New words." if verdict == "edit" else None)
    keep(project, "anna", 5)
    (found,) = agreements(project)
    assert (found.annotators, found.items, found.passing, found.verdicts) == (("anna", "ben"), 4, 0.75, 0.5)
    assert found.passing_kappa == pytest.approx(0.5)  # by hand: 0.75 agreed, 0.5 by chance
    assert found.verdicts_kappa == pytest.approx((0.5 - 5 / 16) / (1 - 5 / 16))
    assert described(found).startswith("anna and ben judged 4 items both: they agree on pass or drop for 75% (kappa 0.50)")
    shown = show(project, "cleo", 4, Wish("disputed"))
    accept(project, "cleo", shown.view, shown.text)  # settling is no independent judgement
    assert agreements(project) == [found]


def test_kappas():
    assert kappa([("a", "a"), ("b", "b")]) == 1
    assert kappa([("a", "b"), ("b", "a")]) == -1
    assert kappa([("a", "a"), ("a", "a")]) is None
    # A textbook's table: 20 both yes, 15 both no, 5 and 10 at odds.
    assert kappa([("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10) == pytest.approx(0.4)


def test_pace_is_that_of_what_counts(project, monkeypatch):
    assert pace(project, "anna").seconds is None
    for item, seconds in ((1, 4), (2, 8), (3, 4000)):
        shown = view(project, "anna", item)
        accept(project, "anna", type(shown)(shown.item, shown.base, shown.decision, shown.since - seconds), description(item))
    assert pace(project, "anna").seconds == pytest.approx((4 + 8 + 300) / 3, abs=0.5)  # nobody looks for an hour
    undo(project, "anna")
    own = pace(project, "anna")
    assert (own.decided, own.today) == (2, 2) and own.seconds == pytest.approx(6, abs=0.5)


# --- differences


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("A brown dog sits.", "A black dog sits.", "A <del>brown</del> <ins>black</ins> dog sits."),
        ("A dog sits. It barks.", "A dog sits.", "A dog sits. <del>It barks.</del>"),
        ("A dog.", "A dog. It barks.", "A dog. <ins>It barks.</ins>"),
        ("same <b>&", "same <b>&", "same &lt;b&gt;&amp;"),
        ("", "<i>", "<ins>&lt;i&gt;</ins>"),
        ("这是狗", "这是猫", "这是<del>狗</del><ins>猫</ins>"),
        ("don't", "don’t", "<del>don&#x27;t</del><ins>don’t</ins>"),
    ],
)
def test_differences(before, after, shown):
    assert difference_html(before, after) == shown


def test_changes_are_counted_in_words():
    assert count_changes("A brown dog sits.", "A black and white dog sits.") == (1, 3)
    assert count_changes("x", "x") == (0, 0)

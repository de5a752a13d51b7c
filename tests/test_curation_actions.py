"""The annotation page's actions without a browser: what comes from browsers is looked at, faults become sentences."""

import json

import pytest

from minigpt4_model.curation import annotation_page
from minigpt4_model.curation.agreement import Pace
from minigpt4_model.curation.annotation_actions import Actions, Memory
from minigpt4_model.curation.annotation_view import about_html, change_html, note_html, progress_html
from minigpt4_model.curation.errors import CurationError
from minigpt4_model.curation.worklist import Wish, show
from tests.curation_project import build_project


@pytest.fixture
def project(tmp_path):
    return build_project(tmp_path, 3, corrected=True)


@pytest.fixture
def actions(project):
    return Actions(project, overlap=0.0)


@pytest.mark.parametrize("kept", ["", None, "{", "[]", "3", '{"name": 7}', '{"status": "gone"}', '{"item": "x"}', '{"unknown": 1}'])
def test_what_is_no_memory_is_nothing(kept):
    assert Memory.read(kept) == Memory()


def test_a_memory_is_read_as_it_was_written():
    memory = Memory("Änne <b>", "kept", "links", 7)
    assert Memory.read(str(memory)) == memory


@pytest.mark.parametrize("seen", ["", "null", "{}", "[1]", '{"item": "x"}', "<"])
def test_what_is_no_view_decides_nothing(project, actions, seen):
    kept = str(Memory("anna"))
    for page in (actions.keep(kept, seen, "x"), actions.drop(kept, seen), actions.skip(kept, seen)):
        assert json.loads(page.view)["item"] == 1
    assert project.value("SELECT COUNT(*) FROM decisions") == 0


def test_names_are_made_plain(actions):
    assert Memory.read(actions.sign_in(" Änne \n <script> M. ", "").memory).name == "Änne script M."
    assert len(Memory.read(actions.sign_in("x" * 99, "").memory).name) == 40
    assert "Say who you are" in actions.sign_in(" <> ", "").note


def test_nobody_decides_without_a_name(project, actions):
    page = actions.sign_in("anna", "")
    for act in (lambda: actions.keep("", page.view, "x"), lambda: actions.drop("", page.view), lambda: actions.undo("")):
        assert "Say who you are" in act().note
    assert project.value("SELECT COUNT(*) FROM decisions") == 0


def test_an_item_that_is_gone_from_a_memory_is_not_shown(actions):
    assert Memory.read(actions.come_back(str(Memory("anna", item=999))).memory).item == 1


def test_everything_people_and_models_wrote_is_text(project, actions):
    evil = '<img src=x onerror="alert(1)">'
    page = actions.sign_in("anna", "")
    changed = actions.type(page.memory, page.view, evil)[0]
    shown = show(project, "anna", 1, Wish())
    told = changed + change_html(shown, evil) + about_html(shown) + progress_html(evil, 0, 1, 1, Pace(0, 0, None)) + note_html(evil)
    assert "<img" not in told and "&lt;img" in told


def test_a_fault_of_the_database_is_told_and_loses_nothing(project, actions, monkeypatch):
    page = actions.sign_in("anna", "")

    def full(*_, **__):
        raise CurationError("disk: full.")

    monkeypatch.setattr("minigpt4_model.curation.annotation_actions.accept", full)
    monkeypatch.setattr("minigpt4_model.curation.annotation_actions.save_draft", full)
    told = annotation_page._told(actions.keep)(page.memory, page.view, "words")
    assert "disk: full." in told.note and told.box == {"__type__": "update"}  # the box is left as it is
    assert "What you type is not kept: disk: full." in actions.type(page.memory, page.view, "words")[2]

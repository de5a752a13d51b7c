"""What a visitor can do, without a browser: limits, refusals, faults, leaving."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import PIL.Image
import pytest
from gradio.context import LocalContext

from minigpt4_model.chat.backends.base import AnswerStream, BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.messages import load_conversation
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.chat.render import Rendered, fit_to_context
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.actions import MAX_PICTURES_PER_QUESTION, MAX_QUESTION_CHARACTERS, Actions, Shown
from minigpt4_model.ui.conversation import FAILED, FINISHED, STOPPED, ConversationStore

CONTROLS = ["" if value is None else value for value in dataclasses.astuple(GenerationSettings())]


def controls_with(**changed) -> list:
    """What the settings panel's controls hold when some of them were changed."""
    names = [option.name for option in dataclasses.fields(GenerationSettings)]
    return [changed.get(name, value) for name, value in zip(names, CONTROLS, strict=True)]


def returned(shown) -> list[int] | None:
    """Which pictures the receipt sends back, None for a question that is asked."""
    return json.loads(shown.receipt)[1]


class Recording(EchoBackend):
    """An echo that remembers the settings of every question."""

    def __init__(self, seconds_per_word: float = 0.0):
        super().__init__(seconds_per_word)
        self.settings = []

    def stream(self, messages, settings=None):
        self.settings.append(settings)
        return super().stream(messages, settings)


class Broken(EchoBackend):
    """Writes two words, then fails with `fault`."""

    def __init__(self, fault: Exception):
        super().__init__()
        self.fault = fault

    def stream(self, messages, settings=None):
        def run(answer, cancelled):
            yield "two"
            yield " words"
            raise self.fault

        return AnswerStream(run)


class SmallContext(EchoBackend):
    """Has room for twelve words, which it makes as the engine does."""

    def stream(self, messages, settings=None):
        def render(turns):
            return Rendered(input_ids=[0] * sum(len(turn.text.split()) for turn in turns))

        fit_to_context(load_conversation(messages), render, 12)
        return super().stream(messages, settings)


@pytest.fixture
def store(tmp_path):
    return ConversationStore(tmp_path / "pictures")


@pytest.fixture
def files(tmp_path):
    paths = []
    for number in range(MAX_PICTURES_PER_QUESTION + 1):
        paths.append(str(tmp_path / f"{number}.png"))
        PIL.Image.new("RGB", (20 + number, 20)).save(paths[-1])
    return paths


def ask(actions, conversation, text="hello", files=(), controls=CONTROLS):
    return list(actions.ask(conversation.id, {"text": text, "files": list(files)}, *controls))


def test_a_question_is_answered_and_kept(store, files):
    conversation = store.open()
    shown = ask(Actions(EchoBackend(), store), conversation, "hello", files[:2])
    exchange = conversation.exchanges[0]
    assert exchange.state == FINISHED
    assert exchange.answer == "I received 2 pictures (20x20, 21x20) and 0 earlier questions. You said: hello"
    assert "13 tokens" in shown[-1].status


@pytest.mark.parametrize(
    ("text", "count", "reason"),
    [
        ("", 0, "Type a question"),
        ("x" * (MAX_QUESTION_CHARACTERS + 1), 0, "at most 20,000"),
        ("many", MAX_PICTURES_PER_QUESTION + 1, "at most 10 pictures"),
    ],
)
def test_what_is_too_little_or_too_much_stays_in_the_box(store, files, text, count, reason):
    conversation = store.open()
    (shown,) = ask(Actions(EchoBackend(), store), conversation, text, files[:count])
    assert reason in shown.status and "alert" in shown.status
    assert returned(shown) == list(range(count))
    assert conversation.exchanges == ()


def test_pictures_take_at_most_half_of_the_context(store, files):
    backend = EchoBackend()
    backend.description = dataclasses.replace(backend.description, context_length=256)
    actions, conversation = Actions(backend, store), store.open()
    ask(actions, conversation, "three", files[:3])
    (shown,) = ask(actions, conversation, "two more", files[3:5])
    assert "room for 1 more picture" in shown.status
    assert len(conversation.exchanges) == 1


def test_a_setting_out_of_range_is_refused_in_words(store):
    conversation = store.open()
    controls = controls_with(seed="minus one")
    (shown,) = ask(Actions(EchoBackend(), store), conversation, controls=controls)
    assert "Seed" in shown.status and returned(shown) == []


@pytest.mark.parametrize(
    ("context", "limit", "shown"), [(10**6, 0, (4096, 300)), (2048, 0, (2048, 300)), (2048, 100, (100, 100)), (200, 1000, (200, 200))]
)
def test_the_longest_answer_goes_to_the_end_of_the_models_memory(context, limit, shown):
    from minigpt4_model.ui.settings_panel import build_settings_panel

    with gr.Blocks() as page:
        controls = build_settings_panel(dataclasses.replace(EchoBackend.description, context_length=context, answer_limit=limit))
    (longest,) = [control for control in controls if control.elem_id == "setting-max_new_tokens"]
    assert (longest.maximum, longest.value) == shown
    (reset,) = [function for function in page.fns.values() if controls[0]._id in [output._id for output in function.outputs]]
    assert reset.fn()[0] == shown[1]


def test_switches_reach_the_backend(store):
    backend = Recording()
    ask(Actions(backend, store), store.open(), controls=controls_with(script_guard=True, leak_guard=False, read_text=True))
    (settings,) = backend.settings
    assert (settings.script_guard, settings.leak_guard, settings.read_text, settings.image_crops) == (True, False, True, False)


def test_the_panel_has_a_control_for_each_kind_of_setting():
    import gradio as gr

    from minigpt4_model.ui.settings_panel import build_settings_panel

    with gr.Blocks():
        controls = build_settings_panel(dataclasses.replace(EchoBackend.description, settings=GenerationSettings(script_guard=True)))
    kinds = dict(zip([option.name for option in dataclasses.fields(GenerationSettings)], controls, strict=True))
    assert isinstance(kinds["script_guard"], gr.Checkbox) and kinds["script_guard"].value is True
    assert isinstance(kinds["loop_guard"], gr.Slider) and isinstance(kinds["seed"], gr.Textbox)
    assert all(kinds[name].elem_id == f"setting-{name}" and kinds[name].info for name in kinds)


def test_retry_takes_a_new_seed_even_if_one_was_set(store):
    backend = Recording()
    actions, conversation = Actions(backend, store), store.open()
    controls = controls_with(seed="7")
    ask(actions, conversation, controls=controls)
    for _ in range(2):
        list(actions.retry(conversation.id, 0, *controls))
    seeds = [settings.seed for settings in backend.settings]
    assert seeds[0] == 7 and len(set(seeds)) == 3
    assert len(conversation.exchanges) == 1


def test_retry_at_temperature_0_says_that_nothing_will_change(store):
    actions, conversation = Actions(EchoBackend(), store), store.open()
    ask(actions, conversation)
    controls = controls_with(temperature=0.0)
    assert "same answer" in list(actions.retry(conversation.id, 0, *controls))[-1].status


@pytest.mark.parametrize("message", [-1, 2, 99])
def test_a_message_that_is_not_there_changes_nothing(store, message):
    actions, conversation = Actions(EchoBackend(), store), store.open()
    ask(actions, conversation)
    before = conversation.exchanges
    shown = [
        *actions.retry(conversation.id, message, *CONTROLS),
        *actions.edit(conversation.id, message, "new", *CONTROLS),
        actions.undo(conversation.id, message),
    ]
    assert all("no longer part" in each.status for each in shown)
    assert conversation.exchanges == before


def test_a_fault_in_mid_answer_keeps_what_was_written(store):
    conversation = store.open()
    shown = ask(Actions(Broken(BackendError("The server at --base-url went away.")), store), conversation)
    assert "went away" in shown[-1].status
    assert (conversation.exchanges[0].answer, conversation.exchanges[0].state) == ("two words", FAILED)


def test_an_unforeseen_fault_tells_no_insides_to_the_visitor(store, caplog):
    conversation = store.open()
    shown = ask(Actions(Broken(KeyError("secret inside")), store), conversation)
    assert "Something went wrong" in shown[-1].status and "secret" not in shown[-1].status
    assert "secret inside" in caplog.text
    assert not conversation.busy


def test_a_question_that_is_too_long_does_not_spoil_the_next_one(store, files):
    actions, conversation = Actions(SmallContext(), store), store.open()
    for _ in range(2):
        assert "Shorten the question" in ask(actions, conversation, "long " * 20, files[:1])[-1].status
    ask(actions, conversation, "short enough")
    last = conversation.exchanges[-1]
    assert last.state == FINISHED
    assert last.answer == "I received 2 pictures (20x20, 20x20) and 0 earlier questions. You said: short enough"


def test_a_picture_is_spoken_of_once_and_by_its_own_name(store, tmp_path):
    actions, conversation = Actions(EchoBackend(), store), store.open()
    PIL.Image.new("RGB", (200, 20)).save(tmp_path / "our fence.png")
    expected = "our fence.png is 10 times"
    shown = ask(actions, conversation, "long", [tmp_path / "our fence.png"])
    assert expected in shown[-1].status and shown[-1].status.count(" times as long") == 1
    (file,) = actions.undo(conversation.id, 0).given.value["files"]
    assert Path(file["path"]).name == "our fence.png"
    shown = ask(actions, conversation, "long", [file["path"]])
    assert expected in shown[-1].status and shown[-1].status.count(" times as long") == 1


def test_pictures_are_opened_once_in_a_conversation(store, files, monkeypatch):
    opened = []
    for module in ("actions", "stored_pictures"):
        monkeypatch.setattr(f"minigpt4_model.ui.{module}.load_picture", lambda path: opened.append(path) or load_picture(path))
    actions, conversation = Actions(EchoBackend(), store), store.open()
    ask(actions, conversation, "one", files[:3])
    for _ in range(3):
        ask(actions, conversation, "more")
    assert opened == files[:3]
    assert "3 pictures (20x20, 21x20, 22x20) and 3 earlier" in conversation.exchanges[-1].answer


def test_of_two_questions_at_the_same_time_one_is_refused(store, files, monkeypatch):
    actions, conversation = Actions(EchoBackend(0.01), store), store.open()
    first = []

    def open_slowly(path):
        if not first:  # meanwhile another question comes
            first.append(actions.ask(conversation.id, {"text": "overtaking", "files": []}, *CONTROLS))
            next(first[0])
        return load_picture(path)

    monkeypatch.setattr("minigpt4_model.ui.actions.load_picture", open_slowly)
    (refused,) = ask(actions, conversation, "slow", files[:1])
    assert "still being written" in refused.status
    list(first[0])
    assert [(exchange.question, exchange.state) for exchange in conversation.exchanges] == [("overtaking", FINISHED)]


def test_leaving_in_mid_answer_cancels_it_and_keeps_the_part(store):
    actions, conversation = Actions(EchoBackend(0.02), store), store.open()
    writing = actions.ask(conversation.id, {"text": "word " * 200, "files": []}, *CONTROLS)
    while not (conversation.exchanges and conversation.exchanges[0].answer):
        next(writing)
    writing.close()
    exchange = conversation.exchanges[0]
    assert exchange.state == STOPPED and 0 < len(exchange.answer) < 500 and not conversation.busy


def test_an_expired_conversation_keeps_the_question_in_the_box(store):
    actions = Actions(EchoBackend(), store)
    (shown,) = actions.ask("from an earlier run", {"text": "hello", "files": []}, *CONTROLS)
    assert "no longer kept" in shown.status and returned(shown) == [] and shown.chat == []
    assert store.get(shown.conversation_id).exchanges == ()
    assert "no longer kept" in actions.undo("from an earlier run", 0).status
    assert "no longer kept" in actions.clear("from an earlier run").status
    actions.stop("from an earlier run")


def test_who_comes_while_the_model_is_busy_waits_in_line_and_sees_it(store):
    actions = Actions(EchoBackend(0.01), store, at_once=1)
    first, second, third = store.open(), store.open(), store.open()
    writing = actions.ask(first.id, {"text": "one", "files": []}, *CONTROLS)
    next(writing), next(writing)
    waiting = actions.ask(second.id, {"text": "two", "files": []}, *CONTROLS)
    next(waiting)
    assert "Waiting: 1 before you." in next(waiting).status
    impatient = actions.ask(third.id, {"text": "three", "files": []}, *CONTROLS)
    next(impatient)
    assert "Waiting: 2 before you." in next(impatient).status
    actions.stop(third.id)
    list(impatient)
    assert third.exchanges[0].state == STOPPED and third.exchanges[0].answer == ""
    list(writing)
    list(waiting)
    assert second.exchanges[0].state == FINISHED and second.exchanges[0].answer.endswith("You said: two")


def test_the_page_speaks_the_language_of_the_browser(store):
    actions = Actions(EchoBackend(), store)
    shown = actions.come_back("an earlier ticket", request=SimpleNamespace(headers={"accept-language": "zh-CN,zh;q=0.9"}))
    conversation = store.get(shown.conversation_id)
    assert "不再保存" in shown.status
    assert "请先输入问题" in ask(actions, conversation, "")[-1].status
    assert "个词元" in ask(actions, conversation)[-1].status


def test_a_conversation_that_is_gone_is_told_in_the_language_of_the_request(store):
    token = LocalContext.request.set(SimpleNamespace(headers={"accept-language": "zh-CN"}))
    try:
        (shown,) = Actions(EchoBackend(), store).ask("an earlier id", {"text": "hello", "files": []}, *CONTROLS)
    finally:
        LocalContext.request.reset(token)
    assert "不再保存" in shown.status and store.get(shown.conversation_id).language == "zh-CN"


def test_refusals_of_the_layers_below_are_told_in_the_visitors_language(store, tmp_path):
    conversation = store.open()
    conversation.language = "zh-CN"
    (tmp_path / "paper.png").write_bytes(b"%PDF-1.7")
    shown = ask(Actions(EchoBackend(), store), conversation, "look", [str(tmp_path / "paper.png")])
    assert "是 PDF 文档" in shown[-1].status and "paper.png" in shown[-1].status
    failing = Actions(SmallContext(), store)
    ask(failing, conversation, "word " * 20)
    assert "对话能容纳 12 个词元" in conversation.exchanges[-1].note


def test_the_server_never_empties_the_box(store, files):
    """The browser does, when the question is sent: what is in the box when the server speaks is the next question."""
    actions, conversation = Actions(EchoBackend(), store), store.open()
    for writing in (
        actions.ask(conversation.id, {"text": "hello", "files": []}, *CONTROLS),
        actions.retry(conversation.id, 1, *CONTROLS),
        actions.edit(conversation.id, 0, "otherwise", *CONTROLS),
        actions.ask_aside(conversation.id, "from a panel", [files[0]], *CONTROLS),
    ):
        boxes = [shown.box for shown in writing if isinstance(shown.box, gr.MultimodalTextbox)]
        # An update holds what was given alone.
        assert len(boxes) == 2 and not any("value" in box._constructor_args[0] for box in boxes)


def test_the_receipt_says_what_became_of_a_question(store, files, tmp_path):
    actions, conversation = Actions(EchoBackend(), store), store.open()
    (tmp_path / "paper.png").write_bytes(b"%PDF-1.7")
    refused = ask(actions, conversation, "look", [files[0], str(tmp_path / "paper.png"), files[1]])
    assert [returned(shown) for shown in refused] == [[0, 2]]  # the pictures that were fine come back
    gone = actions.ask("from an earlier run", {"text": "", "files": [str(tmp_path / "gone.png"), files[0]]}, *CONTROLS)
    assert [returned(shown) for shown in gone] == [[1]]
    writing = actions.ask(conversation.id, {"text": "hello", "files": []}, *CONTROLS)
    begun = next(writing)
    assert returned(begun) is None
    (busy,) = actions.ask(conversation.id, {"text": "again", "files": [files[0]]}, *CONTROLS)
    assert "still being written" in busy.status and returned(busy) == [0]
    assert not any(isinstance(shown.receipt, str) for shown in writing)
    for shown in actions.ask_aside(conversation.id, "from a panel", [files[0]], *CONTROLS):
        assert not isinstance(shown.receipt, str)


def test_what_does_not_come_from_the_box_is_given_to_it_when_it_is_refused(store, files):
    actions, conversation = Actions(EchoBackend(), store), store.open()

    def given(shown) -> tuple[str, int]:
        assert not isinstance(shown.receipt, str) and "value" not in shown.box._constructor_args[0]
        return shown.given.value["text"], len(shown.given.value["files"])

    refused, last = actions.ask_aside(conversation.id, "with a seed", files[:2], *controls_with(seed="minus one"))
    assert given(refused) == ("with a seed", 2)
    assert last == Shown()
    gone, _ = actions.ask_aside("from an earlier run", "too late", files[:1], *CONTROLS)
    assert given(gone) == ("too late", 1)
    ask(actions, conversation, "to be taken back", files[:1])
    assert given(actions.undo(conversation.id, 0)) == ("to be taken back", 1)


def test_what_the_page_says_by_itself_is_not_said_over_by_an_answer(store):
    """Such as that it is still being written, when Send is pressed meanwhile."""
    conversation = store.open()
    begun, *steps, ended = ask(Actions(EchoBackend(0.05), store), conversation)
    assert isinstance(begun.status, str) and "tokens" in ended.status
    assert len(steps) > 2 and not any(isinstance(step.status, str) for step in steps)


def test_an_answer_can_be_had_again_with_its_settings(store):
    backend = Recording()
    conversation = store.open()
    ask(Actions(backend, store), conversation)
    (exchange,) = conversation.exchanges
    assert exchange.settings == backend.settings[0] and exchange.settings.seed is not None
    assert exchange.details.usage.completion_tokens == 11
    assert exchange.details.text == exchange.answer


def test_what_listens_to_a_conversation_at_rest_hears_of_each_end_once(store):
    actions, conversation = Actions(EchoBackend(0.01), store), store.open()
    told = [step.settled for step in ask(actions, conversation) if isinstance(step.settled, str)]
    assert len(told) == 1
    assert actions.clear(conversation.id).settled > told[0]


def test_a_picture_is_opened_and_encoded_before_it_is_sent(store, files, monkeypatch):
    backend = EchoBackend()
    encoded, opened = [], []
    backend.prepare_picture = lambda picture: encoded.append(picture.digest)
    monkeypatch.setattr("minigpt4_model.ui.actions.load_picture", lambda file: opened.append(file) or load_picture(file))
    actions, conversation = Actions(backend, store), store.open()
    broken = Path(files[0]).with_name("broken.png")
    broken.write_bytes(b"no picture")
    actions.prepare({"text": "", "files": [files[0], str(broken)]})
    actions.prepare({"text": "", "files": files[:2]})
    assert opened == [files[0], str(broken), files[1]] and len(encoded) == 2
    ask(actions, conversation, "hello", files[:2])
    assert len(opened) == 3
    assert [picture.loaded.digest for picture in conversation.exchanges[0].pictures] == encoded
    # Its files may be gone by the time it is sent.
    conversation.exchanges[0].pictures[0].view.unlink()
    ask(actions, store.open(), "hello", files[:1])
    assert opened[3:] == [files[0]] and conversation.exchanges[0].pictures[0].view.exists()
    assert "broken.png" in ask(actions, store.open(), "hello", [str(broken)])[-1].status

"""The paper's two stages: what is written and learned, in the original's figures, and a run of each as a person would start it."""

import json

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.chat.load import load_engine
from minigpt4_model.chat.messages import question, text_message
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.chat.render import IGNORED
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.training import train
from minigpt4_model.training.arguments import ArgumentsError
from minigpt4_model.training.checkpoint import load_state
from minigpt4_model.training.objective import Share
from minigpt4_model.training.prefetch import drawn_ahead
from minigpt4_model.training.random_crop import RandomCrop
from minigpt4_model.training.schedule import LearningRate
from minigpt4_model.training.sources import BrokenSample, Sample, build_mixture
from minigpt4_model.training.stage_arguments import Stage1Arguments, Stage2Arguments
from minigpt4_model.training.stages import StageObjective, StageText, clean_caption, cut_answers
from minigpt4_model.weights import memory_check
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.load import load_model, read_checkpoint
from minigpt4_model.weights.machine import Device
from tests.test_parity import CASES, EXPECTED, FILES
from tests.test_sources import pairs, write_shard
from tests.tiny_models import PARITY, build_parity_model, build_tiny_model

PICTURE = PARITY / FILES[0]


def sample(caption: str, asked: str | None = None, picture=PICTURE) -> Sample:
    first = (
        question(asked, [load_picture(picture)])
        if asked
        else {"role": "user", "content": [{"type": "image", "image": load_picture(picture)}]}
    )
    return Sample("0", [first, text_message("assistant", caption)], "data", 0)


def stage_text(stage: int, max_text_tokens: int, model=None) -> StageText:
    built, processor = model or build_tiny_model()
    return StageText(stage, processor, built.config.chat_template_name, max_text_tokens)


# --- what is written


@pytest.mark.parametrize(
    "caption, cleaned",
    [
        ('A "Dog" (brown)! #cute; see: it* ~here.', "a dog brown cute see it here"),
        ("  two   blanks \n", "two blanks"),
        ("word " * 60, " ".join(["word"] * 50)),
        ("keeps, commas - and 'quotes'?", "keeps, commas - and 'quotes'?"),
    ],
)
def test_captions_are_cleaned_as_the_originals(caption, cleaned):
    assert clean_caption(caption) == cleaned


def test_stage_1_is_bos_the_picture_and_the_caption():
    text = stage_text(1, 32)
    tokenizer, image = text.processor.tokenizer, text.processor.image_token_id
    piece = text.collate([sample("A Red circle!")])
    said = tokenizer("a red circle\n", add_special_tokens=False).input_ids
    assert piece["input_ids"].tolist() == [[tokenizer.bos_token_id, *[image] * 32, *said]]
    assert piece["labels"].tolist() == [[IGNORED] * 33 + said]
    assert piece["pixel_values"].shape == (1, 3, 224, 224)


def test_long_answers_are_cut_with_their_end_symbol():
    text = stage_text(1, 8)
    long, short = text.collate([sample("one two three four five six seven eight nine"), sample("one")])["labels"]
    assert int((long != IGNORED).sum()) == 8 and int((short != IGNORED).sum()) < 8
    newline = text.processor.tokenizer("one\n", add_special_tokens=False).input_ids[-1]
    assert newline not in long.tolist() and newline in short.tolist()


def test_every_answer_of_a_conversation_is_cut_on_its_own():
    text = stage_text(2, 3)
    first = sample("one two three four five", "What is it?")
    messages = [*first.messages, question("And?"), text_message("assistant", "six seven eight nine")]
    rendered = text.render(text.turns(Sample("0", messages, "data", 0)))
    cut = cut_answers(rendered, 3)
    runs = "".join("x" if label != IGNORED else " " for label in cut.labels).split()
    assert runs == ["xxx", "xxx"]
    assert [token for token, label in zip(rendered.input_ids, rendered.labels, strict=True) if label == IGNORED] == [
        token for token, label in zip(cut.input_ids, cut.labels, strict=True) if label == IGNORED
    ]
    assert len(cut.keys) == len(cut.input_ids)


def test_stage_2_has_the_originals_loss_and_gradient():
    model, processor = build_parity_model()
    case = CASES["train"]["stage2"]
    asked = case["instruction"].split("</Img> ")[1].split(" ###")[0]
    text = StageText(2, processor, "vicuna-v0", case["max_txt_len"])
    # The original drops transparency; the chat puts it on white. Pixels are not what this is about.
    piece = text.collate([sample(caption, asked) for caption in case["captions"]])
    piece["pixel_values"] = torch.stack([EXPECTED[f"img{index}.pixels"] for index in case["images"]])
    objective = StageObjective(model, text, build_mixture_of_one(), 2)
    model.requires_grad_(False)
    model.model.language_projection.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    (count,) = objective.counts(piece).values()
    loss = objective.loss(model, piece)[0]["loss"] / count
    loss.backward()
    assert count == case["n_targets"] and loss.item() == pytest.approx(float(EXPECTED["train.stage2.loss"]), abs=1e-5)
    gradient = model.model.language_projection.weight.grad
    assert float((gradient - EXPECTED["train.stage2.grad_proj_weight"]).abs().max()) < 1e-5


# --- what has no picture, or cannot be learned from


def words_alone(*said: str) -> Sample:
    """Questions and answers in turns, without a picture."""
    messages = [text_message(("user", "assistant")[number % 2], text) for number, text in enumerate(said)]
    return Sample("words", messages, "data", 0)


def test_conversations_without_a_picture_have_their_loss_and_a_gradient_of_zero():
    model, processor = build_tiny_model()
    model.requires_grad_(False)
    projection = model.model.language_projection.requires_grad_(True)
    text = stage_text(2, 32, (model, processor))
    samples = [words_alone("Hello?", "Hello, my friend."), words_alone("And?", "Well.", "Who?", "Nobody.")]
    piece = text.collate(samples)
    objective = StageObjective(model, text, build_mixture_of_one(), 2)
    loss = objective.loss(model, piece)[0]["loss"]
    loss.backward()
    assert not projection.weight.grad.any() and not projection.bias.grad.any()
    rows = [text.example(sample) for sample in samples]
    alone = [
        model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels]), num_items_in_batch=1).loss.item() for row in rows
    ]
    assert loss.item() == pytest.approx(sum(alone), rel=1e-5)
    assert objective.counts(piece)["loss"] == sum(label != IGNORED for row in rows for label in row.labels)


def test_a_picture_elsewhere_in_the_piece_is_enough():
    piece = stage_text(2, 32).collate([words_alone("Hello?", "Hello."), sample("A dog.", "What is it?")])
    assert piece["pixel_values"].shape[0] == 1 and int((piece["input_ids"] == stage_text(2, 32).processor.image_token_id).sum()) == 32


def test_samples_that_cannot_be_learned_from_are_broken_ones():
    text, stage1 = stage_text(2, 32), stage_text(1, 32)
    text.check(words_alone("Hello?", "Hello."), 4096)
    with pytest.raises(BrokenSample, match="no picture"):
        stage1.check(words_alone("Hello?", "Hello."), 4096)
    with pytest.raises(BrokenSample, match=r"20,\d+ tokens, and the LLM has room for 4,096"):
        text.check(words_alone("word " * 20_000, "Hello."), 4096)
    middle = words_alone("Hello?", "Hello.")
    middle.messages.insert(1, text_message("system", "Be kind."))
    with pytest.raises(BrokenSample, match="a system message must come before the others") as error:
        text.check(middle, 4096)
    assert error.value.reason == "not a conversation"
    room = len(text.example(words_alone("Hello?", "Hello.")).input_ids) + 32  # for the blank picture too
    text.check(words_alone("Hello?", "Hello."), room)
    with pytest.raises(BrokenSample):
        text.check(words_alone("Hello?", "Hello."), room - 1)


def build_mixture_of_one():
    class One:
        sources, fingerprint = [[0]], "one"

    return One()


# --- the paper's numbers


def test_the_defaults_are_the_papers():
    one, two = Stage1Arguments(model="m"), Stage2Arguments(init="m")
    assert (one.max_steps, one.batch_size, one.warmup_steps, one.max_text_tokens) == (20_000, 256, 5_000, 32)
    assert (one.learning_rate, one.min_learning_rate, one.warmup_learning_rate, one.weight_decay) == (1e-4, 8e-5, 1e-6, 0.05)
    assert (two.max_steps, two.batch_size, two.warmup_steps, two.max_text_tokens) == (5 * 200, 12, 200, 160)
    assert (two.learning_rate, two.min_learning_rate) == (3e-5, 1e-5)
    assert not one.train_qformer and one.max_grad_norm == 0.0 and [one.pieces(world) for world in (1, 2, 4, 8)] == [4, 2, 1, 1]
    rate = LearningRate(one.learning_rate, one.min_learning_rate, one.warmup_learning_rate, one.warmup_steps, one.max_steps)
    assert rate(5000) == pytest.approx(9.707e-5, rel=1e-4)


def test_the_four_prompts_are_the_originals():
    prompts = train.read_prompts(Stage2Arguments(init="m").prompts)
    assert prompts == [
        "Describe this image in detail.",
        "Take a look at this image and describe what you notice.",
        "Please provide a detailed description of the picture.",
        "Could you describe the contents of this image for me?",
    ]


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "--model .* or a checkpoint with --init"),
        ({"model": "m", "load_in_8bit": True, "load_in_4bit": True}, "--load-in-8bit and --load-in-4bit exclude each other"),
        ({"model": "m", "max_text_tokens": 1}, "--max-text-tokens must be at least 2"),
        ({"model": "m", "batch_size": 0}, "--batch-size must be at least 1, not 0"),
        ({"model": "m", "mixed_precision": "fp8"}, "--mixed-precision fp8: choose one of auto, bf16, fp16, no"),
    ],
)
def test_contradictions_name_the_flag(given, message):
    with pytest.raises(ArgumentsError, match=message):
        Stage1Arguments(**given)


def test_a_batch_that_processes_cannot_share():
    with pytest.raises(ArgumentsError, match=r"--batch-size \(256\) must be a multiple of the number of processes \(3\)"):
        Stage1Arguments(model="m").pieces(3)


# --- runs


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A whole model's folder, as an import of the official files makes it."""
    folder = tmp_path_factory.mktemp("base") / "tiny-vicuna"
    model, processor = build_tiny_model()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of captions and one of shards, with a broken picture."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    (folder / "captions").mkdir()
    for number in range(8):
        PIL.Image.new("RGB", (20, 30), (30 * number, 90, 200)).save(folder / "captions" / f"{number}.png")
        rows.append({"image": f"{number}.png", "caption": f"A picture of number {number}."})
    (folder / "captions" / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "shards").mkdir()
    write_shard(folder / "shards" / "00000.tar", [*pairs(0, 30), ("bad.jpg", b"junk"), ("bad.txt", b"words")])
    return folder


def flags(data, output, *more: str) -> list[str]:
    given = ["--output-dir", str(output), "--max-steps", "4", "--warmup-steps", "2", "--save-steps", "2", "--eval-steps", "2"]
    return [*given, "--log-steps", "1", "--num-workers", "0", "--report-to", "none", "--device", "cpu", *more]


@pytest.mark.slow
def test_stage_1_then_stage_2_as_a_person_would(base, data, tmp_path, caplog):
    sources = [f"{data / 'captions'}@1", f"{data / 'shards'}@3"]
    small = ["--batch-size", "6", "--per-device-batch-size", "4"]
    first, second = tmp_path / "stage1", tmp_path / "stage2"
    held_out = ["--eval-data", str(data / "captions"), "--eval-samples", "5"]
    assert train.main(["stage1", *flags(data, first, *small, "--model", str(base), "--data", *sources, *held_out)]) == 0
    kept = read_checkpoint(first)
    assert kept.keys() == {"model.language_projection.weight", "model.language_projection.bias"}
    records = [json.loads(line) for line in (first / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "eval_loss" in record] == [2, 4] and (first / "best" / "config.json").exists()
    assert "0 of" not in (first / "report.json").read_text()
    assert train.main(["stage2", *flags(data, second, "--init", str(first), "--data", str(data / "captions"))]) == 0
    page = (second / "samples.html").read_text()
    assert "A picture of number" in page and "image" in page and page.count("<img") == 6
    # What the page and ask do: the folder is a model.
    model, _ = load_model(second, device="cpu", dtype="float32")
    whole, _ = load_model(base, device="cpu", dtype="float32")
    assert torch.equal(model.model.language_projection.weight, load_file(second / "model.safetensors")["model.language_projection.weight"])
    assert not torch.equal(model.model.language_projection.weight, whole.model.language_projection.weight)
    assert torch.equal(model.model.query_tokens, whole.model.query_tokens)


@pytest.mark.slow
def test_features_from_a_cache_learn_the_same(base, data, tmp_path):
    runs = {"none": tmp_path / "none", "vision": tmp_path / "vision", "qformer": tmp_path / "qformer"}
    for kind, output in runs.items():
        more = ["--model", str(base), "--data", str(data / "captions"), "--batch-size", "4", "--mixed-precision", "no"]
        more += ["--cache-features", kind, "--cache-dir", str(tmp_path / "cache"), "--no-random-crop"]
        assert train.main(["stage1", *flags(data, output, *more)]) == 0
        rows = [path.stat().st_size for path in (tmp_path / "cache").glob(f"{kind}-*/*.index")]
        assert sum(rows) == (8 * 16 if kind != "none" else 0)  # all that was computed is named, so it is found again
    losses = {
        kind: [record["loss"] for line in (output / "log.jsonl").read_text().splitlines() if "loss" in (record := json.loads(line))]
        for kind, output in runs.items()
    }
    assert losses["vision"] == pytest.approx(losses["none"], rel=1e-3) and losses["qformer"] == pytest.approx(losses["none"], rel=1e-3)


@pytest.mark.slow
def test_the_llm_in_8_bits(base, data, tmp_path):
    pytest.importorskip("bitsandbytes")
    more = ["--model", str(base), "--data", str(data / "captions"), "--batch-size", "4", "--load-in-8bit"]
    assert train.main(["stage1", *flags(data, tmp_path / "run", *more)]) == 0
    kept = read_checkpoint(tmp_path / "run")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["settings"]["--load-in-8bit"] == "True" and report["last_loss"] > 0
    engine = load_engine(tmp_path / "run", device="cpu")
    try:
        picture = str(data / "captions" / "0.png")
        assert isinstance(engine.generate([question("What?", [picture])], GenerationSettings(max_new_tokens=3, temperature=0)), str)
    finally:
        engine.close()


@pytest.mark.slow
def test_other_data_and_missing_frozen_parts_are_said(base, data, tmp_path, capsys):
    more = ["--model", str(base), "--batch-size", "2", "--data"]
    output = tmp_path / "run"
    assert train.main(["stage1", *flags(data, output, *more, str(data / "captions"))]) == 0
    assert train.main(["stage1", *flags(data, output, *more, str(data / "shards"))]) == 1
    assert "other values of --data (was" in capsys.readouterr().err
    assert train.main(["stage1", *flags(data, output, *more, str(data / "nothing"))]) == 1
    assert "nothing: there is nothing at this path" in capsys.readouterr().err
    config = json.loads((output / "config.json").read_text())
    assert config["frozen_parts"] == str(base)
    (output / "config.json").write_text(json.dumps({**config, "frozen_parts": "/gone"}))
    with pytest.raises(WeightsError, match='frozen parts are those of /gone, and there is no model.*"frozen_parts"'):
        load_model(output, device="cpu")


@pytest.mark.parametrize(
    ("more", "fix"),
    [
        ([], "Use --mixed-precision bf16 or --load-in-8bit or --load-in-4bit, or close other programs."),
        (["--load-in-4bit"], "Use --mixed-precision bf16, or close other programs."),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_flags_of_the_trainer(base, data, tmp_path, monkeypatch, capsys, more, fix):
    if more:
        pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(memory_check, "find_devices", lambda only=None: [Device("cpu", "small", 1_000_000)])
    monkeypatch.setattr(memory_check, "own_memory", lambda: 0)
    arguments = flags(data, tmp_path, "--model", str(base), "--data", str(data / "captions"), "--mixed-precision", "no", *more)
    assert train.main(["stage1", *arguments]) == 1
    told = capsys.readouterr().err
    precision = "4 bit with the rest in float32" if more else "float32"
    assert f"--model {base} in {precision} needs 0." in told and f"training takes more than that. {fix}" in told
    assert "--device-map" not in told and train.build_parser().parse_args(["stage1", *arguments, "--no-memory-check"])


def test_ranks_and_workers_see_each_sample_once(data):
    mixture = build_mixture([str(data / "captions")], 1)
    text = stage_text(1, 32)
    model = build_tiny_model()[0]

    def captions(share: Share, workers: int = 0) -> list[str]:
        objective = StageObjective(model, text, mixture, 8, num_workers=workers)
        steps = objective.batches(0, share)
        pieces = next(steps)
        steps.close()
        return [tuple(row[row >= 0].tolist()) for piece in pieces for row in piece["labels"]]

    whole = captions(Share())
    assert len(set(whole)) == 8
    assert captions(Share(0, 2, 2)) + captions(Share(1, 2, 2), workers=1) == whole


def test_a_run_remembers_broken_samples(data):
    mixture = build_mixture([str(data / "shards")], 1)
    model = build_tiny_model()[0]
    objective = StageObjective(model, stage_text(1, 32), mixture, 31, max_broken=1.0)
    batches = drawn_ahead(objective.batches(0, Share()))
    next(batches)
    assert objective.state() == {"tally": {}}  # what is only drawn will be drawn again when the run goes on
    objective.finish_step()
    next(batches)
    batches.close()
    resumed = StageObjective(model, stage_text(1, 32), mixture, 31)
    resumed.load_state([objective.state()])
    (notice,) = resumed.notices([resumed.state()])
    assert "1 of 3" in notice and "cannot be used" in notice


@pytest.mark.slow
def test_a_mix_with_words_alone_and_with_what_cannot_be_used(base, data, tmp_path):
    folder = tmp_path / "mix"
    folder.mkdir()
    hello = [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hello."}]
    records = [{"conversations": hello}] * 6
    records.append(
        {"image": "0.png", "conversations": [*hello, {"from": "human", "value": "<image>And?"}, {"from": "gpt", "value": "Red."}]}
    )
    records.append({"conversations": [hello[0], {"from": "system", "value": "Be kind."}, hello[1]]})
    records.append({"conversations": [{"from": "human", "value": "word " * 5000}, hello[1]]})
    (folder / "mix.json").write_text(json.dumps(records))
    more = ["--model", str(base), "--data", f"{folder / 'mix.json'},images={data / 'captions'}", "--max-broken", "1", "--batch-size", "9"]
    more += ["--per-device-batch-size", "3", "--max-steps", "1", "--warmup-steps", "1", "--max-text-tokens", "8"]
    for stage, reasons in (("stage1", ["no picture", "not a conversation"]), ("stage2", ["not a conversation", "longer than the LLM's"])):
        output = tmp_path / stage
        assert train.main([stage, *flags(data, output, *more)]) == 0
        (notice,) = json.loads((output / "report.json").read_text())["notices"]
        assert all(reason in notice for reason in reasons)
        rows = json.loads((output / "samples.json").read_text())["rows"]
        assert rows and all("Red." in row["expected"] or stage == "stage1" for row in rows)


def test_pictures_are_cut_for_training_only(data):
    mixture = build_mixture([str(data / "shards")], 1)
    text, model = stage_text(1, 32), build_tiny_model()[0]
    whole = StageObjective(model, text, mixture, 4)
    cut = StageObjective(model, text, mixture, 4, crop=RandomCrop(1), held_out=mixture)
    pieces = [next(objective.batches(0, Share()))[0] for objective in (whole, cut, cut)]
    assert torch.equal(pieces[1]["pixel_values"], pieces[2]["pixel_values"])
    assert torch.equal(pieces[0]["input_ids"], pieces[1]["input_ids"])
    seen = []
    cut.loss = lambda model, piece: seen.append(piece) or ({"loss": torch.tensor(1.0)}, {})
    cut.eval_samples = 4
    cut.evaluate(model, lambda values: values)
    assert torch.equal(seen[0]["pixel_values"], pieces[0]["pixel_values"])


def test_the_crop_is_the_originals_and_off_with_a_cache(caplog):
    caplog.set_level("INFO")
    assert train._crop(Stage1Arguments(model="m")) == RandomCrop(seed=42, scale=(0.5, 1.0)) and not caplog.text
    assert train._crop(Stage1Arguments(model="m", random_crop=False)) is None and not caplog.text
    assert train._crop(Stage1Arguments(model="m", cache_features="qformer")) is None
    assert "--random-crop is off in this run" in caplog.text


def test_wandb_is_asked_for_in_time(base, data, tmp_path, capsys):
    more = ["--model", str(base), "--data", str(data / "captions"), "--report-to", "wandb"]
    assert train.main(["stage1", *flags(data, tmp_path / "run", *more)]) == 1
    assert "--report-to wandb: the package wandb is not installed. Install it (pip install wandb)" in capsys.readouterr().err
    assert load_state(tmp_path / "run") is None

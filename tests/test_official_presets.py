"""The full-size presets end to end, on small files in the official layouts: a server, a hub, folders and caches that have them."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.__main__ import main as program
from minigpt4_model.presets import PRESETS
from minigpt4_model.training.checkpoint import write_projection
from minigpt4_model.training.train import _place
from minigpt4_model.weights import doctor, download, hub, load, local_parts, official_pairing, official_presets, sources
from minigpt4_model.weights.cache import find_faults
from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.import_plan import OfficialParts, plan_import
from minigpt4_model.weights.language_models import LanguageModelIdentity, read_language_model_config
from minigpt4_model.weights.load import load_model
from minigpt4_model.weights.local_parts import find_local
from minigpt4_model.weights.official_pairing import identify_language_model
from minigpt4_model.weights.official_presets import ensure_official
from minigpt4_model.weights.pairing import fingerprint
from minigpt4_model.weights.sources import HubRepository, OfficialPreset, RemoteFile
from tests.llm_configurations import LLAMA_3_8B, VICUNA_V0_7B, VICUNA_V0_13B
from tests.official_server import serving
from tests.test_parity import CASES
from tests.tiny_models import PARITY
from tests.tiny_official import LLAMA, PROJECTION, QFORMER, VISION, write_bin_shards, write_llama2_projection

PICTURE = PARITY / "img0_rgb_640x480.png"
REVISION = "1" * 40
TINY_VISION = {"hidden_size": 88, "num_hidden_layers": 4}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Places:
    """A server with the tiny files, the table that names them, and the cache they are imported into."""

    def __init__(self, server, folder: Path):
        self.server, self.home = server, folder / "home"
        self.files = {"eva_vit_g.pth": VISION, "blip2_pretrained_flant5xxl.pth": QFORMER, "prerained_minigpt4_7b.pth": PROJECTION}
        self.files["pretrained_minigpt4_llama2_7b.pth"] = write_llama2_projection(folder / "llama2.pth")
        for name, path in self.files.items():
            server.files[f"/{name}"] = path.read_bytes()
        server.add_repository("someone/vicuna", REVISION, write_bin_shards(folder / "vicuna"))
        server.add_repository("meta/llama2", REVISION, LLAMA)
        vision, qformer = self.remote("eva_vit_g.pth", "the ViT"), self.remote("blip2_pretrained_flant5xxl.pth", "the Q-Former")
        vicuna = HubRepository("Vicuna v0 7B", "someone/vicuna", REVISION, 6_000_000, "research only")
        llama = HubRepository("Llama-2-chat 7B", "meta/llama2", REVISION, 6_000_000, "Llama 2 Community License", gated=True)
        vicuna_projection = self.remote("prerained_minigpt4_7b.pth", "the projection", known=False)
        llama_projection = self.remote("pretrained_minigpt4_llama2_7b.pth", "the projection", known=False)
        self.presets = {
            "vicuna-7b": OfficialPreset("vicuna-7b", "vicuna", 40, vision, qformer, vicuna_projection, vicuna),
            "llama2-7b": OfficialPreset("llama2-7b", "llama2", 40, vision, None, llama_projection, llama),
        }

    def remote(self, name: str, title: str, known: bool = True) -> RemoteFile:
        path = self.files[name]
        hash_ = sha256(path) if known else None
        return RemoteFile(title, f"{self.server.address}/{name}", (name,), path.stat().st_size, hash_, "BSD", "https://example.org")

    def asked(self) -> list[str]:
        return [path for path, _ in self.server.requests]

    def change(self, name: str, **fields) -> None:
        self.presets[name] = replace(self.presets[name], **fields)


@pytest.fixture
def places(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    monkeypatch.setattr(hub, "token", lambda: None)
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        made = Places(server, tmp_path)
        for module in (official_presets, official_pairing, load, sources, doctor):
            monkeypatch.setattr(module, "OFFICIAL_PRESETS", made.presets)
        # Whether a preset fits is asked before it is fetched, of a table that has the real ones' sizes.
        text = json.loads((LLAMA / "config.json").read_bytes())
        monkeypatch.setattr(load, "CONFIGS", dict.fromkeys(made.presets, {"vision_config": TINY_VISION, "text_config": text}))
        yield made


def quiet(message: str, fraction: float | None = None) -> None:
    pass


# --- from nothing to an answer


def ask(capsys) -> tuple[dict, str]:
    """The fixtures' first question, greedily, in fp32 and without the preset's guard: (the answer's record, what was said meanwhile)."""
    settings = ["--dtype", "float32", "--greedy", "--repetition-penalty", "1", "--no-script-guard", "--max-new-tokens", "12", "--json"]
    assert program(["ask", "--preset", "vicuna-7b", "--image", str(PICTURE), *settings, "What is shown in this picture?"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_ask_downloads_imports_and_answers_as_the_original(places, capsys):
    answer, said = ask(capsys)
    assert answer["token_ids"] == CASES["cases"]["a"]["greedy"][1:]
    assert answer["usage"]["image_tokens"] == 32
    assert "vicuna-7b is made of the ViT, the Q-Former, the projection and Vicuna v0 7B; 0.0 GB of it are fetched, once." in said
    assert "research only" in said and "no hash of it is publicly known" in said
    asked = len(places.asked())
    again, said = ask(capsys)
    assert again["token_ids"] == answer["token_ids"] and "fetched" not in said
    assert len(places.asked()) == asked, "the second start sends nothing"


def test_the_page_opens_the_preset(places, monkeypatch):
    import app

    served = {}
    monkeypatch.setattr(app, "run_page", lambda backend, listener, *_: served.update(backend=backend) or listener.close())
    assert app.main(["--preset", "llama2-7b", "--port", "0"]) == 0
    description = served["backend"].description
    assert (description.name, description.image_tokens) == ("llama2-7b", 64)
    served["backend"].close()


def test_the_imported_model_knows_what_it_is(places):
    directory = ensure_official("vicuna-7b", progress=quiet)
    assert directory == places.home / "official" / "vicuna-7b"
    record = json.loads((directory / "config.json").read_text())["trained_with"]
    assert record["language_model"]["name"] == PRESETS["vicuna-7b"].language_model == "Vicuna v0 7B"


def test_downloads_stay_and_are_told_so_that_nothing_is_fetched_twice(places):
    said: list[str] = []
    directory = ensure_official("vicuna-7b", progress=lambda message, fraction: said.append(message))
    downloads = places.home / "official" / "downloads"
    kept = sorted(path.name for path in downloads.iterdir() if not path.name.startswith("."))
    assert kept == ["blip2_pretrained_flant5xxl.pth", "eva_vit_g.pth", "prerained_minigpt4_7b.pth", f"someone--vicuna@{REVISION[:12]}"]
    [told] = [message for message in said if "stay in" in message]
    assert told.startswith(f"The downloads stay in {downloads} (0.0 GB), so that nothing is fetched twice. vicuna-7b runs without them")
    places.server.requests.clear()
    shutil.rmtree(directory)
    assert find_faults(ensure_official("vicuna-7b", progress=quiet)) == [] and places.asked() == []
    shutil.rmtree(downloads)  # as the message allows
    assert find_faults(ensure_official("vicuna-7b", progress=quiet)) == [] and places.asked() == []


def test_a_download_that_was_changed_since_is_no_part(places):
    ensure_official("vicuna-7b", progress=quiet)
    folder = places.home / "official" / "downloads" / f"someone--vicuna@{REVISION[:12]}"
    repository = places.presets["vicuna-7b"].language_model
    assert hub.fetched_repository(repository, folder) == folder
    assert hub.fetched_repository(replace(repository, revision="2" * 40), folder) is None
    (folder / "config.json").write_text("{}")
    assert hub.fetched_repository(repository, folder) is None


def test_an_llm_from_its_pinned_revision_is_known_by_its_fingerprint_from_then_on(places, tmp_path):
    before = identify_language_model(read_language_model_config(LLAMA), LLAMA, embedding_fingerprint())
    assert before.name == "the llama model llama_tiny" and before.doubt
    ensure_official("vicuna-7b", progress=quiet)
    known = identify_language_model(read_language_model_config(LLAMA), LLAMA, embedding_fingerprint())
    assert known == LanguageModelIdentity("Vicuna v0 7B", 40, "vicuna-v0")
    with pytest.raises(PairingError, match="trained with an LLM 40 wide, and --language-model is Vicuna v0 7B: its embedding"):
        projection = places.files["pretrained_minigpt4_llama2_7b.pth"]
        plan_import(OfficialParts(vision=VISION, projection=projection, language_model=LLAMA, variant="llama2"))


def embedding_fingerprint() -> str:
    return fingerprint(load_file(LLAMA / "model.safetensors")["model.embed_tokens.weight"])


def test_a_broken_download_goes_on_in_the_next_start(places, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    places.server.breaks = [100_000]
    places.server.statuses_for["/blip2_pretrained_flant5xxl.pth"] = 503
    with pytest.raises(WeightsError, match=r"the Q-Former could not be fetched .* answers 503"):
        ensure_official("vicuna-7b", progress=quiet)
    assert places.asked() == ["/eva_vit_g.pth", "/eva_vit_g.pth", "/blip2_pretrained_flant5xxl.pth"]
    assert places.server.sent("/eva_vit_g.pth")[1]["Range"] == "bytes=100000-"
    places.server.statuses_for.clear()
    ensure_official("vicuna-7b", progress=quiet)
    assert places.asked().count("/eva_vit_g.pth") == 2, "what was fetched stays"


def test_room_is_asked_for_the_import_and_for_what_is_still_to_fetch(places, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(official_presets, "cached_directory", lambda directory, recipe, make, needed, *_: asked.append(needed))
    ensure_official("vicuna-7b", progress=quiet)
    folder = places.home / "official" / "downloads"
    (folder / f"someone--vicuna@{REVISION[:12]}").mkdir(parents=True)
    (folder / f"someone--vicuna@{REVISION[:12]}" / "pytorch_model-00001-of-00002.bin").write_bytes(b"0" * 1_000_000)
    (folder / "eva_vit_g.pth.partial").write_bytes(b"0" * 1000)
    ensure_official("vicuna-7b", progress=quiet)
    shutil.copy(QFORMER, folder / "blip2_pretrained_flant5xxl.pth")
    ensure_official("vicuna-7b", progress=quiet)
    fetched = sum(
        places.files[name].stat().st_size for name in ("eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    )
    assert asked[0] == int(6_000_000 * 1.02) + VISION.stat().st_size + 500_000_000 + fetched + 6_000_000
    assert asked[0] - asked[1] == 1_001_000 and asked[1] - asked[2] == QFORMER.stat().st_size


def test_a_damaged_import_is_made_again(places):
    directory = ensure_official("vicuna-7b", progress=quiet)
    (directory / "model.safetensors").write_bytes(b"damaged")
    assert find_faults(directory) != []
    ensure_official("vicuna-7b", progress=quiet)
    assert find_faults(directory) == []


def test_a_checkpoint_that_was_trained_over_the_preset_opens_over_it(places, tmp_path):
    """`train ... --model vicuna-7b` names the preset, not a place, as its frozen parts."""
    whole = ensure_official("vicuna-7b", progress=quiet)
    model, _ = load_model(whole, device="cpu", dtype="float32")
    model.config.frozen_parts = _place("vicuna-7b")
    tensors = {f"model.language_projection.{name}": tensor + 1 for name, tensor in model.model.language_projection.state_dict().items()}
    write_projection(tmp_path / "stage1", tensors, model.config)
    trained, _ = load_model(tmp_path / "stage1", device="cpu", dtype="float32")
    assert trained.config.frozen_parts == "vicuna-7b"
    assert torch.equal(trained.model.language_projection.bias, tensors["model.language_projection.bias"])


# --- people who have the files


def local_folder(tmp_path: Path, places: Places, *names: str) -> Path:
    folder = tmp_path / "mine"
    (folder / "files").mkdir(parents=True)
    for name in names:
        shutil.copy(places.files[name], folder / "files" / name)
    return folder


def test_nothing_is_downloaded_with_a_complete_local_dir(places, tmp_path):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    shutil.copytree(LLAMA, folder / "vicuna-7b")
    said = []
    assert load_model("vicuna-7b", device="cpu", dtype="float32", local_dir=folder)[0].config.num_image_tokens == 32
    ensure_official("vicuna-7b", folder, lambda message, fraction: said.append(message))
    assert places.asked() == [] and said == [], "imported once"
    assert ensure_official("vicuna-7b", None, quiet) == places.home / "official" / "vicuna-7b" and places.asked() == []


def test_only_the_rest_is_downloaded(places, tmp_path):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth")
    shutil.copytree(LLAMA, folder / "vicuna-7b")
    ensure_official("vicuna-7b", folder, quiet)
    assert places.asked() == ["/prerained_minigpt4_7b.pth"]


def test_a_changed_local_file_is_imported_again(places, tmp_path):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    shutil.copytree(LLAMA, folder / "vicuna-7b")
    ensure_official("vicuna-7b", folder, quiet)
    content = torch.load(PROJECTION, weights_only=True)
    content["model"]["llama_proj.bias"] += 1
    torch.save(content, folder / "files" / "prerained_minigpt4_7b.pth")
    directory = ensure_official("vicuna-7b", folder, quiet)
    model, _ = load_model(directory, device="cpu", dtype="float32")
    assert torch.equal(model.model.language_projection.bias, content["model"]["llama_proj.bias"])


def test_a_file_that_is_not_the_original_s_is_taken_and_told(places, tmp_path):
    folder = local_folder(tmp_path, places, "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    torch.save(torch.load(VISION, weights_only=True), folder / "eva_vit_g.pth")  # the same numbers, written by another version
    shutil.copytree(LLAMA, folder / "vicuna-7b")
    said = []
    ensure_official("vicuna-7b", folder, lambda message, fraction: said.append(message))
    assert sum("eva_vit_g.pth is not the original's file of that name" in message for message in said) == 1


def test_a_local_dir_may_be_an_imported_model(places):
    directory = ensure_official("vicuna-7b", progress=quiet)
    shutil.copytree(directory, places.home.parent / "copy")
    places.server.requests.clear()
    assert ensure_official("vicuna-7b", places.home.parent / "copy", quiet) == places.home.parent / "copy"
    assert places.asked() == []
    with pytest.raises(
        WeightsError, match="copy is an imported model with an LLM 40 wide and a Q-Former, not llama2-7b. Open it with --model"
    ):
        ensure_official("llama2-7b", places.home.parent / "copy", quiet)


def test_an_unhelpful_local_dir_says_what_is_looked_for(places, tmp_path):
    with pytest.raises(WeightsError, match="--local-dir .*nowhere is not a folder"):
        ensure_official("vicuna-7b", tmp_path / "nowhere", quiet)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        WeightsError, match=r"holds nothing of vicuna-7b. It is looked through for eva_vit_g.pth, .*Vicuna v0 7B \(config.json"
    ):
        ensure_official("vicuna-7b", tmp_path / "empty", quiet)
    for name in ("a", "b"):
        shutil.copytree(LLAMA, tmp_path / "two" / name)
    with pytest.raises(WeightsError, match=r"holds 2 language models of that size: .*/a, .*/b\. Give a folder with Vicuna v0 7B only"):
        ensure_official("vicuna-7b", tmp_path / "two", quiet)
    shutil.copytree(LLAMA, tmp_path / "two" / "vicuna")
    assert find_local(places.presets["vicuna-7b"], tmp_path / "two").language_model == tmp_path / "two" / "vicuna"


def other_llm(folder: Path, **config) -> Path:
    """A folder that looks like an LLM of a width that the original's have."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(LLAMA / "model.safetensors", folder)
    return folder


def test_a_local_dir_with_another_language_model_is_refused_with_both_names(places, tmp_path):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    other_llm(folder / "Meta-Llama-3-8B", **LLAMA_3_8B)
    other_llm(folder / "vicuna-13b", **VICUNA_V0_13B)
    places.change("vicuna-7b", hidden_size=4096)
    with pytest.raises(PairingError) as refused:
        ensure_official("vicuna-7b", folder, quiet)
    told = str(refused.value)
    assert "the projection was trained with Vicuna v0 7B, and --local-dir" in told and "Together they would babble" in told
    assert "Meta-Llama-3-8B is the llama model Meta-Llama-3-8B (128256 words" in told and "vicuna-13b is Vicuna v0 13B" in told
    assert "a copy of someone/vicuna" in told and places.asked() == []
    other_llm(folder / "vicuna-7b", **VICUNA_V0_7B)
    assert find_local(places.presets["vicuna-7b"], folder).language_model == folder / "vicuna-7b", "the one that fits is found"
    shutil.rmtree(folder / "vicuna-7b")
    found = find_local(places.presets["vicuna-7b"], folder, needs_language_model=False)
    assert found.language_model is None and found.vision == folder / "files" / "eva_vit_g.pth"


def test_folders_that_cannot_be_read_are_passed_over(places, tmp_path, monkeypatch):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth")
    children = Path.iterdir

    def iterdir(path):
        if path.name == "odd":
            raise OSError(22, "Invalid argument")
        return children(path)

    (folder / "odd").mkdir()
    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert find_local(places.presets["vicuna-7b"], folder).vision == folder / "files" / "eva_vit_g.pth"
    monkeypatch.setattr(local_parts, "_FOLDERS", 2)
    with pytest.raises(WeightsError, match=r"holds more than 2 folders. Give the one that holds the files"):
        find_local(places.presets["vicuna-7b"], folder)


def test_what_was_imported_of_own_files_stays_and_says_so(places, tmp_path):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    shutil.copytree(LLAMA, folder / "vicuna-7b")
    said: list[str] = []
    directory = ensure_official("vicuna-7b", folder, lambda message, fraction: said.append(message))
    vision = folder / "files" / "eva_vit_g.pth"
    assert f"vision: {vision}, which stays as it is; its numbers are copied into {directory}." in said
    assert not any("stay in" in message for message in said), "nothing was downloaded"
    said.clear()
    assert ensure_official("vicuna-7b", None, lambda message, fraction: said.append(message)) == directory
    [told] = said
    assert told.startswith(f"vicuna-7b is the model that was imported of files of yours: vision {vision}; qformer ")
    assert told.endswith(f"language_model {folder / 'vicuna-7b'}.")
    with pytest.raises(WeightsError, match=r"nowhere is not a folder.*, or leave it out: the model imported before is in "):
        ensure_official("vicuna-7b", tmp_path / "nowhere", quiet)
    (directory / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="Give --local-dir with them once more; or remove .*, and what is not here is downloaded"):
        ensure_official("vicuna-7b", None, quiet)
    assert places.asked() == [] and vision.exists() and (folder / "vicuna-7b" / "model.safetensors").exists()
    ensure_official("vicuna-7b", folder, quiet)
    assert find_faults(directory) == [] and places.asked() == []


def test_local_dir_goes_with_a_full_size_preset(tmp_path, capsys):
    assert program(["ask", "--preset", "pocket", "--local-dir", str(tmp_path), "What?"]) == 1
    assert "--local-dir goes with a full-size preset" in capsys.readouterr().err


def test_caches_of_other_programs_are_used(places, tmp_path):
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    shutil.copy(VISION, tmp_path / "torch" / "hub" / "checkpoints" / "eva_vit_g.pth")
    shutil.copytree(LLAMA, tmp_path / "hf" / "models--someone--vicuna" / "snapshots" / REVISION)
    directory = ensure_official("vicuna-7b", progress=quiet)
    assert places.asked() == ["/blip2_pretrained_flant5xxl.pth", "/prerained_minigpt4_7b.pth"]
    assert json.loads((directory / "config.json").read_text())["trained_with"]["language_model"]["name"] == "Vicuna v0 7B"
    assert (tmp_path / "hf" / "models--someone--vicuna" / "snapshots" / REVISION / "config.json").exists()


# --- the Hub


def test_every_file_of_the_hub_is_checked_against_its_hash(places):
    path = f"/someone/vicuna/resolve/{REVISION}/pytorch_model-00002-of-00002.bin"
    places.server.files[path] = places.server.files[path][:-1] + b"!"
    with pytest.raises(WeightsError, match=r"pytorch_model-00002-of-00002.bin of Vicuna v0 7B .*its sha256 is"):
        ensure_official("vicuna-7b", progress=quiet)
    small = f"/someone/vicuna/resolve/{REVISION}/config.json"
    places.server.files[small] = b"{}"
    shutil.rmtree(places.home / "official" / "downloads")
    with pytest.raises(WeightsError, match="config.json of Vicuna v0 7B .*Git's hash"):
        ensure_official("vicuna-7b", progress=quiet)


def test_a_gated_model_says_how_to_get_access(places, monkeypatch):
    places.server.statuses_for[f"/meta/llama2/resolve/{REVISION}/config.json"] = 401
    places.server.error_code = "GatedRepo"
    with pytest.raises(WeightsError) as refused:
        ensure_official("llama2-7b", progress=quiet)
    message = str(refused.value)
    assert not any(path.endswith(".pth") for path in places.asked()), "nothing large before that"
    for part in (
        "is gated",
        "nobody is logged in here",
        "https://huggingface.co/meta/llama2",
        "huggingface.co/settings/tokens",
        "hf auth login",
    ):
        assert part in message
    assert "--local-dir DIR" in message and "Llama 2 Community License" in message
    monkeypatch.setattr(hub, "token", lambda: "hf_x")
    places.server.statuses_for = {f"/api/models/meta/llama2/tree/{REVISION}": 403}
    with pytest.raises(WeightsError, match="your token is known, but access has not been granted"):
        ensure_official("llama2-7b", progress=quiet)
    places.server.statuses_for.clear()
    ensure_official("llama2-7b", progress=quiet)
    asked = places.server.sent(f"/meta/llama2/resolve/{REVISION}/config.json")[-1]
    assert asked["Authorization"] == "Bearer hf_x"
    assert "Authorization" not in places.server.sent("/eva_vit_g.pth")[0]


def test_a_hub_that_cannot_be_used_names_the_way_without_it(places, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"Vicuna v0 7B: no connection to http://127.0.0.1:9 .*--local-dir DIR"):
        ensure_official("vicuna-7b", progress=quiet)
    monkeypatch.setenv("HF_ENDPOINT", places.server.address)
    repository = places.presets["vicuna-7b"].language_model
    for listing, message in (
        (b"<html>", "is no list of files"),
        (b'[{"type": "file", "path": "a.md", "size": 1, "oid": "0"}]', "holds no weights"),
    ):
        places.server.files[f"/api/models/someone/vicuna/tree/{REVISION}"] = listing
        with pytest.raises(WeightsError, match=message):
            hub.download_repository(repository, places.home / "x")
    places.change("vicuna-7b", language_model=replace(repository, revision="2" * 40))
    with pytest.raises(WeightsError, match="answers 404"):
        ensure_official("vicuna-7b", progress=quiet)


# --- the doctor


def test_the_doctor_tells_what_is_here_and_what_is_to_be_fetched(places, capsys):
    def files() -> tuple[int, dict[str, dict]]:
        code = doctor.main(["--preset", "vicuna-7b", "--json"])
        return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    (places.home / "official" / "downloads").mkdir(parents=True)
    shutil.copy(VISION, places.home / "official" / "downloads" / "eva_vit_g.pth")
    code, checks = files()
    assert code == 1 and checks["files"]["fix"].endswith("-m minigpt4_model.weights.official_presets vicuna-7b")
    assert re.search(r"is not there. A start with a network fetches \d+ MB and imports", checks["files"]["detail"])
    assert checks["the ViT"]["state"] == "ok" and checks["Vicuna v0 7B"]["state"] == "warning"
    assert checks["files"]["state"] == "download"
    assert doctor.main(["--preset", "vicuna-7b"]) == 1
    said = capsys.readouterr().out
    assert said.endswith("vicuna-7b needs download: a start with a network fetches what is marked so, and nothing else stops it.\n")
    assert "FAULT" not in said and re.search(r"^fetch  files: ", said, re.MULTILINE)
    assert "(research only)" in checks["Vicuna v0 7B"]["detail"] and places.asked() == []
    directory = ensure_official("vicuna-7b", progress=quiet)
    capsys.readouterr()
    code, checks = files()
    assert checks["files"]["state"] == checks["config"]["state"] == checks["weights"]["state"] == "ok"
    assert "Vicuna v0 7B, EVA-CLIP ViT, 88 wide, a Q-Former, 48 wide" in checks["pairing"]["detail"]
    data = bytearray((directory / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (directory / "model.safetensors").write_bytes(data)
    code, checks = files()
    assert code == 1 and "sha256" in checks["files"]["detail"] and checks["files"]["state"] == "fault"
    shutil.rmtree(directory)
    code, checks = files()
    assert code == 0 and checks["files"]["state"] == "warning" and "A start imports them" in checks["files"]["detail"]


def test_the_doctor_tells_of_a_damaged_import_of_own_files(places, tmp_path, capsys):
    folder = local_folder(tmp_path, places, "eva_vit_g.pth", "blip2_pretrained_flant5xxl.pth", "prerained_minigpt4_7b.pth")
    shutil.copytree(LLAMA, folder / "vicuna-7b")
    (ensure_official("vicuna-7b", folder, quiet) / "model.safetensors").write_bytes(b"damaged")
    assert doctor.main(["--preset", "vicuna-7b", "--json"]) == 1
    [files] = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == "files"]
    assert files["state"] == "fault" and "It was imported of files of yours (vision " in files["detail"]
    assert files["fix"].endswith("official_presets vicuna-7b --local-dir DIR")


# --- the table itself


def test_the_table_has_every_full_size_preset_and_no_invented_hash():
    from minigpt4_model.weights.sources import OFFICIAL_PRESETS

    assert set(OFFICIAL_PRESETS) == {name for name, preset in PRESETS.items() if preset.official_variant}
    assert isinstance(OFFICIAL_PRESETS, MappingProxyType)
    for name, preset in OFFICIAL_PRESETS.items():
        row = PRESETS[name]
        assert preset.variant == row.official_variant and preset.language_model.title == row.language_model
        assert (preset.qformer is None) == (preset.variant == "llama2") and preset.hidden_size in (4096, 5120)
        assert len(preset.language_model.revision) == 40 and int(preset.language_model.revision, 16)
        for file in preset.files:
            assert file.url.startswith("https://") and file.licence and file.size_bytes > 1_000_000
            assert file.sha256 is None or len(file.sha256) == 64
        assert preset.language_model.licence


def test_the_module_prepares_a_preset(places, capsys):
    assert official_presets.main(["vicuna-7b"]) == 0
    assert str(places.home / "official" / "vicuna-7b") in capsys.readouterr().out
    assert official_presets.main(["vicuna-7b", "--local-dir", "nowhere"]) == 1
    assert "error: --local-dir nowhere is not a folder" in capsys.readouterr().err

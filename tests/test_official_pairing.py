"""Official files record nothing: what shapes tell, what is refused with both names and the fix, and what stays a warning."""

from pathlib import Path

import pytest
import torch

from minigpt4_model.weights import official_pairing
from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.export_official import export_official
from minigpt4_model.weights.import_official import import_official
from minigpt4_model.weights.official_pairing import check_official_pairing, identify_language_model, read_language_model_config
from tests.test_import_official import llama2, vicuna
from tests.tiny_official import LLAMA, PROJECTION, copy_llama, write_llama2_projection

LLAMA_1 = {"model_type": "llama", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6}
LLAMA_2 = {"model_type": "llama", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
VICUNA_V0_7B = {**LLAMA_1, "hidden_size": 4096, "vocab_size": 32_001}
VICUNA_V0_13B = {**LLAMA_1, "hidden_size": 5120, "vocab_size": 32_001}
VICUNA_V1_1_7B = {**LLAMA_1, "hidden_size": 4096, "vocab_size": 32_000}
VICUNA_V1_5_7B = {**LLAMA_2, "hidden_size": 4096, "vocab_size": 32_000, "_name_or_path": "vicuna-7b-v1.5"}
LLAMA_2_CHAT = {**LLAMA_2, "hidden_size": 4096, "vocab_size": 32_000, "_name_or_path": "meta-llama/Llama-2-7b-chat-hf"}
LLAMA_2_UNSAID = {**LLAMA_2, "hidden_size": 4096, "vocab_size": 32_000}


def check(variant: str, config: dict, out_features: int, in_features: int | None = None, image_width: int | None = None) -> list[str]:
    width = 768 if variant == "vicuna" else 4 * 1408
    return check_official_pairing(
        variant=variant,
        projection=Path("projection.pth"),
        in_features=in_features or width,
        out_features=out_features,
        image_width=image_width or width,
        encoder_width=1408,
        llm=identify_language_model(config, Path("models/llm"), "0" * 32),
    )


@pytest.mark.parametrize(
    ("config", "name", "is_sure"),
    [
        (VICUNA_V0_7B, "Vicuna v0 7B", False),
        (VICUNA_V0_13B, "Vicuna v0 13B", False),
        (VICUNA_V1_1_7B, "LLaMA 7B, or Vicuna v1.1 or v1.3 7B", True),
        (VICUNA_V1_5_7B, "Vicuna v1.5 7B (vicuna-7b-v1.5)", True),
        (LLAMA_2_CHAT, "Llama-2-chat 7B", True),
        (LLAMA_2_UNSAID, "Llama 2 7B or a model made of it", False),
        ({"model_type": "qwen2", "hidden_size": 4096, "vocab_size": 151_936}, "the qwen2 model llm", False),
        ({"model_type": "llama", "hidden_size": 2048, "vocab_size": 32_000}, "the llama model llm", False),
    ],
)
def test_what_a_configuration_tells(config, name, is_sure):
    identity = identify_language_model(config, Path("models/llm"), "0" * 32)
    assert identity.name == name and (identity.doubt is None) == is_sure


def test_a_known_embedding_table_is_known_by_its_fingerprint():
    [(fingerprint, name)] = official_pairing.KNOWN_EMBEDDINGS.items()
    identity = identify_language_model({"model_type": "llama", "hidden_size": 576, "vocab_size": 49_152}, Path("x"), fingerprint)
    assert (identity.name, identity.doubt) == (name, None)


def test_the_known_fingerprint_is_that_of_the_shipped_checkpoint():
    import json

    recorded = json.loads(Path("checkpoints/pocket/config.json").read_text())["trained_with"]["language_model"]
    assert official_pairing.KNOWN_EMBEDDINGS[recorded["embedding_fingerprint"]] == recorded["name"]


def test_what_belongs_together_passes_with_what_cannot_be_known():
    [notice] = check("vicuna", VICUNA_V0_7B, 4096)
    assert "was trained with Vicuna v0 7B, and the language model seems to be Vicuna v0 7B: its vocabulary of 32001" in notice
    assert check("llama2", LLAMA_2_CHAT, 4096) == []
    [notice] = check("llama2", LLAMA_2_UNSAID, 4096)
    assert "make sure that it is the chat model" in notice


REFUSED = [
    (
        ("vicuna", VICUNA_V0_7B, 5120),
        "projection.pth is a projection for Vicuna v0 13B (it makes 5120 numbers a token), and --language-model is Vicuna v0 7B (4096). "
        "Together they would babble. Give it Vicuna v0 13B (--language-model with a copy of Vision-CAIR/vicuna, or --preset vicuna-13b), "
        "or give that LLM the projection made for it, MiniGPT-4's projection for Vicuna v0 7B (https://drive.usercontent.google.com/",
    ),
    (
        ("vicuna", VICUNA_V1_1_7B, 4096),
        "projection.pth was trained with Vicuna v0 7B, and --language-model is LLaMA 7B, or Vicuna v1.1 or v1.3 7B: its embedding table is "
        "another. Together they would babble. Give it Vicuna v0 7B (--language-model with a copy of Vision-CAIR/vicuna-7b, or --preset "
        "vicuna-7b). If you know that it is Vicuna v0 7B: import-official --assume-pairing.",
    ),
    (("vicuna", VICUNA_V1_5_7B, 4096), "trained with Vicuna v0 7B, and --language-model is Vicuna v1.5 7B (vicuna-7b-v1.5)"),
    (("vicuna", LLAMA_2_CHAT, 4096), "trained with Vicuna v0 7B, and --language-model is Llama-2-chat 7B"),
    (("llama2", VICUNA_V0_7B, 4096), "trained with Llama-2-chat 7B, and --language-model is Vicuna v0 7B"),
    (("llama2", VICUNA_V1_5_7B, 4096), "trained with Llama-2-chat 7B, and --language-model is Vicuna v1.5 7B"),
    (("llama2", VICUNA_V1_1_7B, 4096), "copy of meta-llama/Llama-2-7b-chat-hf, or --preset llama2-7b"),
    (
        ("vicuna", VICUNA_V0_7B, 4096, 5632),
        "projection.pth takes 5632 numbers a token, and 768 come from the Q-Former: it is a projection of the Llama-2 variant, which joins "
        "4 patches of 1408 and has no Q-Former. Import it with --variant llama2, without --qformer, over Llama-2-chat.",
    ),
    (("vicuna", VICUNA_V0_7B, 4096, 1024), "they are not of the same model. Give the Q-Former that the projection was trained with"),
    (
        ("llama2", LLAMA_2_CHAT, 4096, 768, 1408),
        "it is a projection of the Vicuna variant, which has a Q-Former. Import it with --variant vicuna and --qformer FILE, over Vicuna",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pair", "message"), REFUSED)
def test_the_wrong_pairing_is_refused_with_both_names_and_the_fix(pair, message):
    with pytest.raises(PairingError) as refused:
        check(*pair)
    assert message in str(refused.value)


# --- through the verb


def test_a_projection_of_another_width_is_refused_before_anything_is_written(tmp_path):
    wide = write_llama2_projection(tmp_path / "wide.pth", out_features=48)
    with pytest.raises(PairingError, match=r"wide\.pth is a projection for an LLM 48 wide .* is the llama model llama_tiny \(40\)"):
        import_official(llama2(tmp_path, projection=wide), tmp_path / "out")
    with pytest.raises(PairingError, match=r"it is a projection of the Llama-2 variant, which joins 4 patches of 88"):
        import_official(vicuna(projection=tmp_path / "llama2.pth"), tmp_path / "out")
    with pytest.raises(PairingError, match=r"it is a projection of the Vicuna variant"):
        import_official(llama2(tmp_path, projection=PROJECTION), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_unknown_is_a_notice_and_assume_pairing_is_heard(tmp_path, monkeypatch):
    plan = import_official(vicuna(), tmp_path / "out")
    assert plan.notices == [
        f"{PROJECTION} was trained with an LLM 40 wide, and the language model seems to be the llama model llama_tiny: "
        "nothing is known of it, so only its sizes were compared."
    ]
    monkeypatch.setattr(official_pairing, "_SIZES", {40: "miniature"})
    with pytest.raises(PairingError, match="is LLaMA miniature, or Vicuna v1.1 or v1.3 miniature.*--assume-pairing"):
        import_official(vicuna(), tmp_path / "again")
    import_official(vicuna(assume_pairing=True), tmp_path / "again")
    assert import_official(vicuna(language_model_name="Vicuna v0"), tmp_path / "named").notices == []


def test_an_exported_projection_is_checked_by_its_record(tmp_path):
    import_official(vicuna(), tmp_path / "model")
    export_official(tmp_path / "model", tmp_path / "exported.pth")
    assert import_official(vicuna(projection=tmp_path / "exported.pth"), tmp_path / "again").notices == []
    other = copy_llama(tmp_path / "other")
    tensors = {name: tensor + (1 if "embed" in name else 0) for name, tensor in torch_load_safetensors(other).items()}
    from safetensors.torch import save_file

    save_file(tensors, other / "model.safetensors")
    with pytest.raises(
        PairingError, match=r"exported\.pth was trained with the language model the llama model llama_tiny, and this is .* other"
    ):
        import_official(vicuna(projection=tmp_path / "exported.pth", language_model=other), tmp_path / "third")


def torch_load_safetensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is damaged"), ('{"model_type": "clip"}', "describes a 'clip' model, not a language model"), (None, "has no config.json")],
)
def test_a_folder_that_is_no_language_model(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        read_language_model_config(tmp_path)


def test_a_configuration_is_read_as_it_is():
    assert read_language_model_config(LLAMA)["hidden_size"] == 40

"""Official files record nothing: what shapes tell, what is refused with both names and the fix, and what stays a warning."""

from pathlib import Path

import pytest
import torch

from minigpt4_model.weights import language_models, official_pairing
from minigpt4_model.weights.errors import PairingError
from minigpt4_model.weights.export_official import export_official
from minigpt4_model.weights.import_official import import_official
from minigpt4_model.weights.official_pairing import check_official_pairing, identify_language_model
from tests.llm_configurations import (
    CODE_LLAMA_7B,
    LLAMA_2_CHAT,
    LLAMA_2_CHAT_PADDED,
    LLAMA_2_UNSAID,
    LLAMA_3_8B,
    MISTRAL_7B,
    QWEN_8B,
    VICUNA_V0_7B,
    VICUNA_V1_1_7B,
    VICUNA_V1_5_7B,
)
from tests.test_import_official import llama2, vicuna
from tests.tiny_official import LLAMA, PROJECTION, copy_llama, write_llama2_projection


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
    [notice] = check("llama2", LLAMA_2_CHAT, 4096)
    assert "seems to be Llama-2-chat 7B: its sizes and its own name are those of the chat model, and what was made of that" in notice
    [notice] = check("llama2", LLAMA_2_CHAT_PADDED, 4096)
    assert "seems to be Llama-2-chat 7B with a padding token added" in notice
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
    (("vicuna", LLAMA_2_CHAT_PADDED, 4096), "Vicuna v0 7B, and --language-model is Llama-2-chat 7B with a padding token added"),
    (("llama2", LLAMA_3_8B, 4096), "and --language-model is the llama model llm (128256 words, a context of 8192 tokens, 32 layers)"),
    (("vicuna", LLAMA_3_8B, 4096), "Give it Vicuna v0 7B (--language-model with a copy of Vision-CAIR/vicuna-7b, or --preset vicuna-7b)"),
    (("llama2", CODE_LLAMA_7B, 4096), "was trained with Llama-2-chat 7B, and --language-model is the llama model llm (32016 words"),
    (("llama2", MISTRAL_7B, 4096), "was trained with Llama-2-chat 7B, and --language-model is the mistral model llm"),
    (("vicuna", QWEN_8B, 4096), "was trained with Vicuna v0 7B, and --language-model is the qwen2 model llm (151936 words"),
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
    config = language_models.read_language_model_config(LLAMA)
    sizes = ("miniature", config["num_hidden_layers"], config["intermediate_size"])
    monkeypatch.setattr(language_models, "_SIZES", {40: sizes})
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

"""The pairing check: copies agree, other weights are refused with both names and the fix."""

import json

import pytest
import torch
from safetensors.torch import save_file

from minigpt4_model.weights.errors import PairingError, WeightsError
from minigpt4_model.weights.pairing import (
    check_pairing,
    describe_language_model_dir,
    describe_pairing,
    describe_vision_encoder_file,
    fingerprint,
    fingerprint_encoder,
)


def table(rows=50, columns=8, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).bfloat16().float()


def encoder(seed=0):
    return {"conv_stem.weight": table(seed=seed), "bn1.bias": table(8, 1, seed)[:, 0], "classifier.bias": torch.zeros(3)}


def record(embedding_seed=0, encoder_seed=0, llm="SmolLM2"):
    return describe_pairing(language_model=llm, embedding=table(seed=embedding_seed), vision_encoder="Lite2", encoder=encoder(encoder_seed))


def test_copies_in_other_precisions_have_the_same_fingerprint():
    weights = table()
    assert fingerprint(weights) == fingerprint(weights.bfloat16()) == fingerprint(weights.half())


def test_values_and_shape_count():
    weights = table()
    changed = weights.clone()
    changed[17, 3] += 0.5
    assert fingerprint(changed) != fingerprint(weights)
    assert fingerprint(weights.reshape(8, 50)) != fingerprint(weights)
    assert fingerprint(weights[:, 0]) != fingerprint(weights)
    assert fingerprint(torch.tensor(1.0)) != fingerprint(torch.tensor(2.0))


def test_of_a_large_table_first_and_last_row_and_the_length_count():
    large = torch.zeros(40_000, 32)
    for row in (0, 39_999):
        changed = large.clone()
        changed[row] = 1.0
        assert fingerprint(changed) != fingerprint(large)
    assert fingerprint(torch.zeros(40_001, 32)) != fingerprint(large)


def test_a_transposed_view_counts_by_its_values_not_its_memory():
    weights = table(6, 4)
    assert fingerprint(weights.T) == fingerprint(weights.T.contiguous())


def test_an_encoder_is_the_same_in_its_own_file_and_inside_the_whole_model():
    inside = {f"model.vision_model.trunk.{name}": tensor for name, tensor in encoder().items() if not name.startswith("classifier.")}
    inside["model.vision_model.post_layernorm.weight"] = torch.ones(4)
    inside["model.vision_model.trunk.bn1.num_batches_tracked"] = torch.tensor(3)
    assert fingerprint_encoder(inside) == fingerprint_encoder(encoder())
    assert fingerprint_encoder(encoder(1)) != fingerprint_encoder(encoder())


def test_a_fitting_pair_passes_after_a_trip_through_json():
    check_pairing(json.loads(json.dumps(record())), record(llm="a copy under another name"))


def test_another_language_model_is_refused_with_both_names():
    with pytest.raises(PairingError, match="SmolLM2.*Vicuna v1.*embedding_fingerprint.*--language-model"):
        check_pairing(record(), record(embedding_seed=1, llm="Vicuna v1"), "checkpoints/mine")


def test_another_encoder_is_refused():
    with pytest.raises(PairingError, match="vision encoder Lite2.*--vision"):
        check_pairing(record(), record(encoder_seed=1))


def test_a_missing_record_is_refused():
    with pytest.raises(PairingError, match="no record of the vision encoder"):
        check_pairing({"language_model": record()["language_model"]}, record())


def test_files_give_the_same_record_as_tensors(tmp_path):
    save_file({"model.embed_tokens.weight": table().bfloat16()}, tmp_path / "model.safetensors")
    save_file(encoder(), tmp_path / "encoder.bin")
    assert describe_language_model_dir(tmp_path, "SmolLM2") == record()["language_model"]
    assert describe_vision_encoder_file(tmp_path / "encoder.bin", "Lite2") == record()["vision_encoder"]


def test_a_directory_without_an_embedding_table_is_named(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=str(tmp_path)):
        describe_language_model_dir(tmp_path, "x")

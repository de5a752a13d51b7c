"""Rewriting a GGUF for llama.cpp: the same model, its 4-bit matrices in 8 bits."""

import gguf
import numpy as np
import pytest

from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.gguf_for_llama_cpp import rewrite_as_q8_0

Q4_1, Q8_0, F32 = (gguf.GGMLQuantizationType[name] for name in ("Q4_1", "Q8_0", "F32"))


def test_only_the_type_of_4_bit_matrices_changes(tmp_path):
    draw = np.random.default_rng(0)
    small, kept = draw.normal(size=(8, 64)).astype(np.float32), draw.normal(size=(4, 32)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "in.gguf", "llama")
    writer.add_block_count(3)
    writer.add_token_list(["a", "b"])
    writer.add_rope_freq_base(10000.0)
    writer.add_tensor("blk.0.ffn_up.weight", gguf.quantize(small, Q4_1), raw_dtype=Q4_1)
    writer.add_tensor("token_embd.weight", gguf.quantize(kept, Q8_0), raw_dtype=Q8_0)
    writer.add_tensor("output_norm.weight", kept[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    told = []
    rewrite_as_q8_0(tmp_path / "in.gguf", tmp_path / "out.gguf", lambda message, share: told.append(share))
    before, after = gguf.GGUFReader(tmp_path / "in.gguf"), gguf.GGUFReader(tmp_path / "out.gguf")
    assert told[-1] == 1.0
    kept_fields = [name for name in before.fields if not name.startswith("GGUF.")]
    assert {name: after.fields[name].contents() for name in kept_fields} == {name: before.fields[name].contents() for name in kept_fields}
    assert {tensor.name: tensor.tensor_type for tensor in after.tensors} == {
        "blk.0.ffn_up.weight": Q8_0, "token_embd.weight": Q8_0, "output_norm.weight": F32,
    }  # fmt: skip
    for old, new in zip(before.tensors, after.tensors, strict=True):
        was, now = gguf.dequantize(old.data, old.tensor_type), gguf.dequantize(new.data, new.tensor_type)
        assert was.shape == now.shape
        if old.tensor_type == Q4_1:
            assert 0 < np.sqrt(((was - now) ** 2).mean() / (was**2).mean()) < 0.01
        else:
            assert np.array_equal(was, now)


def test_what_is_no_gguf_is_told(tmp_path):
    (tmp_path / "no.gguf").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="no.gguf is not a whole GGUF file"):
        rewrite_as_q8_0(tmp_path / "no.gguf", tmp_path / "out.gguf")

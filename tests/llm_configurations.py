"""What decides in the config.json of language models that people have, as their makers wrote them."""

LLAMA_1 = {"model_type": "llama", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6}
LLAMA_2 = {"model_type": "llama", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
_7B = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11_008, "num_attention_heads": 32}
_13B = {"hidden_size": 5120, "num_hidden_layers": 40, "intermediate_size": 13_824, "num_attention_heads": 40}

VICUNA_V0_7B = {**LLAMA_1, **_7B, "vocab_size": 32_001}
VICUNA_V0_13B = {**LLAMA_1, **_13B, "vocab_size": 32_001}
# As early copies of LLaMA have it, which name the context otherwise and the heads of keys not at all.
VICUNA_V0_OLD = {"model_type": "llama", "max_sequence_length": 2048, **_7B, "vocab_size": 32_001}
VICUNA_V1_1_7B = {**LLAMA_1, **_7B, "vocab_size": 32_000}
VICUNA_V1_5_7B = {**LLAMA_2, **_7B, "vocab_size": 32_000, "_name_or_path": "vicuna-7b-v1.5"}
LLAMA_2_CHAT = {**LLAMA_2, **_7B, "vocab_size": 32_000, "_name_or_path": "meta-llama/Llama-2-7b-chat-hf"}
LLAMA_2_CHAT_PADDED = {**LLAMA_2_CHAT, "vocab_size": 32_001}
LLAMA_2_UNSAID = {**LLAMA_2, **_7B, "vocab_size": 32_000}
LLAMA_2_OTHER_CHAT = {**LLAMA_2_UNSAID, "_name_or_path": "/home/me/my-chat-model"}
LLAMA_2_GROUPED = {**LLAMA_2_UNSAID, "num_key_value_heads": 8}
LLAMA_3_8B = {
    "model_type": "llama",
    **_7B,
    "intermediate_size": 14_336,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 8192,
}
CODE_LLAMA_7B = {"model_type": "llama", **_7B, "vocab_size": 32_016, "max_position_embeddings": 16_384}
CODE_LLAMA_PYTHON_7B = {**CODE_LLAMA_7B, "vocab_size": 32_000}
SOLAR = {**LLAMA_2, **_7B, "num_hidden_layers": 48, "intermediate_size": 14_336, "num_key_value_heads": 8, "vocab_size": 32_000}
MISTRAL_7B = {**SOLAR, "model_type": "mistral", "num_hidden_layers": 32, "max_position_embeddings": 32_768}
QWEN_8B = {"model_type": "qwen2", **_7B, "vocab_size": 151_936, "max_position_embeddings": 32_768}

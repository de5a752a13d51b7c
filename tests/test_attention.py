"""The attention that training uses on a CPU: transformers' own outcome, gradients included."""

import pytest
import torch

from minigpt4_model.training.attention import EXPLICIT, set_attention, suit_attention
from tests.tiny_chat import build_chatml_model

IMAGE_TOKENS = 32


def loss_and_gradient(model, attention: str, **options) -> tuple[torch.Tensor, torch.Tensor]:
    set_attention(model, attention, "eager")
    ids = torch.tensor(
        [[5] + [model.config.image_token_id] * IMAGE_TOKENS + list(range(20, 30 + row)) + [0] * (4 - row) for row in range(4)]
    )
    labels = ids.masked_fill((ids == model.config.image_token_id) | (ids == 0), -100)
    tokens = torch.randn(4, IMAGE_TOKENS, 32, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    loss = model(input_ids=ids, labels=labels, image_features=tokens, use_cache=False, **options).loss
    loss.backward()
    return loss.detach(), tokens.grad


@pytest.fixture
def model():
    return build_chatml_model()[0].requires_grad_(False)


def test_it_is_the_fused_kernels_attention(model):
    loss, gradient = loss_and_gradient(model, EXPLICIT)
    expected_loss, expected = loss_and_gradient(model, "sdpa")
    assert torch.allclose(loss, expected_loss, atol=1e-5)
    assert torch.allclose(gradient, expected, atol=1e-5, rtol=1e-3) and gradient.abs().max() > 1e-3


def test_padding_on_the_left_is_not_looked_at(model):
    mask = torch.ones(4, 47, dtype=torch.long)
    mask[1:3, 0] = 0
    loss, gradient = loss_and_gradient(model, EXPLICIT, attention_mask=mask)
    expected_loss, expected = loss_and_gradient(model, "sdpa", attention_mask=mask)
    assert torch.allclose(loss, expected_loss, atol=1e-5) and torch.allclose(gradient, expected, atol=1e-5, rtol=1e-3)
    assert not torch.allclose(loss, loss_and_gradient(model, EXPLICIT)[0], atol=1e-5)


def test_in_16_bits_it_rounds_no_more_than_the_fused_kernel(model):
    _, exact = loss_and_gradient(model, "sdpa")
    model.language_model.bfloat16()
    model.lm_head.bfloat16()
    error = {attention: float((loss_and_gradient(model, attention)[1] - exact).norm()) for attention in (EXPLICIT, "sdpa", "eager")}
    assert error[EXPLICIT] < 1.2 * error["sdpa"] and error[EXPLICIT] < 1.2 * error["eager"]


def test_answers_are_the_same(model):
    answers = []
    for attention in (EXPLICIT, "sdpa"):
        set_attention(model, attention, "eager")
        ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
        answers.append(model.generate(input_ids=ids, max_new_tokens=8, do_sample=False).tolist())
    assert answers[0] == answers[1]


@pytest.mark.parametrize(("device", "attention"), [("cpu", EXPLICIT), ("cuda", "sdpa")])
def test_devices_have_their_attention_and_a_checkpoint_does_not_tell(model, device, attention):
    suit_attention(model, torch.device(device))
    assert model.language_model.config._attn_implementation == attention
    assert EXPLICIT not in str(model.config.to_diff_dict())

"""Parity with the original implementation, stage by stage, on its own outputs for a tiny model (tests/parity_fixtures).

The tolerances are about ten times the differences measured; `python -m tests.test_parity` prints the table.
"""

import json

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_models import PARITY, build_parity_model

CASES = json.loads((PARITY / "fixtures.json").read_text())
EXPECTED = load_file(PARITY / "fixtures.safetensors")
FILES = ("img0_rgb_640x480.png", "img1_rgba_300x500.png")


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def parity_model(request):
    model, processor = build_parity_model()
    model.set_attn_implementation({"": request.param, "text_config": request.param, "qformer_config": request.param})
    return model, processor


def pixels(processor, index: int) -> torch.Tensor:
    return processor.image_processor(PIL.Image.open(PARITY / FILES[index]))["pixel_values"]


def measure_stages(model, processor) -> dict[str, float]:
    """Largest absolute difference from the original, by stage."""
    worst: dict[str, float] = {}

    def compare(stage: str, ours: torch.Tensor, key: str) -> None:
        assert ours.shape == EXPECTED[key].shape, (stage, ours.shape, EXPECTED[key].shape)
        worst[stage] = max(worst.get(stage, 0.0), float((ours - EXPECTED[key]).abs().max()))

    with torch.no_grad():
        for index in range(len(FILES)):
            compare("pixels", pixels(processor, index)[0], f"img{index}.pixels")
            if f"img{index}.vit_raw" in EXPECTED:
                raw = model.model.vision_model.trunk.forward_features(EXPECTED[f"img{index}.pixels"][None])
                compare("encoder before ln_vision", raw[0], f"img{index}.vit_raw")
            out = model.get_image_features(EXPECTED[f"img{index}.pixels"][None])
            compare("encoder after ln_vision", out.last_hidden_state[0], f"img{index}.vit_ln")
            queries = model.model.query_tokens.expand(1, -1, -1)
            qformer = model.model.qformer(query_embeds=queries, encoder_hidden_states=EXPECTED[f"img{index}.vit_ln"][None])
            compare("Q-Former", qformer.last_hidden_state[0], f"img{index}.qformer")
            compare("projection", out.pooler_output[0], f"img{index}.proj")
        for name, case in CASES["cases"].items():
            ids = torch.tensor([processor.tokenize_prompt(case["prompt"])])
            features = model.get_image_features(torch.cat([pixels(processor, i) for i in case["images"]])).pooler_output
            context = model.embed_prompt(ids, features)
            compare("context embeddings", context[0], f"{name}.context")
            compare("next-token logits", model(inputs_embeds=context, logits_to_keep=1).logits[0, 0], f"{name}.next_logits")
    return worst


TOLERANCES = {
    "pixels": 0.0,
    "encoder before ln_vision": 3e-5,
    "encoder after ln_vision": 2e-5,
    "Q-Former": 1e-5,
    "projection": 1e-5,
    "context embeddings": 1e-5,
    "next-token logits": 5e-5,
}


def test_every_stage_is_within_its_tolerance(parity_model):
    worst = measure_stages(*parity_model)
    assert worst.keys() == TOLERANCES.keys()
    assert {stage: value for stage, value in worst.items() if value > TOLERANCES[stage]} == {}


@pytest.mark.parametrize("name", CASES["cases"])
def test_prompt_ids(name):
    model, processor = build_parity_model()
    case = CASES["cases"][name]
    first, *rest = case["segment_ids"]
    expected = first + [i for segment in rest for i in [model.config.image_token_id] * 32 + segment]
    assert processor.tokenize_prompt(case["prompt"]) == expected


@pytest.mark.parametrize("name", CASES["cases"])
def test_greedy_and_beam_ids(parity_model, name):
    model, processor = parity_model
    case = CASES["cases"][name]
    inputs = processor(text=case["prompt"], images=[PIL.Image.open(PARITY / FILES[i]) for i in case["images"]])
    bos = case["greedy"][0]
    count = len(case["greedy"]) - 1
    options = dict(max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert [bos, *model.generate(**inputs, **options)[0].tolist()] == case["greedy"]
    beams = model.generate(**inputs, **options, num_beams=3)
    assert [bos, *beams[0].tolist()] == case["beam3"]


def stage2_batch(model, processor):
    """The original's stage-2 batch: one BOS embedding, the wrapped instruction, the caption and the end symbol, padded on the right."""
    case = CASES["train"]["stage2"]
    tokenizer = processor.tokenizer

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    before, after = case["instruction"].split("<ImageHere>")
    prompt = [tokenizer.bos_token_id, *ids(before), *[model.config.image_token_id] * 32, *ids(after)]
    answers = [ids(caption + case["end_sym"])[: case["max_txt_len"]] for caption in case["captions"]]
    longest = max(map(len, answers))
    rows = [prompt + answer + [0] * (longest - len(answer)) for answer in answers]
    labels = [[-100] * len(prompt) + answer + [-100] * (longest - len(answer)) for answer in answers]
    mask = [[1] * (len(prompt) + len(answer)) + [0] * (longest - len(answer)) for answer in answers]
    return torch.tensor(rows), torch.tensor(labels), torch.tensor(mask), torch.cat([pixels(processor, i) for i in case["images"]])


def measure_stage2(model, processor) -> dict[str, float]:
    input_ids, labels, mask, pixel_values = stage2_batch(model, processor)
    model.requires_grad_(False)
    model.model.language_projection.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    loss = model(input_ids=input_ids, pixel_values=pixel_values, attention_mask=mask, labels=labels).loss
    loss.backward()
    projection = model.model.language_projection
    return {
        "stage-2 loss": abs(loss.item() - float(EXPECTED["train.stage2.loss"])),
        "projection weight gradient": float((projection.weight.grad - EXPECTED["train.stage2.grad_proj_weight"]).abs().max()),
        "projection bias gradient": float((projection.bias.grad - EXPECTED["train.stage2.grad_proj_bias"]).abs().max()),
    }


def test_stage2_targets(parity_model):
    model, processor = parity_model
    _, labels, mask, _ = stage2_batch(model, processor)
    assert torch.equal(labels, EXPECTED["train.stage2.targets"].to(labels.dtype))
    assert torch.equal(mask, EXPECTED["train.stage2.attention_mask"].to(mask.dtype))
    assert int((labels != -100).sum()) == CASES["train"]["stage2"]["n_targets"]


def test_stage2_loss_and_gradient(parity_model):
    assert {name: value for name, value in measure_stage2(*parity_model).items() if value > 1e-5} == {}


if __name__ == "__main__":
    for title, value in {**measure_stages(*build_parity_model()), **measure_stage2(*build_parity_model())}.items():
        print(f"{title:28} {value:.1e}")

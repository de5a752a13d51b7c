"""The paper's two stages: pictures with captions, then pictures with detailed descriptions.

Stage 1 has no prompt: BOS, the picture's tokens, the cleaned caption, a newline. Stage 2 is a conversation as the LLM's family
was trained, its pictures asked about with one of the alignment prompts. In both the loss is on answers and their end symbols.
Sources: paper 3.1-3.3; upstream `MiniGPTBase.preparing_embedding`, `BlipCaptionProcessor` and `CCSBUAlignDataset`.
"""

import copy
import re
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import PIL.Image
import torch

from ..chat.messages import MessageError, Turn, load_turns
from ..chat.pictures import load_picture
from ..chat.render import IGNORED, Rendered, render
from ..chat.templates import ChatTemplate, get_template
from ..model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from .conversations import pad_right
from .feature_encoder import CachedEncoder, FeaturePicture
from .loader import batches
from .objective import AddUp, Figures, Metrics, Objective, SampleAnswer, Share
from .random_crop import RandomCrop
from .sources import BrokenSample, Mixture, Sample, Tally

MAX_CAPTION_WORDS = 50  # upstream's BlipCaptionProcessor
SHOWN = 6
LOOKED_THROUGH = 100  # samples, for those with a picture that can be shown
Piece = dict[str, Any]


def clean_caption(text: str) -> str:
    """A stage-1 caption as upstream's `BlipCaptionProcessor.pre_caption` writes it: lower case, few signs, 50 words at most."""
    text = re.sub(r"[.!\"()*#:;~]", " ", text.lower())
    return " ".join(re.sub(r"\s{2,}", " ", text).strip(" \n").split(" ")[:MAX_CAPTION_WORDS])


def caption_template(family: ChatTemplate) -> ChatTemplate:
    """Stage 1 of an LLM's family: nothing is written but the picture, the caption and a newline."""
    nothing = ("", "")
    return replace(
        family,
        name=f"{family.name} captions",
        system=nothing,
        user=nothing,
        assistant=nothing,
        picture=nothing,
        after_picture="",
        answer_end="\n",
        default_system=None,
        answers_apart=True,
        training=None,
    )


def cut_answers(rendered: Rendered, max_text_tokens: int) -> Rendered:
    """`rendered` with every answer cut to `max_text_tokens`, its end symbol included, which a long one so loses (as upstream)."""
    kept, run = [], 0
    for place, label in enumerate(rendered.labels):
        run = 0 if label == IGNORED else run + 1
        if run <= max_text_tokens:
            kept.append(place)
    return Rendered(
        [rendered.input_ids[place] for place in kept],
        [rendered.labels[place] for place in kept],
        [rendered.keys[place] for place in kept],
        rendered.pictures,
    )


@dataclass
class StageText:
    """How one stage writes samples for the LLM: `stage` 1 or 2. Can be pickled into the workers that prepare batches."""

    stage: int
    processor: MiniGPT4Processor
    family: str
    max_text_tokens: int

    @property
    def template(self) -> ChatTemplate:
        family = get_template(self.family)
        return caption_template(family) if self.stage == 1 else family.training or family

    def turns(self, sample: Sample) -> list[Turn]:
        """The conversation; in stage 1 its first picture and a cleaned caption, `BrokenSample` without a picture.

        Raises `MessageError` for messages that are no conversation.
        """
        turns = load_turns(sample.messages)
        if self.stage == 2:
            return turns
        picture = next((turn.pictures[0] for turn in turns if turn.pictures), None)
        if picture is None:
            raise BrokenSample("no picture, without which there is no caption to learn")
        caption = next(turn.text for turn in turns if turn.role == "assistant")
        return [Turn("user", (picture,)), Turn("assistant", (clean_caption(caption),))]

    def render(self, turns: list[Turn], add_generation_prompt: bool = False) -> Rendered:
        """Ids and labels, as the model is trained, also of a prompt."""
        return render(
            turns,
            replace(self.template, training=None),
            self.processor.tokenizer,
            image_token_id=self.processor.image_token_id,
            num_image_tokens=self.processor.num_image_tokens,
            add_generation_prompt=add_generation_prompt,
        )

    def example(self, sample: Sample) -> Rendered:
        """What is learned of a sample. Raises as `turns` does."""
        return cut_answers(self.render(self.turns(sample)), self.max_text_tokens)

    def check(self, sample: Sample, max_positions: int) -> None:
        """Raises `BrokenSample` for a sample that is no conversation, or one too long for the LLM."""
        try:
            example = self.example(sample)
        except MessageError as error:
            raise BrokenSample("not a conversation", str(error)) from None
        length = len(example.input_ids) + (0 if example.pictures else self.processor.num_image_tokens)
        if length > max_positions:
            raise BrokenSample("longer than the LLM's context", f"{length:,} tokens, and the LLM has room for {max_positions:,}")

    def collate(self, samples: list[Sample]) -> Piece:
        """`input_ids` and `labels` `(B, L)`, padded on the right, and `pixel_values` `(P, 3, S, S)`, or `pictures` from a cache.

        Where no conversation has a picture, a blank one stands behind the shortest. Nothing that is learned sees it, so its
        gradient is zero; but there is one, which processes that add up their gradients need from each other.
        """
        rows = [self.example(sample) for sample in samples]
        pictures = [picture for row in rows for picture in row.pictures]
        if not pictures:
            shortest = min(rows, key=lambda row: len(row.input_ids))
            shortest.input_ids += [self.processor.image_token_id] * self.processor.num_image_tokens
            shortest.labels += [IGNORED] * self.processor.num_image_tokens
        piece: Piece = {
            "input_ids": pad_right([row.input_ids for row in rows], fill=0),
            "labels": pad_right([row.labels for row in rows], fill=IGNORED),
        }
        if pictures and isinstance(pictures[0], FeaturePicture):
            piece["pictures"] = pictures
        else:
            images = [picture.image for picture in pictures] or [PIL.Image.new("RGB", (1, 1))]
            piece["pixel_values"] = self.processor.image_processor(images)["pixel_values"]
        return piece


@dataclass
class Pieces:
    """Collates a process's share of a step as its pieces, of pictures cut by `crop` where there is one."""

    text: StageText
    pieces: int
    crop: RandomCrop | None = None

    def __call__(self, samples: list[Sample]) -> list[Piece]:
        if self.crop is not None:
            samples = [self.crop(sample) for sample in samples]
        slices = Share(pieces=self.pieces).slices(len(samples))
        return [self.text.collate(samples[rows]) for rows in slices]


class StageObjective(Objective):
    """Answers to pictures from a mixture of sources. `held_out`, where given, is scored by its loss, `eval_samples` of it.

    `crop` cuts the pictures that are trained on, but not those that are held out or shown; it needs them open, so there is none
    with an `encoder`.
    """

    def __init__(
        self,
        model: MiniGPT4ForConditionalGeneration,
        text: StageText,
        mixture: Mixture,
        batch_size: int,
        *,
        held_out: Mixture | None = None,
        eval_samples: int = 256,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        max_broken: float = 0.1,
        encoder: CachedEncoder | None = None,
        crop: RandomCrop | None = None,
    ):
        self.model, self.text, self.mixture, self.batch_size = model, text, self._checked(mixture, model, text), batch_size
        self.held_out = None if held_out is None else self._checked(held_out, model, text)
        self.eval_samples, self.eval_batch_size = eval_samples, eval_batch_size
        self.num_workers, self.max_broken, self.encoder, self.crop = num_workers, max_broken, encoder, crop
        self.tally = Tally()
        self.drawn: deque[Tally] = deque()  # of the batches that were handed out and not yet learned from
        self.share = Share()

    @staticmethod
    def _checked(mixture: Mixture, model: MiniGPT4ForConditionalGeneration, text: StageText) -> Mixture:
        checked = copy.copy(mixture)
        checked.check = partial(text.check, max_positions=model.config.text_config.max_position_embeddings)
        return checked

    def batches(self, start: int, share: Share) -> Generator[list[Piece]]:
        self.share = share
        self.drawn.clear()
        collate = Pieces(self.text, share.pieces, self.crop)
        steps = batches(
            self.mixture,
            collate,
            self.batch_size,
            share.rank,
            share.world_size,
            start,
            self.num_workers,
            max_broken=self.max_broken,
            before=self.tally,
            pin_memory=self.model.device.type == "cuda",
        )
        try:
            for _, pieces, found in steps:
                self.drawn.append(found)
                yield pieces
        finally:
            steps.close()
            if self.encoder is not None:
                self.encoder.store.close()

    def finish_step(self) -> None:
        self.tally.add(self.drawn.popleft())

    def counts(self, piece: Piece) -> dict[str, float]:
        return {"loss": float((piece["labels"][:, 1:] != IGNORED).sum())}

    def loss(self, model: torch.nn.Module, piece: Piece) -> tuple[dict[str, torch.Tensor], Figures]:
        inputs = {name: value for name, value in piece.items() if name != "pictures"}
        if "pictures" in piece:
            assert self.encoder is not None
            inputs[f"{self.encoder.store.spec.kind}_features"] = self.encoder(piece["pictures"])
        return {"loss": model(**inputs, num_items_in_batch=1, use_cache=False).loss}, {}

    def evaluate(self, model: torch.nn.Module, add_up: AddUp) -> Metrics:
        if self.held_out is None:
            return {}
        total = targets = 0.0
        count, device = min(self.eval_samples, sum(map(len, self.held_out.sources))), self.model.device
        numbers = range(count)[self.share.rank :: self.share.world_size]
        # Every process calls the model equally often, because sharded weights are put together at each call.
        for start in range(0, -(-count // self.share.world_size), self.eval_batch_size):
            some = numbers[start : start + self.eval_batch_size]
            piece = self.text.collate([self.held_out.sample(number) for number in some or [0]])
            moved = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in piece.items()}
            loss = float(self.loss(model, moved)[0]["loss"])
            if some:
                total, targets = total + loss, targets + self.counts(piece)["loss"]
        total, targets = add_up([total, targets])
        return {"loss": total / targets, "score": -total / targets}

    def samples(self) -> list[SampleAnswer]:
        """Greedy answers on the first held-out pictures, or the first that were trained on, asked as in training."""
        shown = copy.copy(self.held_out or self.mixture)
        shown.open_picture = load_picture
        first = (shown.sample(number) for number in range(min(LOOKED_THROUGH, sum(map(len, shown.sources)))))
        return [self._answer(sample) for sample in islice((sample for sample in first if sample.pictures), SHOWN)]

    def _answer(self, sample: Sample) -> SampleAnswer:
        turns = self.text.turns(sample)
        seen = next(place for place, turn in enumerate(turns) if turn.pictures)
        first = next(place for place, turn in enumerate(turns) if place > seen and turn.role == "assistant")
        prompt = self.text.render(turns[:first], add_generation_prompt=True)
        pictures = [picture.image for picture in prompt.pictures]
        device, tokenizer = self.model.device, self.text.processor.tokenizer
        pixels = self.text.processor.image_processor(pictures)["pixel_values"].to(device)
        ids = self.model.generate(
            input_ids=torch.tensor([prompt.input_ids], device=device),
            pixel_values=pixels,
            max_new_tokens=self.text.max_text_tokens,
            do_sample=False,
        )
        said = tokenizer.decode(ids[0], skip_special_tokens=True).lstrip()
        end = self.text.template.answer_end
        answer = said.split(end)[0].strip() if end else said.strip()
        asked = " ".join(turn.text for turn in turns[:first] if turn.text) or "(the picture alone)"
        return SampleAnswer(pictures[0], asked, answer, turns[first].text)

    def binding(self) -> dict[str, str]:
        held_out = "none" if self.held_out is None else self.held_out.fingerprint
        return {"--data": self.mixture.fingerprint, "--eval-data": held_out}

    def state(self) -> dict[str, Any]:
        return {"tally": self.tally.as_dict()}

    def load_state(self, states: list[dict[str, Any]]) -> None:
        for state in states:
            self.tally.add(Tally.from_dict(state["tally"]))

    def notices(self, states: list[dict[str, Any]]) -> list[str]:
        everyone = Tally()
        for state in states:
            everyone.add(Tally.from_dict(state["tally"]))
        return everyone.report()

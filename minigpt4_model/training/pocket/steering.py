"""How the free image tokens make the LLM answer: learned on words, before there are pictures.

The representation stage fills 16 of the 32 places with words, or up to 20 for a sketched page. A 135 M LLM that reads a few
words in front of a question rambles about riddles; what it should do is answer from them. That much is the same for every
picture, so it can be learned without any: these places hold the true words' embeddings, and the others are constants
`(constants, D)` that prompt tuning (Lester et al. 2021) finds: some for pictures, some for pages, some for the blank picture
that stands where there is none. The later stages start with image tokens that are drawn to them.

    python -m minigpt4_model.training.pocket.steering --output runs/steering.safetensors
"""

import argparse
import os
import random
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ...model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..conversations import PLACEHOLDER, Example, render_batch, weigh_batch
from ..representation import FREE_PLACES, WordPlaces
from ..schedule import LearningRate
from .abilities import DECIDED, DECIDED_PHOTOGRAPHS, draw_talk
from .abilities.no_picture import no_picture
from .abilities.stock import Stock
from .abilities.talk import ComposingAlbum
from .albums import blank_example, picture_words
from .architecture import build_untrained
from .dataset import PocketPictures
from .decisive import DecisiveWords
from .sketches.layout import draw_layout
from .sketches.sources import sketch_messages, sketch_scene_words

PAGES_EVERY = 6
DECIDING_EVERY, DECIDING_SHARE = 2, 1.5  # a few words a question and short talks: a batch has more of them
# What the LLM must learn to do with words, most of it by looking for them: conversations that begin with a picture.
_DRAWINGS = {"look": 0.3, "yes-no": 0.25, "places": 0.25, "follow-up": 0.1, "two-pictures": 0.06, "cannot-tell": 0.02, "writing": 0.02}
_PHOTOGRAPHS = {"photograph": 0.5, "photograph-yes-no": 0.4, "photograph-cannot-tell": 0.1}
START = " The words above say what the picture shows. Short, true answer in one plain sentence:"


def initial_tokens(model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor) -> torch.Tensor:
    """`(constants, D)`: embeddings of the words between those of a picture; for pages and the blank picture, of a request, repeated."""
    between = [processor.tokenizer(word, add_special_tokens=False).input_ids[0] for _, word in FREE_PLACES]
    asked = processor.tokenizer(START, add_special_tokens=False).input_ids
    ids = (between + asked * WordPlaces.num_constants)[: WordPlaces.num_constants]
    return model.get_input_embeddings().weight.detach()[torch.tensor(ids)].float().clone()


def draw_examples(pictures: PocketPictures, stock: Stock, step: int, batch_size: int, deciding_steps: int = 0) -> list[Example]:
    """Conversations about composed scenes, and one in six about an imagined photograph; no picture is encoded.

    In the first `deciding_steps`, and later in one of three, the words that decide an answer count and no other. Every
    `PAGES_EVERY`th step after those is about sketched pages instead, half as many, since their answers are long; as many have no
    picture.
    """
    chance = random.Random(f"steering {step}")
    album, examples = ComposingAlbum(pictures.bank), []
    if step < deciding_steps:
        return _draw_talks(chance, album, stock, batch_size, decides=True)
    if step % PAGES_EVERY == PAGES_EVERY - 1:
        for _ in range(max(1, batch_size // 2)):
            sketch = draw_layout(chance)
            examples.append(Example(sketch_messages(sketch, PLACEHOLDER, chance), sketch_scene_words(sketch)))
        return examples
    if step % PAGES_EVERY == 0:
        return [blank_example(no_picture(chance, album, stock)) for _ in range(batch_size)]
    return _draw_talks(chance, album, stock, batch_size, decides=step % DECIDING_EVERY == 1)


def _draw_talks(chance: random.Random, album: ComposingAlbum, stock: Stock, batch_size: int, decides: bool) -> list[Example]:
    shares = (DECIDED, DECIDED_PHOTOGRAPHS) if decides else (_DRAWINGS, _PHOTOGRAPHS)
    examples = []
    for _ in range(round(batch_size * DECIDING_SHARE) if decides else batch_size):
        talk = draw_talk(chance, album, stock, shares[chance.random() < 1 / 6])
        examples.append(Example(talk.messages(PLACEHOLDER), tuple(picture_words(seen.scene) for seen in talk.pictures), decides))
    return examples


def train(
    output: Path,
    max_steps: int,
    batch_size: int,
    learning_rate: float,
    deciding_steps: int = 0,
    init: Path | None = None,
    save_steps: int = 25,
) -> None:
    """Finds the constants, from those in `init` where given; run again, it goes on from `output`'s last state."""
    model, processor = build_untrained()
    model.requires_grad_(False)
    pictures, places = PocketPictures(1), WordPlaces(processor.tokenizer, processor.num_image_tokens)
    stock, weigh = Stock(pictures.bank.sprites), DecisiveWords(processor.tokenizer).weigh
    free = (load_free_tokens(init) if init else initial_tokens(model, processor)).requires_grad_(True)
    optimizer = torch.optim.AdamW([free], lr=learning_rate, weight_decay=0.0)
    rate = LearningRate(learning_rate, learning_rate / 20, learning_rate / 20, min(20, max_steps), max_steps)
    words = model.get_input_embeddings().weight
    start, state_path = 0, output.with_suffix(".state.pt")
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        start = state["step"]
        free.data.copy_(state["free"])
        optimizer.load_state_dict(state["optimizer"])
    output.parent.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []
    with tqdm(range(start, max_steps), initial=start, total=max_steps, unit="step", desc="steering", mininterval=5) as bar:
        for step in bar:
            optimizer.param_groups[0]["lr"] = rate(step)
            examples = draw_examples(pictures, stock, step, batch_size, deciding_steps)
            targets = torch.tensor([places.target_ids(words) for example in examples for words in example.words_of_pictures])
            tokens = torch.where((targets < 0)[..., None], free[(-1 - targets).clamp_min(0)], words[targets.clamp_min(0)].float())
            input_ids, labels = render_batch([example.messages for example in examples], processor, model.config.chat_template_name)
            weights = weigh_batch(labels, examples, weigh)
            loss = model(input_ids=input_ids, image_features=tokens, labels=labels, label_weights=weights, use_cache=False).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([free], 1.0)
            optimizer.step()
            losses.append(loss.item())
            bar.set_postfix(loss=float(np.mean(losses[-20:])), refresh=False)
            if (step + 1) % save_steps == 0 or step + 1 == max_steps:
                _save(output, state_path, {"step": step + 1, "free": free.detach(), "optimizer": optimizer.state_dict()})


def _save(output: Path, state_path: Path, state: dict) -> None:
    temporary = output.with_suffix(".tmp")
    save_file({"free_tokens": state["free"]}, temporary)
    os.replace(temporary, output)
    torch.save(state, temporary)
    os.replace(temporary, state_path)


def load_free_tokens(path: Path) -> torch.Tensor:
    """`(constants, D)` as `train` wrote it."""
    return load_file(path)["free_tokens"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.steering", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="The .safetensors file to write; its state lies beside it.")
    parser.add_argument("--max-steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument(
        "--deciding-steps",
        type=int,
        default=0,
        help="For so many steps at first nothing but the words that decide an answer counts (default: 0); later in one step of three.",
    )
    parser.add_argument("--init", type=Path, help="Constants to begin with, as another run wrote them (default: words of a request).")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1).")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.output, args.max_steps, args.batch_size, args.learning_rate, args.deciding_steps, args.init)


if __name__ == "__main__":
    main()

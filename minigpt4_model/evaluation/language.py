"""Whether answers read like language: repetition, changes of script, and how likely the frozen LLM finds them.

Pure functions of text, but for `answer_likelihoods`, which asks a model.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from .words import words_of


def repeats(text: str, length: int = 4) -> bool:
    """Whether a run of `length` words comes twice."""
    spoken = words_of(text)
    runs = Counter(tuple(spoken[place : place + length]) for place in range(len(spoken) - length + 1))
    return any(count > 1 for count in runs.values())


def foreign_script(text: str) -> bool:
    """Whether a letter of another script than Latin stands in the text: a small LLM that loses its thread changes language."""
    return any(
        letter.isalpha() and not unicodedata.name(letter, "").startswith(("LATIN", "FEMININE", "MASCULINE", "MICRO")) for letter in text
    )


def broken_words(text: str) -> bool:
    """Whether a letter comes four times in a row, or a word is longer than any of English: signs of babble."""
    return bool(re.search(r"([^\W\d_])\1{3}", text)) or any(len(word) > 28 for word in words_of(text))


def answer_likelihoods(model, processor, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
    """For each (question, answer): the summed negative log likelihood in nats and the count of the answer's tokens.

    The LLM sees the question and no picture, in its own chat template. An empty answer gives (0.0, 0).
    """
    import torch

    from ..chat.messages import load_turns, text_message
    from ..chat.render import render
    from ..chat.templates import get_template

    template = get_template(model.config.chat_template_name)
    found = []
    for question, answer in pairs:
        prompt = render(
            load_turns([text_message("user", question)]),
            template,
            processor.tokenizer,
            image_token_id=model.config.image_token_id,
            num_image_tokens=model.config.num_image_tokens,
        ).input_ids
        ids = processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not ids:
            found.append((0.0, 0))
            continue
        with torch.inference_mode():
            whole = torch.tensor([[*prompt, *ids]], device=model.device)
            logits = model(input_ids=whole, logits_to_keep=len(ids) + 1).logits[0, :-1].float()
            likelihood = torch.log_softmax(logits, -1).gather(1, whole[0, -len(ids) :, None]).sum()
        found.append((-likelihood.item(), len(ids)))
    return found

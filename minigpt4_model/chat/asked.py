"""What one answer is made from, settled before anything is computed."""

from dataclasses import dataclass

from .backends.base import Answer
from .blank import blank_picture
from .contrast import contrast_keys
from .guards import Guards
from .render import Rendered
from .settings import GenerationSettings


@dataclass(frozen=True)
class Asked:
    """The prompt, the settings, the guards, when it was asked (`time.perf_counter()`), and what the person is told besides the answer.

    `top_logprobs` is how many likeliest tokens are told beside each; None tells no probabilities.
    """

    rendered: Rendered
    settings: GenerationSettings
    guards: Guards
    start: float
    notices: tuple[str, ...] = ()
    top_logprobs: int | None = None

    @property
    def contrasted(self) -> bool:
        """Whether the prompt is read twice: only where there is something to see, and not by beams."""
        seen = any(picture.digest != blank_picture().digest for picture in self.rendered.pictures)
        return bool(self.settings.visual_contrast and self.settings.num_beams == 1 and seen)

    @property
    def keys(self) -> list[int]:
        return contrast_keys(self.rendered.keys) if self.contrasted else self.rendered.keys

    def open(self, answer: Answer) -> None:
        """What is known of the answer before its first token: notices and the prompt's tokens."""
        answer.notices += self.notices
        answer.usage.prompt_tokens = len(self.rendered.input_ids)
        answer.usage.image_tokens = sum(key < 0 for key in self.rendered.keys)

"""Learning rate by step, the original's (`minigpt4/common/optims.py`, LinearWarmupCosineLRScheduler)."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LearningRate:
    """Linear warm-up from `warmup_learning_rate`, then a cosine from `learning_rate` to `min_learning_rate`.

    The cosine runs over all steps, warm-up included, so the rate steps down a little when the warm-up ends, as in the original.
    """

    learning_rate: float
    min_learning_rate: float
    warmup_learning_rate: float
    warmup_steps: int
    max_steps: int

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.warmup_learning_rate + (self.learning_rate - self.warmup_learning_rate) * step / self.warmup_steps
        fall = 0.5 * (1 + math.cos(math.pi * min(step, self.max_steps) / self.max_steps))
        return self.min_learning_rate + (self.learning_rate - self.min_learning_rate) * fall
